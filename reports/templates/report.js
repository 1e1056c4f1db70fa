"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const tools = document.querySelector(".tools:not(.verdicts)");
  const fields = tools.elements;
  const tables = all("#tables .table");
  const phone = matchMedia("(max-width: 640px)");
  const only = document.head.appendChild(document.createElement("style"));
  all(".scripted, .tools").forEach((part) => { part.hidden = false; });

  const rowsOf = (table) => all("tbody > tr[data-search]", table);
  const close = (row) => {
    if (row.nextElementSibling?.classList.contains("opened")) row.nextElementSibling.remove();
    row.querySelector("a").setAttribute("aria-expanded", "false");
  };

  // A row opens to a copy of its details, under it.
  const toggle = (row) => {
    const link = row.querySelector("a");
    if (link.getAttribute("aria-expanded") === "true") return close(row);
    const inside = document.createElement("div");
    inside.className = "inside";
    const details = document.getElementById(link.getAttribute("href").slice(1));
    inside.append(...[...details.children].slice(1).map((part) => part.cloneNode(true)));
    all("[id]", inside).forEach((part) => part.removeAttribute("id"));
    const opened = document.createElement("tr");
    opened.className = "opened";
    const cell = opened.appendChild(document.createElement("td"));
    cell.colSpan = row.children.length;
    cell.append(inside);
    row.after(opened);
    link.setAttribute("aria-expanded", "true");
  };

  // Sorting: the best first, the worst first, as at first. What has no value comes last.
  const value = (row, sort) => {
    const cell = row.children[sort.head.cellIndex];
    if (sort.head.dataset.sort === "number") return parseFloat(cell.dataset.key ?? "NaN");
    return sort.head.textContent.startsWith("budget") ? parseFloat(row.dataset.budget) : cell.textContent.toLowerCase();
  };
  const compare = (sort) => (one, other) => {
    const [a, b] = [value(one, sort), value(other, sort)];
    if (typeof a === "string") return sort.sign * a.localeCompare(b);
    return isNaN(a) - isNaN(b) || (isNaN(a) ? 0 : sort.sign * (a - b));
  };
  const sortBy = (table, head, order) => {
    const turn = { none: "first", first: "second", second: "none" }[head.dataset.turn ?? "none"];
    all("thead th", table).forEach((other) => { other.removeAttribute("aria-sort"); delete other.dataset.turn; });
    rowsOf(table).forEach(close);
    table.classList.toggle("sorted", turn !== "none");
    if (turn === "none") return order.forEach(([row, body]) => body.append(row));
    head.dataset.turn = turn;
    const down = head.dataset.sort === "number" && table.dataset.higher === "1";
    const sort = { head, sign: (turn === "first") === !down ? 1 : -1 };
    head.setAttribute("aria-sort", sort.sign > 0 ? "ascending" : "descending");
    table.tBodies[0].append(...order.map(([row]) => row).sort(compare(sort)));
  };

  const matches = (row, words) =>
    words.every((word) => row.dataset.search.includes(word)) &&
    ["kind", "budget", "free"].every((name) => !fields[name]?.value || row.dataset[name] === fields[name].value);

  const filter = () => {
    const words = fields.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const nfe = fields.nfe.value;
    only.textContent = nfe ? `[data-nfe]:not([data-nfe="${Number(nfe)}"]) { display: none; }` : "";
    const [shown, total] = [new Set(), new Set()];
    for (const part of tables) {
      const table = part.querySelector("table");
      table.classList.toggle("one", nfe !== "");
      part.hidden = (fields.dataset?.value && part.dataset.dataset !== fields.dataset.value) ||
        (nfe !== "" && !part.dataset.nfes.split(" ").includes(nfe));
      for (const row of rowsOf(table)) {
        const cell = nfe && row.querySelector(`td[data-nfe="${Number(nfe)}"]`);
        row.hidden = !matches(row, words) || Boolean(cell && cell.textContent === "");
        if (row.hidden) close(row);
        const place = row.querySelector("a").hash;
        total.add(place);
        if (!row.hidden && !part.hidden) shown.add(place);
      }
      all("tbody", table).forEach((body) => {
        const group = body.querySelector(".group");
        if (group) group.hidden = rowsOf(body).every((row) => row.hidden);
      });
    }
    fields.count.value = shown.size === total.size ? "" : `${shown.size} of ${total.size} rows`;
  };

  for (const part of tables) {
    const table = part.querySelector("table");
    const order = rowsOf(table).map((row) => [row, row.parentNode]);
    all("thead th", table).forEach((head) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sortBy(table, head, order));
    });
    table.addEventListener("click", (event) => {
      const row = event.target.closest("th[scope=row] a")?.closest("tr");
      if (!row) return;
      event.preventDefault();
      toggle(row);
    });
    rowsOf(table).forEach((row) => row.querySelector("a").setAttribute("aria-expanded", "false"));
  }

  // Beside the paper: the rows in which some cell has the verdict, and only such cells.
  const verdicts = document.querySelector(".verdicts");
  verdicts?.addEventListener("submit", (event) => event.preventDefault());
  verdicts?.addEventListener("input", () => {
    const chosen = verdicts.elements.verdict.value;
    let count = 0;
    for (const body of all("#published tbody")) {
      for (const row of all("tr:not(.group)", body)) {
        const cells = all("td[data-verdicts]", row);
        const having = cells.filter((cell) => !chosen || cell.dataset.verdicts.split("|").includes(chosen));
        cells.forEach((cell) => cell.classList.toggle("other", !having.includes(cell)));
        row.hidden = having.length === 0;
        count += having.length;
      }
      const group = body.querySelector(".group");
      if (group) group.hidden = all("tr:not(.group)", body).every((row) => row.hidden);
    }
    verdicts.elements.count.value = chosen ? `${count} cell${count === 1 ? "" : "s"}` : "";
  });

  // On a phone one NFE is shown at a time.
  const fit = () => {
    fields.nfe.options[0].disabled = phone.matches;
    if (phone.matches && !fields.nfe.value) fields.nfe.value = fields.nfe.dataset.usual;
    else if (!phone.matches && !fields.nfe.dataset.chosen) fields.nfe.value = "";
    filter();
  };
  fields.nfe.addEventListener("change", () => { fields.nfe.dataset.chosen = fields.nfe.value; });
  tools.addEventListener("submit", (event) => event.preventDefault());
  tools.addEventListener("input", filter);
  tools.addEventListener("reset", () => { delete fields.nfe.dataset.chosen; setTimeout(fit); });
  phone.addEventListener("change", fit);
  document.addEventListener("click", (event) => {
    const target = event.target.closest('a[href^="#row-"]');
    if (!target || event.defaultPrevented) return;
    const details = document.getElementById(target.getAttribute("href").slice(1))?.closest("details");
    if (details) details.open = true;
  });
  const printed = () => { only.disabled = true; };
  addEventListener("beforeprint", printed);
  addEventListener("afterprint", () => { only.disabled = false; });
  fit();
})();

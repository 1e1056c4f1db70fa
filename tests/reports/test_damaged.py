"""A run folder that was edited, cut or mixed up: shown as it is, or one line that names the file, never a traceback."""

import csv
import io
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from fewstep.reports import leaderboard, run_folder
from fewstep.reports.run_folder import FIRST, RESULT_COLUMNS
from fewstep.tests.bench.in_process import call, is_one_line

BOARD = Path(leaderboard.__file__).parent.parent / "leaderboards" / "tuned"
CSVS = ("results.csv", "blocks.csv", "costs.csv", "trials.csv")
JSONS = ("metrics.json", "methods.json", "run.json", "learned.json")
FILES = (*CSVS, *JSONS, "papers.bib", "pictures.npz")
VALUES = (
    "", "a", "nan", "inf", "-inf", "-1", "1.5", "1e400", "99999999999999999999", "1_0", "٣", "None", "true", "done",
    "../../x", '"', "x" * 5000, "0x10", "1;2", "\u2028", "=1+1", "<script>", "1e308", "failed",
)  # fmt: skip
KEY = {"dataset": "digits", "teacher": "t", "method": "bespoke", "variant": "", "budget": "30000 evaluations"}
LEARNED = [{**KEY, "seed": seed, "nfe": 4, "learned": [["r", [0.0, 0.5, 1.0]], ["t", [0.0, 0.4]]]} for seed in (0, 1)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Every file of a run folder, of a few rows each."""
    folder = tmp_path_factory.mktemp("whole")
    cells = []
    for name in CSVS:
        header, *rows = list(csv.reader((BOARD / name).open()))
        if name == "results.csv":
            rows = rows[:12]
            cells = {row[header.index("cell")] for row in rows}
        elif name == "blocks.csv":
            rows = [row for row in rows if row[0] in cells]
        save(folder / name, header, rows[:24])
    for name in ("metrics.json", "methods.json", "papers.bib", "run.json", "leaderboard.csv"):
        shutil.copyfile(BOARD / name, folder / name)
    (folder / "learned.json").write_text(json.dumps(LEARNED))
    pictures = {cell: np.zeros((2, 1, 8, 8), np.uint8) for cell in sorted(cells)[:2]}
    np.savez_compressed(folder / "pictures.npz", **pictures)
    return folder


@pytest.fixture
def folder(whole, tmp_path, monkeypatch):
    """A copy to damage; its figures are laid out but not drawn."""
    monkeypatch.setattr(Figure, "savefig", lambda figure, buffer, **options: buffer.write(b"<svg></svg>"))
    return shutil.copytree(whole, tmp_path / "run")


def save(file, header, rows):
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([header, *rows])
    file.write_text(buffer.getvalue())


def load(file):
    header, *rows = list(csv.reader(file.open()))
    return header, rows


def commands(folder):
    row = ("--method", "consistency", "--nfe", "1", "--out", folder.parent / "out")
    return [
        ("leaderboard", folder),
        ("leaderboard", folder, "--format", "csv"),
        ("report", folder),
        ("sample", folder, *row),
        ("export", folder, *row),
    ]


def test_the_whole_folder_is_shown(folder):
    for command in commands(folder)[:3]:
        assert call(*command).exit_code == 0


def refused(folder, name, *words):
    """Whether the commands that read the file each say its name, and the words, in one line."""
    read_by = commands(folder) if name == "results.csv" else commands(folder)[2:3]
    for command in read_by:
        result = call(*command)
        assert is_one_line(result), (command, result.output, result.exception)
        assert all(word in result.stderr for word in (name, *words)), result.stderr
    return True


@pytest.mark.parametrize("column", [*FIRST, *[name for name in RESULT_COLUMNS if name not in FIRST][:-1]])
def test_any_column_left_out_of_results_is_named(folder, column):
    header, rows = load(folder / "results.csv")
    later = [name for name in RESULT_COLUMNS if name not in header]
    header, rows = [*header, *later], [[*row, *("" for _ in later)] for row in rows]
    keep = [i for i, name in enumerate(header) if name != column]
    save(folder / "results.csv", [header[i] for i in keep], [[row[i] for i in keep] for row in rows])
    assert refused(folder, "results.csv", f"lacks the column {column}")


@pytest.mark.parametrize("name", CSVS[1:])
def test_any_column_left_out_of_another_table_is_named(folder, name):
    header, rows = load(folder / name)
    for column in header:
        keep = [i for i, other in enumerate(header) if other != column]
        save(folder / name, [header[i] for i in keep], [[row[i] for i in keep] for row in rows])
        assert refused(folder, name, f"lacks the column {column}")


def edited(change):
    def damage(file):
        file.write_text(change(file.read_text()))

    return damage


DAMAGES = {
    "semicolons": (edited(lambda text: text.replace(",", ";")), "commas"),
    "tabs": (edited(lambda text: text.replace(",", "\t")), "commas"),
    "empty": (edited(lambda text: ""), "is empty"),
    "header alone": (edited(lambda text: text.splitlines()[0] + "\n"), "has no rows"),
    "no header": (edited(lambda text: text.partition("\n")[2]), "lacks the columns"),
    "header twice": (edited(lambda text: text.splitlines()[0] + ",seed\n"), "'seed' appears twice"),
    "other bytes": (lambda file: file.write_bytes(bytes(range(128, 256)) * 9), "is not UTF-8 text"),
    "UTF-16": (lambda file: file.write_text(file.read_text(), encoding="utf-16"), "is not UTF-8 text"),
    "NUL": (edited(lambda text: text.replace("digits", "dig\0its", 1)), "NUL"),
    "a value more": (
        edited(lambda text: text.replace("\n", ",1\n").replace(",1\n", "\n", 1)),
        "line 2: 26 values for 25",
    ),
    "a value fewer": (edited(lambda text: text.rpartition(",")[0] + "\n"), "line 13: 24 values for 25 columns"),
    "a quote": (edited(lambda text: text.replace("digits", '"digits', 1)), "line"),
    "a folder": (lambda file: (file.unlink(), file.mkdir()), ""),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_results_of_another_form_are_one_line_that_says_what_is_wrong(folder, damage):
    make, said = DAMAGES[damage]
    make(folder / "results.csv")
    assert refused(folder, "results.csv", said)


@pytest.mark.parametrize("mark", ["\ufeff", "\r"])
def test_a_byte_order_mark_and_other_line_ends_are_read(folder, mark):
    before = call("leaderboard", folder).output
    text = (folder / "results.csv").read_text()
    other = mark + text if mark == "\ufeff" else text.replace("\n", "\r\n")
    (folder / "results.csv").write_bytes(other.encode())
    assert call("leaderboard", folder).output == before


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("seed", "18446744073709551616", "line 4: seed '18446744073709551616' is not a whole number"),
        ("seed", "0.0", "line 4: seed '0.0' is not a whole number"),
        ("nfe", "", "line 4: nfe '' is not a whole number"),
        ("value", "a", "line 4: value 'a' is not a number"),
        ("samples", "", "line 4: has a value of no samples"),
        ("status", "fine", "line 4: status 'fine' is not a status"),
        ("method", "", "line 4: has no method"),
        ("train_seconds", "inf", "line 4: train_seconds 'inf' is not a finite number"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(folder, column, value, said):
    header, rows = load(folder / "results.csv")
    rows[2][header.index(column)] = value
    save(folder / "results.csv", header, rows)
    assert refused(folder, "results.csv", said)


def test_the_largest_seeds_are_read_exactly(folder):
    header, rows = load(folder / "results.csv")
    seeds = [2**63 - 1 - i for i in range(len(rows))]
    for row, seed in zip(rows, seeds, strict=True):
        row[header.index("seed")] = str(seed)
    save(folder / "results.csv", header, rows)
    assert run_folder.results(folder)["seed"].tolist() == seeds
    for command in commands(folder)[:3]:
        assert call(*command).exit_code == 0


JSON_TEXTS = ("", "{", "[]", "{}", "3", "null", '{"a": 3}', '{"a": {"enough": "many"}}', "[" * 100_000, '[{"seed": 0}]')


@pytest.mark.parametrize("name", [*JSONS, "pictures.npz"])
def test_other_json_or_npz_is_shown_or_one_line(folder, name):
    whole, ways = (folder / name).read_bytes(), []
    for text in (*JSON_TEXTS, "\udc80\x00"):
        (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
        result = call("report", folder)
        ways.append(result.exit_code)
        assert result.exit_code == 0 or (is_one_line(result) and name in result.stderr), (text, result.output)
    assert ways.count(2) >= 6
    (folder / name).write_bytes(whole)
    assert call("report", folder).exit_code == 0


@pytest.mark.parametrize("array", [np.zeros((2, 8, 8), np.uint8), np.zeros((1, 1, 8, 8)), np.zeros((0, 1, 8, 8), "u1")])
def test_arrays_that_are_no_pictures_are_one_line(folder, array):
    np.savez(folder / "pictures.npz", truth=array)
    assert refused(folder, "pictures.npz", "holds no pictures")


def pruned(value, rng):
    """A copy of JSON data in which one thing is left out, or is of another kind."""
    if isinstance(value, dict | list) and value and rng.random() < 0.8:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key, copy = rng.choice(list(keys)), value.copy()
        if rng.random() < 0.3:
            del copy[key]
        else:
            copy[key] = pruned(value[key], rng)
        return copy
    return rng.choice([None, "text", 1.5, -1, True, [], {}, [[]], 10**30, "1e999"])


def damaged(file, rng):
    """One of many damages to a file, at random."""
    data = file.read_bytes()
    kind = rng.choice(["cut", "flip", "bytes", "form"])
    if kind == "cut":
        return data[: rng.randrange(len(data))]
    if kind == "flip":
        at = rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
    if kind == "bytes" or file.suffix == ".npz":
        at = rng.randrange(len(data))
        return data[:at] + rng.randbytes(rng.randrange(1, 9)) + data[at + rng.randrange(9) :]
    if file.suffix == ".json":
        return json.dumps(pruned(json.loads(data), rng)).encode()
    header, rows = load(file)
    table = [header, *rows]
    what = rng.choice(["value", "value", "value", "swap", "twice", "drop"])
    i, j = rng.randrange(len(table)), rng.randrange(len(header))
    if what == "value":
        table[i][j] = rng.choice(VALUES)
    elif what == "swap":
        k = rng.randrange(len(header))
        for row in table:
            row[j], row[k] = row[k], row[j]
    elif what == "twice":
        table.insert(i, table[i])
    else:
        del table[i]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(table)
    return buffer.getvalue().encode()


@pytest.mark.parametrize("seed", [0, *[pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 12)]])
def test_a_damaged_folder_is_shown_or_one_line(folder, seed):
    rng = random.Random(seed)
    for name in FILES:
        whole = (folder / name).read_bytes()
        for _ in range(60 if name == "results.csv" else 12):
            (folder / name).write_bytes(content := damaged(folder / name, rng))
            read_by = commands(folder) if name == "results.csv" else commands(folder)[:3]
            result = call(*rng.choice(read_by))
            assert result.exit_code == 0 or is_one_line(result), (name, content[:3000], result.exc_info)
            (folder / name).write_bytes(whole)

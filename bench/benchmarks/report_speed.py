"""CPU seconds and size of a report against the number of results, from run folders of made-up values.

python -m fewstep.bench.benchmarks.report_speed [ROWS...]
"""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...reports import run_folder
from ...reports.run_folder import Method, Metric
from ..results import rows as results

METRICS = {
    "distance": Metric("distance", "between sets", log_scale=True),
    "error": Metric("error", "of a sample", log_scale=True),
    "share": Metric("share", "of samples", True, pair="rest"),
    "rest": Metric("rest", "of images", True, pair="share"),
}
KINDS = ("solver", "learned solver", "student")


def make(
    folder: Path, methods: int, variants: int, nfes: Sequence[int], seeds: int, metrics: int, seed: int = 0
) -> Path:
    """A run folder with methods x variants x nfes x seeds x metrics results; the methods of every third are solvers."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, names = np.random.default_rng(seed), list(METRICS)[:metrics]
    table: list[dict[str, Any]] = []
    blocks, costs = [], []
    for i in range(methods * variants):
        method, trained = f"method-{i // variants}", (i // variants) % 3 > 0
        key = {"suite": "made-up", "dataset": "digits", "teacher": "small", "method": method}
        key |= {"variant": f"rate={i % variants}", "budget": "100000 evaluations" if trained else "0"}
        for nfe, s in ((nfe, s) for nfe in nfes for s in range(seeds)):
            cell = f"{i:08x}{nfe:04x}{s:04x}"
            for name in names:
                value = (5 + 0.1 * i + 20 / nfe) * (1 + 0.03 * rng.normal())
                value = 1 / (1 + value / 10) if METRICS[name].higher_is_better else value
                row = {**key, "seed": s, "nfe": nfe, "metric": name, "value": repr(value), "samples": 1797}
                row |= {"train_evaluations": 1e5 * trained, "train_seconds": 12.5 if trained else 0, "status": "done"}
                row |= {"seconds_per_image": 1e-3, "forwards": nfe, "flops_per_image": 1e6 * nfe, "cell": cell}
                table.append({**row, "protocol": f"{name}/features/1797", "rules": "default"})
                if not METRICS[name].higher_is_better:
                    blocks.append(results.block_row(cell, name, (value + 0.05 * rng.normal(size=20)).tolist()))
            if trained:
                spent = {**key, "seed": s, "nfe": nfe, "run": f"train-{i}-{s}", "evaluations": 5e4, "flops": 1e9}
                costs += [{**spent, "use": use} for use in ("training", "ground truth")]
    written = (
        (run_folder.RESULTS, table, results.COLUMNS),
        (run_folder.BLOCKS, blocks, results.BLOCK_COLUMNS),
        (run_folder.COSTS, costs, list(run_folder.COST_COLUMNS)),
    )
    for file, lines, columns in written:
        (folder / file).write_text(results.to_csv(lines, columns), encoding="utf-8")
    facts = {f"method-{j}": Method(f"Method {j}", KINDS[j % 3], (), True) for j in range(methods)}
    (folder / run_folder.METRICS).write_text(run_folder.metrics_json({n: METRICS[n] for n in names}), encoding="utf-8")
    (folder / run_folder.METHODS).write_text(run_folder.methods_json(facts), encoding="utf-8")
    (folder / run_folder.FACTS).write_text(json.dumps({"suite": "made-up"}), encoding="utf-8")
    return folder


def main() -> None:
    from ...reports import run

    for rows in map(int, sys.argv[1:] or ("2000", "20000")):
        with tempfile.TemporaryDirectory() as place:
            each = 5 * 2 * 4
            folder = make(Path(place), max(1, rows // (each * 2)), 2, (1, 2, 4, 8, 16), 2, 4)
            started = time.process_time()
            run.write_html([folder], folder / run_folder.REPORT)
            spent, size = time.process_time() - started, (folder / run_folder.REPORT).stat().st_size
            print(f"{rows} results: {spent:.1f} s of CPU, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

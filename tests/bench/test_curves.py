"""curves.csv: the losses of training runs, thinned to what a figure shows."""

import json

from fewstep.bench.results import curves


def record(folder, losses):
    folder.mkdir()
    rows = [{"step": step, "loss": loss, "budget/evaluations": 10.0 * (step + 1)} for step, loss in enumerate(losses)]
    (folder / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_long_curve_is_thinned_to_means_that_keep_its_whole_mean_and_its_end(tmp_path):
    found = curves.of_run(record(tmp_path / "train-1", [float(i) for i in range(400)]))
    assert len(found) == curves.POINTS
    assert float(found[0]["loss"]) == 4.5
    assert sum(float(row["loss"]) for row in found) / len(found) == 199.5
    assert found[-1] == {"run": "train-1", "evaluations": "4000", "loss": "394.5"}


def test_a_short_curve_is_kept_as_it_is(tmp_path):
    found = curves.of_run(record(tmp_path / "train-1", [3.0, 1.0]))
    assert [row["loss"] for row in found] == ["3", "1"]


def test_a_run_without_a_record_has_no_curve(tmp_path):
    (tmp_path / "train-1").mkdir()
    assert curves.of_run(tmp_path / "train-1") == []

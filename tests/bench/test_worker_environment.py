"""Workers are forked off a process that may have been started under another environment than the run's."""

import os
from multiprocessing import Pipe

from fewstep.bench.run import worker


def test_a_worker_takes_over_the_environment_of_its_run(monkeypatch, tmp_path):
    seen = {}
    monkeypatch.setattr(os, "environ", {"LEFT_OVER": "1"})
    monkeypatch.setattr(worker, "begin", lambda: seen.update(os.environ))
    ours, theirs = Pipe()
    ours.close()
    worker.main(theirs, tmp_path, {"FEWSTEP_DATA": "here"})
    assert seen == {"FEWSTEP_DATA": "here"}

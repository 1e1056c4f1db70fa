"""A cell's state is data: what is written is what is read."""

import pytest

from fewstep.reports.status import DONE, Kind, Status


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("reason", ["", "x", "the loss is not finite at step 3: nan", "data/a.zip, get it by `b: c`"])
def test_a_status_is_read_as_it_was_written(kind, reason):
    status = Status(kind, reason)
    assert Status.parse(str(status)) == status


def test_a_missing_asset_is_told_from_a_method_that_cannot():
    assert Status.parse("skipped: missing data/cifar10-32.zip, get it by `fewstep prepare`").kind is Kind.LACKING
    assert Status.parse("skipped: Heun takes two evaluations a step").kind is Kind.SKIPPED
    assert Status.parse("missing: not run yet").kind is Kind.NOT_RUN


def test_only_what_could_have_been_had_is_a_fault():
    assert {kind for kind in Kind if not Status(kind).fault} == {Kind.DONE, Kind.SKIPPED}
    assert DONE.done


def test_a_text_that_no_status_writes_is_refused():
    with pytest.raises(ValueError, match="not a status"):
        Status.parse("doneish")

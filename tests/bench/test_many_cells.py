"""A sweep of many cells is planned and scheduled in little time, and no place waits for a task that is ready."""

from fewstep.bench.benchmarks import many_cells


def test_no_place_is_free_while_a_task_is_ready(monkeypatch):
    events, made, waited = many_cells.Places.events, [], []

    class Watched(many_cells.Schedule):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    def asked(places, timeout):
        waited.append(places.has_room and len(made[0]._ready) > 0)
        return events(places, timeout)

    monkeypatch.setattr(many_cells, "Schedule", Watched)
    monkeypatch.setattr(many_cells.Places, "events", asked)
    found = many_cells.measure(2_000)
    assert (found.cells, found.tasks, found.most_at_once) == (2_000, 4_021, many_cells.PLACES)
    assert len(waited) == found.tasks
    assert not any(waited)


def test_the_time_of_a_cell_does_not_grow_with_their_number():
    """0.1 ms a cell to plan and 0.04 ms a task to schedule, each with room for a slow machine."""
    many_cells.measure(100)
    for cells in (1_000, 8_000):
        found = many_cells.measure(cells)
        assert found.planned < 2e-3 * cells
        assert found.scheduled < 5e-4 * found.tasks

"""How workers share a machine's cores and GPUs."""

import pytest

from fewstep.bench import machine
from fewstep.bench.errors import InputError


@pytest.fixture
def four_cores_two_cards(tmp_path, monkeypatch):
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.setattr(machine, "DEVICES", tmp_path)
    monkeypatch.setattr(machine, "cores", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("device", "workers", "threads", "expected"),
    [
        ("cpu", None, None, (4, 1, [])),
        ("cpu", None, 2, (2, 2, [])),
        ("auto", None, None, (2, 2, ["0", "1"])),
        ("cuda", 1, None, (1, 4, ["0", "1"])),
        ("cuda", 8, 1, (8, 1, ["0", "1"])),
    ],
)
def test_one_worker_per_gpu_or_else_per_core(four_cores_two_cards, device, workers, threads, expected):
    assert machine.shares(device, workers, threads) == expected


@pytest.mark.parametrize(
    ("device", "devices", "expected"), [("cpu", 2, (2, 1, [])), ("cpu", 8, (1, 1, [])), ("auto", 2, (1, 2, ["0,1"]))]
)
def test_a_worker_may_have_several_devices(four_cores_two_cards, device, devices, expected):
    assert machine.shares(device, None, None, devices) == expected


def test_more_gpus_than_there_are_is_one_line(four_cores_two_cards):
    with pytest.raises(InputError, match=r"^--devices 3: this machine has 2 GPUs$"):
        machine.shares("auto", None, None, 3)


def test_cards_that_are_hidden_are_not_used(four_cores_two_cards, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert machine.shares("auto", None, None) == (1, 4, ["1"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert machine.shares("auto", None, None) == (4, 1, [])

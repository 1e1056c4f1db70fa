"""Which W&B mode a user gets."""

import pytest

from fewstep.bench.training.tracking import SERVERS, wandb_mode


@pytest.fixture(autouse=True)
def _clean(monkeypatch, tmp_path):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def test_offline_unless_somebody_is_logged_in():
    assert wandb_mode() == "offline"


def test_online_with_a_key(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert wandb_mode() == "online"


@pytest.mark.parametrize("server", SERVERS)
def test_online_after_wandb_login(tmp_path, server):
    (tmp_path / "netrc").write_text(f"machine {server} login user password secret\n")
    assert wandb_mode() == "online"


def test_the_variable_decides(monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret\n")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert wandb_mode() == "disabled"

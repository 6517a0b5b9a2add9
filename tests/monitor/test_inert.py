from __future__ import annotations

import threading

import pytest
from torch.optim.optimizer import _global_optimizer_post_hooks

import foldmon
from foldmon.monitor.inert import InertMonitor
from tests.training_loop import train


@pytest.mark.parametrize("value", ["1", "true", "YES"])
def test_disabled_it_looks_at_nothing(monkeypatch, mlp, tmp_path, value):
    monkeypatch.setenv("FOLDMON_DISABLED", value)
    monkeypatch.setenv("FOLDMON_EVERY", "nonsense that nobody reads")
    threads = threading.active_count()
    with foldmon.watch(mlp, object(), config="missing.yaml", every=1) as monitor:
        train(mlp, 3)
        monitor.step()
        monitor.log(loss=1.0)
        assert monitor.probe().to_dict()["step"] is None
        assert monitor.flush()
    assert isinstance(monitor, foldmon.Monitor)
    assert (monitor.steps, monitor.report, list(monitor.history), monitor.overhead) == (0, None, [], 0.0)
    assert "disabled" in monitor.summary()
    assert threading.active_count() == threads
    assert not mlp._forward_pre_hooks
    assert not _global_optimizer_post_hooks
    assert not list(tmp_path.iterdir())


def test_a_file_can_disable_it_and_a_zero_enables_it(monkeypatch, mlp, held_out, tmp_path):
    (tmp_path / "off.yaml").write_text("disabled: true")
    assert isinstance(foldmon.watch(mlp, held_out, config="off.yaml"), InertMonitor)
    monkeypatch.setenv("FOLDMON_DISABLED", "0")
    with foldmon.watch(mlp, held_out, config="off.yaml", exporters=[]) as monitor:
        assert not isinstance(monitor, InertMonitor)


def test_it_has_the_whole_public_surface_of_a_monitor():
    public = {name for name in vars(foldmon.Monitor) if not name.startswith("_")}
    assert public <= set(vars(InertMonitor)), "each must be overridden, so that none needs a real monitor"
    plain = {"report", "history", "skipped", "config"}
    assert plain <= set(vars(InertMonitor()))


def test_a_resumed_run_may_be_disabled(mlp, held_out):
    with foldmon.watch(mlp, held_out, exporters=[]) as monitor:
        state = monitor.state_dict()
    inert = InertMonitor()
    inert.load_state_dict(state)
    assert inert.state_dict() == {}

from __future__ import annotations

import inspect
import threading

import pytest
from torch.optim.optimizer import _global_optimizer_post_hooks

import foldmon
from foldmon.monitor.inert import InertMonitor
from foldmon.monitor.running import RunningMonitor
from tests.training_loop import train


@pytest.mark.parametrize("value", ["1", "true", "YES"])
def test_disabled_it_looks_at_nothing(monkeypatch, mlp, tmp_path, value):
    monkeypatch.setenv("FOLDMON_DISABLED", value)
    monkeypatch.setenv("FOLDMON_EVERY", "nonsense that nobody reads")
    threads = threading.active_count()
    # A watch that ended beside another thread has left one there, which does nothing.
    hooks = dict(_global_optimizer_post_hooks)
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
    assert _global_optimizer_post_hooks == hooks
    assert not list(tmp_path.iterdir())


def test_a_file_can_disable_it_and_a_zero_enables_it(monkeypatch, mlp, held_out, tmp_path):
    (tmp_path / "off.yaml").write_text("disabled: true")
    assert isinstance(foldmon.watch(mlp, held_out, config="off.yaml"), InertMonitor)
    monkeypatch.setenv("FOLDMON_DISABLED", "0")
    with foldmon.watch(mlp, held_out, config="off.yaml", exporters=[]) as monitor:
        assert not isinstance(monitor, InertMonitor)


def signatures(monitor):
    """What a user may name on a monitor: a method's signature, None for a plain value."""
    names = {name for name in dir(monitor) if not name.startswith("_")} | {"_repr_html_"}
    values = {name: getattr(type(monitor), name, None) for name in names}
    return {name: inspect.signature(v) if inspect.isfunction(v) else None for name, v in values.items()}


def test_both_monitors_have_the_same_public_members_with_the_same_signatures(mlp, held_out):
    with foldmon.watch(mlp, held_out, exporters=[]) as running:
        expected = signatures(running)
        assert {"step", "report", "steps", "config"} <= set(expected)
        assert signatures(InertMonitor()) == expected


def test_both_monitors_define_all_that_the_protocol_names():
    named = {name for name in vars(foldmon.Monitor) if not name.startswith("_")}
    assert named <= set(vars(RunningMonitor))
    assert named <= {*vars(InertMonitor), *vars(InertMonitor())}
    assert all(inspect.getdoc(getattr(RunningMonitor, name)) for name in named), "told in one place for both"


def test_a_resumed_run_may_be_disabled(mlp, held_out):
    with foldmon.watch(mlp, held_out, exporters=[]) as monitor:
        state = monitor.state_dict()
    inert = InertMonitor()
    inert.load_state_dict(state)
    assert inert.state_dict() == {}

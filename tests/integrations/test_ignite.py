from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint

import foldmon
from foldmon.integrations.ignite import FoldingHandler
from foldmon.journal.following import read_journal
from tests.integrations.broken import BrokenMonitor


@pytest.fixture
def engine(mlp):
    optimizer = torch.optim.Adam(mlp.parameters())

    def step(engine, batch):
        optimizer.zero_grad()
        mlp(batch).square().mean().backward()
        optimizer.step()

    return Engine(step)


BATCHES = [torch.randn(16, 8) for _ in range(4)]


def steps_of(monitor):
    return [r["step"] for r in read_journal(monitor.journal_path) if r["kind"] == "probe"]


def test_steps_are_the_engines_iterations(engine, mlp, held_out, tmp_path):
    handler = FoldingHandler(mlp, held_out, every=4, background=False, exporters=[], log_dir=tmp_path)
    handler.attach(engine)
    engine.run(BATCHES, max_epochs=2)
    assert steps_of(handler.monitor) == [0, 4, 8]
    assert read_journal(handler.monitor.journal_path)[-1]["kind"] == "end"


def test_detached_it_counts_no_more(engine, mlp, held_out, tmp_path):
    handler = FoldingHandler(mlp, held_out, every=4, background=False, exporters=[], log_dir=tmp_path)
    handler.attach(engine)
    engine.run(BATCHES, max_epochs=1)
    monitor, own = handler.monitor, (handler._start, handler._step, handler._close)
    assert all(engine.has_event_handler(one) for one in own)
    handler.detach()
    assert not any(engine.has_event_handler(one) for one in own)
    engine.run(BATCHES, max_epochs=2)
    assert handler.monitor is monitor
    assert monitor.steps == 4


def test_detached_in_mid_training_it_delivers_what_is_left(engine, mlp, held_out, tmp_path):
    delivered = []
    handler = FoldingHandler(
        mlp, held_out, every=1, exporters=[lambda values, step: delivered.append(step)], log_dir=tmp_path
    )
    handler.attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), handler.detach)
    engine.run(BATCHES, max_epochs=1)
    assert handler.monitor.closed
    assert handler.monitor.steps == 3
    assert read_journal(handler.monitor.journal_path)[-1]["kind"] == "end"
    assert delivered == steps_of(handler.monitor)


def test_a_run_that_ends_closes_its_monitor(engine, mlp, held_out, tmp_path):
    handler = FoldingHandler(mlp, held_out, every=4, exporters=[], log_dir=tmp_path)
    handler.attach(engine)
    engine.run(BATCHES, max_epochs=1)
    assert handler.monitor.closed
    assert handler.state_dict()["step"] == 4


def test_a_checkpoint_takes_engine_and_handler(engine, mlp, held_out, tmp_path):
    options = {"every": 4, "background": False, "exporters": []}
    handler = FoldingHandler(mlp, held_out, log_dir=tmp_path / "a", **options)
    handler.attach(engine)
    engine.run(BATCHES, max_epochs=1)
    saved = {"trainer": engine.state_dict(), "folding": handler.state_dict()}

    resumed = Engine(engine._process_function)
    again = FoldingHandler(mlp, held_out, log_dir=tmp_path / "b", **options)
    Checkpoint.load_objects({"trainer": resumed, "folding": again}, saved)
    again.attach(resumed)
    resumed.run(BATCHES, max_epochs=3)
    # Step 4 was measured by the first run, and may be left to it.
    assert [step for step in steps_of(again.monitor) if step != 4] == [8, 12]


def test_a_state_is_kept_until_the_engine_starts_and_taken_up_then(engine, mlp, held_out, tmp_path):
    handler = FoldingHandler(mlp, held_out, exporters=[], log_dir=tmp_path)
    with foldmon.watch(mlp, held_out, exporters=[], log_dir=tmp_path / "earlier") as earlier:
        state = earlier.state_dict() | {"skipped": 7, "step": 99}
    handler.load_state_dict(state)
    assert handler.state_dict() == state
    handler.attach(engine)
    engine.run(BATCHES, max_epochs=1)
    assert handler.monitor.skipped >= 7
    assert handler.monitor.steps == 4, "the engine's own count"


def test_an_exception_still_reaches_the_user(mlp, held_out, tmp_path):
    def step(engine, batch):
        raise RuntimeError("out of luck")

    engine = Engine(step)
    FoldingHandler(mlp, held_out, exporters=[], log_dir=tmp_path).attach(engine)
    with pytest.raises(RuntimeError, match="out of luck"):
        engine.run(BATCHES, max_epochs=1)


def test_a_float_output_is_the_training_loss(mlp, held_out, tmp_path):
    optimizer = torch.optim.Adam(mlp.parameters())
    losses = []

    def step(engine, batch):
        optimizer.zero_grad()
        loss = mlp(batch).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        return losses[-1]

    handler = FoldingHandler(mlp, held_out, every=4, background=False, exporters=[], log_dir=tmp_path)
    trainer = Engine(step)
    handler.attach(trainer)
    trainer.run(BATCHES, max_epochs=2)
    logged = [r["logged"] for r in read_journal(handler.monitor.journal_path) if r["kind"] == "probe"]
    assert [entry.get("loss") for entry in logged[1:]] == [
        pytest.approx(sum(losses[:4]) / 4), pytest.approx(sum(losses[4:]) / 4),
    ]  # fmt: skip


def test_what_cannot_be_measured_is_said_once_and_the_engine_runs_on(engine, mlp, tmp_path, caplog):
    handler = FoldingHandler(mlp, torch.randn(20, 7), exporters=[], log_dir=tmp_path)
    handler.attach(engine)
    assert engine.run(BATCHES, max_epochs=2).iteration == 8
    assert handler.monitor is None
    assert caplog.text.count("training goes on") == 1


def test_no_error_of_the_monitors_reaches_the_engine(engine, mlp, held_out, tmp_path):
    handler, broken = FoldingHandler(mlp, held_out, exporters=[], log_dir=tmp_path), BrokenMonitor()
    handler.attach(engine)
    engine.add_event_handler(Events.STARTED, lambda: setattr(handler, "monitor", broken))
    assert engine.run(BATCHES, max_epochs=2).iteration == 8
    assert {"step", "close"} <= set(broken.asked)


def test_an_engine_that_has_run_before_is_watched_from_its_iteration_on(engine, mlp, held_out, tmp_path):
    engine.run(BATCHES, max_epochs=1)
    handler = FoldingHandler(mlp, held_out, every=4, background=False, exporters=[], log_dir=tmp_path)
    handler.attach(engine)
    engine.run(BATCHES, max_epochs=2)
    assert steps_of(handler.monitor) == [4, 8]

"""The one line, in an ordinary training loop."""

from __future__ import annotations

import copy
import gc
import logging
import threading
import weakref

import pytest
import torch
from torch import nn

import foldmon
from foldmon.journal.following import read_journal
from tests.training_loop import train


def probes(monitor: foldmon.Monitor) -> list[dict]:
    return [record for record in read_journal(monitor.journal_path) if record["kind"] == "probe"]


def hooks_on(model: nn.Module) -> int:
    return sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in model.modules())


def test_one_line_measures_while_training(mlp, held_out):
    optimizer = torch.optim.Adam(mlp.parameters())
    monitor = foldmon.watch(mlp, held_out, every=10, exporters=[])
    train(mlp, 50, optimizer)
    monitor.close()
    steps = [record["step"] for record in probes(monitor)]
    assert monitor.steps == 50
    assert steps[0] == 0
    # A busy sampler skips, and says so: nothing disappears without being counted.
    assert steps[-1] == 50, "a last probe that was skipped is made up for at the end"
    assert len(steps) + monitor.skipped in (6, 7)
    assert monitor.report.layers == ("1", "3", "5")
    assert monitor.report.chi.shape == (64, 3)


def test_a_probe_measures_the_weights_of_its_step(mlp, held_out):
    monitor = foldmon.watch(mlp, held_out, every=1000, exporters=[], method="sampled")
    pairs = foldmon.draw_pairs(held_out, 64, seed=0)
    monitor.flush()
    assert (monitor.report.r2 == foldmon.measure(mlp, pairs).r2).all()
    train(mlp, 5)
    report = monitor.probe()
    assert report.step == 5
    assert (report.r2 == foldmon.measure(mlp, pairs).r2).all()


def test_batch_norm_buffers_travel_too(held_out):
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
    monitor = foldmon.watch(model, held_out, every=1000, exporters=[], method="sampled")
    train(model, 20)
    pairs = foldmon.draw_pairs(held_out, 64, seed=0)
    assert (monitor.probe().r2 == foldmon.measure(model, pairs).r2).all()


def test_no_hook_is_left_on_the_model(mlp, held_out):
    optimizer = torch.optim.Adam(mlp.parameters())
    monitor = foldmon.watch(mlp, held_out, every=2, exporters=[])
    assert hooks_on(mlp) == 0
    train(mlp, 10, optimizer)
    assert hooks_on(mlp) == 0
    monitor.close()


def test_an_optimizer_made_later_is_found(mlp, held_out):
    monitor = foldmon.watch(mlp, held_out, every=1000, exporters=[])
    train(mlp, 7)
    assert monitor.steps == 7
    assert hooks_on(mlp) == 0


def test_steps_of_other_models_are_not_counted(mlp, held_out):
    optimizer = torch.optim.Adam(mlp.parameters())
    monitor = foldmon.watch(mlp, held_out, every=1000, exporters=[])
    train(copy.deepcopy(mlp), 5)
    train(mlp, 3, optimizer)
    assert monitor.steps == 3


def test_loops_without_an_optimizer_are_counted_by_backward_passes(mlp, held_out):
    monitor = foldmon.watch(mlp, held_out, every=1000, exporters=[])
    for _ in range(4):
        mlp(torch.randn(4, 8)).sum().backward()
        with torch.no_grad():
            for parameter in mlp.parameters():
                parameter -= 1e-3 * parameter.grad
                parameter.grad = None
    mlp.eval()
    mlp(torch.randn(4, 8))
    assert monitor.steps == 4
    monitor.close()
    assert hooks_on(mlp) == 0


def test_steps_can_be_counted_by_hand(mlp, held_out):
    monitor = foldmon.watch(mlp, held_out, every=2, exporters=[])
    for _ in range(5):
        mlp(torch.randn(4, 8))
        monitor.step()
    assert monitor.steps == 5


def test_the_interval_adapts_to_the_budget(mlp, held_out):
    optimizer = torch.optim.Adam(mlp.parameters())
    monitor = foldmon.watch(mlp, held_out, budget=0.2, pairs=4, points=5, exporters=[])
    while len(monitor.history) < 4:
        train(mlp, 10, optimizer)
    monitor.close()
    steps = [record["step"] for record in probes(monitor)]
    assert steps[0] == 0
    assert 2 * len(steps) < monitor.steps, "most steps go by without a probe"
    assert 0 < probes(monitor)[-1]["monitor"]["overhead"] < 1


def test_values_appear_while_training_runs(mlp, held_out):
    optimizer = torch.optim.Adam(mlp.parameters())
    monitor = foldmon.watch(mlp, held_out, every=5, exporters=["tensorboard"], log_dir="live")
    train(mlp, 200, optimizer)
    assert monitor.flush()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator("live/foldmon", {"scalars": 0}).Reload()
    shown = [(event.step, event.value) for event in events.Scalars("folding/network")]
    assert shown == [(r["step"], pytest.approx(r["phi"])) for r in probes(monitor)]
    assert len(shown) >= 2


def test_synchronous_probes_are_the_same(mlp, held_out):
    background = foldmon.watch(mlp, held_out, every=1000, exporters=[])
    background.flush()
    twin = copy.deepcopy(mlp)
    synchronous = foldmon.watch(twin, held_out, every=1000, exporters=[], background=False)
    assert (synchronous.report.r1 == background.report.r1).all()
    assert synchronous.report.phi == background.report.phi


def test_logged_values_go_into_the_next_record(mlp, held_out):
    monitor = foldmon.watch(mlp, held_out, every=1000, exporters=[])
    monitor.flush()
    monitor.log(loss=torch.tensor(0.5), val_loss=0.25)
    monitor.probe()
    monitor.probe()
    assert [r["logged"] for r in probes(monitor)] == [{}, {"loss": 0.5, "val_loss": 0.25}, {}]
    with pytest.raises(TypeError, match="single numbers"):
        monitor.log(loss=[1, 2])


def test_the_summary_names_layers_and_cost(mlp, held_out):
    monitor = foldmon.watch(mlp, held_out, every=1000, exporters=[])
    monitor.flush()
    text = monitor.summary()
    assert "phi" in text
    assert "3 activation sites, 96 units" in text
    assert all(f"\n{name} " in text for name in ("1", "3", "5"))
    assert "of the time" in text


def test_watching_again_closes_the_earlier_monitor(mlp, held_out, caplog):
    first = foldmon.watch(mlp, held_out, exporters=[])
    second = foldmon.watch(mlp, held_out, exporters=[])
    assert "watched already" in caplog.text
    train(mlp, 3)
    assert first.steps == 0
    assert second.steps > 0


def test_closing_twice_and_probing_after(mlp, held_out):
    monitor = foldmon.watch(mlp, held_out, exporters=[])
    monitor.close()
    monitor.close()
    with pytest.raises(RuntimeError, match="closed"):
        monitor.probe()


def test_the_model_can_be_collected(held_out):
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    foldmon.watch(model, held_out, exporters=[]).flush()
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None
    for thread in threading.enumerate():
        if thread.name == "foldmon-close":
            thread.join(10)
    assert not [t for t in threading.enumerate() if t.name.startswith("foldmon-sampler")]


def test_state_goes_on_after_a_restart(mlp, held_out, caplog):
    first = foldmon.watch(mlp, held_out, exporters=[], every=1000)
    train(mlp, 5, torch.optim.SGD(mlp.parameters(), lr=0.1))
    state = first.state_dict()
    first.close()
    second = foldmon.watch(mlp, held_out, exporters=[], every=1000)
    second.load_state_dict(state)
    assert second.steps == first.steps
    assert "other held-out pairs" not in caplog.text
    other = foldmon.watch(mlp, (held_out[0] + 1, held_out[1]), exporters=[], every=1000)
    other.load_state_dict(state)
    assert "other held-out pairs" in caplog.text


class DrawsInEval(nn.Module):
    """As a variational autoencoder, it draws random numbers in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())

    def forward(self, x):
        return self.body(x + torch.randn_like(x))


def test_who_goes_back_to_a_checkpoint_sees_its_steps_measured_again(mlp, held_out):
    monitor = foldmon.watch(mlp, held_out, every=5, background=False, exporters=[])
    train(mlp, 4)
    state = monitor.state_dict()
    train(mlp, 9)
    monitor.load_state_dict(state)
    train(mlp, 2)
    assert [report.step for report in monitor.history] == [0, 5, 10, 5]


def test_a_model_that_draws_in_eval_mode_is_measured_in_the_training_thread(held_out, caplog):
    model = DrawsInEval()
    monitor = foldmon.watch(model, held_out, every=1, exporters=[])
    assert "random numbers in eval mode" in caplog.text
    state = torch.get_rng_state()
    first, second = monitor.probe(), monitor.probe()
    assert torch.equal(state, torch.get_rng_state())
    assert first.phi == second.phi, "every probe draws the same numbers, so that probes compare"


def test_a_model_that_cannot_be_copied_is_measured_in_place(mlp, held_out, caplog):
    mlp.lock = threading.Lock()
    monitor = foldmon.watch(mlp, held_out, every=1, exporters=[])
    assert "cannot be copied" in caplog.text
    assert monitor.report is not None, "the first probe ran in this thread"


def test_hooks_of_other_tools_do_not_run_on_the_copy(mlp, held_out):
    calls = []
    mlp[1].register_forward_hook(lambda *args: calls.append(threading.current_thread().name))
    monitor = foldmon.watch(mlp, held_out, exporters=[])
    monitor.flush()
    assert calls == []
    assert any("hooks of yours" in note for note in monitor.coverage.notes)


def test_a_failing_probe_is_reported_once_and_training_goes_on(held_out, caplog):
    class Moody(nn.Sequential):
        broken = False

        def forward(self, x):
            if Moody.broken and not self.training:
                raise ValueError("not in the mood")
            return super().forward(x)

    model = Moody(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    monitor = foldmon.watch(model, held_out, every=1, exporters=[])
    monitor.flush()
    Moody.broken = True
    with caplog.at_level(logging.WARNING):
        losses = train(model, 30)
        monitor.flush()
    assert len(losses) == 30
    assert caplog.text.count("not in the mood") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be at least 1"),
        ({"budget": 0.0}, "budget must be a share"),
        ({"budget": 2}, "budget must be a share"),
        ({"points": 1}, "points must be at least 2"),
        ({"pairs": 1}, "pairs must be at least 2"),
        ({"method": "exactly"}, "method must be one of"),
        ({"layers": ["2"]}, "unknown layer '2'"),
        ({"at": "embeding"}, "unknown module"),
        ({"exporters": "tensorbord"}, "did you mean 'tensorboard'"),
    ],
)
def test_wrong_options_raise_at_once(mlp, held_out, options, message):
    with pytest.raises(ValueError, match=message):
        foldmon.watch(mlp, held_out, **{"exporters": [], **options})


def test_wrong_data_and_models_raise_at_once(mlp, held_out):
    with pytest.raises(ValueError, match="no activation layer was found"):
        foldmon.watch(nn.Linear(8, 3), held_out, exporters=[])
    with pytest.raises(ValueError, match="empty"):
        foldmon.watch(mlp, (torch.empty(0, 8), torch.empty(0)), exporters=[])
    with pytest.raises(ValueError, match="cannot make a pair"):
        foldmon.watch(mlp, torch.randn(1, 8), exporters=[])
    with pytest.raises(TypeError, match="must be a torch"):
        foldmon.watch(lambda x: x, held_out, exporters=[])
    with pytest.raises(TypeError, match="an exporter needs"):
        foldmon.watch(mlp, held_out, exporters=[object()])
    with pytest.raises(ValueError, match="meta device"):
        foldmon.watch(nn.Sequential(nn.Linear(8, 8, device="meta"), nn.ReLU()), held_out, exporters=[])
    with pytest.raises(ValueError, match="lazy"):
        foldmon.watch(nn.Sequential(nn.LazyLinear(8), nn.ReLU()), held_out, exporters=[])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_nan_is_named_by_layer_in_report_coverage_and_journal(mlp, held_out, dtype):
    model = mlp.to(dtype)
    monitor = foldmon.watch(model, held_out, every=1000, exporters=[])
    monitor.flush()
    assert not any("NaN" in note for note in monitor.coverage.notes)
    with torch.no_grad():
        model[2].weight[0, 0] = torch.nan  # one unit of the second layer, and all units of the third
    report = monitor.probe()
    monitor.close()
    first, second, third = report.nonfinite
    assert first == 0
    assert third == report.evaluations * report.units[2]
    assert second == report.evaluations
    record = probes(monitor)[-1]
    assert record["nonfinite"] == [0, second, third]
    assert [share is None for share in record["dead"]] == [False, True, True]
    for text in (" ".join(record["notes"]), " ".join(monitor.coverage.notes), monitor.summary()):
        assert "3 met" in text
        assert "5 met" in text
        assert "1 met" not in text


def test_the_summary_tells_each_note_once(mlp, held_out):
    mlp[1].register_forward_hook(lambda *args: None)
    monitor = foldmon.watch(mlp, held_out, every=1000, exporters=[])
    with torch.no_grad():
        mlp[4].weight[0, 0] = torch.nan
    report = monitor.probe()
    (hooks,) = [note for note in monitor.coverage.notes if "hooks of yours" in note]
    (nan,) = [note for note in report.notes if "NaN" in note]
    (understood,) = [note for note in monitor.coverage.notes if note.startswith("inputs: ")]
    told = [line for line in monitor.summary().splitlines() if line.startswith(("note: ", "! "))]
    assert sorted(told) == sorted(f"note: {note}" for note in (nan, hooks, understood))


def test_the_summary_tells_each_note_of_the_model_once(held_out):
    class NoClasses(nn.Sequential):
        def forward(self, x):
            return super().forward(x)[:, :, None]

    model = NoClasses(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
    monitor = foldmon.watch(model, held_out, every=1000, exporters=[])
    note = "the output gives no class a row"
    assert monitor.summary().count(note) == 1
    monitor.probe()
    assert monitor.summary().count(note) == 1


class PositionsFirst(nn.Module):
    """Takes inputs as (positions, batch, features), as torch's layers do by default."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32), 2)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.encoder(x)).mean(0)


def test_a_model_that_takes_positions_first_is_told_and_the_way_out_is_one(tmp_path, caplog):
    net, data = PositionsFirst(), (torch.randn(60, 5, 16), torch.arange(60) % 3)
    with foldmon.watch(net, data, exporters=[], log_dir=tmp_path / "wrong"):
        assert "forward=lambda model, x: model(x.transpose(0, 1))" in caplog.text
    caplog.clear()
    with foldmon.watch(
        net, data, forward=lambda model, x: model(x.transpose(0, 1)), exporters=[], log_dir=tmp_path / "right"
    ) as monitor:
        assert monitor.probe().decision is not None
    assert "another batch" not in caplog.text

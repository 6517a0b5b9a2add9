"""A watched model can be saved, copied, compiled, scripted, exported and rebuilt as if it were not."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel, update_bn

import foldmon
from foldmon.config.options import Config
from tests.training_loop import train


@pytest.fixture(params=["with an optimizer", "before any optimizer"])
def watched(request, mlp, held_out):
    """A model that is watched and in training, with or without an optimizer that foldmon could find."""
    optimizer = torch.optim.Adam(mlp.parameters()) if request.param == "with an optimizer" else None
    monitor = foldmon.watch(mlp, held_out, every=2, exporters=[])
    if optimizer is not None:
        train(mlp, 6, optimizer)
    yield mlp
    assert monitor.report is not None or monitor.flush()


def normed() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3), nn.ReLU()
    )


def without_foldmon(code: str, *arguments: str) -> str:
    """Run code in a process where foldmon cannot be imported; its output."""
    blocked = "import sys; sys.modules['foldmon'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", blocked + textwrap.dedent(code), *arguments],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_saved_model_loads_without_foldmon(watched, tmp_path):
    torch.save(watched, tmp_path / "model.pt")
    torch.save(watched.state_dict(), tmp_path / "state.pt")
    x = torch.ones(2, 8)
    same, total = without_foldmon(
        """
        import torch
        model = torch.load(sys.argv[1] + "/model.pt", weights_only=False)
        state = torch.load(sys.argv[1] + "/state.pt", weights_only=True)
        same = all(torch.equal(a, state[name]) for name, a in model.state_dict().items())
        print(same, model(torch.ones(2, 8)).sum().item())
        """,
        str(tmp_path),
    ).split()
    assert same == "True"
    assert float(total) == pytest.approx(watched(x).sum().item())  # another process may sum otherwise


def test_a_saved_model_is_the_same_to_the_byte(mlp, held_out):
    plain = pickle.dumps(mlp)
    monitor = foldmon.watch(mlp, held_out, every=1, exporters=[])
    assert pickle.dumps(mlp) == plain
    monitor.flush()
    assert pickle.dumps(mlp) == plain


def test_copies_are_free_of_foldmon(watched):
    monitor = foldmon.watch(watched, torch.randn(20, 8), every=1000, exporters=[])
    copied = copy.deepcopy(watched)
    train(copied, 3)
    assert monitor.steps == 0
    train(watched, 3)
    assert monitor.steps == 3


def _total(model: nn.Module, results: multiprocessing.Queue) -> None:
    results.put(model(torch.ones(2, 8)).sum().item())


def test_a_watched_model_goes_to_a_spawned_process(watched):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_total, args=(watched, results))
    process.start()
    total = results.get(timeout=120)
    process.join(30)
    assert process.exitcode == 0
    assert total == pytest.approx(watched(torch.ones(2, 8)).sum().item())


def graphs(model: nn.Module, x: torch.Tensor) -> tuple[int, int]:
    torch.compiler.reset()
    explained = torch._dynamo.explain(model)(x)
    return explained.graph_count, explained.graph_break_count


def test_a_watched_model_compiles_into_the_same_graphs(watched):
    x = torch.randn(4, 8)
    plain = graphs(copy.deepcopy(watched), x)
    assert graphs(watched, x) == plain == (1, 0)
    torch.compiler.reset()
    compiled = torch.compile(watched, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x), watched(x))


def test_a_compiled_model_is_not_compiled_again_by_watching(mlp, held_out):
    made = []

    def backend(graph, inputs):
        made.append(graph)
        return graph

    torch.compiler.reset()
    compiled = torch.compile(mlp, backend=backend, fullgraph=True)
    optimizer = torch.optim.Adam(mlp.parameters())
    train(compiled, 2, optimizer)
    before = len(made)
    monitor = foldmon.watch(compiled, held_out, every=2, exporters=[])
    train(compiled, 6, optimizer)
    monitor.flush()
    train(compiled, 6, optimizer)
    monitor.close()
    assert monitor.steps == 12
    assert len(monitor.history) >= 2
    assert len(made) == before == 1


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = normed()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


@pytest.mark.parametrize("background", [True, False], ids=["background", "synchronous"])
def test_a_module_compiled_in_place_is_not_compiled_again(held_out, background):
    made = []

    def backend(graph, inputs):
        made.append(graph)
        return graph

    torch.compiler.reset()
    model = Network()
    model.compile(backend=backend)
    optimizer = torch.optim.Adam(model.parameters())
    train(model, 2, optimizer)
    before = len(made)
    monitor = foldmon.watch(model, held_out, every=2, exporters=[], background=background)
    train(model, 4, optimizer)
    monitor.probe()
    train(model, 4, optimizer)
    assert len(made) == before == 1


def test_a_compiled_optimizer_step_stays_one_graph(mlp, held_out):
    optimizer = torch.optim.SGD(mlp.parameters(), lr=0.1)
    mlp(torch.randn(4, 8)).sum().backward()

    def breaks() -> int:
        torch.compiler.reset()
        return torch._dynamo.explain(optimizer.step)().graph_break_count

    plain = breaks()
    foldmon.watch(mlp, held_out, every=1, exporters=[])
    assert breaks() == plain


def test_a_watched_model_can_be_scripted_traced_and_exported(watched):
    x = torch.randn(4, 8)
    watched.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripting is deprecated, and says so
        scripted = torch.jit.script(watched)
        traced = torch.jit.trace(watched, (x,))
    exported = torch.export.export(watched, (x,)).module()
    symbolic = torch.fx.symbolic_trace(watched)
    for other in (scripted, traced, exported, symbolic):
        assert torch.equal(other(x), watched(x))


def test_averaged_copies_follow_the_model_and_count_nothing(held_out):
    model = normed()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    monitor = foldmon.watch(model, held_out, every=2, exporters=[])
    average = AveragedModel(model)
    for _ in range(4):
        train(model, 2, optimizer)
        average.update_parameters(model)
    update_bn([held_out[0]], average)
    assert monitor.steps == 8
    assert int(average.n_averaged) == 4
    assert average(held_out[0]).shape == (60, 3)


@pytest.mark.parametrize("background", [True, False], ids=["background", "synchronous"])
def test_frozen_batch_norm_stays_frozen(held_out, background):
    model = normed()
    model[1].eval()
    model[3].eval()
    statistics = model[1].running_mean.clone()
    monitor = foldmon.watch(model, held_out, every=1, exporters=[], background=background)
    train(model, 5)
    monitor.close()
    assert [module.training for module in model] == [True, False, True, False, True, True]
    assert model.training
    assert torch.equal(model[1].running_mean, statistics)


def measured_like(monitor: foldmon.Monitor, model: nn.Module, held_out) -> bool:
    """Whether the monitor measures what a measurement of the model as it is now gives."""
    pairs = foldmon.draw_pairs(held_out, 64, seed=0)
    return np.array_equal(monitor.probe().r2, foldmon.measure(model, pairs).r2)


@pytest.mark.parametrize("background", [True, False], ids=["background", "synchronous"])
class TestTheModelChangesWhileWatched:
    @pytest.fixture
    def model(self) -> nn.Sequential:
        return normed()

    @pytest.fixture
    def monitor(self, model, held_out, background):
        return foldmon.watch(
            model, held_out, every=1000, exporters=[], background=background, method="sampled"
        )

    def test_parameters_frozen(self, model, monitor, held_out):
        train(model, 3)
        model[0].requires_grad_(False)
        train(model, 3)
        assert measured_like(monitor, model, held_out)
        assert [p.requires_grad for p in model[0].parameters()] == [False, False]

    def test_a_layer_replaced(self, model, monitor, held_out):
        model[4] = nn.Linear(16, 7)
        train(model, 3)
        assert measured_like(monitor, model, held_out)
        assert monitor.report.units == (16, 7)

    def test_a_layer_added(self, model, monitor, held_out):
        model.append(nn.Linear(3, 5)).append(nn.ReLU())
        train(model, 3)
        assert measured_like(monitor, model, held_out)
        assert monitor.report.layers == ("2", "5", "7")

    def test_a_parameter_replaced(self, model, monitor, held_out):
        model[0].weight = nn.Parameter(torch.randn(16, 8))
        assert measured_like(monitor, model, held_out)

    def test_weights_loaded(self, model, monitor, held_out):
        model.load_state_dict(normed().state_dict())
        assert measured_like(monitor, model, held_out)

    def test_precision_changed(self, model, monitor, held_out):
        model.double()
        assert measured_like(monitor, model, held_out)
        assert model[0].weight.dtype == torch.float64

    def test_a_parametrization_added(self, model, monitor, held_out):
        parametrize.register_parametrization(model[0], "weight", Doubled())
        assert measured_like(monitor, model, held_out)

    def test_wrapped_by_low_rank_adapters(self, model, monitor, held_out):
        model[0], model[4] = Adapted(model[0]), Adapted(model[4])
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.1)
        train(model, 5, optimizer)
        assert monitor.steps == 5
        assert measured_like(monitor, model, held_out)
        assert model[0].down.grad is not None


class Doubled(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return 2 * weight


class Adapted(nn.Module):
    """A frozen layer and a low-rank change of it, as LoRA has it."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.down = nn.Parameter(0.1 * torch.randn(2, layer.in_features))
        self.up = nn.Parameter(torch.zeros(layer.out_features, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + x @ self.down.T @ self.up.T


def test_plain_attributes_that_a_forward_reads_are_followed(held_out):
    class Sharpened(nn.Sequential):
        sharpness = 1.0
        shift = None

        def forward(self, x):
            x = super().forward(x) * self.sharpness
            return torch.relu(x if self.shift is None else x + self.shift)

    model = Sharpened(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    monitor = foldmon.watch(model, held_out, every=1000, exporters=[], method="sampled")
    assert measured_like(monitor, model, held_out)
    model.sharpness = -1.0
    assert measured_like(monitor, model, held_out)
    model.shift = torch.tensor([0.5, -0.5, 0.1])
    assert measured_like(monitor, model, held_out)


def test_a_buffer_that_overlaps_itself_is_followed(held_out):
    model = normed()
    model.register_buffer("scale", torch.ones(1).expand(4))
    monitor = foldmon.watch(model, held_out, every=1000, exporters=[], method="sampled")
    train(model, 3)
    assert measured_like(monitor, model, held_out)


def test_a_model_above_the_limit_is_measured_in_place_and_says_so(mlp, held_out, caplog):
    monitor = foldmon.watch(mlp, held_out, every=2, exporters=[], config=Config(replica_limit=1000))
    assert "measured in the training thread" in caplog.text
    assert "above replica_limit" in caplog.text
    train(mlp, 6)
    assert [report.step for report in monitor.history] == [0, 2, 4, 6]
    assert not monitor._subject.background


def test_a_model_that_grows_above_the_limit_is_measured_in_place_from_then_on(mlp, held_out, caplog):
    monitor = foldmon.watch(mlp, held_out, every=1000, exporters=[])
    assert monitor._subject.background
    mlp.append(nn.Linear(3, 3)).append(Uncopyable())
    monitor.probe()
    assert "from now on the model is measured in the training thread" in caplog.text
    assert not monitor._subject.background
    assert monitor.probe().layers == ("1", "3", "5", "8")


class Uncopyable(nn.ReLU):
    def __deepcopy__(self, memo):
        raise RuntimeError("holds a connection")

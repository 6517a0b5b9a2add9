"""Training on a device computes bit for bit the same with foldmon and without."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from foldmon.folding.undisturbed.accelerator import module_of
from tests.gpu.tasks import assert_identical, images, network, step, train


@pytest.fixture(autouse=True)
def _deterministic(monkeypatch):
    """What a kernel adds up in another order from run to run differs without foldmon, too."""
    before = torch.are_deterministic_algorithms_enabled()
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    yield
    torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize("background", [True, False])
def test_eager(device, background):
    assert_identical(train(device, False), train(device, True, background=background))


def test_autocast_with_a_scaler(device):
    low = torch.bfloat16 if device.type == "cpu" else torch.float16

    def run(watched):
        scaler = torch.amp.GradScaler(device.type, enabled=device.type != "cpu", init_scale=16.0)

        def one(model, x, y):
            with torch.autocast(device.type, low):
                loss = nn.functional.cross_entropy(model(x).float(), y)
            scaler.scale(loss).backward()
            return loss.detach()

        return train(device, watched, one=one)

    assert_identical(run(False), run(True))


@pytest.mark.parametrize("mode", ["default", "reduce-overhead", "max-autotune-no-cudagraphs"])
def test_compiled(cuda, mode):
    def run(watched):
        torch.compiler.reset()
        return train(cuda, watched, prepare=lambda model: torch.compile(model, mode=mode))

    assert_identical(run(False), run(True))


def test_compiled_without_a_backend(device):
    def run(watched):
        torch.compiler.reset()
        return train(device, watched, prepare=lambda model: torch.compile(model, backend="eager"))

    assert_identical(run(False), run(True))


def test_a_graph_that_is_captured_while_probes_run(cuda):
    """Forward and backward are captured after a few steps, and replayed from then on."""

    def run(watched):
        state = {}

        def one(model, x, y):
            state["count"] = state.get("count", 0) + 1
            if state["count"] < 4:
                return step(model, x, y)
            if "graph" not in state:
                state["x"], state["y"], state["graph"] = x.clone(), y.clone(), torch.cuda.CUDAGraph()
                torch.cuda.synchronize()
                with torch.cuda.graph(state["graph"]):
                    state["loss"] = step(model, state["x"], state["y"])
            state["x"].copy_(x)
            state["y"].copy_(y)
            state["graph"].replay()
            return state["loss"].clone()

        return train(cuda, watched, one=one, steps=40)

    assert_identical(run(False), run(True))


def test_training_on_a_stream_of_its_own(device):
    module = module_of(device.type)

    def run(watched):
        if module is None:
            return train(device, watched)
        with module.stream(module.Stream(device=device)):
            return train(device, watched)

    assert_identical(run(False), run(True))


def test_channels_last(device):
    def run(watched):
        return train(device, watched, prepare=lambda model: model.to(memory_format=torch.channels_last))

    assert_identical(run(False), run(True))


def test_bfloat16(device):
    assert_identical(train(device, False, dtype=torch.bfloat16), train(device, True, dtype=torch.bfloat16))


def test_the_second_device(second):
    assert_identical(train(second, False), train(second, True))


class TwoDevices(nn.Module):
    def __init__(self, first, second) -> None:
        super().__init__()
        layers = network()
        self.body, self.head = layers[:7].to(first), layers[7:].to(second)
        self.second = second

    def forward(self, x):
        return self.head(self.body(x).to(self.second))


def test_a_model_on_two_devices(device, second):
    import foldmon

    def run(watched):
        torch.manual_seed(0)
        model = TwoDevices(device, second)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        x, y = images(16, 1)
        monitor = (
            foldmon.watch(model, images(48, 2), every=2, pairs=8, points=9, exporters=[]) if watched else None
        )
        losses = []
        for _ in range(12):
            losses.append(step(model, x.to(device), y.to(second)))
            optimizer.step()
            optimizer.zero_grad()
        if monitor is not None:
            monitor.close()
            assert monitor.report.step == 12
            assert len(monitor.report.layers) == 3
        return torch.stack(losses).cpu(), [p.detach().cpu() for p in model.parameters()]

    (losses, weights), (others, theirs) = run(False), run(True)
    assert torch.equal(losses, others)
    assert all(torch.equal(a, b) for a, b in zip(weights, theirs, strict=True))

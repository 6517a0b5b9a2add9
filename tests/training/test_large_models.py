"""Models made to fit: adapters, weights of few bits, activations that are not kept, compiled blocks.

Of libraries that may be missing the stand-ins here do what theirs do; where one is installed it is run too.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import foldmon
from foldmon.config.options import Config
from tests.faults.twin import assert_training_is_the_same

WIDTH, HIDDEN = 64, 128


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.act, self.down = nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.act(self.up(x)))


class Network(nn.Module):
    def __init__(self, call=None) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(8, WIDTH), nn.Linear(WIDTH, 3)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x) if self.call is None else self.call(block, x)
        return self.head(x)


def with_layers(make: Any, where: tuple[str, ...] = ("up", "down")) -> Network:
    model = Network()
    for block in model.blocks:
        for name in where:
            setattr(block, name, make(getattr(block, name)))
    return model


class Adapted(nn.Module):
    """A frozen layer and what is learnt beside it, which may be merged into its weights."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.a, self.b = (
            nn.Linear(base.in_features, 2, bias=False),
            nn.Linear(2, base.out_features, bias=False),
        )
        self.merged: list[str] = []

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) if self.merged else self.base(x) + self.b(self.a(x))

    def merge(self, sign: float = 1.0) -> None:
        self.base.weight.data += sign * (self.b.weight @ self.a.weight)
        self.merged = ["default"] if sign > 0 else []


class Stored(nn.Module):
    """Weights of eight bits in floating point, the first parameters of the model."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.weight.data.to(torch.float8_e4m3fn), requires_grad=False)
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight.to(x.dtype), self.bias)


class Nibbles(nn.Module):
    """Two weights of four bits a byte."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("scale", layer.weight.data.abs().amax(1, keepdim=True) / 7)
        whole = (layer.weight.data / self.scale).round().to(torch.int8) + 8
        self.weight = nn.Parameter((whole[:, ::2] | whole[:, 1::2] << 4).to(torch.uint8), requires_grad=False)
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        whole = torch.stack([self.weight & 15, self.weight >> 4], -1).flatten(1).to(x.dtype) - 8
        return functional.linear(x, whole * self.scale, self.bias)


class Packed(nn.Parameter):
    """A weight that knows its scale and its layer; a copy of it knows the same layer."""

    layer: nn.Module
    state: dict[str, Any]

    def __deepcopy__(self, memo):
        copied = type(self)(self.data.clone(), requires_grad=False)
        copied.layer, copied.state = self.layer, copy.deepcopy(self.state)
        return copied


class LaidOut(nn.Module):
    """Lays its weight out anew in eval mode, for speed, and notes that beside the weight."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        scale = layer.weight.data.abs().max() / 127
        self.weight = Packed((layer.weight.data / scale).round().to(torch.int8), requires_grad=False)
        self.weight.layer, self.weight.state = self, {"scale": scale}
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        state = self.weight.state
        if not self.training and "rows" not in state:
            state["rows"] = len(self.weight)
            self.weight.data = self.weight.data.reshape(-1, 1)
        # What is laid out and not noted, or the other way round, does not fit.
        whole = self.weight.data.reshape(state["rows"], -1) if "rows" in state else self.weight.data
        return functional.linear(x, whole.to(x.dtype) * state["scale"], self.bias)


class HandedOver(LaidOut):
    """Its first pass takes the scale from the weight."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer)
        self.scale: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.state:
            self.scale, self.weight.state = self.weight.state["scale"], {}
        return functional.linear(x, self.weight.to(x.dtype) * self.scale, self.bias)


def stored_from_the_start() -> Network:
    model = with_layers(Stored)
    model.stem = Stored(model.stem)
    return model


def offloaded(block: nn.Module, x: Tensor) -> Tensor:
    with torch.autograd.graph.save_on_cpu():
        return block(x)


def compiled_in_place() -> Network:
    model = Network()
    for block in model.blocks:
        block.compile(backend="aot_eager")
    return model


def compiled_by_wrapping() -> Network:
    model = Network()
    for place, block in enumerate(model.blocks):
        model.blocks[place] = torch.compile(block, backend="aot_eager")
    return model


MODELS = {
    "adapters": lambda: with_layers(Adapted),
    "eight bits": stored_from_the_start,
    "four bits": lambda: with_layers(Nibbles),
    "laid out anew": lambda: with_layers(LaidOut),
    "handed over": lambda: with_layers(HandedOver),
    "offloaded": lambda: Network(offloaded),
    "checkpointed": lambda: Network(lambda block, x: checkpoint(block, x, use_reentrant=False)),
    "checkpointed, reentrant": lambda: Network(lambda block, x: checkpoint(block, x, use_reentrant=True)),
    "compiled in place": compiled_in_place,
    "compiled by wrapping": compiled_by_wrapping,
}


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    return torch.randn(60, 8, generator=torch.Generator().manual_seed(1)), torch.arange(60) % 3


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
def test_the_one_line_measures_a_private_copy_and_training_is_the_same(make, data, caplog):
    torch.compiler.reset()
    monitors = []

    def watch(model: nn.Module) -> foldmon.Monitor:
        monitors.append(foldmon.watch(model, data, exporters=[]))
        return monitors[0]

    assert_training_is_the_same(watch, make, steps=15)
    assert "training thread" not in caplog.text
    report = monitors[0].report
    assert report.step > 15
    assert [layer.removeprefix("base_model.model.") for layer in report.layers] == [
        "blocks.0.act",
        "blocks.1.act",
    ]
    assert report.units == (HIDDEN, HIDDEN)


@pytest.mark.parametrize("name", ["adapters", "laid out anew", "handed over", "checkpointed, reentrant"])
def test_in_place_they_are_left_as_they_were(name, data):
    monitors = []

    def watch(model: nn.Module) -> foldmon.Monitor:
        monitors.append(foldmon.watch(model, data, exporters=[], config=Config(replica_limit=1)))
        return monitors[0]

    assert_training_is_the_same(watch, MODELS[name], steps=15)
    assert monitors[0].report.step > 15


@pytest.mark.parametrize("name", ["eight bits", "four bits", "laid out anew", "handed over"])
def test_packed_weights_fold_as_what_they_stand_for(name, data):
    """The report is that of plain layers with the same numbers as weights."""
    model = MODELS[name]()
    plain = Network()
    for module, other in zip(model.modules(), plain.modules(), strict=True):
        if isinstance(other, nn.Linear):
            width = other.in_features
            bias = module.bias.data
            module.eval()
            other.weight.data = (copy.deepcopy(module)(torch.eye(width)) - bias).T.contiguous()
            other.bias.data = bias.clone()
    pairs = foldmon.draw_pairs(data, 16)
    ours, theirs = foldmon.measure(model, pairs), foldmon.measure(plain, pairs)
    assert abs(ours.r2 - theirs.r2).max() <= 2  # rounding turns a symbol now and then
    assert ours.phi == pytest.approx(theirs.phi, abs=0.01)


def test_merged_adapters_are_followed(data):
    """Weights that are merged and unmerged in training: the same function, and the same report."""
    model = with_layers(Adapted)
    for module in model.modules():
        if isinstance(module, Adapted):
            nn.init.normal_(module.b.weight, std=0.1)
    with foldmon.watch(model, data, exporters=[]) as monitor:
        apart = monitor.probe()
        for sign in (1.0, -1.0):
            for module in model.modules():
                if isinstance(module, Adapted):
                    module.merge(sign)
            assert abs(monitor.probe().phi - apart.phi) < 0.005
            assert monitor.report.layers == apart.layers


def library(name: str) -> Any:
    return pytest.importorskip(name, exc_type=ImportError)


def low_rank() -> nn.Module:
    peft = library("peft")
    return peft.get_peft_model(
        Network(), peft.LoraConfig(r=4, target_modules=["up", "down"], lora_dropout=0.1)
    )


def low_rank_decomposed() -> nn.Module:
    peft = library("peft")
    options = {"target_modules": ["up", "down"], "use_dora": True, "modules_to_save": ["head"]}
    return peft.get_peft_model(Network(), peft.LoraConfig(r=4, **options))


def four_bits_of_bitsandbytes() -> nn.Module:
    layers = library("bitsandbytes").nn

    def make(layer: nn.Linear) -> nn.Module:
        made = layers.Linear4bit(layer.in_features, layer.out_features, compute_dtype=torch.float32)
        made.weight = layers.Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
        made.bias = layer.bias
        return made.to("cpu")

    return with_layers(make)


def eight_bits_of_bitsandbytes() -> nn.Module:
    layers = library("bitsandbytes").nn

    def make(layer: nn.Linear) -> nn.Module:
        made = layers.Linear8bitLt(layer.in_features, layer.out_features, has_fp16_weights=False)
        made.load_state_dict(layer.state_dict())
        return made.to("cpu")

    return with_layers(make, ("up",))


def of_torchao(kind: str) -> nn.Module:
    quantization = library("torchao.quantization")
    model = Network()
    quantization.quantize_(model.blocks, getattr(quantization, kind)())
    return model


LIBRARIES = {
    "peft": low_rank,
    "peft, DoRA": low_rank_decomposed,
    "bitsandbytes, 4 bits": four_bits_of_bitsandbytes,
    "bitsandbytes, 8 bits": eight_bits_of_bitsandbytes,
    "torchao, weights": lambda: of_torchao("Int8WeightOnlyConfig"),
    "torchao, activations": lambda: of_torchao("Int8DynamicActivationInt8WeightConfig"),
}


@pytest.mark.slow
@pytest.mark.parametrize("make", LIBRARIES.values(), ids=LIBRARIES.keys())
def test_what_libraries_make(make, data, caplog):
    """Not installed by the extra ``test``: skipped unless they are at hand."""
    test_the_one_line_measures_a_private_copy_and_training_is_the_same(make, data, caplog)

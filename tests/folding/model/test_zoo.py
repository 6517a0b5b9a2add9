"""Models as users have them work with ``foldmon.measure(model, (a, b))`` and no other argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

import foldmon
from foldmon.folding.data.trees import call
from foldmon.folding.model.prober import Prober
from foldmon.folding.model.scout import NO_CLASS
from foldmon.folding.model.taps import Taps
from foldmon.folding.symbols.activations import Reading
from foldmon.folding.symbols.codes import encode
from tests.fixtures.models import IMAGES, MORE, OTHERS, TEXTS, bert, gpt2, ids, llama, padded, t5, whisper

ZOO = IMAGES | TEXTS | OTHERS
Build = Callable[[], nn.Module]
Inputs = Callable[[int], Any]


def _plain_codes(model: nn.Module, inputs: Any) -> dict[str, Any]:
    """Codes of a plain forward pass."""
    codes: dict[str, Any] = {}

    def visit(site: str, reading: Reading) -> None:
        codes[site] = encode(Reading(reading.values.reshape(1, -1), reading.thresholds))

    with torch.no_grad(), Taps(model, visit) as taps:
        taps.restart()
        call(model, inputs)
    return codes


def _codes_at(prober: Prober, path: int, t: float) -> dict[str, Any]:
    codes: dict[str, Any] = {}

    def look(place: int, reading: Reading) -> None:
        codes[prober.sites[place]] = encode(Reading(reading.values.reshape(1, -1), reading.thresholds))

    with prober.active():
        prober.run(torch.tensor([path]), torch.tensor([t], dtype=torch.float64), look)
    return codes


def _row(inputs: Any, row: int) -> Any:
    if isinstance(inputs, dict):
        return {name: value[row : row + 1] for name, value in inputs.items()}
    if isinstance(inputs, tuple):
        return tuple(value[row : row + 1] for value in inputs)
    return inputs[row : row + 1]


@pytest.mark.parametrize(("build", "inputs"), ZOO.values(), ids=ZOO.keys())
def test_measures_with_no_other_argument(build: Build, inputs: Inputs) -> None:
    torch.manual_seed(0)
    model = build()
    report = foldmon.measure(model, (inputs(4), inputs(4)), points=9)
    assert len(report.layers) >= 1
    assert (report.r2[:, -1] > 0).all()  # the paths move, up to the last layer
    assert ((report.chi >= 0) & (report.chi < 1)).all()
    assert report.nonfinite.sum() == 0
    assert report.decision is not None
    assert report.coverage.not_covered == {}
    assert report.coverage.notes == ()
    assert len(str(report.coverage).splitlines()) <= 2


@pytest.mark.parametrize(("build", "inputs"), ZOO.values(), ids=ZOO.keys())
def test_both_ends_have_the_codes_of_the_plain_forward_pass(build: Build, inputs: Inputs) -> None:
    torch.manual_seed(0)
    model = build().eval()
    first, second = inputs(3), inputs(3)
    prober = Prober(model, foldmon.Pairs(first, second))
    for path in range(3):
        for t, ends in ((0.0, first), (1.0, second)):
            expected, actual = _plain_codes(model, _row(ends, path)), _codes_at(prober, path, t)
            assert actual.keys() == expected.keys()
            for site, code in expected.items():
                np.testing.assert_array_equal(actual[site], code, err_msg=f"{site} at {t}")


@pytest.mark.parametrize(("build", "inputs"), ZOO.values(), ids=ZOO.keys())
@pytest.mark.parametrize("chunk", [3, 7, 100])
def test_chunks_do_not_matter(build: Build, inputs: Inputs, chunk: int) -> None:
    torch.manual_seed(0)
    model, ends = build().double(), (inputs(7), inputs(7))
    whole, parts = (foldmon.measure(model, ends, points=7, chunk=size) for size in (None, chunk))
    np.testing.assert_array_equal(whole.r1, parts.r1)
    np.testing.assert_array_equal(whole.r2, parts.r2)


class Dispatched(TorchDispatchMode):
    """Counts the activation functions that reach torch's kernels, however they were called."""

    KERNELS = frozenset(
        {
            "relu", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "softplus", "tanh",
            "sigmoid", "log_sigmoid_forward", "hardtanh", "hardswish", "hardsigmoid", "threshold", "glu",
        }
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket.__name__.rstrip("_") in self.KERNELS
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("build", "inputs"), MORE.values(), ids=MORE.keys())
def test_every_activation_that_torch_runs_is_a_site(build: Build, inputs: Inputs) -> None:
    torch.manual_seed(0)
    model, ends = build().train(), (inputs(4), inputs(4))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    report = foldmon.measure(model, ends, points=5)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    with torch.no_grad(), Dispatched() as dispatched:
        call(model.eval(), ends[0])
    assert len(report.layers) == dispatched.count
    assert (report.r2.sum(0) > 0).mean() > 0.5
    assert report.nonfinite.sum() == 0
    assert report.coverage.not_covered == {}
    assert all(note.startswith(NO_CLASS) for note in report.notes)


@pytest.mark.parametrize(("build", "inputs"), MORE.values(), ids=MORE.keys())
def test_every_input_alone_gives_what_it_gives_in_a_batch(build: Build, inputs: Inputs) -> None:
    """In one batch rows can be taken for one another; alone they cannot."""
    torch.manual_seed(0)
    model, ends = build(), (inputs(3), inputs(3))
    if build.__name__ not in ("mixtral", "gpt_oss"):  # grouped products know no float64
        model = model.double()
    whole, alone = (foldmon.measure(model, ends, points=4, chunk=size) for size in (None, 1))
    assert whole.layers == alone.layers
    np.testing.assert_array_equal(whole.r1, alone.r1)
    np.testing.assert_array_equal(whole.r2, alone.r2)


@pytest.mark.parametrize(
    ("build", "inputs"), [(t5, ids), (whisper, lambda rows: {"input_features": torch.randn(rows, 8, 20)})]
)
def test_an_encoder_decoder_without_decoder_inputs_is_asked_for_its_first_token(
    build: Build, inputs: Inputs
) -> None:
    torch.manual_seed(0)
    model, ends = build(), (inputs(4), inputs(4))
    report = foldmon.measure(model, ends, points=5)
    assert any("start token" in note for note in report.notes)
    start = torch.full((4, 1), model.config.decoder_start_token_id)
    name = "input_ids" if build is t5 else "input_features"
    given = [{name: end[name] if isinstance(end, dict) else end, "decoder_input_ids": start} for end in ends]
    np.testing.assert_array_equal(report.r2, foldmon.measure(model, tuple(given), points=5).r2)


def test_a_batch_for_a_seq2seq_trainer_is_watched_as_it_is() -> None:
    items = [{"input_ids": ids(1)[0], "labels": ids(1, 4)[0]} for _ in range(20)]
    model = t5()
    with foldmon.watch(model, DataLoader(items, batch_size=4), exporters=[], pairs=4, points=3) as monitor:
        assert monitor.probe().r2.sum() > 0


@pytest.mark.parametrize("build", [bert, gpt2, llama])
def test_token_sequences_of_differing_lengths(build: Build) -> None:
    torch.manual_seed(0)
    model = build().eval()
    if model.config.pad_token_id is None:
        model.config.pad_token_id = 0
    first, second = padded(4), padded(4)
    report = foldmon.measure(model, (first, second), points=9)
    assert (report.r2.sum(1) > 0).all()
    assert report.coverage.not_covered == {}
    # Where both ends are equally long, the ends are those of the plain forward pass.
    second["attention_mask"] = first["attention_mask"]
    prober = Prober(model, foldmon.Pairs(first, second))
    for t, ends in ((0.0, first), (1.0, second)):
        expected, actual = _plain_codes(model, _row(ends, 1)), _codes_at(prober, 1, t)
        for site, code in expected.items():
            np.testing.assert_array_equal(actual[site], code)


def test_masks_are_united_and_padding_masks_intersected() -> None:
    seen: dict[str, Tensor] = {}

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(9, 4)

        def forward(self, ids: Tensor, **masks: Tensor) -> Tensor:
            seen.update(masks)
            return torch.relu(self.embed(ids))

    def side(ids: list[int], mask: list[int]) -> dict[str, Tensor]:
        values = torch.tensor([mask])
        return {
            "ids": torch.tensor([ids]),
            "attention_mask": values,
            "soft_mask": values.float(),
            "key_padding_mask": values == 0,
        }

    foldmon.measure(Masked(), (side([1, 2, 0], [1, 1, 0]), side([3, 0, 0], [1, 0, 0])), points=2)
    assert seen["attention_mask"].tolist() == [[1, 1, 0]] * 2
    assert seen["soft_mask"].tolist() == [[1, 1, 0]] * 2
    assert seen["key_padding_mask"].tolist() == [[False, False, True]] * 2


def test_at_names_a_module_whose_output_is_joined_instead() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 16), nn.ReLU())
    a, b = torch.randn(5, 4), torch.randn(5, 4)
    report = foldmon.measure(model, (a, b), at="1")
    with torch.no_grad():
        inner = foldmon.measure(model[2:], (model[:2](a), model[:2](b)))
    np.testing.assert_array_equal(report.r1[:, 1:], inner.r1)
    np.testing.assert_array_equal(report.r2[:, 1:], inner.r2)
    assert report.r2[:, 0].tolist() == [0] * 5  # what lies before stays at the start


def _activation_classes() -> dict[str, type[nn.Module]]:
    from transformers.activations import ACT2CLS

    classes = (value[0] if isinstance(value, tuple) else value for value in ACT2CLS.values())
    return {cls.__name__: cls for cls in classes if cls.__module__.startswith("transformers.")}


@pytest.mark.parametrize("name", sorted(_activation_classes()))
def test_activation_classes_of_transformers_are_sites_or_reported(name: str) -> None:
    act = _activation_classes()[name](*{"ClippedGELUActivation": (-10, 10)}.get(name, ()))
    x = torch.randn(3, 8)
    coverage = foldmon.measure(nn.Sequential(nn.Linear(8, 8), act, nn.ReLU()), (x, -x)).coverage
    if name == "LinearActivation":  # the identity: nothing to see
        assert list(coverage.sites) == ["2"]
    elif name == "LaplaceActivation":  # written out in terms of erf
        assert "register_activation(LaplaceActivation, thresholds)" in coverage.not_covered["1"]
    else:
        assert [site.partition("/")[0] for site in coverage.sites] == ["1", "2"]
        assert coverage.not_covered == {}

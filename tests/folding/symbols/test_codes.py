"""Fast codes and distances equal the slow, obvious ones, on awkward values too."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from foldmon.folding.symbols.activations import Reading, Thresholds
from foldmon.folding.symbols.codes import (
    Scratch,
    code_bytes,
    encode,
    encode_counting,
    hamming,
)

WIDTHS = (1, 7, 8, 10, 24, 32, 63, 64, 65, 100, 130, 512)
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
CUTS: tuple[Thresholds, ...] = ((0.0,), (0.0, 6.0), (-0.5, 0.25, 0.5))


def awkward(shape: tuple[int, ...], dtype: torch.dtype, *, finite: bool = False) -> Tensor:
    """Random values, every second one special: zeros of both signs, denormals, the largest, NaN, infinity."""
    kind = torch.finfo(dtype)
    special = [0.0, -0.0, kind.smallest_normal / 4, -kind.smallest_normal / 4, kind.max, kind.min, 6.0, 0.25]
    if not finite:
        special += [torch.nan, -torch.nan, torch.inf, -torch.inf]
    generator = torch.Generator().manual_seed(sum(shape))
    values = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    chosen = torch.randint(2 * len(special), shape, generator=generator)
    for place, value in enumerate(special):
        values[chosen == place] = value
    return values


def bits_of(code: npt.NDArray[np.uint8], units: int) -> npt.NDArray[np.uint8]:
    return np.unpackbits(np.ascontiguousarray(code).view(np.uint8), axis=-1)[..., :units]


@pytest.mark.parametrize("units", WIDTHS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("finite", [True, False])
def test_bits_and_counts_are_those_of_plain_comparison(units: int, dtype: torch.dtype, finite: bool) -> None:
    values = awkward((37, units), dtype, finite=finite)
    for cuts in CUTS:
        code, nonfinite = encode_counting(Reading(values, cuts), Scratch())
        assert isinstance(code, np.ndarray)
        assert code[0].nbytes == 37 * code_bytes(units)
        expected = torch.stack([values.double() > torch.tensor(cut, dtype=dtype).double() for cut in cuts])
        np.testing.assert_array_equal(bits_of(code, units), expected.numpy())
        assert nonfinite == int((~torch.isfinite(values)).sum())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_single_value_that_is_no_number_is_counted(dtype: torch.dtype, value: float) -> None:
    for rest in (-1.0, 0.0, 1.0):
        values = torch.full((3, 70), rest, dtype=dtype)
        values[1, 5] = value
        code, nonfinite = encode_counting(Reading(values, (0.0,)), Scratch())
        assert nonfinite == 1
        assert bits_of(code, 70)[0, 1, 5] == (value > 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("units", WIDTHS)
def test_distances_count_the_units_that_differ(units: int) -> None:
    values = awkward((6, 5, units), torch.float32)
    for cuts in CUTS:
        symbols = sum((values > cut).int() for cut in cuts)
        assert isinstance(symbols, Tensor)
        code = encode(Reading(values.flatten(0, 1), cuts))
        code = code.reshape(len(cuts), 6, 5, -1)
        assert torch.equal(hamming(code, code[:, :1]).long(), (symbols != symbols[:1]).sum(-1))
        assert torch.equal(hamming(code[:, 1:], code[:, :-1]).long(), (symbols[1:] != symbols[:-1]).sum(-1))


def test_integer_symbols_are_compared_as_they_are() -> None:
    symbols = torch.tensor([[2**40, 7, -1], [2**41, 7, -1]])
    code = encode(Reading(symbols, None))
    assert hamming(code[:, :1], code[:, 1:]).tolist() == [1]


@pytest.mark.parametrize("rows", [1, 700])
def test_any_layout_is_read_in_the_order_of_its_indices(rows: int) -> None:
    plain = torch.randn(rows, 6, 4, 48)
    layouts = (
        plain.contiguous(memory_format=torch.channels_last),
        plain.movedim(0, 1).contiguous().movedim(1, 0),
        torch.cat([plain, plain], dim=-1)[..., 48:],
    )
    for dtype in (torch.float32, torch.bfloat16):
        expected = encode(Reading(plain.to(dtype), (0.0,)))
        for values in layouts:
            np.testing.assert_array_equal(encode(Reading(values.to(dtype), (0.0,))), expected)


def test_codes_stay_valid_until_their_memory_is_freed() -> None:
    first, second, third = (torch.randn(10, 72) for _ in "123")
    scratch = Scratch(codes=200)  # room for two codes of 90 bytes, at whole words
    kept = [encode_counting(Reading(values, (0.0,)), scratch)[0] for values in (first, second)]
    assert not scratch.full
    kept.append(encode_counting(Reading(third, (0.0,)), scratch)[0])
    assert scratch.full
    for values, code in zip((first, second, third), kept, strict=True):
        np.testing.assert_array_equal(code, encode(Reading(values, (0.0,))))
    scratch.free()
    assert not scratch.full
    again = encode_counting(Reading(third, (0.0,)), scratch)[0]
    assert np.shares_memory(again, kept[0])  # type: ignore[arg-type]

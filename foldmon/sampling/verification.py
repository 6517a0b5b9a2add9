"""Whether a copy can stand for its model: it computes the same, and touches nothing of the model's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from foldmon.folding.data.trees import map_tensors
from foldmon.folding.model.paths import own_dtype
from foldmon.folding.model.unwrap import device_of, dtype_of
from foldmon.folding.undisturbed.compiled import compiled_functions
from foldmon.folding.undisturbed.draws import COMPILED, noted
from foldmon.folding.undisturbed.flags import eager_eval
from foldmon.folding.undisturbed.kept import Kept
from foldmon.folding.undisturbed.random_state import drew, random_state
from foldmon.folding.undisturbed.stand_in import StoodInError
from foldmon.folding.undisturbed.tensors import address
from foldmon.folding.undisturbed.traffic import traffic
from foldmon.sampling.mirror import CannotCopyError
from foldmon.sampling.replica import Replica
from foldmon.torch_internals import may_have_compiled, own_parameters

_TOLERANCE = 16  # square roots of the rounding error of a type, of the largest value of an output

CALLS_COMPILED = "its forward pass calls functions under torch.compile"
DRAWS = "its forward pass or the loss draws random numbers in eval mode"

Run = Callable[[nn.Module], Any]
"""Calls a module with a few inputs."""


def objection(model: nn.Module, replica: Replica, run: Run, saved: Kept) -> str | None:
    """Why the copy cannot stand for the model, in words that follow "the model"; None where it can.

    Both are run in eval mode, in the training thread, within a block of
    :func:`foldmon.folding.undisturbed.kept.kept` and one that preserves the random state.

    Args:
        model: of the user.
        replica: its copy, up to date.
        run: calls either with the same inputs.
        saved: what that block has saved.

    Raises:
        Exception: what ``run`` raises on the model itself.
    """
    before, now = random_state(), Kept(model, run)
    failure: BaseException | None = None
    with traffic(saved.tensors) as of_copy:
        try:
            output = _evaluated(replica.module, run)
        except (Exception, SystemExit) as error:
            failure = error
    changed, is_random = now.put_back(), drew(before)
    now.tensors.release()
    replica.put_back()
    if failure is not None:
        _evaluated(model, run)
        return stood_in(failure) or does_not_run(failure)
    own = {id(module) for module in replica.modules}
    strangers = [m for m in of_copy.modules if id(m) not in own and any(m is live for live in saved.modules)]
    if strangers:
        return f"its copy runs its {type(strangers[0]).__name__} itself, not a copy of it"
    if _weights(saved.modules) & of_copy.read.keys() - _weights(replica.modules):
        return "its copy reads its weights themselves, not copies of them"
    if changed:
        return f"running its copy changes what it holds itself ({', '.join(changed[:3])})"
    if is_random:
        return DRAWS
    with traffic(saved.tensors) as of_model:
        expected = _evaluated(model, run)
    replica.watch(of_copy.read[place] for place in of_copy.read.keys() & of_model.read.keys() if place)
    return None if _alike(output, expected) else "its copy computes something else"


def few_inputs(model: nn.Module, inputs: Any, rows: int) -> Any:
    """The first rows of some inputs, where and in what type the model takes them."""
    device, dtype = device_of(model), dtype_of(model)
    return map_tensors(lambda t: t[:rows].detach().to(device, own_dtype(t, dtype)), inputs)


def does_not_run(error: BaseException) -> str:
    """An objection to a copy that raises."""
    first, *_ = str(error).splitlines() or [""]
    return f"its copy does not run ({type(error).__name__}: {first})"


def stood_in(error: BaseException | None) -> str | None:
    """The text of the StoodInError that an error comes from, None where it comes from none."""
    while error is not None and not isinstance(error, StoodInError):
        error = error.__cause__ or error.__context__
    return None if error is None else str(error)


def _evaluated(module: nn.Module, run: Run) -> list[Tensor]:
    with eager_eval(module, device_of(module)):
        return [tensor.detach() for tensor in _tensors(run(module), 0)]


def _weights(modules: list[nn.Module]) -> set[int]:
    tensors = (t for m in modules for t in (*own_parameters(m), *m.buffers(recurse=False)))
    return {address(tensor) for tensor in tensors} - {0}


def _tensors(output: Any, depth: int) -> Iterator[Tensor]:
    """The tensors of an output, whatever holds them."""
    if isinstance(output, Tensor):
        yield output
    elif depth < 8:
        inner: Any = vars(output) if hasattr(output, "__dict__") and not isinstance(output, dict) else output
        if isinstance(inner, dict):
            inner = inner.values()
        if isinstance(inner, str) or not hasattr(inner, "__iter__") or hasattr(inner, "__next__"):
            return
        for item in inner:
            yield from _tensors(item, depth + 1)


def _alike(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(map(_close, one, other))


def _close(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not a.is_floating_point() or a.layout != torch.strided:
        return bool(a.is_complex() or a.layout != torch.strided or torch.equal(a, b))
    known = b[torch.isfinite(b)]
    scale = float(known.abs().max()) if known.numel() else 0.0
    allowed = _TOLERANCE * torch.finfo(a.dtype).eps ** 0.5 * scale / 100
    return torch.allclose(a, b, rtol=0.0, atol=allowed, equal_nan=True)


@contextmanager
def no_compiled_functions() -> Iterator[None]:
    """Refuse functions under torch.compile: a sampler's thread cannot keep them from being compiled anew.

    Raises:
        CannotCopyError: one is called in the block.
    """
    if not may_have_compiled():
        yield
        return
    if (notes := noted()) is not None:
        before = notes.count
        yield
        if notes.latest.get(COMPILED, 0) > before:
            raise CannotCopyError(CALLS_COMPILED)
        return
    try:
        with compiled_functions("fail_on_recompile"):
            yield
    except Exception as error:
        if "fail_on_recompile" in str(error):
            raise CannotCopyError(CALLS_COMPILED) from error
        raise

"""Counting training steps without being told the optimizer."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from foldmon.folding.undisturbed.threads import other_threads
from foldmon.sampling.living import living
from foldmon.sampling.silence import Silence
from foldmon.sampling.watched import Watched
from foldmon.torch_internals import RemovableHandle, hear_optimizers, unhear_optimizers

logger = logging.getLogger("foldmon")

# So many steps of one other owning optimizer without one of the counted mean that training moved on to it;
# of one that moves the same parameters, and so is no second part of the same step, fewer.
_PATIENCE, _OF_THE_SAME = 16, 1


class StepCounter:
    """Calls ``on_step`` in the training thread after each training step of a model.

    A step is a step of the optimizer that owns parameters of the model: the one passed, or the first that
    is seen to step, through torch's global hook, so that nothing of the user's is changed. Where no living
    optimizer owns any, backward passes are counted until one is seen, by a hook on one parameter: unlike a
    module's hooks it is neither scripted, exported, copied nor saved.

    A step of an optimizer that is itself compiled is not seen: a hook would break its graph.

    Args:
        model: the user's model, as it is called in training (a wrapper too).
        on_step: called with the number of steps made, nearly always 1; it must not raise.
        optimizer: whose steps to count; None finds it.
        silence: told of every step, also of optimizers that own none of the model's parameters.

    Raises:
        TypeError: ``optimizer`` is no torch optimizer and wraps none.
    """

    def __init__(
        self,
        model: nn.Module,
        on_step: Callable[[int], None],
        optimizer: Optimizer | None = None,
        silence: Silence | None = None,
    ) -> None:
        self._watched = Watched(model)
        self._silence = silence
        self._on_step = on_step
        self._owner: weakref.ref[Optimizer] | None = None
        self._passed = optimizer is not None
        self._strangers: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        # Steps of other owning optimizers since the owner's last one: (the owner's round, steps).
        self._others: weakref.WeakKeyDictionary[Optimizer, tuple[int, int]] = weakref.WeakKeyDictionary()
        self._round = 0
        self._backward_hook: RemovableHandle | None = None
        self._counted_backward = False
        if optimizer is not None:
            self._owner = weakref.ref(_innermost(optimizer))
        elif not _living_owner_exists(self._watched):
            self._count_backwards()
        self._told = False
        _ON_STEPS.add(self)

    def close(self) -> None:
        """Stop counting and take every hook away."""
        _ON_STEPS.remove(self)
        self._stop_counting_backwards()

    def stepped(self, optimizer: Optimizer) -> None:
        """Some optimizer of this process has stepped; nothing is raised."""
        try:
            self._stepped(optimizer)
        except Exception as error:
            # An optimizer of an unusual make; it must step on all the same.
            if not self._told:
                self._told = True
                logger.warning(
                    "foldmon: steps cannot be counted (%s: %s); call monitor.step() after each",
                    type(error).__name__, error,
                )  # fmt: skip

    def _stepped(self, optimizer: Optimizer) -> None:
        owner = self._owner() if self._owner is not None else None
        if owner is optimizer:
            self._round += 1
            self._on_step(1)
        elif not self._owns(optimizer):
            if self._silence is not None:
                self._silence.stranger_stepped()
        else:
            steps = self._steps_beside_owner(optimizer)
            if owner is None or steps > self._patience(owner, optimizer):
                self._owner = weakref.ref(optimizer)
                self._round += 1
                # The backward pass of this step was counted, before its optimizer was made.
                steps -= self._counted_backward
                self._stop_counting_backwards()
                if steps:
                    self._on_step(steps)

    def _patience(self, owner: Optimizer, other: Optimizer) -> int:
        return _OF_THE_SAME if not self._passed and _owns(other, _moved_by(owner)) else _PATIENCE

    def _steps_beside_owner(self, optimizer: Optimizer) -> int:
        began, steps = self._others.get(optimizer, (self._round, 0))
        steps = steps + 1 if began == self._round else 1
        self._others[optimizer] = (self._round, steps)
        return steps

    def _owns(self, optimizer: Optimizer) -> bool:
        if optimizer in self._strangers:
            return False
        if optimizer in self._others:
            return True
        if _owns(optimizer, self._watched.parameters()):
            return True
        self._strangers.add(optimizer)
        return False

    # Without an optimizer

    def _count_backwards(self) -> None:
        first = next((p for p in self._watched.parameters() if p.requires_grad and p.is_leaf), None)
        if first is not None:
            hook = _OnBackward(self)
            self._backward_hook = first.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]

    def _stop_counting_backwards(self) -> None:
        if self._backward_hook is not None:
            self._backward_hook.remove()
            self._backward_hook, self._counted_backward = None, False

    def went_backward(self, first: bool) -> None:
        """A backward pass has reached the model, and no optimizer has been seen yet."""
        if self._watched.gone or self._backward_hook is None:
            return
        # Watched first, optimizer made later: it is there when training begins.
        if first and _living_owner_exists(self._watched):
            self._stop_counting_backwards()
        else:
            self._counted_backward = True
            self._on_step(1)


class _OnSteps:
    """Torch's global hook on optimizers, one for all counters, which it does not keep alive.

    An optimizer that steps goes through torch's dict of hooks with Python code in between: what another
    thread adds to it or takes out meanwhile is an error in that step. So it is touched once for all counters,
    and again only where nobody else can step; left behind, the hook does nothing.
    """

    def __init__(self) -> None:
        self._counters: dict[int, weakref.ref[StepCounter]] = {}

    def add(self, counter: StepCounter) -> None:
        """Tell it of each step."""
        if not self._counters:
            hear_optimizers(self)
        self._counters[id(counter)] = weakref.ref(counter)

    def remove(self, counter: StepCounter) -> None:
        """Tell it no more."""
        self._counters.pop(id(counter), None)
        if not self._counters and not other_threads():
            unhear_optimizers()

    def __call__(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if torch.compiler.is_compiling():
            return
        for number, reference in list(self._counters.items()):
            counter = reference()
            if counter is not None:
                counter.stepped(optimizer)
            else:
                self._counters.pop(number, None)


_ON_STEPS = _OnSteps()


class _OnBackward:
    """The hook on a parameter; it keeps nothing alive either."""

    def __init__(self, counter: StepCounter) -> None:
        self._counter = weakref.ref(counter)
        self._first = True

    def __call__(self, parameter: Tensor) -> None:
        counter = self._counter()
        if counter is not None:
            first, self._first = self._first, False
            counter.went_backward(first)


def _innermost(optimizer: Any) -> Optimizer:
    """The optimizer that really steps, behind wrappers of training frameworks."""
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}; leave it out, and "
            "call monitor.step() after each step where the training uses none"
        )
    return optimizer


def _living_owner_exists(watched: Watched) -> bool:
    # A look through all objects: tens of milliseconds, once, instead of a hook on the user's model.
    return any(_owns(optimizer, watched.parameters()) for optimizer in living(Optimizer))


def _owns(optimizer: Optimizer, parameters: Iterable[Tensor]) -> bool:
    own = {id(parameter) for parameter in parameters}
    return any(id(parameter) in own for parameter in _moved_by(optimizer))


def _moved_by(optimizer: Optimizer) -> Iterator[Tensor]:
    # An optimizer that is only half made or half collected has no groups.
    for group in vars(optimizer).get("param_groups", ()):
        yield from group["params"]

"""Three ways to measure a model in training: on a private copy, in place, and as a team of processes."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from torch import nn

from foldmon.folding.data.trees import call
from foldmon.folding.model.prober import Forward, ModelChangedError, Prober
from foldmon.folding.results.report import FoldingReport
from foldmon.folding.results.statistics import Ints
from foldmon.folding.undisturbed.accelerator import Marks, SideStreams, devices_of
from foldmon.folding.undisturbed.captures import GATE
from foldmon.folding.undisturbed.compiled import compiled_functions
from foldmon.folding.undisturbed.kept import kept
from foldmon.folding.undisturbed.random_state import drew, preserved_random_state, random_state, seed_all
from foldmon.folding.undisturbed.tensors import KeptTensors
from foldmon.sampling.plan import Plan
from foldmon.sampling.replica import Replica
from foldmon.sampling.sharing import measure_together
from foldmon.sampling.team import Team

logger = logging.getLogger("foldmon")


class Strategy(Protocol):
    """How a model is measured."""

    def snapshot(self) -> bool:
        """Take over the weights as they are, in the training thread; False where that cannot be done."""

    def measure(self, paths: Ints | None, step: int, points: int) -> FoldingReport:
        """Measure some pairs, or all, at so many points, on the weights of the last snapshot."""


class OnCopy:
    """Measures a private copy, in any thread.

    Args:
        replica: of the model.
        prober: that has looked the copy over: the first probe need not find the layers again.
        forward: calls the copy, where no prober tells how.

    Attributes:
        forward: calls the copy or the model.
    """

    def __init__(
        self, replica: Replica, plan: Plan, prober: Prober | None = None, forward: Forward = call
    ) -> None:
        self.replica, self._plan, self._prober = replica, plan, prober
        self._devices = devices_of(replica.module)
        self._streams = SideStreams(self._devices)
        self._marks = Marks(())
        self.forward = forward if prober is None else prober.forward
        if prober is not None:
            prober.may_draw = False

    def snapshot(self) -> bool:
        """Copy the weights; False where the model's structure has changed."""
        if not self.replica.refresh():
            return False
        self._marks = Marks(self._devices)
        return True

    def measure(self, paths: Ints | None, step: int, points: int) -> FoldingReport:
        """Measure the copy, on what earlier probes know of it."""
        # Not kept after a probe that failed.
        kept, self._prober = self._prober, None
        with GATE.working(), self._streams.behind(self._marks):
            try:
                prober = kept or self._new_prober()
                report = self._plan.measure(prober, paths, step, points)
            except ModelChangedError:
                logger.info("foldmon: the model runs in another way than before; its layers are found anew")
                prober = self._new_prober()
                report = self._plan.measure(prober, paths, step, points)
            finally:
                self.replica.put_back()
        self._prober = prober
        return report

    def _new_prober(self) -> Prober:
        prober = self._plan.prober(self.replica.module)
        # Not even found out by trying: training draws from the same generators.
        prober.may_draw = False
        return prober


class InPlace:
    """Measures the model itself, in the training thread only.

    Args:
        model: held weakly.
        plan: what to measure.
        at_rest: leaves the model as it was.
    """

    def __init__(self, model: nn.Module, plan: Plan, at_rest: AtRest) -> None:
        self._model, self._plan, self._at_rest = weakref.ref(model), plan, at_rest

    def snapshot(self) -> bool:
        """The model is at hand."""
        return True

    def measure(self, paths: Ints | None, step: int, points: int) -> FoldingReport:
        """Measure the model as it is.

        Raises:
            RuntimeError: the model no longer exists.
            CannotPutBackError: its forward pass changed what could not be put back.
        """
        with self._at_rest.hold(_existing(self._model)) as model:
            return self._plan.measure(self._plan.prober(model), paths, step, points)


class AsTeam:
    """Measures in place, each process its share of the pairs.

    Args:
        model: held weakly.
        plan: what to measure.
        team: the processes.
        at_rest: as of :class:`InPlace`.
    """

    def __init__(self, model: nn.Module, plan: Plan, team: Team, at_rest: AtRest) -> None:
        self._model, self._plan, self._team, self._at_rest = weakref.ref(model), plan, team, at_rest

    def snapshot(self) -> bool:
        """The model is at hand."""
        return True

    def measure(self, paths: Ints | None, step: int, points: int) -> FoldingReport:
        """Measure together with all other ranks.

        Raises:
            LateError: a rank is not there in time.
            TeamError: a rank does not answer any more.
            RuntimeError: measuring failed on some rank, or the model no longer exists.
        """
        with self._at_rest.hold(_existing(self._model)) as model:
            return measure_together(self._team, self._plan, model, paths, step)


class NotMeasuredError(RuntimeError):
    """The model cannot be measured in training; the text says why."""


class Unmeasured:
    """Measures nothing, where a model could not be left as it was.

    Args:
        reason: in words that follow "the model".
    """

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def snapshot(self) -> bool:
        """There is nothing to take over."""
        return True

    def measure(self, paths: Ints | None, step: int, points: int) -> FoldingReport:
        """Raise NotMeasuredError."""
        raise NotMeasuredError(f"the model is not measured: {self._reason}")


class AtRest:
    """The user's own model between two steps, left as it was at the end of a block.

    Args:
        forward: calls the model, and may reach what the model does not.
        seed: of the draws of a model that draws random numbers: they are the same at every probe.
        sharded: whether its weights are spread over processes.

    Attributes:
        draws: whether its forward pass is known to draw random numbers.
        tensors: learn what it writes to.
    """

    def __init__(self, forward: Any, seed: int, sharded: bool) -> None:
        self.draws, self.tensors = False, KeptTensors(only_buffers=sharded)
        self._forward, self._seed = forward, seed

    @contextmanager
    def hold(self, model: nn.Module) -> Iterator[nn.Module]:
        """Measure the model in this block, in the training thread."""
        with (
            GATE.working(),
            preserved_random_state(),
            kept(model, self._forward, tensors=self.tensors),
            compiled_functions("force_eager"),
        ):
            if self.draws:
                seed_all(self._seed)
            before = random_state()
            yield model
            if not self.draws and drew(before):
                logger.info("foldmon: the model draws random numbers; from now on the same at every probe")
                self.draws = True


def _existing(reference: weakref.ref[nn.Module]) -> nn.Module:
    model = reference()
    if model is None:
        raise RuntimeError("the watched model no longer exists")
    return model

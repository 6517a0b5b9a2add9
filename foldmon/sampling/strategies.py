"""Three ways to measure a model in training: on a private copy, in place, and as a team of processes."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from torch import nn

from foldmon.folding.model.prober import ModelChangedError, Prober
from foldmon.folding.results.report import FoldingReport
from foldmon.folding.results.statistics import Ints
from foldmon.folding.undisturbed.accelerator import Marks, SideStreams, devices_of
from foldmon.folding.undisturbed.buffers import kept_buffers
from foldmon.folding.undisturbed.captures import GATE
from foldmon.folding.undisturbed.compiled import compiled_functions
from foldmon.folding.undisturbed.random_state import preserved_random_state, seed_all
from foldmon.sampling.plan import Plan
from foldmon.sampling.replica import Replica
from foldmon.sampling.sharing import measure_together
from foldmon.sampling.team import Team

logger = logging.getLogger("foldmon")


class Strategy(Protocol):
    """How a model is measured."""

    def snapshot(self) -> bool:
        """Take over the weights as they are, in the training thread; False where that cannot be done."""

    def measure(self, paths: Ints | None, step: int) -> FoldingReport:
        """Measure some pairs, or all, on the weights of the last snapshot."""


class OnCopy:
    """Measures a private copy, in any thread.

    Args:
        replica: of the model.
        prober: that has looked the copy over: the first probe need not find the layers again.
        plan: what to measure.
    """

    def __init__(self, replica: Replica, plan: Plan, prober: Prober | None = None) -> None:
        self.replica, self._plan, self._prober = replica, plan, prober
        self._devices = devices_of(replica.module)
        self._streams = SideStreams(self._devices)
        self._marks = Marks(())

    def snapshot(self) -> bool:
        """Copy the weights; False where the model's structure has changed."""
        if not self.replica.refresh():
            return False
        self._marks = Marks(self._devices)
        return True

    def measure(self, paths: Ints | None, step: int) -> FoldingReport:
        """Measure the copy, on what earlier probes know of it."""
        # Not kept after a probe that failed.
        kept, self._prober = self._prober, None
        with GATE.working(), self._streams.behind(self._marks):
            try:
                prober = kept or self._plan.prober(self.replica.module)
                report = self._plan.measure(prober, paths, step)
            except ModelChangedError:
                logger.info("foldmon: the model runs in another way than before; its layers are found anew")
                prober = self._plan.prober(self.replica.module)
                report = self._plan.measure(prober, paths, step)
        self._prober = prober
        return report


class InPlace:
    """Measures the model itself, in the training thread only.

    Args:
        model: held weakly.
        plan: what to measure.
        draws: whether its forward pass draws random numbers: they are the same at every probe.
    """

    def __init__(self, model: nn.Module, plan: Plan, draws: bool = False) -> None:
        self._model, self._plan, self._draws = weakref.ref(model), plan, draws

    def snapshot(self) -> bool:
        """The model is at hand."""
        return True

    def measure(self, paths: Ints | None, step: int) -> FoldingReport:
        """Measure the model as it is.

        Raises:
            RuntimeError: the model no longer exists.
        """
        with _at_rest(self._model, self._plan.config.seed if self._draws else None) as model:
            return self._plan.measure(self._plan.prober(model), paths, step)


class AsTeam:
    """Measures in place, each process its share of the pairs.

    Args:
        model: held weakly.
        plan: what to measure.
        team: the processes.
        draws: as of :class:`InPlace`.
    """

    def __init__(self, model: nn.Module, plan: Plan, team: Team, draws: bool) -> None:
        self._model, self._plan, self._team, self._draws = weakref.ref(model), plan, team, draws

    def snapshot(self) -> bool:
        """The model is at hand."""
        return True

    def measure(self, paths: Ints | None, step: int) -> FoldingReport:
        """Measure together with all other ranks.

        Raises:
            LateError: a rank is not there in time.
            TeamError: a rank does not answer any more.
            RuntimeError: measuring failed on some rank, or the model no longer exists.
        """
        with _at_rest(self._model, self._plan.config.seed if self._draws else None) as model:
            return measure_together(self._team, self._plan, model, paths, step)


@contextmanager
def _at_rest(reference: weakref.ref[nn.Module], seed: int | None) -> Iterator[nn.Module]:
    """The user's own model between two steps, left as it was at the end of the block."""
    model = reference()
    if model is None:
        raise RuntimeError("the watched model no longer exists")
    with GATE.working(), preserved_random_state(), kept_buffers(model), compiled_functions("force_eager"):
        if seed is not None:
            seed_all(seed)
        yield model

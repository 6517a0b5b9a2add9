"""The subject of a monitor: the model, and the way in which it is measured."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable

import numpy as np
from torch import nn

from foldmon.config.options import Config
from foldmon.folding.data.labels import HeldOut
from foldmon.folding.data.pairs import Pairs
from foldmon.folding.held_out import HeldOutPanel
from foldmon.folding.model.prober import Forward, Prober
from foldmon.folding.model.unwrap import unwrap
from foldmon.folding.results.coverage import Coverage
from foldmon.folding.results.criterion import Loss
from foldmon.folding.results.heads import Classes
from foldmon.folding.results.report import FoldingReport
from foldmon.folding.results.statistics import Ints
from foldmon.folding.undisturbed.accelerator import devices_of, is_capturing
from foldmon.folding.undisturbed.buffers import kept_buffers
from foldmon.folding.undisturbed.captures import heed_captures
from foldmon.folding.undisturbed.compiled import compiled_functions
from foldmon.folding.undisturbed.random_state import drew, preserved_random_state, random_state
from foldmon.sampling.plan import Plan
from foldmon.sampling.replica import CannotCopyError, Replica, size_in_bytes
from foldmon.sampling.strategies import AsTeam, InPlace, OnCopy, Strategy
from foldmon.sampling.team import Team, resharded
from foldmon.sampling.watched import Watched
from foldmon.torch_internals import is_lazy, may_have_compiled

logger = logging.getLogger("foldmon")

_TRIAL = 4  # pairs that tell the cost of one
_QUICK = 0.5  # seconds that these may seem to take

IN_PLACE = "the model is measured in the training thread, not beside it"


class Subject:
    """The watched model, measured on a private copy where it can have one.

    Args:
        model: as the user trains it; held weakly.
        pairs: held-out pairs.
        config: options.
        forward: calls the model in a way of its own.
        team: the processes that train the model together, each of which measures its share of the pairs
            in its training thread; None where this one is alone.
        held_out: inputs whose predictions are followed, None for none.
        loss: ``loss(output, target)`` of these, where their labels do not tell it.
        classes: whether outputs are classes, or a function from them to logits; None finds it out.

    Attributes:
        a_pair: seconds that a pair seems to take, as seen when the model was looked over.
        fixed: seconds that a probe seems to take beside its pairs.
        reason: why the model is measured in place, in words, where a copy was wished and cannot be.
        coverage: what of the model is measured.
        held_out: the panel of followed inputs, None where there is none.

    Raises:
        ValueError: the model or the options do not fit, see :class:`foldmon.folding.model.prober.Prober`.
    """

    def __init__(
        self,
        model: nn.Module,
        pairs: Pairs,
        config: Config,
        forward: Forward | None,
        team: Team | None = None,
        held_out: HeldOut | None = None,
        loss: Loss | None = None,
        classes: Classes = None,
    ) -> None:
        if any(is_lazy(tensor) for tensor in model.parameters()):
            raise ValueError(
                "the model has lazy parameters without shapes; run one forward pass before foldmon.watch"
            )
        if team is not None and config.method == "exact":
            raise ValueError(
                'probes that ranks share are sampled; pass method="sampled", and measure a checkpoint with '
                'foldmon.measure(..., method="exact")'
            )
        inner = unwrap(model)
        self._model, self._watched = weakref.ref(inner), Watched(inner)
        self._devices = devices_of(inner)
        for kind in {device.type for device in self._devices}:
            heed_captures(kind)
        self.held_out = None if held_out is None else HeldOutPanel(held_out, config.seed, loss)
        labels = None if held_out is None else held_out.labels
        self._plan = Plan(pairs, config, forward, self.held_out, classes, labels)
        self.pairs, self.team = pairs, team
        self.reason: str | None = None
        self.fixed = 0.0
        replica = self._copy(inner) if config.background and team is None else None
        self.strategy: Strategy | None = self._look_over(inner, replica)

    @property
    def background(self) -> bool:
        """Whether a private copy is measured, so that another thread may do it."""
        return isinstance(self.strategy, OnCopy)

    def snapshot(self) -> None:
        """Take over the weights as they are now; in the training thread, while nothing measures."""
        if self.strategy is None or self.strategy.snapshot():
            return
        model = self._model()
        if model is None:
            raise RuntimeError(
                "the module passed to foldmon.watch no longer exists, and what it wrapped has changed; keep "
                "it in a variable"
            )
        logger.info("foldmon: the model has changed its structure; its copy is made anew")
        replica = self._copy(model)
        if replica is None:
            logger.warning("foldmon: from now on %s: %s", IN_PLACE, self.reason)
            self.strategy = InPlace(model, self._plan)
        else:
            self.strategy = OnCopy(replica, self._plan)
            self.strategy.snapshot()

    @property
    def shares(self) -> int:
        """In how many parts the panel may be measured."""
        return self._plan.shares

    @property
    def on_cpu(self) -> bool:
        """Whether the model runs on the CPU."""
        return self._on_cpu

    @property
    def capturing(self) -> bool:
        """Whether this thread records a graph: a copy of the weights made now would be replayed with it."""
        return bool(self._devices) and is_capturing()

    @property
    def gone(self) -> bool:
        """Whether the model no longer exists."""
        return self._watched.gone

    def measure(self, paths: Ints | None = None, step: int = 0) -> FoldingReport:
        """Measure the copy (in any thread), or the model itself (in the training thread only).

        Args:
            paths: shape (m,), places of the pairs to measure; None for all.
            step: training step.
        """
        if self.strategy is None:
            raise RuntimeError("the monitor is closed")
        return self.strategy.measure(paths, step)

    def release(self) -> None:
        """Free the private copy; nothing is measured any more."""
        self.strategy = None

    def _copy(self, model: nn.Module) -> Replica | None:
        """A private copy; None, with the reason, where there can be none."""
        size, most = size_in_bytes(model), self._plan.config.replica_limit
        if size > most:
            self.reason = (
                f"its weights take {size / 2**30:.1f} GiB, above replica_limit ({most / 2**30:.1f} GiB)"
            )
            return None
        try:
            return Replica(model)
        except CannotCopyError as error:
            self.reason = f"it cannot be copied ({error})"
            return None

    def _look_over(self, model: nn.Module, replica: Replica | None) -> Strategy:
        """Evaluate a few points in the user's thread: errors show at once, and random draws are noticed."""
        module = model if replica is None else replica.module
        if replica is not None and _runs_compiled_functions(lambda: self._look_at(module)):
            # A sampler's thread cannot keep them from being compiled anew for every probe.
            self.reason, replica = "its forward pass calls functions under torch.compile", None
        with preserved_random_state():
            before = random_state()
            with compiled_functions("force_eager"):
                prober = self._look_at(module)
                draws = drew(before) or (self.held_out is not None and self.held_out.draws)
                self._foretell(prober)
        if draws and replica is not None:
            # A sampler's thread must not draw from generators that training draws from.
            self.reason, replica = "its forward pass or the loss draws random numbers in eval mode", None
        self.coverage: Coverage = prober.coverage
        if replica is None:
            plan, team = self._plan, self.team
            return InPlace(model, plan, draws) if team is None else AsTeam(model, plan, team, draws)
        if replica.stripped:
            note = f"{replica.stripped} forward hooks of yours do not run on the private copy"
            self.coverage = self.coverage.with_notes(note)
        return OnCopy(replica, self._plan, prober)

    def _foretell(self, prober: Prober) -> None:
        """What a probe will cost, from the passes that looked the model over and, if quick, from a trial."""
        self._on_cpu = prober.device.type == "cpu"
        self.a_pair = self._plan.config.points * prober.seconds_a_row
        lockstep = self.team is not None and self.team.layout.lockstep
        if _TRIAL * self.a_pair < _QUICK and self._plan.shares >= _TRIAL and not lockstep:
            # A few rows cost little but the fixed part of a pass: some pairs, and one alone, tell.
            few, one = (self._seconds(prober, np.arange(count)) for count in (_TRIAL, 1))
            self.a_pair = max(few - one, few / 10) / (_TRIAL - 1)
            self.fixed = max(one - self.a_pair, 0.0)

    def _seconds(self, prober: Prober, paths: Ints) -> float:
        began = time.perf_counter()
        with kept_buffers(prober.model):
            self._plan.fold(prober, paths)
        return time.perf_counter() - began

    def _look_at(self, module: nn.Module) -> Prober:
        with resharded(module), kept_buffers(module):
            return self._plan.prober(module)


def _runs_compiled_functions(look: Callable[[], object]) -> bool:
    if not may_have_compiled():
        return False
    try:
        with preserved_random_state(), compiled_functions("fail_on_recompile"):
            look()
    except Exception as error:  # any other shows again when the model is looked over
        return "fail_on_recompile" in str(error)
    return False

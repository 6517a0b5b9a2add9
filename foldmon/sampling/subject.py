"""The subject of a monitor: the model, and the way in which it is measured."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from foldmon.config.options import Config
from foldmon.folding.data.labels import HeldOut
from foldmon.folding.data.pairs import Pairs
from foldmon.folding.data.reading import FEWEST
from foldmon.folding.held_out import HeldOutPanel
from foldmon.folding.model.prober import Forward, Prober
from foldmon.folding.model.taps import DrawsError
from foldmon.folding.model.unwrap import unwrap
from foldmon.folding.results.coverage import Coverage
from foldmon.folding.results.criterion import Loss
from foldmon.folding.results.heads import Classes
from foldmon.folding.results.report import FoldingReport
from foldmon.folding.results.statistics import Ints
from foldmon.folding.undisturbed.accelerator import devices_of, is_capturing
from foldmon.folding.undisturbed.captures import heed_captures
from foldmon.folding.undisturbed.compiled import compiled_functions
from foldmon.folding.undisturbed.kept import Kept, kept
from foldmon.folding.undisturbed.random_state import drew, preserved_random_state, random_state
from foldmon.folding.undisturbed.stand_in import StoodInError
from foldmon.folding.undisturbed.traffic import traffic
from foldmon.sampling.foretold import cheap_to_follow, foretold
from foldmon.sampling.mirror import CannotCopyError
from foldmon.sampling.plan import Plan
from foldmon.sampling.replica import Replica, size_in_bytes
from foldmon.sampling.strategies import AsTeam, AtRest, InPlace, OnCopy, Strategy, Unmeasured
from foldmon.sampling.team import Team, resharded
from foldmon.sampling.verification import (
    DRAWS,
    does_not_run,
    few_inputs,
    no_compiled_functions,
    objection,
    stood_in,
)
from foldmon.sampling.watched import Watched
from foldmon.torch_internals import is_lazy

logger = logging.getLogger("foldmon")


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
        a_row: seconds that an input seems to take, as seen when the model was looked over.
        fixed: seconds that a probe seems to take beside them.
        compared: seconds of the latest :meth:`snapshot` in which the copy was compared with the model, which
            it is at few probes.
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
        self.a_row = self.fixed = 0.0
        self._on_cpu = True
        sharded = team is not None and team.layout.lockstep
        self._at_rest = AtRest(forward, config.seed, sharded)
        self._snapshots, self._unfit, self.compared = 0, "", 0.0
        self.strategy: Strategy | None = self._look_over(inner)

    @property
    def background(self) -> bool:
        """Whether a private copy is measured, so that another thread may do it."""
        return isinstance(self.strategy, OnCopy)

    def snapshot(self) -> None:
        """Take over the weights as they are now; in the training thread, while nothing measures.

        Now and then, and where something changed that never had, the copy is compared with the model.
        """
        strategy, self.compared = self.strategy, 0.0
        if not isinstance(strategy, OnCopy):
            return
        try:
            self._refuse(self._unfit)
            if not strategy.snapshot():
                logger.info("foldmon: the model has changed its structure; its copy is made anew")
                strategy = self.strategy = self._on_new_copy(self._existing(), strategy.forward)
            self._snapshots += 1
            is_power = self._snapshots & (self._snapshots - 1) == 0
            if strategy.replica.news or (is_power and self._snapshots > 2):
                began = time.perf_counter()
                self._compare(strategy)
                self.compared = time.perf_counter() - began
        except CannotCopyError as error:
            self.reason = str(error)
            logger.warning("foldmon: from now on %s: %s", IN_PLACE, self.reason)
            self.strategy = InPlace(self._existing(), self._plan, self._at_rest)

    def _existing(self) -> nn.Module:
        model = self._model()
        if model is None:
            raise RuntimeError(
                "the module passed to foldmon.watch no longer exists, and what it wrapped has changed; keep "
                "it in a variable"
            )
        return model

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

    @property
    def rows(self) -> dict[int, list[int]]:
        """Points a path that a probe may have: inputs that one of 1, 2, ... pairs passes forward at them."""
        plan, grids = self._plan, self._plan.grids
        if plan.shares == 1:
            return {grids[0]: [plan.rows(len(plan.pairs), grids[0])]}
        shares = range(1, plan.shares + 1)
        return {n: [plan.rows(few, n) for few in shares] for n in grids[: None if self.team is None else 1]}

    def passed(self, report: FoldingReport) -> int | None:
        """Inputs that the probe of a report passed forward; None where they are not what it cost."""
        if self.team is not None or self._plan.shares == 1:
            return None
        if (scored := report.held_out) is None:
            return report.evaluations
        return report.evaluations + (scored.inputs if scored.measured is None else len(scored.measured))

    def measure(self, paths: Ints | None = None, step: int = 0, points: int | None = None) -> FoldingReport:
        """Measure the copy (in any thread), or the model itself (in the training thread only).

        Args:
            paths: shape (m,), places of the pairs to measure; None for all.
            step: training step.
            points: of each path; None for as many as wished.
        """
        if self.strategy is None:
            raise RuntimeError("the monitor is closed")
        try:
            return self.strategy.measure(paths, step, points or self._plan.config.points)
        except (DrawsError, StoodInError) as error:
            self._unfit = str(error)
            raise

    def release(self) -> None:
        """Free the private copy; nothing is measured any more."""
        self.strategy = None

    def _look_over(self, model: nn.Module) -> Strategy:
        """Evaluate a few points in the user's thread: errors show at once, and whether a copy will do."""
        if self._plan.config.background and self.team is None:
            try:
                with self._aside(model) as saved:
                    return self._on_copy(model, saved)
            except CannotCopyError as error:
                self.reason = str(error)
        try:
            with self._at_rest.hold(model), traffic(self._at_rest.tensors):
                prober = self._look_at(model)
            with self._at_rest.hold(model):
                self._foretell(prober)
        except Exception as error:
            reason = stood_in(error)
            if reason is None:
                raise
            return self._unmeasured(reason)
        self.coverage: Coverage = prober.coverage
        self._at_rest.draws |= self._loss_draws
        if self.team is None:
            return InPlace(model, self._plan, self._at_rest)
        return AsTeam(model, self._plan, self.team, self._at_rest)

    @property
    def _loss_draws(self) -> bool:
        return self.held_out is not None and self.held_out.draws

    def _unmeasured(self, reason: str) -> Strategy:
        # Said where the first probe is tried.
        self.reason, self.coverage = None, Coverage({}, {}, {}, (f"not measured: {reason}",))
        return Unmeasured(reason)

    def _on_copy(self, model: nn.Module, saved: Kept) -> OnCopy:
        """A private copy that stands every check.

        Raises:
            CannotCopyError: there is none.
        """
        replica = self._private_copy(model)
        try:
            before = random_state()
            with no_compiled_functions():
                prober = self._look_at(replica.module)
            # A sampler's thread must not draw from generators that training draws from.
            self._refuse((drew(before) or self._loss_draws) and DRAWS)
        except CannotCopyError:
            raise
        except Exception as error:
            raise CannotCopyError(stood_in(error) or does_not_run(error)) from error
        finally:
            replica.put_back()
        strategy = OnCopy(replica, self._plan, prober)
        self._refuse(self._objection(model, strategy, saved, rows=2))
        self._foretell(prober)
        replica.put_back()
        self.coverage = prober.coverage
        if replica.stripped:
            note = f"{replica.stripped} forward hooks of yours do not run on the private copy"
            self.coverage = self.coverage.with_notes(note)
        return strategy

    def _on_new_copy(self, model: nn.Module, forward: Forward) -> OnCopy:
        """A copy of the model in its new structure; its layers are found in the sampler's thread."""
        with self._aside(model) as saved:
            strategy = OnCopy(self._private_copy(model), self._plan, forward=forward)
            self._refuse(self._objection(model, strategy, saved, rows=2))
        strategy.snapshot()
        return strategy

    def _compare(self, strategy: OnCopy) -> None:
        model = self._model()
        if model is None:
            return  # a wrapper; what it wrapped goes on
        with self._aside(model) as saved:
            try:
                why = self._objection(model, strategy, saved, rows=1)
            except (Exception, SystemExit):
                return  # the model itself does not run: the probe will tell
            self._refuse(why)

    def _private_copy(self, model: nn.Module) -> Replica:
        size, most = size_in_bytes(model), self._plan.config.replica_limit
        if size > most:
            what = f"its weights, and what else it holds, take {size / 2**30:.1f} GiB"
            raise CannotCopyError(f"{what}, above replica_limit ({most / 2**30:.1f} GiB)")
        return Replica(model)

    def _objection(self, model: nn.Module, strategy: OnCopy, saved: Kept, rows: int) -> str | None:
        few = few_inputs(model, self.pairs.first, rows)
        return objection(model, strategy.replica, lambda module: strategy.forward(module, few), saved)

    @contextmanager
    def _aside(self, model: nn.Module) -> Iterator[Kept]:
        """Run the model and its copy in this block; both are as before at its end."""
        with (
            preserved_random_state(),
            kept(model, self._plan.forward, tensors=self._at_rest.tensors) as saved,
            compiled_functions("force_eager"),
        ):
            yield saved

    @staticmethod
    def _refuse(why: str | bool | None) -> None:
        if why:
            raise CannotCopyError(why)

    def _foretell(self, prober: Prober) -> None:
        """What a probe will cost, and how many inputs are followed at that price."""
        self._on_cpu = prober.device.type == "cpu"
        lockstep = self.team is not None and self.team.layout.lockstep
        self.a_row, self.fixed = foretold(self._plan, prober, tried=not lockstep)
        if self.held_out is not None:
            # All ranks follow the same ones, and their clocks differ.
            self.held_out.follow(FEWEST if self.team is not None else cheap_to_follow(self._plan, self.a_row))

    def _look_at(self, module: nn.Module) -> Prober:
        with resharded(module):
            return self._plan.prober(module)

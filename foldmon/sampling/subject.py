"""The subject of a monitor: which module is measured, and on which weights."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from foldmon.config.options import Config
from foldmon.folding.data.pairs import Pairs
from foldmon.folding.measuring import measure_here
from foldmon.folding.model.prober import Forward, ModelChangedError, Prober
from foldmon.folding.model.unwrap import unwrap
from foldmon.folding.results.coverage import Coverage
from foldmon.folding.results.report import FoldingReport
from foldmon.folding.undisturbed.buffers import kept_buffers
from foldmon.folding.undisturbed.compiled import compiled_functions
from foldmon.folding.undisturbed.random_state import (
    drew,
    preserved_random_state,
    random_state,
    seed_all,
)
from foldmon.sampling.replica import CannotCopyError, Replica, size_in_bytes
from foldmon.sampling.team import Team, resharded
from foldmon.torch_internals import is_lazy, may_have_compiled

logger = logging.getLogger("foldmon")

IN_PLACE = "the model is measured in the training thread, not beside it"


class Subject:
    """The watched model and, where it can have one, its private copy.

    Args:
        model: as the user trains it; held weakly.
        pairs: held-out pairs.
        config: options.
        forward: calls the model in a way of its own.
        team: the processes that train the model together, each of which measures its share of the pairs
            in its training thread; None where this one is alone.

    Attributes:
        background: whether measuring may run beside training.
        reason: why not, in words, where it was wished and cannot be.
        coverage: what of the model is measured.

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
        self._model = weakref.ref(unwrap(model))
        self.pairs, self.config, self.forward = pairs, config, forward
        self.team = team
        self.reason: str | None = None
        self._replica: Replica | None = None
        self._prober: Prober | None = None
        self._draws = False
        self._copied: Any = None
        if config.background and team is None:
            self._try_replica()
        self._look_over()

    @property
    def background(self) -> bool:
        """Whether a private copy is measured, so that another thread may do it."""
        return self._replica is not None

    def snapshot(self) -> None:
        """Take over the weights as they are now; in the training thread, while nothing measures."""
        model = self._model()
        if self._replica is None or model is None:
            return
        if not self._replica.refresh():
            logger.info("foldmon: the model has changed its structure; its copy is made anew")
            self._try_replica()
            if self.reason is not None:
                logger.warning("foldmon: from now on %s: %s", IN_PLACE, self.reason)
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copied.record()

    def measure(self) -> FoldingReport:
        """Measure the copy (in any thread), or the model itself (in the training thread only)."""
        if self._replica is not None:
            with _side_stream(self._copied):
                return self._measure(self._replica.module)
        model = self._model()
        if model is None:
            raise RuntimeError("the watched model no longer exists")
        with preserved_random_state(), kept_buffers(model), compiled_functions("force_eager"):
            if self._draws:
                # The same draws at every probe, so that probes compare.
                seed_all(self.config.seed)
            return self._measure(model)

    def release(self) -> None:
        """Free the private copy; nothing is measured any more."""
        self._replica = self._prober = None

    def _measure(self, module: nn.Module) -> FoldingReport:
        config = self.config
        if self.team is not None:
            return self.team.measure(
                module,
                self.pairs,
                points=config.points,
                layers=config.layers,
                at=config.at,
                forward=self.forward,
            )
        if self._replica is None or config.method == "exact":
            return self._measure_with(module, None)
        kept, self._prober = self._prober, None
        if kept is not None and kept.model is module:
            try:
                kept.renew()
                report = self._measure_with(module, kept)
            except ModelChangedError:
                logger.info("foldmon: the model runs in another way than before; its layers are found anew")
            else:
                self._keep(kept)
                return report
        prober = self._new_prober(module)
        report = self._measure_with(module, prober)
        self._keep(prober)
        return report

    def _keep(self, prober: Prober) -> None:
        """Keep what is known of the copy's sites for the next probe; not after one that failed."""
        prober.paths.forget()
        self._prober = prober

    def _measure_with(self, module: nn.Module, prober: Prober | None) -> FoldingReport:
        config = self.config
        return measure_here(
            module,
            self.pairs,
            # The same points on the same pairs at every probe: only the weights differ between two values
            # of a live curve, and no other method is cheaper in time.
            method="sampled" if config.method == "auto" else config.method,
            points=config.points,
            layers=config.layers,
            at=config.at,
            forward=self.forward,
            prober=prober,
        )

    def _try_replica(self) -> None:
        self._replica = self._prober = None
        model = self._model()
        if model is None:
            return
        size = size_in_bytes(model)
        if size > self.config.replica_limit:
            self.reason = (
                f"its weights take {size / 2**30:.1f} GiB, above replica_limit "
                f"({self.config.replica_limit / 2**30:.1f} GiB)"
            )
            return
        try:
            self._replica = Replica(model)
        except CannotCopyError as error:
            self.reason = f"it cannot be copied ({error})"

    def _look_over(self) -> None:
        """Evaluate a few points in the user's thread: errors show at once, and random draws are noticed."""
        module = self._replica.module if self._replica is not None else self._model()
        assert module is not None
        if self._replica is not None and _runs_compiled_functions(lambda: self._look_at(module)):
            # A sampler's thread cannot keep them from being compiled anew for every probe.
            self.reason = "its forward pass calls functions under torch.compile"
            self._replica = None
        with preserved_random_state():
            before = random_state()
            with compiled_functions("force_eager"):
                prober = self._look_at(module)
            self._draws = drew(before)
        if self._draws and self._replica is not None:
            # A sampler's thread must not draw from generators that training draws from.
            self.reason = "its forward pass draws random numbers in eval mode"
            self._replica = None
        self.coverage: Coverage = prober.coverage
        if self._replica is not None:
            self._keep(prober)  # the first probe need not find the layers again
        if self._replica is not None and self._replica.stripped:
            note = f"{self._replica.stripped} forward hooks of yours do not run on the private copy"
            self.coverage = self.coverage.with_notes(note)

    def _look_at(self, module: nn.Module) -> Prober:
        with resharded(module), kept_buffers(module):
            return self._new_prober(module)

    def _new_prober(self, module: nn.Module) -> Prober:
        config = self.config
        return Prober(module, self.pairs, layers=config.layers, at=config.at, forward=self.forward)


def _runs_compiled_functions(look: Callable[[], object]) -> bool:
    if not may_have_compiled():
        return False
    try:
        with preserved_random_state(), compiled_functions("fail_on_recompile"):
            look()
    except Exception as error:  # any other shows again when the model is looked over
        return "fail_on_recompile" in str(error)
    return False


@contextmanager
def _side_stream(copied: Any) -> Iterator[None]:
    """On a GPU, measure on a stream of its own, after the copy of the weights has ended."""
    if copied is None:
        yield
        return
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_event(copied)
    with torch.cuda.stream(stream):
        yield
    stream.synchronize()

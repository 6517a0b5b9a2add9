"""What a monitor measures at every probe, whatever module it is measured on."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from foldmon.config.options import Config
from foldmon.folding.data.pairs import Pairs
from foldmon.folding.held_out import Ask, HeldOutPanel
from foldmon.folding.measuring import measure_with
from foldmon.folding.model.prober import Forward, Prober
from foldmon.folding.results.criterion import LossFailedError
from foldmon.folding.results.heads import Classes
from foldmon.folding.results.nested import FEWEST_POINTS
from foldmon.folding.results.report import FoldingReport
from foldmon.folding.results.score import HeldOutScore
from foldmon.folding.results.statistics import Ints
from foldmon.folding.sampled.report import measure_sampled

logger = logging.getLogger("foldmon")


@dataclass(frozen=True)
class Plan:
    """Pairs and options of all probes.

    Attributes:
        pairs: held-out pairs.
        config: options.
        forward: calls the model in a way of its own, None for ``model(inputs)``.
        held_out: inputs whose predictions are followed beside the pairs, None for none.
        classes: whether outputs are classes, or a function from them to logits; None finds it out.
        labels: of the data, which tell it.
    """

    pairs: Pairs
    config: Config
    forward: Forward | None
    held_out: HeldOutPanel | None = None
    classes: Classes = None
    labels: Any = None

    def prober(self, module: nn.Module) -> Prober:
        """Look a module over: errors of the model or the options show here."""
        config = self.config
        prober = Prober(
            module,
            self.pairs,
            layers=config.layers,
            at=config.at,
            forward=self.forward,
            every_site=config.method == "exact",
            classes=self.classes,
            labels=self.labels,
        )
        if self.held_out is not None:
            self.held_out.understand(prober)
        return prober

    @property
    def shares(self) -> int:
        """In how many parts the panel may be measured: in single pairs, where they are sampled."""
        return 1 if self.config.method == "exact" else len(self.pairs)

    @property
    def grids(self) -> list[int]:
        """Points a path that a probe may have, most first.

        At fewer than wished, what they miss is extrapolated, see ``foldmon.folding.results.nested``.
        """
        points, most = [self.config.points], self.config.points
        while self.config.method != "exact" and (most - 1) % 8 == 0 and (most + 1) // 2 >= FEWEST_POINTS:
            most = (most + 1) // 2
            points.append(most)
        return points

    def rows(self, pairs: int, points: int) -> int:
        """Inputs that a probe passes forward: points on paths, and held-out ones beside them."""
        return pairs * points + self._beside(pairs, points)

    def measure(self, prober: Prober, paths: Ints | None, step: int, points: int) -> FoldingReport:
        """A probe of some pairs, or of all, on a prober that :meth:`prober` made, and of held-out inputs."""
        report = self.fold(prober, paths, points)
        try:
            return replace(report, held_out=self.predicted(prober, paths, step, points))
        except LossFailedError as error:
            assert self.held_out is not None
            logger.warning("foldmon: %s; from now on there is no held-out loss", error)
            self.held_out.forget_loss()
            return replace(report, held_out=self.predicted(prober, paths, step, points))

    def predicted(
        self, prober: Prober, paths: Ints | None, step: int, points: int, ask: Ask | None = None
    ) -> HeldOutScore | None:
        """The held-out part of a probe; ``ask`` as of ``HeldOutPanel.measure``."""
        if self.held_out is None:
            return None
        walked = len(self.pairs) if paths is None else len(paths)
        return self.held_out.measure(prober, self._beside(walked, points), step, ask)

    def _beside(self, pairs: int, points: int) -> int:
        """Held-out inputs beside so many pairs: the same share of them, or as many as points on the paths.

        They are cheaper than these, and what a warning can tell from chance depends on how many a probe
        predicts; where pairs are dear it is half of them rather than a small share. Where a probe affords
        no more than one pair, each input makes the next probe wait: it is half as many as points then.
        """
        if self.held_out is None:
            return 0
        inputs = self.held_out.inputs
        if pairs == 1:
            return min(max(1, points // 2), inputs)
        share = round(pairs / len(self.pairs) * inputs)
        return max(1, share, min(pairs * points, inputs // 2))

    def fold(self, prober: Prober, paths: Ints | None, points: int | None = None) -> FoldingReport:
        """The pairs' part of a probe, at fewer points than wished where these are given."""
        if points is not None and points < self.config.points:
            return measure_sampled(prober, points, paths, wished=self.config.points)
        # The same points on the same pairs in every turn: only the weights differ between two values of
        # a pair, and no other method is cheaper in time.
        method = "sampled" if self.config.method == "auto" else self.config.method
        return measure_with(prober, method, self.config.points, paths=paths)

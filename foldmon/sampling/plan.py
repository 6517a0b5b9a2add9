"""What a monitor measures at every probe, whatever module it is measured on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from foldmon.config.options import Config
from foldmon.folding.data.pairs import Pairs
from foldmon.folding.held_out import Ask, HeldOutPanel
from foldmon.folding.measuring import measure_with
from foldmon.folding.model.prober import Forward, Prober
from foldmon.folding.results.heads import Classes
from foldmon.folding.results.nested import FEWEST_POINTS
from foldmon.folding.results.report import FoldingReport
from foldmon.folding.results.score import HeldOutScore
from foldmon.folding.results.statistics import Ints
from foldmon.folding.sampled.report import measure_sampled


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
    def grids(self) -> dict[int, float]:
        """Points a path, most first: what a pair and its held-out inputs cost, in parts of the first.

        At fewer than wished, what they miss is extrapolated, see ``foldmon.folding.results.nested``.
        """
        points, most = [self.config.points], self.config.points
        while self.config.method != "exact" and (most - 1) % 8 == 0 and (most + 1) // 2 >= FEWEST_POINTS:
            most = (most + 1) // 2
            points.append(most)
        return {few: self.rows(few) / self.rows(points[0]) for few in points}

    def rows(self, points: int) -> float:
        """Inputs passed forward for a pair at so many points, and held-out ones that come with it."""
        beside = 0.0 if self.held_out is None else max(points, self.held_out.inputs / len(self.pairs))
        return points + beside

    def measure(self, prober: Prober, paths: Ints | None, step: int, points: int) -> FoldingReport:
        """A probe of some pairs, or of all, on a prober that :meth:`prober` made, and of held-out inputs."""
        report = self.fold(prober, paths, points)
        return replace(report, held_out=self.predicted(prober, paths, step, points))

    def predicted(
        self, prober: Prober, paths: Ints | None, step: int, points: int, ask: Ask | None = None
    ) -> HeldOutScore | None:
        """Of the held-out inputs the same share as of the pairs, or as many as points on their paths.

        They are cheaper than these, and what a warning can tell from chance depends on how many a probe
        predicts; where pairs are dear it is half of them rather than a small share. ``ask`` as of
        ``HeldOutPanel.measure``.
        """
        if self.held_out is None:
            return None
        walked = len(self.pairs) if paths is None else len(paths)
        inputs = self.held_out.inputs
        share = round(walked / len(self.pairs) * inputs)
        return self.held_out.measure(prober, max(1, share, min(walked * points, inputs // 2)), step, ask)

    def fold(self, prober: Prober, paths: Ints | None, points: int | None = None) -> FoldingReport:
        """The pairs' part of a probe, at fewer points than wished where these are given."""
        if points is not None and points < self.config.points:
            return measure_sampled(prober, points, paths, wished=self.config.points)
        # The same points on the same pairs in every turn: only the weights differ between two values of
        # a pair, and no other method is cheaper in time.
        method = "sampled" if self.config.method == "auto" else self.config.method
        return measure_with(prober, method, self.config.points, paths=paths)

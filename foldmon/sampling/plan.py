"""What a monitor measures at every probe, whatever module it is measured on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from foldmon.config.options import Config
from foldmon.folding.data.pairs import Pairs
from foldmon.folding.measuring import measure_with
from foldmon.folding.model.prober import Forward, Prober
from foldmon.folding.results.report import FoldingReport
from foldmon.folding.results.statistics import Ints


@dataclass(frozen=True)
class Plan:
    """Pairs and options of all probes.

    Attributes:
        pairs: held-out pairs.
        config: options.
        forward: calls the model in a way of its own, None for ``model(inputs)``.
    """

    pairs: Pairs
    config: Config
    forward: Forward | None

    def prober(self, module: nn.Module) -> Prober:
        """Look a module over: errors of the model or the options show here."""
        config = self.config
        return Prober(
            module,
            self.pairs,
            layers=config.layers,
            at=config.at,
            forward=self.forward,
            every_site=config.method == "exact",
        )

    @property
    def shares(self) -> int:
        """In how many parts the panel may be measured: in single pairs, where they are sampled."""
        return 1 if self.config.method == "exact" else len(self.pairs)

    def measure(self, prober: Prober, paths: Ints | None = None) -> FoldingReport:
        """A probe of some pairs, or of all, on a prober that :meth:`prober` made."""
        # The same points on the same pairs in every turn: only the weights differ between two values of
        # a pair, and no other method is cheaper in time.
        method = "sampled" if self.config.method == "auto" else self.config.method
        return measure_with(prober, method, self.config.points, paths=paths)

"""A rotating panel of many cheap units: single inputs, in blocks that take turns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from foldmon.folding.results.composite import RATES
from foldmon.folding.results.panel import Estimate, Panel, plain
from foldmon.folding.results.statistics import Floats, Ints

BLOCKS = 32
"""Least number of blocks, where there are so many inputs."""
_REMEMBERED = 8
"""Blocks by which the variance between inputs is judged."""


class BlockPanel:
    """Inputs that take turns block by block, and means over all of them from those measured so far.

    Blocks of equal size are the members of a :class:`foldmon.folding.results.panel.Panel`: the mean over them
    is the mean over the inputs, and its arithmetic is that of 32 to 63 pairs. In random order inputs are
    exchangeable, so the variance between means of blocks is that between inputs over the size of a block,
    and a single block tells it; and the level wanders faster beside it, by that size, than between pairs.

    Args:
        inputs: number of inputs N, in random order.
        seed: of the order of the turns.
        least: inputs of a block, where there are so many.

    Attributes:
        size: number of inputs of a block.
        inputs: number of those that take part: what does not fill a last block is left out.

    Raises:
        ValueError: no inputs.

    Example:
        >>> import numpy as np
        >>> losses = np.random.default_rng(0).permutation(np.linspace(0.0, 2.0, 512))
        >>> panel = BlockPanel(512)
        >>> for step in range(40):
        ...     rows = panel.next(16)
        ...     estimate = panel.update(step, rows, losses[rows, None] + 0.1 * step)
        >>> bool(abs(estimate.mean[0] - 4.9) < 0.1), bool(estimate.lower[0] < 4.9 < estimate.upper[0])
        (True, True)
    """

    def __init__(self, inputs: int, seed: int = 0, least: int = 1) -> None:
        self.size = max(min(least, inputs), inputs // BLOCKS)
        rates = tuple(rate * self.size for rate in RATES)
        self._panel = Panel(inputs // self.size, seed=seed, rates=rates)
        self.inputs = self.size * self._panel.pairs
        self._variance: Floats = np.array(np.nan)
        self._blocks = 0

    def next(self, count: int) -> Ints:
        """The inputs to measure now, ascending: about ``count``, in whole blocks, at least one."""
        blocks = self._panel.next(min(max(1, round(count / self.size)), self._panel.pairs))
        rows: Ints = (np.sort(blocks)[:, None] * self.size + np.arange(self.size)).reshape(-1)
        return rows

    def update(
        self,
        step: int,
        rows: Ints,
        values: Floats,
        largest: float | Floats = np.inf,
        least: float | Floats = 0.0,
        joint: bool = False,
    ) -> Estimate:
        """Take in what was measured at a step, and estimate the means over all inputs.

        Args:
            step: training step.
            rows: shape (R,), inputs as :meth:`next` gave them.
            values: shape (R, K), K quantities of each. A NaN makes its quantity's means NaN.
            largest: the largest value that a quantity can take, one for all or shape (K,).
            least: the least value, likewise: 0, or minus infinity.
            joint: whether all inputs of a block share its value, so that they tell nothing of the variance.
        """
        blocks = rows[:: self.size] // self.size
        means = values.reshape(len(blocks), self.size, -1).mean(1)
        variance = None if joint else self._between(values, len(blocks))
        return self._panel.update(step, blocks, means, largest, variance, least)

    def _between(self, values: Floats, blocks: int) -> Floats | None:
        """Variance between means of blocks, shape (K,), by the last few; None for blocks of one input."""
        if self.size == 1:
            return None
        now: Floats = values.var(0, ddof=1) / self.size
        self._blocks += blocks
        newest = blocks / max(blocks, min(self._blocks, _REMEMBERED))
        mixed = (1.0 - newest) * self._variance + newest * now
        self._variance = np.where(np.isfinite(mixed), mixed, np.where(np.isfinite(now), now, self._variance))
        return self._variance

    def state_dict(self) -> dict[str, Any]:
        """All that the next estimate depends on, as plain JSON values."""
        return {
            "panel": self._panel.state_dict(),
            "variance": plain(self._variance),
            "blocks": self._blocks,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken.

        Raises:
            ValueError: the state is that of a panel of another size.
        """
        self._panel.load_state_dict(state["panel"])
        self._variance = np.array(state["variance"], dtype=np.float64)
        self._blocks = int(state["blocks"])

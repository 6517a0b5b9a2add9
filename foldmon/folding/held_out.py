"""Held-out predictions: a second panel beside the pairs', of single inputs that take turns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foldmon.folding.data.labels import HeldOut
from foldmon.folding.data.trees import map_tensors
from foldmon.folding.model.giving_up import go_on
from foldmon.folding.model.memory import is_out_of_memory
from foldmon.folding.model.prober import Prober
from foldmon.folding.results.blocks import BlockPanel
from foldmon.folding.results.decision import class_logits
from foldmon.folding.results.score import (
    HeldOutScore,
    Predictions,
    class_numbers,
    predictions_of,
    score,
)
from foldmon.folding.results.statistics import Ints, wilson_interval
from foldmon.folding.undisturbed.flags import eager_eval

_LARGEST = np.array([np.inf, 1.0])  # of a loss and an error rate


class HeldOutPanel:
    """Held-out inputs whose predictions are followed, a share of them at each probe.

    They take turns in blocks, see :class:`foldmon.folding.results.blocks.BlockPanel`.

    Args:
        held_out: N inputs in random order, and their classes where known.
        seed: of the order of the turns.

    Attributes:
        inputs: number of inputs that are followed: N, less what does not fill a last block.

    Raises:
        ValueError: no inputs.

    Example:
        >>> import torch, foldmon
        >>> from foldmon.folding.data.drawing import draw_panel
        >>> from foldmon.folding.model.prober import Prober
        >>> data = torch.randn(600, 4), torch.arange(600) % 3
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
        >>> pairs, held_out = draw_panel(data, samples=512)
        >>> panel, prober = HeldOutPanel(held_out), Prober(net, pairs)
        >>> found = [panel.measure(prober, 16, step) for step in range(3)][-1]
        >>> found.inputs, len(found.measured), found.accuracy_interval[0] < found.accuracy
        (512, 16, True)
    """

    def __init__(self, held_out: HeldOut, seed: int = 0) -> None:
        self._panel = BlockPanel(len(held_out), seed)
        self.inputs = self._panel.inputs
        self._held_out, self._labels = held_out, class_numbers(held_out.classes)
        self._speaks = True
        self._owed = 0  # inputs asked for that make no whole block yet

    def measure(self, prober: Prober, count: int, step: int) -> HeldOutScore | None:
        """Predict the inputs whose turn it is, and estimate loss and accuracy of all of them.

        Called outside of ``prober.active()``, whose hooks move the inputs of token models.

        Args:
            prober: whose model is asked, in the way in which it calls it.
            count: number of inputs wished. Those that do not fill a block are made up for later.
            step: training step.

        Returns:
            HeldOutScore; None where no block is due yet, and where the model's output gives no class: it is
            not asked again then.
        """
        self._owed = min(self._owed + count, self.inputs)
        if not self._speaks or self._owed < self._panel.size:
            return None
        rows = self._panel.next(self._owed - self._owed % self._panel.size)
        self._owed = max(0, self._owed - len(rows))
        predictions = predict(prober, self._held_out, self._labels, rows)
        if predictions is None:
            self._speaks = False
            return None
        return self._score(step, rows, predictions)

    def _score(self, step: int, rows: Ints, predictions: Predictions) -> HeldOutScore:
        measured = None if len(rows) == self.inputs else rows
        if np.isnan(predictions.correct).any():
            return HeldOutScore(None, None, None, None, self.inputs, measured, predictions)
        # Errors, not right predictions: it is the rarer of the two whose mean is skewed.
        values = np.stack([predictions.losses, 1.0 - predictions.correct], axis=1)
        found = self._panel.update(step, rows, values, largest=_LARGEST)
        (loss, error), (low, least), (high, most) = (
            ends.tolist() for ends in (found.mean, found.lower, found.upper)
        )
        # Where no error is met none seems possible; so many inputs tell no more than this.
        surely, barely = wilson_interval(error, self.inputs)
        accuracy = 1.0 - max(most, float(barely)), 1.0 - min(least, float(surely))
        return HeldOutScore(loss, (low, high), 1.0 - error, accuracy, self.inputs, measured, predictions)

    def state_dict(self) -> dict[str, Any]:
        """All that the next estimate depends on beside the inputs, as plain JSON values."""
        return {"inputs": self._held_out.fingerprint, "panel": self._panel.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken.

        Raises:
            ValueError: the state is of other inputs.
        """
        if state["inputs"] != self._held_out.fingerprint:
            raise ValueError("the state is of other held-out inputs")
        self._panel.load_state_dict(state["panel"])


def predict(prober: Prober, held_out: HeldOut, labels: Ints | None, rows: Ints) -> Predictions | None:
    """What a prober's model makes of some inputs, each passed forward once, as in a validation.

    Args:
        prober: outside of a measurement. No hook is on the model, and nothing is interpolated.
        held_out: N inputs.
        labels: shape (N,), their classes, or None. Where one of them is no place among the model's outputs
            they stand for something else, and none is used.
        rows: shape (R,), which inputs.

    Returns:
        Predictions, or None where the output gives no class.
    """
    highest = -1 if labels is None else int(labels.max())
    parts: list[Tensor] = []
    low = 0
    with eager_eval(prober.model, prober.device):
        while low < len(rows):
            go_on()
            at_once = prober.rows_at_once
            try:
                logits = _logits(prober, held_out, rows[low : low + at_once])
            except RuntimeError as error:
                if not is_out_of_memory(error) or at_once == 1:
                    raise
                prober.rows_at_once = max(1, min(at_once, len(rows)) // 2)
                continue
            if logits is None:
                return None
            used = labels if highest < logits.shape[1] else None
            parts.append(score(logits, _taken(used, rows[low : low + at_once], logits.device)))
            low += at_once
    return predictions_of(torch.cat(parts).cpu().numpy())


def _logits(prober: Prober, held_out: HeldOut, rows: Ints) -> Tensor | None:
    # The paths' starts show on which device, and in which type, the model takes each input.
    inputs = map_tensors(
        lambda own, like: own.to(like.device, like.dtype), held_out[rows].inputs, prober.paths.first
    )
    return class_logits(prober.forward(prober.model, inputs), len(rows))


def _taken(labels: Ints | None, rows: Ints, device: torch.device) -> Tensor | None:
    return None if labels is None else torch.from_numpy(labels[rows]).to(device)

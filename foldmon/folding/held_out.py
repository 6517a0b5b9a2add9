"""Held-out predictions: a second panel beside the pairs', of single inputs that take turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from foldmon.folding.data.labels import HeldOut
from foldmon.folding.model.giving_up import go_on
from foldmon.folding.model.judging import Judged, Judging, with_labels
from foldmon.folding.model.memory import is_out_of_memory
from foldmon.folding.model.prober import Prober
from foldmon.folding.results.blocks import BlockPanel
from foldmon.folding.results.criterion import Loss
from foldmon.folding.results.score import HeldOutScore, Predictions
from foldmon.folding.results.statistics import Ints, wilson_interval
from foldmon.folding.undisturbed.accelerator import arrived, to_host
from foldmon.folding.undisturbed.captures import GATE
from foldmon.folding.undisturbed.flags import eager_eval

Ask = Callable[[Prober, Ints], Predictions | None]
"""Predicts some inputs, as :meth:`HeldOutPanel.predict` does."""

_BATCH = 16
"""Least inputs of a batch, where a loss is that of a batch."""


class HeldOutPanel:
    """Held-out inputs whose predictions are followed, a share of them at each probe.

    They take turns in blocks, see :class:`foldmon.folding.results.blocks.BlockPanel`.

    Args:
        held_out: N inputs in random order, and their labels where known. Inputs all of whose labels are
            -100, which is to be ignored, are left out.
        seed: of the order of the turns.
        loss: ``loss(output, target)``, where labels do not tell it by themselves.

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

    def __init__(self, held_out: HeldOut, seed: int = 0, loss: Loss | None = None) -> None:
        self._held_out, self._loss, self._seed = with_labels(held_out), loss, seed
        self._panel = BlockPanel(len(self._held_out), seed)
        self.inputs = self._panel.inputs
        self._judging: Judging | None = None
        self._speaks, self._signed = True, False
        self._owed = 0  # inputs asked for that make no whole block yet

    @property
    def draws(self) -> bool:
        """Whether the loss is known to draw random numbers: it must not in a thread beside training."""
        return self._judging is not None and self._judging.draws

    def understand(self, prober: Prober) -> Judging:
        """Find out, once, how outputs are judged by labels; called before the first measurement, or by it.

        Raises:
            TypeError, ValueError: the loss that was given cannot be called with outputs and labels.
        """
        if self._judging is None:
            self._judging = Judging(prober, self._held_out, self._loss)
            if self._judging.joint and self._panel.size < _BATCH:
                self.follow(len(self._held_out))
        return self._judging

    def forget_loss(self) -> None:
        """The loss that was given fails: predictions alone are followed from now on."""
        self._loss = None
        if self._judging is not None:
            self._judging.forget_loss()
        self.follow(self.inputs)  # what is known of the others is of two quantities

    def follow(self, count: int) -> None:
        """Follow this many of the inputs at most; only before the first measurement."""
        least = _BATCH if self._judging is not None and self._judging.joint else 1
        self._panel = BlockPanel(min(count, len(self._held_out)), self._seed, least)
        self.inputs = self._panel.inputs

    def measure(self, prober: Prober, count: int, step: int, ask: Ask | None = None) -> HeldOutScore | None:
        """Predict the inputs whose turn it is, and estimate loss and accuracy of all of them.

        Called outside of ``prober.active()``, whose hooks move the inputs of token models.

        Args:
            prober: whose model is asked, in the way in which it calls it.
            count: number of inputs wished. Those that do not fill a block are made up for later.
            step: training step.
            ask: predicts in the place of :meth:`predict`, together with other ranks.

        Returns:
            HeldOutScore; None where no block is due yet, and where the model's output gives neither a class
            nor a loss: it is not asked again then.
        """
        self._owed = min(self._owed + count, self.inputs)
        if not self._speaks or self._owed < self._panel.size:
            return None
        rows = self._panel.next(self._owed - self._owed % self._panel.size)
        self._owed = max(0, self._owed - len(rows))
        predictions = (ask or self.predict)(prober, rows)
        if predictions is None:
            self._speaks = False
            return None
        return self.score(step, rows, predictions)

    def predict(self, prober: Prober, rows: Ints) -> Predictions | None:
        """What a prober's model makes of some inputs, each passed forward once, as in a validation.

        Args:
            prober: outside of a measurement. No hook is on the model, and nothing is interpolated.
            rows: shape (R,), which inputs.

        Returns:
            Predictions, or None where the output gives neither a class nor a loss.
        """
        judging = self.understand(prober)
        judging.begin()
        parts: list[Judged] = []
        low = 0
        with eager_eval(prober.model, prober.device):
            while low < len(rows):
                go_on()
                GATE.give_way()
                at_once = self._at_once(prober, judging)
                try:
                    part = judging.judged(prober, self._held_out, rows[low : low + at_once])
                except RuntimeError as error:
                    if not is_out_of_memory(error) or at_once == 1 or judging.joint:
                        raise
                    prober.rows_at_once = max(1, min(at_once, len(rows)) // 2)
                    continue
                if part.predicted is None and part.losses is None:
                    return None
                parts.append(part)
                low += at_once
        return _joined(parts)

    def _at_once(self, prober: Prober, judging: Judging) -> int:
        if judging.joint:
            return self._panel.size
        return prober.rows_at_once if judging.at_once is None else min(prober.rows_at_once, judging.at_once)

    def score(self, step: int, rows: Ints, predictions: Predictions) -> HeldOutScore:
        """Loss and accuracy of all inputs, from what is known of them with these predictions.

        Args:
            step: training step.
            rows: shape (R,), places of the inputs that were predicted, as the panel gave them.
            predictions: of these.
        """
        measured = None if len(rows) == self.inputs else rows
        # Errors, not right predictions: it is the rarer of the two whose mean is skewed.
        losses, correct = predictions.losses, predictions.correct
        columns = [
            values for values in (losses, None if correct is None else 1.0 - correct) if values is not None
        ]
        if not columns:
            return HeldOutScore(None, None, None, None, self.inputs, measured, predictions)
        joint = self._judging is not None and self._judging.joint
        # Losses are taken to be positive until one is not.
        self._signed = self._signed or (losses is not None and bool((losses < 0).any()))
        least, largest = (np.full(len(columns), end) for end in (0.0, np.inf))
        least[0] = -np.inf if self._signed else 0.0
        if correct is not None:
            largest[-1] = 1.0
        found = self._panel.update(step, rows, np.stack(columns, axis=1), largest, least, joint)
        means, lower, upper = found.mean.tolist(), found.lower.tolist(), found.upper.tolist()
        loss = None if losses is None else means[0]
        interval = None if losses is None else (lower[0], upper[0])
        if correct is None:
            return HeldOutScore(loss, interval, None, None, self.inputs, measured, predictions)
        error, fewest, most = means[-1], lower[-1], upper[-1]
        # Where no error is met none seems possible; so many inputs tell no more than this.
        surely, barely = wilson_interval(error, self.inputs)
        accuracy = 1.0 - max(most, float(barely)), 1.0 - min(fewest, float(surely))
        return HeldOutScore(loss, interval, 1.0 - error, accuracy, self.inputs, measured, predictions)

    def state_dict(self) -> dict[str, Any]:
        """All that the next estimate depends on beside the inputs, as plain JSON values."""
        state = self._panel.state_dict()
        followed = {"inputs": self._held_out.fingerprint, "followed": self.inputs}
        return {**followed, "panel": state, "signed": self._signed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken.

        Raises:
            ValueError: the state is of other inputs.
        """
        if state["inputs"] != self._held_out.fingerprint:
            raise ValueError("the state is of other held-out inputs")
        self.follow(int(state.get("followed", self.inputs)))
        self._panel.load_state_dict(state["panel"])
        self._signed = bool(state.get("signed", False))


def _joined(parts: Sequence[Judged]) -> Predictions:
    """The predictions of all passes, as numpy holds them."""

    def column(name: str) -> npt.NDArray[Any] | None:
        tensors = [getattr(part, name) for part in parts]
        known = [tensor for tensor in tensors if tensor is not None]
        if len(known) < len(tensors):
            return None
        copy = to_host(torch.cat(known))
        arrived([known[0].device])
        return copy.numpy()

    return Predictions.of(*map(column, ("predicted", "losses", "correct", "certainty")))

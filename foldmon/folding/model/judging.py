"""How held-out inputs are passed forward, and their outputs judged by what labels there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from foldmon.folding.data.labels import HeldOut
from foldmon.folding.data.trees import map_tensors
from foldmon.folding.model.own_loss import agreeing, call_with_labels, keyword_of_labels, own_loss
from foldmon.folding.model.prober import Prober
from foldmon.folding.results.criterion import Criterion, Loss
from foldmon.folding.results.judges import ByClass, ByFlag, ByPosition, BySquare, Judge, by_itself
from foldmon.folding.results.outputs import loss_of, parts_of
from foldmon.folding.results.statistics import Ints
from foldmon.folding.results.targets import IGNORED, Targets
from foldmon.folding.undisturbed.flags import eager_eval
from foldmon.folding.undisturbed.random_state import drew, random_state

_FEW = 2  # inputs that tell how a loss is called
_OUTPUT_BYTES = 64 * 2**20  # of the outputs that exist at once

Way = Literal["short", "whole", "labels"]
"""How the model is called: as the paths call it, for all that it puts out, or with labels beside."""


@dataclass(frozen=True)
class Judged:
    """Of R inputs, on the model's device: what is None is not known.

    Attributes:
        predicted: shape (R,), class.
        certainty: shape (R, CERTAINTY).
        losses: shape (R,).
        correct: shape (R,), share of labels that is predicted right.
    """

    predicted: Tensor | None
    certainty: Tensor | None
    losses: Tensor | None
    correct: Tensor | None


class Judging:
    """Found out once, on a few inputs: which loss there is, and how the model is called for it.

    Args:
        prober: whose model is asked; later ones are of the same model.
        held_out: N inputs and their labels.
        loss: as the user gave it. Without labels its target are the inputs.

    Attributes:
        at_once: most inputs of a pass, None for as many as the paths take.
        draws: whether the loss draws random numbers.

    Raises:
        TypeError, ValueError: ``loss`` cannot be called with outputs and labels.
    """

    def __init__(self, prober: Prober, held_out: HeldOut, loss: Loss | None = None) -> None:
        self._targets = Targets.of(held_out.labels)
        self._criterion = None if loss is None else Criterion(loss, held_out.labels)
        self._judge: Judge | None = None
        self._way: Way = "short"
        self._keyword: str | None = None
        self.at_once: int | None = None
        self.draws = False
        self._loses = True
        several = self._targets.values is not None and self._targets.values.ndim > 1
        if loss is not None or (several and not self._targets.flags) or prober.head is None:
            self._way = "whole"
        with eager_eval(prober.model, prober.device):
            self._understand(prober, held_out)

    @property
    def joint(self) -> bool:
        """Whether the loss of an input is that of its batch."""
        return self._criterion is not None and self._criterion.joint

    def _understand(self, prober: Prober, held_out: HeldOut) -> None:
        rows = np.arange(min(_FEW, len(held_out)))
        if self._way == "whole" and self._criterion is None and self._targets.values is not None:
            self._try_own_loss(prober, held_out)
        if self._judge is not None:
            return
        output, inputs = self._output(prober, held_out, rows)
        self._bound(output, len(rows))
        if self._criterion is not None:
            before = random_state()
            self._criterion.understand(output, _target(held_out[rows], inputs, prober), len(rows))
            self.draws = drew(before)
        self._judge = by_itself(prober.head, self._targets, output, len(rows))

    def _bound(self, output: Any, rows: int) -> None:
        size = sum(part.numel() * part.element_size() for part in parts_of(output)) // rows
        if self._way != "short" and size:
            self.at_once = max(1, _OUTPUT_BYTES // size)

    def _try_own_loss(self, prober: Prober, held_out: HeldOut) -> None:
        """Of a model that takes labels and puts out a loss of its own: how it is computed, if that shows."""
        values = self._targets.values
        assert values is not None
        first = held_out[_fullest(values)]
        inputs = prober.placed(first.inputs)
        labels = Targets.of(first.labels).values
        self._keyword = keyword_of_labels(prober.model, inputs) if prober.asked_plainly else None
        if labels is None or self._keyword is None:
            return
        try:
            output = call_with_labels(prober.model, inputs, _placed(first.labels, prober), self._keyword)
        except Exception:
            return  # its labels are others; that it can be called without them is known
        if loss_of(output) is None:
            return
        self._way = "labels"
        self._bound(output, 1)
        labels = labels.to(prober.device)
        self._judge = agreeing(output, labels, self._candidates(prober, labels))
        if self._judge is None:
            self._judge, self.at_once = own_loss, 1

    def _candidates(self, prober: Prober, labels: Tensor) -> Iterator[tuple[Judge, Judge]]:
        if not labels.is_floating_point() and labels.ndim > 1:
            for shift in (0, 1):
                one = ByPosition.of(Targets.of(labels), shift)
                yield one, ByPosition.of(self._targets, shift)
        elif prober.head is not None:
            yield ByClass(prober.head), ByClass(prober.head)
        if self._targets.flags:
            yield ByFlag(False), ByFlag(False)
        yield BySquare(), BySquare()

    def _output(self, prober: Prober, held_out: HeldOut, rows: Ints) -> tuple[Any, Any]:
        some = held_out[rows]
        inputs = prober.placed(some.inputs)
        if self._way == "labels" and self._keyword is not None:
            return call_with_labels(prober.model, inputs, _placed(some.labels, prober), self._keyword), inputs
        forward = prober.forward if self._way == "short" else prober.whole
        return forward(prober.model, inputs), inputs

    def forget_loss(self) -> None:
        """There is no loss any more: no other may go on in its series."""
        self._criterion, self._loses = None, False

    def begin(self) -> None:
        """The next inputs are judged at the weights of now."""
        if self._criterion is not None:
            self._criterion.renew()

    def judged(self, prober: Prober, held_out: HeldOut, rows: Ints) -> Judged:
        """Pass some inputs forward, and judge what comes out; within eval mode.

        Args:
            prober: outside of a measurement.
            held_out: as before.
            rows: shape (R,), which of its inputs.
        """
        output, inputs = self._output(prober, held_out, rows)
        count, head = len(rows), prober.head
        losses: Tensor | None = None
        correct: Tensor | None = None
        if self._judge is not None and self._targets.values is not None:
            labels = self._targets.values[torch.from_numpy(rows)].to(prober.device)
            judged = self._judge(output, count, labels)
            losses, correct = (None, None) if judged is None else judged
            losses = losses if self._loses else None
        if self._criterion is not None:
            losses = self._criterion(output, _target(held_out[rows], inputs, prober), count)
        logits = None if head is None else head.logits(output, count)
        if head is None or logits is None:
            return Judged(None, None, losses, correct)
        return Judged(head.predicted(logits), head.certainty(logits), losses, correct)


def _fullest(values: Tensor) -> Ints:
    """The input with most labels."""
    counts = (values >= 0).reshape(len(values), -1).sum(1)
    return np.array([int(counts.argmax())])


def _target(some: HeldOut, inputs: Any, prober: Prober) -> Any:
    """What a loss compares outputs with."""
    return inputs if some.labels is None else _placed(some.labels, prober)


def _placed(labels: Any, prober: Prober) -> Any:
    if isinstance(labels, np.ndarray):
        return labels.tolist()

    # Python's numbers come as float64 from a loader; a training step turns them into the model's type.
    def place(tensor: Tensor) -> Tensor:
        wide = tensor.dtype == torch.float64
        return tensor.to(prober.device, prober.dtype if wide else tensor.dtype)

    return map_tensors(place, labels)


def with_labels(held_out: HeldOut) -> HeldOut:
    """Without the inputs all of whose labels are to be ignored, if others are left."""
    values = Targets.of(held_out.labels).values
    if values is None or values.is_floating_point():
        return held_out
    kept = (values != IGNORED).reshape(len(values), -1).any(1).cpu().numpy()
    return held_out if kept.all() or not kept.any() else held_out[np.flatnonzero(kept)]

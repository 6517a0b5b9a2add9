"""Scouting: a few points of the lines tell what runs in a model, and where each site holds the batch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from foldmon.folding.data.trees import describe
from foldmon.folding.model.batch_axis import batch_axis
from foldmon.folding.model.footprint import Footprint
from foldmon.folding.model.origin import Origins
from foldmon.folding.model.paths import StraightPaths
from foldmon.folding.model.row_order import (
    Sample,
    misplaced,
    put_back,
    sample_of,
)
from foldmon.folding.model.taps import RECURRENT, Taps
from foldmon.folding.model.unknown import SPIKING, hidden_activations
from foldmon.folding.results.coverage import by_reason
from foldmon.folding.results.heads import Classes, Head, head_of
from foldmon.folding.results.outputs import prediction_of
from foldmon.folding.results.targets import Targets
from foldmon.folding.symbols.activations import Reading
from foldmon.folding.undisturbed.flags import eager_eval

# Points of two passes of different sizes and orders: what grows with them is the batch, and what changes
# its place otherwise than they do is not in its order.
_POINTS = (0, 1, 2, 3, 4)
_FEWER = (4, 2, 0)

# So many times the largest activation live at once in most models.
_USUAL_LIVE = 4

_OUT_OF_ORDER = (
    "its rows are not the inputs in the order of the batch (sorted, routed to experts, or folded in behind "
    "another dimension)"
)
_OF_THE_BATCH = (
    "it has as many values an input as the batch has inputs (a similarity of all inputs with all): they are "
    "of the batch, not of an input"
)
BY_BATCH = (
    "takes other values in another batch: it depends on the other inputs of the batch or on chance, and so "
    "do the numbers from there on. Where the model takes positions first and inputs second (as torch's "
    "recurrent layers and transformers do without batch_first=True), pass "
    "forward=lambda model, x: model(x.transpose(0, 1))"
)
"""How a note ends that tells so."""

NO_CLASS = "the output gives no class a row: no decision folding"
"""How a note begins that tells so."""

_ADVICE = {
    RECURRENT: (
        "Recurrent layers (nn.RNN, nn.LSTM, nn.GRU and their cells) are not covered, and registering one "
        "does not help. Measured are activation layers beside them, such as in a head of two layers, and "
        "recurrences that are written out in Python, with torch.tanh or F.relu at each step."
    ),
    SPIKING: (
        "Spiking layers are not covered, and registering one does not help: what they compare with a "
        "threshold is a state that they keep. Measured are activation layers beside them."
    ),
    "": (
        "If one of them is an activation layer of yours, make it a module and tell foldmon where its pieces "
        "meet: foldmon.register_activation(cls, thresholds)."
    ),
}


class CannotCallError(RuntimeError):
    """The model does not take the inputs."""


@dataclass
class Found:
    """What scouting found.

    Attributes:
        axes: where each site that can be measured holds the batch, as ``batch_first`` takes it.
        sizes: number of units of each, in order of execution.
        sorted: those whose rows a sort of the model's moves.
        bytes_a_row: of the largest site, or a quarter of all that lives at once where that is more.
        not_covered: what cannot be measured, with the reason.
        kinks: functions that bend or select outside activation layers, by place.
        seconds_a_row: wall time of a row in a pass of a few.
        notes: what else to know.
        executed: every module that ran, by path.
        head: how outputs are read as classes, None where they are none.
        samples: a few of the values of each site: equal ones on two ranks are of the same units.
    """

    axes: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    sorted: set[str] = field(default_factory=set)
    bytes_a_row: int = 1
    seconds_a_row: float = 0.0
    not_covered: dict[str, str] = field(default_factory=dict)
    kinks: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    executed: Mapping[str, nn.Module] = field(default_factory=dict)
    head: Head | None = None
    samples: Mapping[str, Sample] = field(default_factory=dict)


class _Seen(NamedTuple):
    """What a site was given in a pass; some of its values, and these as they were before a sort."""

    shape: torch.Size
    dtype: torch.dtype
    sample: Sample
    sorted_back: Sample | None


class Scout:
    """Evaluates five points of the lines, on as many paths, and some of them again in another order.

    Args:
        model: the module that is measured.
        paths: its inputs.
        call: calls the model with inputs.
        like: has the dtype and the device of the model's activations.
        classes: what the user says of the outputs.
        targets: labels, which tell whether outputs are classes.
    """

    def __init__(
        self,
        model: nn.Module,
        paths: StraightPaths,
        call: Callable[[Any], Any],
        like: Tensor,
        classes: Classes = None,
        targets: Targets | None = None,
    ) -> None:
        self.model, self.paths, self.call, self.like = model, paths, call, like
        self.classes, self.targets = classes, targets
        self._taps = Taps(model, self._note)
        self._seen: dict[str, _Seen] = {}

    def find(self) -> Found:
        """Run the passes.

        Raises:
            CannotCallError: the model does not take the inputs.
            ValueError: nothing can be interpolated.
        """
        sightings = self._taps.sightings
        with eager_eval(self.model, self.like.device), ExitStack() as stack:
            self.paths.hook(stack)
            self.paths.capture(
                self._first_call, torch.arange(min(len(_POINTS), len(self.paths)), device=self.like.device)
            )
            stack.enter_context(self._taps)
            fewer, _, bytes_of_fewer = self._pass(_FEWER)
            kinks = dict(sightings.kinks)
            began = time.perf_counter()
            seen, output, bytes_of_all = self._pass(_POINTS)
            seconds = time.perf_counter() - began
            not_covered = sightings.not_covered | hidden_activations(sightings, seen, self.like)
        live = (bytes_of_all - bytes_of_fewer) // (len(_POINTS) - len(_FEWER))
        found = Found(
            bytes_a_row=max(1, live // _USUAL_LIVE),
            seconds_a_row=seconds / len(_POINTS),
            not_covered=not_covered,
            notes=list(self.paths.notes),
            executed=sightings.executed,
            samples={site: own.sample for site, own in seen.items()},
        )
        for site, own in seen.items():
            self._place(found, site, own, fewer.get(site))
        for place, (name, shape) in sightings.kinks.items():
            if place not in kinks or _axis(shape, kinks[place][1]) is not None:
                found.kinks[place] = name
        self._read(found, output)
        return found

    def _read(self, found: Found, output: Any) -> None:
        """Find out whether outputs are classes."""
        first, tokens = next(self.paths.tensors()), self.paths.has_tokens
        prediction = prediction_of(output, len(_POINTS))[0]
        head = head_of(
            output,
            len(_POINTS),
            classes=self.classes,
            targets=self.targets,
            size=0 if tokens else first[0].numel(),
            tokens=tokens,
            made=None if prediction is None else self._origins.of(prediction),
        )
        if isinstance(head, str):
            found.notes.append(f"{NO_CLASS} ({head}; classes= tells otherwise)")
        else:
            found.head = head

    def _note(self, site: str, reading: Reading) -> None:
        values, order = reading.values, self._taps.order
        sample = sample_of(values)
        fits = order is not None and len(order) == len(sample)
        back = put_back(torch.from_numpy(sample), order.cpu()).numpy() if order is not None and fits else None
        self._seen[site] = _Seen(values.shape, values.dtype, sample, back)

    def _pass(self, points: Sequence[int]) -> tuple[dict[str, _Seen], Any, int]:
        """What every site is given in a pass over some of the points, the output, and the bytes it took."""
        self._seen = {}
        which = torch.tensor(points, device=self.like.device)
        footprint = Footprint(chain(self.model.parameters(), self.model.buffers(), self.paths.tensors()))
        with footprint:
            inputs = self.paths.rows(which % len(self.paths), which / (len(_POINTS) - 1))
        self._taps.restart()
        self._origins = Origins()
        with footprint, self._origins:
            output = self._first_call(inputs)
        self._taps.pause()
        return self._seen, output, footprint.peak

    def _first_call(self, inputs: Any) -> Any:
        """Run the model for the first time, where inputs that do not fit show."""
        try:
            return self.call(inputs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise CannotCallError(
                f"{type(self.model).__name__} could not be called with {describe(self.paths.first)}: "
                f"{type(error).__name__}: {error}\n"
                "Pass inputs as the model takes them, batch first (a dict is passed by keyword, a tuple by "
                "position), or say how to call it with forward=. In foldmon.watch's data a tuple of two is "
                "(inputs, labels)."
            ) from error

    def _place(self, found: Found, site: str, own: _Seen, fewer: _Seen | None) -> None:
        axis = None if fewer is None else _axis(own.shape, fewer.shape)
        if fewer is None or axis is None:
            alike = fewer is not None and fewer.shape == own.shape
            text = f"no dimension of its input {tuple(own.shape)} follows the batch size"
            found.not_covered[site] = text + (": it is the same for a smaller batch" if alike else "")
            return
        if math.prod(own.shape) * len(_FEWER) != math.prod(fewer.shape) * len(_POINTS):
            found.not_covered[site] = _OF_THE_BATCH
            return
        verdict = _verdict(own, own.sample, fewer.sample, axis)
        if verdict is not None and _sorts_back(own, fewer, axis):
            found.sorted.add(site)
            verdict = None
        if verdict == "moved":
            found.not_covered[site] = _OUT_OF_ORDER
            return
        if verdict == "changed" and not any(note.endswith(BY_BATCH) for note in found.notes):
            found.notes.append(f"{site} {BY_BATCH}")
        found.axes[site] = axis
        found.sizes[site] = math.prod(own.shape) // len(_POINTS)
        found.bytes_a_row = max(found.bytes_a_row, found.sizes[site] * own.dtype.itemsize)


def _axis(shape: Sequence[int], fewer: Sequence[int]) -> int | None:
    return batch_axis(shape, len(_POINTS), fewer, len(_FEWER))


def _verdict(site: _Seen, sample: Sample, fewer: Sample, axis: int) -> str | None:
    """What is wrong with the order of a site's rows, None where nothing is or nothing can be said."""
    entries = site.shape[axis] // len(_POINTS)
    if not site.dtype.is_floating_point or sample.shape[axis] != site.shape[axis]:
        return None
    if axis:
        sample, fewer = (np.moveaxis(x, axis, 0) for x in (sample, fewer))
    rows = sample.reshape(len(_POINTS), entries, -1)
    some = fewer.reshape(len(_FEWER), entries, -1)
    return misplaced(rows, some, _FEWER, torch.finfo(site.dtype).eps)


def _sorts_back(own: _Seen, fewer: _Seen, axis: int) -> bool:
    back, fewer_back = own.sorted_back, fewer.sorted_back
    return back is not None and fewer_back is not None and _verdict(own, back, fewer_back, axis) is None


def nothing_found(
    executed: Mapping[str, nn.Module], not_covered: Mapping[str, str], kinks: Iterable[str]
) -> str:
    """An error text for a model without anything to measure, with what was seen and what to do."""
    seen = sorted({type(module).__name__ for module in executed.values()})
    lines = [
        "no activation layer was found in the model, so there is nothing to measure.",
        f"Modules that ran: {', '.join(seen) or 'none'}.",
    ]
    lines += [f"Not covered: {text}." for text in by_reason(not_covered.items())]
    if named := ", ".join(kinks):
        lines.append(f"Functions that bend without being an activation: {named}.")
    seen_inside = {
        reason for reason in (RECURRENT, SPIKING) if any(reason in why for why in not_covered.values())
    }
    lines += [_ADVICE[reason] for reason in sorted(seen_inside)] or [_ADVICE[""]]
    return "\n".join(lines)

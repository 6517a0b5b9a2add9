"""The prober: evaluates a model at points of the lines and shows every site's pre-activations.

All measuring methods share it: they choose the rows (path, t) and decide what to do with the readings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from foldmon.measure.activations import Reading
from foldmon.measure.coverage import Coverage, not_understood
from foldmon.measure.decision import predicted_class
from foldmon.measure.lines import Lines
from foldmon.measure.names import choose
from foldmon.measure.pairs import Pairs
from foldmon.measure.taps import Taps, Watch
from foldmon.measure.trees import call
from foldmon.measure.wrappers import device_of, dtype_of, eager_eval, unwrap

Forward = Callable[[nn.Module, Any], Any]
Look = Callable[[int, Reading], None]
"""Receives a site's index and its reading, values of shape (R, ...), during the pass."""

# A prime that few dimensions of a model equal: it tells where the batch went in each activation.
_SCOUT_ROWS = 5
_CHUNK_BYTES = {"cpu": 16 * 2**20}
_CHUNK_BYTES_DEVICE = 256 * 2**20


class Prober:
    """A model and lines, ready to be evaluated at any rows.

    Args:
        model: any module; wrappers (compiled, DDP) are looked through. It is left as it was found.
        pairs: ends of the lines.
        layers: names or patterns of the sites to read, None for all.
        at: module whose output is interpolated instead of the inputs.
        forward: calls the model, ``forward(model, inputs)``, where ``model(inputs)`` (a dict by keyword,
            a tuple by position) would not do.

    Attributes:
        sites: names of the chosen sites, in order of execution.
        units: number of units of each.
        coverage: Coverage of the whole model.
        rows_at_once: rows of one pass that keep the largest activation near the memory target.
        evaluations: model evaluations (rows) so far.

    Raises:
        ValueError: no activation layer was found, a layer or module name is unknown, or the model is on
            the meta device.
        RuntimeError: the model cannot be called with the inputs.
    """

    def __init__(
        self,
        model: nn.Module,
        pairs: Pairs,
        *,
        layers: str | Iterable[str] | None = None,
        at: str | None = None,
        forward: Forward | None = None,
        chunk: int | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        self.model = unwrap(model)
        self.forward = forward or call
        self.device = device_of(self.model)
        if self.device.type == "meta":
            raise ValueError(
                "the model's parameters are on the meta device and hold no values; "
                "load it onto a real device (model.to_empty(device=...) and weights) first"
            )
        self.lines = Lines(self.model, pairs, self.device, dtype_of(self.model), at)
        self.evaluations = 0
        self.notes: dict[str, None] = {}
        self._places: dict[str, int] = {}
        self._axes: dict[str, int] = {}
        self._look: Look | None = None
        self._taps = Taps(self.model, self._visit)
        self._scout(layers, chunk)

    def _scout(self, layers: str | Iterable[str] | None, chunk: int | None) -> None:
        """Evaluate a few points of the first path: what runs, where is the batch, how large is it."""
        sizes: dict[str, int] = {}
        bytes_a_row: dict[str, int] = {}
        unmatched: dict[str, str] = {}

        def visit(site: str, reading: Reading) -> None:
            values = reading.values
            axis = _batch_axis(values, _SCOUT_ROWS)
            if axis is None:
                unmatched[site] = f"no dimension of its input {tuple(values.shape)} follows the batch size"
                return
            self._axes[site] = axis
            sizes[site] = values.numel() // _SCOUT_ROWS
            bytes_a_row[site] = sizes[site] * values.element_size()

        scout = Taps(self.model, visit)
        with eager_eval(self.model), ExitStack() as stack:
            self.lines.hook(stack)
            self.lines.capture(self._call, rows_at_once=64)
            stack.enter_context(scout)
            t = torch.linspace(0, 1, _SCOUT_ROWS, device=self.device)
            path = torch.zeros(_SCOUT_ROWS, dtype=torch.int64, device=self.device)
            inputs = self.lines.rows(path, t)
            scout.restart()
            output = self._call(inputs)
        missed = not_understood(scout.sightings, sizes) | unmatched
        if not sizes:
            raise ValueError(_nothing_found(scout, missed))
        if predicted_class(output, _SCOUT_ROWS) is None:
            self.notes["the output gives no class a row: no decision folding"] = None
        self._sizes, self._missed, self._kinks = sizes, missed, scout.sightings.kinks
        self.choose(layers)
        target = _CHUNK_BYTES.get(self.device.type, _CHUNK_BYTES_DEVICE)
        self.rows_at_once = chunk or max(1, target // max(max(bytes_a_row.values()), 1))

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type in which the lines are evaluated."""
        return dtype_of(self.model) or torch.get_default_dtype()

    @property
    def executed(self) -> Mapping[str, nn.Module]:
        """Every module that ran so far, by path."""
        return self._taps.sightings.executed

    @property
    def coverage(self) -> Coverage:
        """What of the model is covered, as far as seen by now."""
        return Coverage(self._sizes, self._missed, self._kinks, tuple(self.notes))

    def choose(self, layers: str | Iterable[str] | None) -> None:
        """Read only the sites that ``layers`` asks for from now on.

        Raises:
            ValueError: a name or pattern that fits no site.
        """
        self.sites = choose(tuple(self._sizes), layers)
        self.units = tuple(self._sizes[site] for site in self.sites)
        self._places = {site: place for place, site in enumerate(self.sites)}

    @contextmanager
    def active(self) -> Iterator[Prober]:
        """The model in eval mode with taps on, until the block ends."""
        with eager_eval(self.model), ExitStack() as stack:
            self.lines.hook(stack)
            stack.enter_context(self._taps)
            yield self

    def run(self, paths: Tensor, t: Tensor, look: Look, watch: Watch | None = None) -> Tensor | None:
        """Evaluate the model at rows (path, t), within :meth:`active`.

        Args:
            paths: shape (R,), int64, on the model's device.
            t: shape (R,), positions on the paths, on the model's device.
            look: shown each chosen site's reading, values (R, ...), batch first.
            watch: shown every torch function call outside activations.

        Returns:
            Predicted class of each row, shape (R,), or None where the output gives none.
        """
        self._look, self._count = look, len(t)
        self._taps.watch = watch
        inputs = self.lines.rows(paths, t)
        try:
            self._taps.restart()
            output = self._call(inputs)
        finally:
            self._look = self._taps.watch = None
            self._taps.pause()
        self.evaluations += len(t)
        return predicted_class(output, len(t))

    def _call(self, inputs: Any) -> Any:
        return self.forward(self.model, inputs)

    def _visit(self, site: str, reading: Reading) -> None:
        place = self._places.get(site)
        if place is None or self._look is None:
            if site not in self._axes:
                self.notes[f"{site} runs in some passes only and is not measured"] = None
            return
        values = batch_first(reading.values, self._axes[site], self._count)
        if values is None:
            self.notes[f"{site} changes its batch dimension and is measured in part"] = None
            return
        self._look(place, Reading(values, reading.thresholds))


def _batch_axis(values: Tensor, rows: int) -> int | None:
    """The dimension that holds the rows; -1 where dimension 0 holds several entries a row."""
    for axis, size in enumerate(values.shape):
        if size == rows:
            return axis
    return -1 if values.ndim and values.shape[0] and values.shape[0] % rows == 0 else None


def batch_first(values: Tensor, axis: int, rows: int) -> Tensor | None:
    """Values as (rows, ...), or None where they do not divide into rows."""
    if axis == -1:
        return values.reshape(rows, -1) if values.shape[0] % rows == 0 else None
    if values.ndim <= axis or values.shape[axis] != rows:
        return None
    return values if axis == 0 else values.movedim(axis, 0)


def _nothing_found(scout: Taps, missed: dict[str, str]) -> str:
    seen = sorted({type(module).__name__ for module in scout.sightings.executed.values()})
    lines = [
        "no activation layer was found in the model, so there is nothing to measure.",
        f"Modules that ran: {', '.join(seen) or 'none'}.",
    ]
    lines += [f"Not understood: {place}: {why}." for place, why in missed.items()]
    lines.append(
        "If one of them is an activation layer, tell foldmon where its pieces meet: "
        "foldmon.register_activation(cls, thresholds)."
    )
    return "\n".join(lines)

"""The prober: evaluates a model at points of the lines and shows every site's pre-activations.

All measuring methods share it: they choose the rows (path, t) and decide what to do with the readings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from foldmon.measure.activations import Reading
from foldmon.measure.batch import batch_axis, batch_first
from foldmon.measure.coverage import Coverage, hidden_activations
from foldmon.measure.decision import CERTAINTY, certainty, class_logits, predicted_class
from foldmon.measure.lines import Lines
from foldmon.measure.memory import keep_freed_memory
from foldmon.measure.names import choose
from foldmon.measure.pairs import Pairs
from foldmon.measure.taps import Taps, Watch
from foldmon.measure.trees import call, describe
from foldmon.measure.wrappers import device_of, dtype_of, eager_eval, unwrap

Forward = Callable[[nn.Module, Any], Any]
Look = Callable[[int, Reading], None]
"""Receives a site's index and its reading, values of shape (R, ...), during the pass."""

# Rows of two passes of different sizes: what grows with them is the batch.
_SCOUT_ROWS, _FEWER_ROWS = 5, 3
_CHUNK_BYTES = {"cpu": 16 * 2**20}
_CHUNK_BYTES_DEVICE = 256 * 2**20


class ModelChangedError(RuntimeError):
    """The model does not run as it did when its sites were found; make a new :class:`Prober`."""


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
        axes: where each site's values hold the rows, as :func:`batch_first` takes it, for all sites.
        coverage: Coverage of the whole model.
        rows_at_once: rows of one pass that keep the largest activation near the memory target.
        evaluations: model evaluations (rows) so far.
        certainty: shape (P, 2, CERTAINTY), :func:`~foldmon.measure.decision.certainty` of the model at the
            start and the end of each path, NaN where they were not evaluated yet.

    Raises:
        ValueError: no activation layer was found, a layer or module name is unknown, the model is on the
            meta device or has lazy layers without weights.
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
        if any(is_lazy(tensor) for tensor in chain(self.model.parameters(), self.model.buffers())):
            raise ValueError(
                "the model has lazy layers that hold no weights yet; run it once on a batch of inputs first"
            )
        self.lines = Lines(self.model, pairs, self.device, dtype_of(self.model), at)
        self.evaluations = 0
        self.certainty = torch.full((len(pairs), 2, CERTAINTY), torch.nan, device=self.device)
        self.notes: dict[str, None] = {}
        self._places: dict[str, int] = {}
        self.axes: dict[str, int] = {}
        self._look: Look | None = None
        self._taps = Taps(self.model, self._visit, lean=True)
        self._first_shapes: dict[str, torch.Size] | None = {}
        self._signature: tuple[Any, ...] | None = None
        if self.device.type == "cpu":
            keep_freed_memory()
        self._scout(layers, chunk)

    def _scout(self, layers: str | Iterable[str] | None, chunk: int | None) -> None:
        """Evaluate a few points of the first path: what runs, where is the batch, how large is it."""
        scout = Taps(self.model, self._note_shape)
        with eager_eval(self.model), ExitStack() as stack:
            self.lines.hook(stack)
            self._first_call(self.lines.capture, self._call, 64)
            stack.enter_context(scout)
            few, _ = self._first_call(self._shapes, scout, _FEWER_ROWS)
            seen, output = self._shapes(scout, _SCOUT_ROWS)
        sizes: dict[str, int] = {}
        bytes_a_row = [1]
        missed = dict(scout.sightings.not_understood)
        for site, (shape, item_bytes) in seen.items():
            axis = batch_axis(shape, _SCOUT_ROWS, few[site][0] if site in few else (), _FEWER_ROWS)
            if axis is None:
                missed[site] = f"no dimension of its input {tuple(shape)} follows the batch size"
                continue
            self.axes[site] = axis
            sizes[site] = math.prod(shape) // _SCOUT_ROWS
            bytes_a_row.append(sizes[site] * item_bytes)
        missed |= hidden_activations(scout.sightings, seen)
        if not sizes:
            raise ValueError(_nothing_found(scout, missed))
        if predicted_class(output, _SCOUT_ROWS) is None:
            self.notes["the output gives no class a row: no decision folding"] = None
        self._sizes, self._missed, self._kinks = sizes, missed, scout.sightings.kinks
        self._scouted_notes = dict(self.notes)
        self.choose(layers)
        target = _CHUNK_BYTES.get(self.device.type, _CHUNK_BYTES_DEVICE)
        self.rows_at_once = chunk or max(1, target // max(bytes_a_row))

    def renew(self) -> None:
        """Begin another measurement of the same model, with other weights, on what is known of it.

        The first pass must run as that of the measurement before: :meth:`run` raises
        :class:`ModelChangedError` where other sites are seen, or in another order or shape, or other
        modules, selections or parts that are not understood. The module and its lines must be the same
        objects, of the same types on the same devices.
        """
        self.evaluations = 0
        self.certainty.fill_(torch.nan)
        self.notes = dict(self._scouted_notes)
        self._taps = Taps(self.model, self._visit, lean=True)
        self._first_shapes = {}
        if self.lines.embeddings:
            with eager_eval(self.model), ExitStack() as stack:
                self.lines.hook(stack)
                self.lines.capture(self._call, 64)

    def _check(self, classes: bool) -> None:
        """Compare the first pass of a measurement with that of the one before."""
        shapes, self._first_shapes = self._first_shapes, None
        assert shapes is not None
        seen = self._taps.sightings
        signature = (
            [(site, self._shape_of_a_row(site, shape)) for site, shape in shapes.items()],
            classes,
            set(seen.executed),
            dict(seen.kinks),
            dict(seen.not_understood),
        )
        if self._signature is not None and signature != self._signature:
            raise ModelChangedError(f"{type(self.model).__name__} runs in another way than before")
        self._signature = signature

    def _shape_of_a_row(self, site: str, shape: torch.Size) -> list[float]:
        sizes: list[float] = list(shape)
        if site in self.axes and len(sizes) > self.axes[site]:
            sizes[self.axes[site]] /= self._count
        return sizes if site in self.axes else []

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type in which the lines are evaluated."""
        return dtype_of(self.model) or torch.get_default_dtype()

    @property
    def executed(self) -> Mapping[str, nn.Module]:
        """The modules that ran so far, by path, but for torch's own linear layers."""
        return self._taps.sightings.executed

    @property
    def scripted(self) -> list[str]:
        """Paths of the TorchScript modules, inside which no hook runs."""
        return self._taps.sightings.scripted

    def _note_shape(self, site: str, reading: Reading) -> None:
        self._seen[site] = (reading.values.shape, reading.values.element_size())

    def _shapes(self, scout: Taps, rows: int) -> tuple[dict[str, tuple[torch.Size, int]], Any]:
        """Shape and bytes an entry of every site in a pass over some points of the first path."""
        self._seen: dict[str, tuple[torch.Size, int]] = {}
        t = torch.linspace(0, 1, rows, device=self.device)[:, None]
        path = torch.zeros((1, 1), dtype=torch.int64, device=self.device)
        inputs = self.lines.rows(path, t)
        scout.restart()
        output = self._call(inputs)
        scout.pause()
        return self._seen, output

    def _first_call(self, run: Callable[..., Any], *args: Any) -> Any:
        """Run the model for the first time, where inputs that do not fit show."""
        try:
            return run(*args)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError, IndexError, AttributeError, KeyError) as error:
            raise RuntimeError(
                f"{type(self.model).__name__} could not be called with {describe(self.lines.first)}: "
                f"{error}\n"
                "Pass inputs as the model takes them, batch first (a dict is passed by keyword, a tuple by "
                "position), or say how to call it with forward=."
            ) from error

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
            paths: shape (R,), int64, on the model's device; or (1, C), where every path is wanted at every t.
            t: shape (R,), positions on the paths, on the model's device; or (n, 1), and the R = n C rows
                are the paths at the first t, then those at the second.
            look: shown each chosen site's reading, values (R, ...), batch first.
            watch: shown every torch function call outside activations.

        Returns:
            Predicted class of each row, shape (R,), or None where the output gives none.

        Raises:
            ModelChangedError: after :meth:`renew`, where the model runs in another way than before.
        """
        self._look, self._count = look, t.numel() * (paths.numel() if t.ndim == 2 else 1)
        self._taps.watch = watch
        inputs = self.lines.rows(paths, t)
        try:
            self._taps.restart()
            output = self._call(inputs)
        finally:
            self._look = self._taps.watch = None
            self._taps.pause()
        self.evaluations += self._count
        logits = class_logits(output, self._count)
        if self._first_shapes is not None:
            self._check(logits is not None)
        if logits is None:
            return None
        self._note_certainty(paths, t, logits)
        return logits.argmax(1)

    def _note_certainty(self, paths: Tensor, t: Tensor, logits: Tensor) -> None:
        for side, end in enumerate((0, 1)):
            if t.ndim == 1:
                rows = t == end
                self.certainty[paths[rows], side] = certainty(logits[rows])
            elif t[-side] == end:
                at = slice(-paths.numel(), None) if side else slice(paths.numel())
                self.certainty[paths[0], side] = certainty(logits[at])

    def _call(self, inputs: Any) -> Any:
        return self.forward(self.model, inputs)

    def _visit(self, site: str, reading: Reading) -> None:
        if self._first_shapes is not None:
            self._first_shapes[site] = reading.values.shape
        place = self._places.get(site)
        if place is None or self._look is None:
            if site not in self.axes:
                self.notes[f"{site} runs in some passes only and is not measured"] = None
            return
        values = batch_first(reading.values, self.axes[site], self._count)
        if values is None:
            self.notes[f"{site} changes its batch dimension and is measured in part"] = None
            return
        self._look(place, Reading(values, reading.thresholds))


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

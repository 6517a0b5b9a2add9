"""The prober: evaluates a model at points of the lines and shows every site's pre-activations.

All measuring methods share it: they choose the rows (path, t) and decide what to do with the readings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from foldmon.measure.activations import Reading
from foldmon.measure.batch import batch_axis, batch_first
from foldmon.measure.coverage import Coverage, hidden_activations
from foldmon.measure.decision import certainty, class_logits, predicted_class
from foldmon.measure.decoders import FIRST_TOKEN, ask_for_first_token
from foldmon.measure.lines import Lines
from foldmon.measure.names import choose
from foldmon.measure.pairs import Pairs
from foldmon.measure.rows import misplaced, sample_of
from foldmon.measure.taps import Taps, Watch
from foldmon.measure.trees import call, describe
from foldmon.measure.wrappers import device_of, dtype_of, eager_eval, unwrap

Forward = Callable[[nn.Module, Any], Any]
Look = Callable[[int, Reading], None]
"""Receives a site's index and its reading, values of shape (R, ...), during the pass."""

# Rows of two passes of different sizes and orders: what grows with them is the batch.
_SCOUT_ROWS = (0, 1, 2, 3, 4)
_FEWER_ROWS = (4, 2, 0)
_CHUNK_BYTES = {"cpu": 16 * 2**20}
_CHUNK_BYTES_DEVICE = 256 * 2**20


class CannotCallError(RuntimeError):
    """The model does not take the inputs."""


class _Seen(NamedTuple):
    """What a site was given in a pass."""

    shape: torch.Size
    item_bytes: int
    sample: Tensor


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
        irregular: chosen sites that some pass did not run as the others did, with what was otherwise: they
            are measured in part until :meth:`settle` leaves them out.
        certainty: shape (P, 2, 2), :func:`~foldmon.measure.decision.certainty` of the model at the start
            and the end of each path, NaN where they were not evaluated yet.

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
        self.notes: dict[str, None] = {}
        self.irregular: dict[str, str] = {}
        self._places: dict[str, int] = {}
        self.axes: dict[str, int] = {}
        self._look: Look | None = None
        self._met: set[int] = set()
        self._taps = Taps(self.model, self._visit)
        self._begin()
        try:
            self._scout(layers, chunk)
        except CannotCallError:
            asked = ask_for_first_token(self.model, self.lines.first) if forward is None else None
            if asked is None:
                raise
            self.forward = asked
            self.notes[FIRST_TOKEN] = None
            self._scout(layers, chunk)

    def _begin(self) -> None:
        self.evaluations = 0
        self.certainty = torch.full((len(self.lines), 2, 2), torch.nan, device=self.device)

    def _scout(self, layers: str | Iterable[str] | None, chunk: int | None) -> None:
        """Evaluate a few points: what runs, where is the batch, how large is it."""
        scout = Taps(self.model, self._note_values)
        with eager_eval(self.model), ExitStack() as stack:
            self.lines.hook(stack)
            self.lines.capture(self._first_call, 64)
            stack.enter_context(scout)
            few, _ = self._values(scout, _FEWER_ROWS)
            bends = dict(scout.sightings.bends)
            seen, output = self._values(scout, _SCOUT_ROWS)
            scout.pause()
            like = torch.empty(0, dtype=self.dtype, device=self.device)
            missed = scout.sightings.not_understood | hidden_activations(scout.sightings, seen, like)
        self.notes |= dict.fromkeys(self.lines.notes)
        self._kinks = {
            place: name
            for place, (name, shape) in scout.sightings.bends.items()
            if place not in bends or self._axis_of(shape, bends[place][1]) is not None
        }
        self._sizes: dict[str, int] = {}
        bytes_a_row = [1]
        for site, own in seen.items():
            axis = self._axis_of(own.shape, few[site].shape if site in few else ())
            why = (
                _no_axis(own, few.get(site))
                if axis is None
                else self._out_of_place(site, own, few[site], axis)
            )
            if axis is None or why is not None:
                missed[site] = str(why)
                continue
            self.axes[site] = axis
            self._sizes[site] = math.prod(own.shape) // len(_SCOUT_ROWS)
            bytes_a_row.append(self._sizes[site] * own.item_bytes)
        self._missed = missed
        if not self._sizes:
            raise ValueError(_nothing_found(scout.sightings.executed, missed, self._kinks))
        if predicted_class(output, len(_SCOUT_ROWS)) is None:
            self.notes["the output gives no class a row: no decision folding"] = None
        self._layers = layers
        self.choose(layers)
        target = _CHUNK_BYTES.get(self.device.type, _CHUNK_BYTES_DEVICE)
        self.rows_at_once = chunk or max(1, target // max(bytes_a_row))

    def _axis_of(self, shape: Sequence[int], fewer: Sequence[int]) -> int | None:
        return batch_axis(shape, len(_SCOUT_ROWS), fewer, len(_FEWER_ROWS))

    def _out_of_place(self, site: str, own: _Seen, fewer: _Seen, axis: int) -> str | None:
        """Why the rows of a site cannot be told apart, None where they can."""
        rows = batch_first(own.sample, axis, len(_SCOUT_ROWS))
        some = batch_first(fewer.sample, axis, len(_FEWER_ROWS))
        if rows is None or some is None or rows.shape[1:] != some.shape[1:] or not rows.is_floating_point():
            return None
        verdict = misplaced(rows.unsqueeze(1), some.unsqueeze(1), _FEWER_ROWS)
        if verdict == "changed" and not any(note.endswith(_BY_BATCH) for note in self.notes):
            self.notes[f"{site} {_BY_BATCH}"] = None
        return _NOT_IN_ORDER if verdict == "moved" else None

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type in which the lines are evaluated."""
        return dtype_of(self.model) or torch.get_default_dtype()

    @property
    def executed(self) -> Mapping[str, nn.Module]:
        """Every module that ran so far, by path."""
        return self._taps.sightings.executed

    def _note_values(self, site: str, reading: Reading) -> None:
        values = reading.values
        self._seen[site] = _Seen(values.shape, values.element_size(), sample_of(values))

    def _values(self, scout: Taps, rows: Sequence[int]) -> tuple[dict[str, _Seen], Any]:
        """What every site is given in a pass over some of five points, on as many paths."""
        self._seen: dict[str, _Seen] = {}
        which = torch.tensor(rows, device=self.device)
        inputs = self.lines.rows(which % len(self.lines), which / (len(_SCOUT_ROWS) - 1))
        scout.restart()
        output = self._first_call(inputs)
        return self._seen, output

    def _first_call(self, inputs: Any) -> Any:
        """Run the model for the first time, where inputs that do not fit show."""
        try:
            return self._call(inputs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise CannotCallError(
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

    def settle(self) -> bool:
        """Leave out the irregular sites; False where there were any, so that what was measured is void.

        Raises:
            ValueError: no other site is left, or none that was asked for.
        """
        for site, why in self.irregular.items():
            self._missed[site] = f"it {why}"
            self.notes.pop(_in_part(site, why), None)
            del self._sizes[site]
        if not self._sizes:
            raise ValueError(_nothing_found(self.executed, self._missed, self._kinks))
        settled, self.irregular = not self.irregular, {}
        if not settled:
            self._begin()
            self.choose(self._layers)
        return settled

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
        self._met.clear()
        self._taps.watch = watch
        inputs = self.lines.rows(paths, t)
        try:
            self._taps.restart()
            output = self._call(inputs)
        finally:
            self._look = self._taps.watch = None
            self._taps.pause()
        if len(self._met) < len(self.sites):
            for place in set(range(len(self.sites))) - self._met:
                self._is_irregular(self.sites[place], "does not run in every pass")
        self.evaluations += len(t)
        logits = class_logits(output, len(t))
        if logits is None:
            return None
        for side, at_end in enumerate((t == 0, t == 1)):
            self.certainty[paths[at_end], side] = certainty(logits[at_end])
        return logits.argmax(1)

    def _call(self, inputs: Any) -> Any:
        return self.forward(self.model, inputs)

    def _visit(self, site: str, reading: Reading) -> None:
        place = self._places.get(site)
        if place is None or self._look is None:
            if site not in self.axes and site not in self._missed:
                self.notes[f"{site} runs in some passes only and is not measured"] = None
            return
        self._met.add(place)
        values = batch_first(reading.values, self.axes[site], self._count)
        if values is None or values.numel() != self._count * self.units[place]:
            self._is_irregular(site, "takes more values an input in some passes than in others")
            return
        self._look(place, Reading(values, reading.thresholds))

    def _is_irregular(self, site: str, why: str) -> None:
        if site not in self.irregular:
            self.irregular[site] = why
            self.notes[_in_part(site, why)] = None


_NOT_IN_ORDER = (
    "its rows are not the inputs in the order of the batch (sorted, routed to experts, or folded in behind "
    "another dimension)"
)
_BY_BATCH = (
    "takes other values in another batch: it depends on the other inputs of the batch or on chance, and so "
    "do the numbers from there on"
)


def _in_part(site: str, why: str) -> str:
    return f"{site} {why} and is measured in part"


def _no_axis(own: _Seen, fewer: _Seen | None) -> str:
    text = f"no dimension of its input {tuple(own.shape)} follows the batch size"
    alike = fewer is not None and fewer.shape == own.shape
    return text + (", so it is computed from weights alone" if alike else "")


def _nothing_found(executed: Mapping[str, nn.Module], missed: Mapping[str, str], kinks: Iterable[str]) -> str:
    seen = sorted({type(module).__name__ for module in executed.values()})
    lines = [
        "no activation layer was found in the model, so there is nothing to measure.",
        f"Modules that ran: {', '.join(seen) or 'none'}.",
    ]
    lines += [f"Not understood: {place}: {why}." for place, why in missed.items()]
    if kinks:
        lines.append(f"Functions that bend without being an activation: {', '.join(kinks)}.")
    lines.append(
        "If one of them is an activation layer of yours, make it a module and tell foldmon where its pieces "
        "meet: foldmon.register_activation(cls, thresholds)."
    )
    return "\n".join(lines)

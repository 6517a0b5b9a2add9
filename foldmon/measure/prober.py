"""The prober: evaluates a model at points of the lines and shows every site's pre-activations.

All measuring methods share it: they choose the rows (path, t) and decide what to do with the readings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from foldmon.measure.activations import Reading
from foldmon.measure.batch import batch_first
from foldmon.measure.coverage import Coverage
from foldmon.measure.decision import certainty, class_logits
from foldmon.measure.decoders import FIRST_TOKEN, ask_for_first_token
from foldmon.measure.lines import Lines
from foldmon.measure.names import choose
from foldmon.measure.pairs import Pairs
from foldmon.measure.scout import CannotCallError, Found, Scout, nothing_found
from foldmon.measure.taps import Taps, Watch
from foldmon.measure.trees import call
from foldmon.measure.wrappers import device_of, dtype_of, eager_eval, unwrap

Forward = Callable[[nn.Module, Any], Any]
Look = Callable[[int, Reading], None]
"""Receives a site's index and its reading, values of shape (R, ...), during the pass."""

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
        axes: where each site's values hold the rows, as :func:`batch_first` takes it, for all sites.
        sorted: sites whose rows a sort of the model's moves; they are put back.
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
        self._look: Look | None = None
        self._met: set[int] = set()
        self._taps = Taps(self.model, self._visit)
        self._begin()
        self._found = self._scout(may_ask=forward is None)
        self.notes |= dict.fromkeys(self._found.notes)
        self.axes, self.sorted = self._found.axes, self._found.sorted
        self._taps.sorted = self.sorted
        self._layers = layers
        self._require_sites()
        self.choose(layers)
        target = _CHUNK_BYTES.get(self.device.type, _CHUNK_BYTES_DEVICE)
        self.rows_at_once = chunk or max(1, target // self._found.bytes_a_row)

    def _begin(self) -> None:
        self.evaluations = 0
        self.certainty = torch.full((len(self.lines), 2, 2), torch.nan, device=self.device)

    def _scout(self, may_ask: bool) -> Found:
        like = torch.empty(0, dtype=self.dtype, device=self.device)
        try:
            return Scout(self.model, self.lines, self._call, like).find()
        except CannotCallError:
            asked = ask_for_first_token(self.model, self.lines.first) if may_ask else None
            if asked is None:
                raise
            self.forward, self.notes[FIRST_TOKEN] = asked, None
            return Scout(self.model, self.lines, self._call, like).find()

    def _require_sites(self) -> None:
        if not self._found.sizes:
            raise ValueError(nothing_found(self._found.executed, self._found.missed, self._found.kinks))

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
        return Coverage(self._found.sizes, self._found.missed, self._found.kinks, tuple(self.notes))

    def choose(self, layers: str | Iterable[str] | None) -> None:
        """Read only the sites that ``layers`` asks for from now on.

        Raises:
            ValueError: a name or pattern that fits no site, or one that cannot be measured.
        """
        for name in (layers,) if isinstance(layers, str) else layers or ():
            if name in self._found.missed:
                raise ValueError(f"layer {name!r} cannot be measured: {self._found.missed[name]}")
        self.sites = choose(tuple(self._found.sizes), layers)
        self.units = tuple(self._found.sizes[site] for site in self.sites)
        self._places = {site: place for place, site in enumerate(self.sites)}

    def settle(self) -> bool:
        """Leave out the irregular sites; False where there were any, so that what was measured is void.

        Raises:
            ValueError: no other site is left, or none that was asked for.
        """
        settled = not self.irregular
        for site, why in self.irregular.items():
            self._found.missed[site] = f"it {why}"
            self.notes.pop(_in_part(site, why), None)
            del self._found.sizes[site]
        self._require_sites()
        if not settled:
            self.irregular.clear()
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
        self._taps.watch = watch
        inputs = self.lines.rows(paths, t)
        try:
            self._met.clear()
            self._taps.restart()
            output = self._call(inputs)
            self._note_absent()
        finally:
            self._look = self._taps.watch = None
            self._taps.pause()
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
            if site not in self.axes and site not in self._found.missed:
                self.notes[f"{site} runs in some passes only and is not measured"] = None
            return
        self._met.add(place)
        values = batch_first(reading.values, self.axes[site], self._count)
        if values is None or values.numel() != self._count * self.units[place]:
            self._is_irregular(site, "takes more values an input in some passes than in others")
            return
        self._look(place, Reading(values, reading.thresholds))

    def _note_absent(self) -> None:
        if len(self._met) < len(self.sites):
            for place in set(range(len(self.sites))) - self._met:
                self._is_irregular(self.sites[place], "does not run in every pass")

    def _is_irregular(self, site: str, why: str) -> None:
        if site not in self.irregular:
            self.irregular[site] = why
            self.notes[_in_part(site, why)] = None


def _in_part(site: str, why: str) -> str:
    return f"{site} {why} and is measured in part"

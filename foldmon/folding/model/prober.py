"""The prober: evaluates a model at points of the paths and shows every site's pre-activations.

All measuring methods share it: they choose the rows (path, t) and decide what to do with the readings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from foldmon.folding.data.pairs import Pairs
from foldmon.folding.data.trees import call, map_tensors
from foldmon.folding.model.batch_axis import batch_first
from foldmon.folding.model.calling import given, other_calls
from foldmon.folding.model.last_logits import ask_for_last_logits
from foldmon.folding.model.manner import Manner
from foldmon.folding.model.memory import keep_freed_memory, most_rows
from foldmon.folding.model.names import choose
from foldmon.folding.model.paths import StraightPaths
from foldmon.folding.model.scout import (
    CannotCallError,
    Found,
    Scout,
    nothing_found,
)
from foldmon.folding.model.taps import Taps, Watch
from foldmon.folding.model.unwrap import (
    device_of,
    dtype_of,
    require_module,
    unwrap,
)
from foldmon.folding.results.coverage import Coverage
from foldmon.folding.results.decision import CERTAINTY
from foldmon.folding.results.heads import Classes, Head
from foldmon.folding.results.targets import Targets
from foldmon.folding.symbols.activations import Reading
from foldmon.folding.undisturbed.captures import GATE
from foldmon.folding.undisturbed.flags import eager_eval
from foldmon.torch_internals import is_lazy

T = TypeVar("T")

Forward = Callable[[nn.Module, Any], Any]
Look = Callable[[int, Reading], None]
"""Receives a site's index and its reading, values of shape (R, ...), during the pass."""


class ModelChangedError(RuntimeError):
    """The model does not run as it did when its sites were found; make a new :class:`Prober`."""


class Prober:
    """A model and the paths between pairs, ready to be evaluated at any rows.

    A measurement is a ``with prober.active():`` block, or a call of :meth:`measure`; :meth:`run` is called
    within one. The next one begins anew, on the weights of its time and what is known of the model.

    Args:
        model: any module; wrappers (compiled, DDP) are looked through. It is left as it was found.
        pairs: ends of the paths.
        layers: names or patterns of the sites that are asked for, None for all.
        every_site: read all sites, not those alone that are asked for: breakpoints of the others count too.
        at: module whose output is interpolated instead of the inputs.
        forward: calls the model, ``forward(model, inputs)``, where ``model(inputs)`` (a dict by keyword,
            a tuple by position) would not do.
        classes: whether outputs are classes, or a function from an output to logits; None finds it out.
        labels: of the data that the pairs are from, shape (N, ...); None takes the classes of the pairs.

    Attributes:
        pairs: as given.
        head: how outputs are read as classes, None where they are none.
        forward: calls the model for what is read of it, ``forward(model, inputs)``.
        whole: calls the model for all that it puts out.
        asked_plainly: whether the model is called with its inputs alone, in no way of the user's own.
        sites: names of the sites that are read, in order of execution.
        units: number of units of each.
        asked: places among ``sites`` of those that ``layers`` asks for, ascending.
        axes: where each site's values hold the rows, as :func:`batch_first` takes it, for all sites.
        sorted: sites whose rows a sort of the model's moves; they are put back.
        coverage: Coverage of the whole model.
        rows_at_once: rows of one pass that keep the largest activation near the memory target, and within
            four times the target all that lives at once, inputs and outputs included.
        seconds_a_row: wall time of a row in a pass of a few; of larger passes usually less.
        evaluations: model evaluations (rows) in this measurement.
        began: when it began, on the clock of ``time.perf_counter``.
        irregular: sites that some pass did not run as the others did, with what was otherwise: they are
            measured in part until :meth:`measure` leaves them out.
        certainty: shape (P, 2, CERTAINTY), as ``results.decision.certainty`` gives it, of the model at the
            start and the end of each path, NaN where they were not evaluated yet.
        may_draw: of :class:`foldmon.folding.model.taps.Taps`.

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
        every_site: bool = False,
        classes: Classes = None,
        labels: Any = None,
    ) -> None:
        require_module(model)
        self.model, self.pairs = unwrap(model), pairs
        self.forward = self.whole = call if forward is None else given(forward)
        self.asked_plainly = forward is None
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
        self.paths = StraightPaths(self.model, pairs, self.device, dtype_of(self.model), at)
        self.notes: dict[str, None] = {}
        self.irregular: dict[str, str] = {}
        self._look: Look | None = None
        self._met: set[int] = set()
        self._manner = Manner()
        if self.device.type == "cpu":
            keep_freed_memory()
        self._active = False
        self.may_draw = True
        self._targets = Targets.named(pairs.class_names) if labels is None else Targets.of(labels)
        self._found = self._scout(may_ask=forward is None, classes=classes)
        self.head = self._found.head
        self.notes |= dict.fromkeys(self._found.notes)
        self._scouted_notes = dict(self.notes)
        self.axes, self.sorted = self._found.axes, self._found.sorted
        self.seconds_a_row = self._found.seconds_a_row
        self._layers, self._every_site = layers, every_site
        self._choose_sites()
        self._chunk = chunk
        self.rows_at_once = self._most_rows()
        self._begin()

    def _scout(self, may_ask: bool, classes: Classes) -> Found:
        like = torch.empty(0, dtype=self.dtype, device=self.device)
        if may_ask:
            with eager_eval(self.model, self.device):
                self.forward = ask_for_last_logits(self.model, self.paths.first) or call
        try:
            return Scout(self.model, self.paths, self._call, like, classes, self._targets).find()
        except CannotCallError:
            for forward, note in other_calls(self.model, self.paths.first) if may_ask else ():
                self.forward = self.whole = forward
                with suppress(CannotCallError):
                    found = Scout(self.model, self.paths, self._call, like, classes, self._targets).find()
                    self.notes[note] = None
                    return found
            raise

    def _begin(self) -> None:
        """A new measurement: nothing of the last one counts."""
        self.began, self.evaluations = time.perf_counter(), 0
        # What ran short once may be there again, and is asked for little by little.
        self.rows_at_once = min(self._most_rows(), 2 * self.rows_at_once)
        self.certainty = torch.full((len(self.pairs), 2, CERTAINTY), torch.nan, device=self.device)
        self.notes = dict(self._scouted_notes)
        self.irregular.clear()
        self._taps = Taps(self.model, self._visit, lean=True)
        self._taps.sorted, self._taps.may_draw = self.sorted, self.may_draw
        self._manner.begin()

    def _most_rows(self) -> int:
        return self._chunk or most_rows(self.device, self._found.bytes_a_row)

    @contextmanager
    def active(self) -> Iterator[Prober]:
        """One measurement: the model in eval mode with taps on, until the block ends."""
        if self._active:
            raise RuntimeError("a measurement is under way on this prober")
        self._begin()
        self._active = True
        try:
            with eager_eval(self.model, self.device), ExitStack() as stack:
                self.paths.hook(stack)
                stack.enter_context(self._taps)
                yield self
        finally:
            self._active = False
            self.paths.forget()

    def measure(self, method: Callable[[], T]) -> T:
        """What ``method`` measures by calls of :meth:`run`, with the sites left out that are irregular.

        Raises:
            ValueError: no other site is left, or none that was asked for.
            ModelChangedError: the model does not run as at an earlier measurement.
        """
        with self.active():
            while True:
                found = method()
                if not self.irregular:
                    return found
                self._leave_out_irregular()

    def placed(self, inputs: Any) -> Any:
        """Inputs on the device, and in the type, in which the model takes each."""
        return map_tensors(lambda own, like: own.to(like.device, like.dtype), inputs, self.paths.first)

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

    @property
    def samples(self) -> list[npt.NDArray[np.float32]]:
        """Of each site a few values at a few points, as they were when the model was looked over."""
        return [self._found.samples[site] for site in self.sites]

    @property
    def coverage(self) -> Coverage:
        """What of the model is covered, as far as seen by now."""
        return Coverage(self._found.sizes, self._found.not_covered, self._found.kinks, tuple(self.notes))

    def narrow(self) -> None:
        """Read from now on only the sites that are asked for."""
        self._every_site = False
        self._choose_sites()

    def _choose_sites(self) -> None:
        if not self._found.sizes:
            raise ValueError(nothing_found(self._found.executed, self._found.not_covered, self._found.kinks))
        for name in (self._layers,) if isinstance(self._layers, str) else self._layers or ():
            if name in self._found.not_covered:
                raise ValueError(f"layer {name!r} cannot be measured: {self._found.not_covered[name]}")
        every = tuple(self._found.sizes)
        asked = choose(every, self._layers)
        self.sites = every if self._every_site else asked
        self.units = tuple(self._found.sizes[site] for site in self.sites)
        self._places = {site: place for place, site in enumerate(self.sites)}
        self.asked = np.array([self._places[site] for site in asked])

    def _leave_out_irregular(self) -> None:
        """What was measured so far is void."""
        for site, why in self.irregular.items():
            self._found.not_covered[site] = f"it {why}"
            self.notes.pop(_in_part(site, why), None)
            del self._found.sizes[site]
        self._choose_sites()
        self.irregular.clear()
        self.evaluations = 0
        self.certainty.fill_(torch.nan)

    def run(self, paths: Tensor, t: Tensor, look: Look, watch: Watch | None = None) -> Tensor | None:
        """Evaluate the model at rows (path, t).

        Args:
            paths: shape (R,), int64, on the model's device; or (1, C), where every path is wanted at every t.
            t: shape (R,), positions on the paths, on the model's device; or (n, 1), and the R = n C rows
                are the paths at the first t, then those at the second.
            look: shown each chosen site's reading, values (R, ...), batch first.
            watch: shown every torch function call outside activations.

        Returns:
            Predicted class of each row, shape (R,), or None where the output gives none.

        Raises:
            ModelChangedError: the model runs in another way than at the measurement before: other sites are
                seen, or in another order or shape, or other modules, kinks or parts that are not covered.
            RuntimeError: outside of a measurement.
        """
        GATE.give_way()
        if not self._active:
            raise RuntimeError("Prober.run is called within `with prober.active():` or prober.measure(...)")
        self.paths.capture(self._call, paths)
        inputs = self.paths.rows(paths, t)
        self._look, self._count = look, t.numel() * (paths.numel() if t.ndim == 2 else 1)
        self._taps.watch = watch
        try:
            self._met.clear()
            self._taps.restart()
            output = self._call(inputs)
            self._note_absent()
        finally:
            self._look = self._taps.watch = None
            self._taps.pause()
        self.evaluations += self._count
        logits = None if self.head is None else self.head.logits(output, self._count)
        if not self._manner.is_as_before(self._taps.sightings, self.axes, self._count, logits is not None):
            raise ModelChangedError(f"{type(self.model).__name__} runs in another way than before")
        if self.head is None or logits is None:
            return None
        self._note_certainty(paths, t, self.head, logits)
        return self.head.predicted(logits).to(self.device, non_blocking=True)

    def _note_certainty(self, paths: Tensor, t: Tensor, head: Head, logits: Tensor) -> None:
        for side, end in enumerate((0, 1)):
            if t.ndim == 1:
                rows = t == end
                found = head.certainty(logits[rows.to(logits.device)])
                self.certainty[paths[rows], side] = found.to(self.device)
            elif t[-side] == end:
                at = slice(-paths.numel(), None) if side else slice(paths.numel())
                self.certainty[paths[0], side] = head.certainty(logits[at]).to(self.device, non_blocking=True)

    def _call(self, inputs: Any) -> Any:
        return self.forward(self.model, inputs)

    def _visit(self, site: str, reading: Reading) -> None:
        if self._look is None:
            return  # on the way to the modules that embed the ends of the paths
        self._manner.saw(site, reading.values.shape)
        place = self._places.get(site)
        if place is None:
            if site not in self.axes and site not in self._found.not_covered:
                self.notes[f"{site} runs in some passes only and is not measured"] = None
            return
        self._met.add(place)
        # A model that derives forces from its energy turns gradients on within its forward pass.
        values = batch_first(reading.values.detach(), self.axes[site], self._count)
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

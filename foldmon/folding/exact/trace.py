"""Trace: everything that bends a path, in order of execution, and its values at the points in use.

A stage is an activation call (its crossings are events) or a kink outside activation layers (its
crossings are breakpoints only).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foldmon.folding.exact.linearity import (
    Kink,
    Linearity,
    kink_of_call,
    linearity_of_call,
    linearity_of_site,
)
from foldmon.folding.exact.switches import switches
from foldmon.folding.model.prober import Prober
from foldmon.folding.results.statistics import Floats, Ints
from foldmon.folding.symbols.activations import Reading, Thresholds
from foldmon.folding.symbols.units import UnitCounts


class NotTraceable(RuntimeError):
    """The model cannot be followed from point to point; sampled points still can measure it."""


@dataclass(frozen=True)
class Stage:
    """One place where paths bend.

    Attributes:
        site: index of the activation site, None for a kink without units.
        shape: of the values of one input.
        thresholds, select: as in :class:`~foldmon.folding.exact.linearity.Kink`.
    """

    site: int | None
    shape: torch.Size
    thresholds: Thresholds | None
    select: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Crossings:
    """Where segments cross thresholds: rows of segments, units, share of the segment, direction."""

    segment: Ints
    unit: Ints
    share: Floats
    step: Ints


class Trace:
    """Evaluates points of the paths and keeps all stages' values of those that are still needed.

    Args:
        prober: reading every site.

    Attributes:
        depth: index of the last site that is asked for; parts of the model behind it bend nothing.
        stages: in order of execution, known after the first evaluation.
        linearity: what the model up to the last measured site makes of a line, as far as seen.
        curved: the parts of the model for which it is not linear.
        t: shape (capacity,), position of each kept row.
        classes: predicted classes of all evaluated points, as (paths, t, class); None without classes.
    """

    def __init__(self, prober: Prober) -> None:
        self.prober, self.depth = prober, int(prober.asked[-1])
        self.counts = UnitCounts(prober.sites, prober.units)
        self._steepest: dict[int, Floats] = {}
        self.stages: list[Stage] = []
        self.linearity = Linearity.LINEAR
        self.curved: dict[str, None] = {}
        self.t: Floats = np.zeros(0)
        self.classes: list[tuple[Ints, Floats, Ints]] | None = []
        self._values: list[Tensor] = []
        self._uses: Ints = np.zeros(0, dtype=np.int64)

    @property
    def measured(self) -> list[tuple[int, Stage]]:
        """Places and stages of the activation sites up to the last measured one."""
        return [(p, v) for p, v in enumerate(self.stages) if v.site is not None and v.site <= self.depth]

    @property
    def last(self) -> int:
        """Place of the last measured site."""
        return self.measured[-1][0]

    @property
    def kept(self) -> int:
        """Number of rows that are kept."""
        return int(np.count_nonzero(self._uses))

    @property
    def bytes_a_row(self) -> int:
        """Memory of one kept row; before the first evaluation that of the activation sites only."""
        sizes = [stage.shape.numel() for stage in self.stages] or self.prober.units
        return sum(sizes) * self.prober.dtype.itemsize

    def evaluate(self, paths: Ints, t: Floats, uses: int | Ints) -> Ints:
        """Evaluate new points and keep their values until :meth:`release` was called ``uses`` times.

        Args:
            paths: shape (R,).
            t: shape (R,), positions, each one that the model's type can hold.
            uses: of all rows, or of each.

        Returns:
            Rows under which the points are kept, shape (R,).
        """
        rows = self._take(len(t))
        self.t[rows], self._uses[rows] = t, uses
        for low in range(0, len(t), self.prober.rows_at_once):
            part = slice(low, low + self.prober.rows_at_once)
            self._evaluate(paths[part], t[part], rows[part])
        return rows

    def hold(self, rows: Ints) -> None:
        """Keep rows for one more use each."""
        np.add.at(self._uses, rows, 1)

    def release(self, rows: Ints) -> None:
        """Give up one use of each row."""
        np.subtract.at(self._uses, rows, 1)

    def restart(self) -> None:
        """Give up all rows, and what was learnt of the paths' slopes."""
        self._uses[:] = 0
        self._steepest.clear()

    def _take(self, count: int) -> Ints:
        free = np.flatnonzero(self._uses == 0)
        if len(free) < count:
            more = max(count - len(free), len(self._uses))
            self.t = np.concatenate([self.t, np.zeros(more)])
            self._uses = np.concatenate([self._uses, np.zeros(more, dtype=np.int64)])
            self._values = [torch.cat([v, v.new_empty(more, v.shape[1])]) for v in self._values]
            free = np.flatnonzero(self._uses == 0)
        return free[:count]

    def _evaluate(self, paths: Ints, t: Floats, rows: Ints) -> None:
        device = self.prober.device
        seen = _Pass(self, torch.from_numpy(rows).to(device))
        classes = self.prober.run(
            torch.from_numpy(paths).to(device), torch.from_numpy(t).to(device), seen.look, seen.watch
        )
        if seen.place != len(self.stages) or seen.sites != len(self.prober.sites):
            raise NotTraceable("its activation layers do not run in the same order in every pass")
        self.judge([(Linearity.CURVED, f"the TorchScript module {name}") for name in self.prober.scripted])
        if classes is None:
            self.classes = None
        elif self.classes is not None:
            self.classes.append((paths, t, classes.cpu().numpy()))

    def keep(self, place: int, stage: Stage, values: Tensor, rows: Tensor) -> None:
        """Keep a stage's values, shape (R, ...), of the rows being evaluated."""
        if place == len(self.stages):
            self.stages.append(stage)
            self._values.append(values.new_empty(len(self._uses), stage.shape.numel()))
        elif place > len(self.stages) or self.stages[place].shape != stage.shape:
            raise NotTraceable("its activation layers differ from pass to pass")
        self._values[place][rows] = values.reshape(len(rows), -1)

    def crossings(self, place: int, path: Ints, left: Ints, right: Ints, quantum: float) -> Crossings:
        """Where segments cross a stage's thresholds.

        Args:
            place: of the stage.
            path: shape (S,), each segment's path.
            left: shape (S,), rows of the segments' starts.
            right: shape (S,), rows of their ends.
            quantum: error of the positions t. What it may change of a value counts as nothing: a unit
                that an earlier layer holds at a threshold is not above it.
        """
        stage = self.stages[place]
        a, b = self._at(place, left), self._at(place, right)
        if stage.select is not None:
            segment, at = switches(stage.select, a, b, stage.shape)
            nothing = np.zeros_like(segment)
            return Crossings(segment, nothing, at, nothing)
        noise = self._noise(place, path, a, b, self.t[right] - self.t[left], quantum)
        found = []
        for cut in stage.thresholds or ():
            above = b > cut + noise
            where = torch.nonzero((a > cut + noise) != above, as_tuple=True)
            start, end = a[where].double(), b[where].double()
            share = ((cut - start) / (end - start)).clamp_(0.0, 1.0)
            found.append((*where, share, above[where]))
        segments, units, shares, rises = (
            torch.cat(column).cpu().numpy() for column in zip(*found, strict=True)
        )
        finite = np.isfinite(shares)
        steps = np.where(rises, 1, -1)
        return Crossings(segments[finite], units[finite], shares[finite], steps[finite])

    def _noise(self, place: int, path: Ints, a: Tensor, b: Tensor, width: Floats, quantum: float) -> Tensor:
        """What rounding of t and of the values may change of a segment's values; shape (S, 1)."""
        slope = ((b - a).abs().amax(1).double().cpu().numpy()) / width
        steepest = self._steepest.setdefault(place, np.zeros(len(self.prober.pairs)))
        np.maximum.at(steepest, path, np.nan_to_num(slope))
        scale = torch.maximum(a.abs().amax(1), b.abs().amax(1))
        moved = torch.from_numpy(4 * quantum * steepest[path]).to(a.device, a.dtype)
        return (moved + 16 * torch.finfo(a.dtype).eps * scale)[:, None]

    def deviations(self, place: int, left: Ints, middle: Ints, right: Ints) -> Floats:
        """How far a stage's values at ``middle`` leave the straight line between the ends; shape (S,).

        Relative to the largest value at the ends.
        """
        a, m, b = (self._at(place, rows) for rows in (left, middle, right))
        share = (self.t[middle] - self.t[left]) / (self.t[right] - self.t[left])
        line = torch.lerp(a, b, torch.from_numpy(share).to(a.device, a.dtype)[:, None])
        return self._relative(m - line, a, b)

    def shifts(self, place: int, path: Ints, left: Ints, right: Ints, quantum: float) -> Floats:
        """What an error ``quantum`` of t may change of a stage's values, likewise relative; shape (S,)."""
        if place not in self._steepest:
            return np.zeros(len(path))
        a, b = self._at(place, left), self._at(place, right)
        return self._relative(torch.from_numpy(quantum * self._steepest[place][path])[:, None], a, b)

    def steps(self, place: int, left: Ints, right: Ints) -> Floats:
        """How far a stage's values at the ends are apart, relative to the largest of them; shape (S,)."""
        a, b = self._at(place, left), self._at(place, right)
        return self._relative(b - a, a, b)

    def _relative(self, difference: Tensor, a: Tensor, b: Tensor) -> Floats:
        scale = torch.maximum(a.abs().amax(1), b.abs().amax(1)).double()
        size = difference.abs().amax(1).double().to(scale.device)
        relative: Floats = torch.where(scale > 0, size / scale, size).cpu().numpy()
        return relative

    def surprises(self, left: Ints, middle: Ints, right: Ints) -> Ints:
        """Number of symbols at ``middle``, half-way, that are not those of a straight line; shape (S,)."""
        found = np.zeros(len(left), dtype=np.int64)
        for place, stage in self.measured:
            a, m, b = (self._at(place, rows) for rows in (left, middle, right))
            line = torch.lerp(a, b, 0.5)
            for cut in stage.thresholds or ():
                found += ((m > cut) != (line > cut)).sum(1).cpu().numpy()
        return found

    def differing(self, left: Ints, right: Ints, *, but_last: bool = False) -> Ints:
        """Number of symbols in which the ends of segments differ; shape (S,).

        Args:
            left: shape (S,), rows of the segments' starts.
            right: shape (S,), rows of their ends.
            but_last: leave out the last measured site.
        """
        found = np.zeros(len(left), dtype=np.int64)
        for place, stage in self.measured[: -1 if but_last else None]:
            a, b = self._at(place, left), self._at(place, right)
            for cut in stage.thresholds or ():
                found += ((a > cut) != (b > cut)).sum(1).cpu().numpy()
        return found

    def _at(self, place: int, rows: Ints) -> Tensor:
        return self._values[place][torch.from_numpy(rows).to(self.prober.device)]

    def judge(self, parts: list[tuple[Linearity, str]]) -> None:
        """Take note of parts of the model that come before a measured site."""
        for linearity, name in parts:
            self.linearity = max(self.linearity, linearity)
            self.curved[name] = None


class _Pass:
    """Looks at one forward pass and hands its values to the trace."""

    def __init__(self, trace: Trace, rows: Tensor) -> None:
        self.trace, self.rows = trace, rows
        self.place = self.sites = 0
        self._not_linear: list[tuple[Linearity, str]] = []  # since the last measured site

    def look(self, site: int, reading: Reading) -> None:
        """See an activation call."""
        trace = self.trace
        name = trace.prober.sites[site]
        if reading.thresholds is None:
            raise NotTraceable(f"{name} has integer symbols, which no interpolation follows")
        trace.counts.add(site, reading)
        if site <= trace.depth:
            trace.judge(self._not_linear)
            self._not_linear.clear()
        self._note(linearity_of_site(name, trace.prober.executed), name)
        self.sites += 1
        self._keep(Stage(site, reading.values.shape[1:], reading.thresholds), reading.values)

    def watch(
        self, place: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """See any other torch function call."""
        linearity = linearity_of_call(function, args, kwargs)
        if linearity == Linearity.LINEAR:
            return
        kink: Kink | None = kink_of_call(function, args, kwargs)
        if kink is None or kink.values.shape[:1] != self.rows.shape:
            name = getattr(function, "__name__", str(function))
            self._note(linearity, f"{place}/{name.strip('_')}" if place else name.strip("_"))
            return
        self._keep(Stage(None, kink.values.shape[1:], kink.thresholds, kink.select), kink.values)

    def _note(self, linearity: Linearity, name: str) -> None:
        if linearity != Linearity.LINEAR:
            self._not_linear.append((linearity, name))

    def _keep(self, stage: Stage, values: Tensor) -> None:
        self.trace.keep(self.place, stage, values, self.rows)
        self.place += 1

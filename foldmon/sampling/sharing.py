"""One measurement by several ranks: each walks some of the paths, and what they found is joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from foldmon.folding.model.prober import Prober
from foldmon.folding.results.report import FoldingReport
from foldmon.folding.results.score import Predictions
from foldmon.folding.results.statistics import Ints
from foldmon.folding.sampled.report import report_of_samples
from foldmon.folding.sampled.walk import WalkedPaths, walk
from foldmon.folding.symbols.units import UnitCounts
from foldmon.folding.undisturbed.buffers import exchanged_buffers
from foldmon.sampling.plan import Plan
from foldmon.sampling.team import Team, resharded

_SPREAD_LOGITS = "the ranks' logits differ, each has some of the classes: no decision folding"

Holds = npt.NDArray[np.bool_]


def measure_together(
    team: Team, plan: Plan, model: nn.Module, paths: Ints | None, step: int
) -> FoldingReport:
    """What one process with the whole model would measure; the same report on every rank.

    Args:
        team: the ranks, all of which call this.
        plan: what is measured.
        model: as this rank has it.
        paths: places of the pairs to measure, the same on all ranks; None for all.
        step: training step.

    Raises:
        LateError: a rank is not there in time: nothing is measured this time.
        TeamError: a rank does not answer any more.
        RuntimeError: measuring failed on some rank; every rank raises.
    """
    team.meet()
    with resharded(model), exchanged_buffers(model, team.buffers):
        shared = _SharedWork(team, plan, model)
        joined = shared.walk(np.arange(len(plan.pairs)) if paths is None else paths)
        predicted = plan.predicted(shared.prober, paths, step, shared.points, shared.predict)
    report = report_of_samples(shared.prober, joined, paths)
    return replace(shared.of_all_units(report, joined), held_out=predicted)


class _SharedWork:
    """This rank's part of a measurement, and what becomes of all parts."""

    def __init__(self, team: Team, plan: Plan, model: nn.Module) -> None:
        self.team, self.layout, self.points, self._plan = team, team.layout, plan.config.points, plan
        self.place = self.layout.place_of(team.rank)
        self.prober: Prober

        def begin() -> tuple[int, list[Any]]:
            self.prober = plan.prober(model)
            return self.prober.rows_at_once, self.prober.samples if len(self.layout.units) > 1 else []

        begun = team.work(begin)
        # In lockstep all ranks must run passes of one size.
        self._rows = min(rows for rows, _ in begun)
        self._holds = [_first_to_hold([samples for _, samples in group]) for group in self._groups(begun)]

    def walk(self, paths: Ints) -> WalkedPaths:
        """All paths, of which this rank walks its share."""
        by_point = len(self.layout.units) > 1
        rounds: list[WalkedPaths | None] = []

        def walked() -> list[WalkedPaths | None]:
            with self.prober.active():
                self._keep_step()
                for shares in self.layout.shares(paths):
                    own = shares[self.place]
                    idle = self.layout.lockstep and not len(own)
                    found = walk(self.prober, paths[:1] if idle else own, self.points, by_point=by_point)
                    rounds.append(None if idle else found)
            return rounds

        parts = self._groups(self.team.work(walked))
        self._put_marks([found.counts for found in rounds if found is not None], parts[0])
        joined: list[WalkedPaths] = []
        for number in range(len(parts[0][0])):
            for group, holds in zip(parts, self._holds, strict=True):
                of_place = [found for rank in group if (found := rank[number]) is not None]
                if of_place:
                    joined.append(_united(of_place, holds) if by_point else of_place[0])
        return WalkedPaths.joined(joined)

    def _put_marks(self, own: list[UnitCounts], first: list[Any]) -> None:
        """Marks of single units from all ranks, on what is joined first of each that has units of its own."""
        counts = [rounds[0].counts for rounds in first]
        shapes = [count.marks.shape for count in counts]
        room = np.zeros((len(shapes), 2 * max(size for _, size in shapes)), dtype=np.uint8)
        mine = room[self.team.ranks.index(self.team.rank) % len(shapes)]
        for count in own:
            marks = count.marks.reshape(-1)
            mine[: len(marks)] |= marks
        self.team.unite(room)
        for count, marks, (two, size) in zip(counts, room, shapes, strict=True):
            count.marks = marks[: two * size].reshape(two, size)

    def predict(self, prober: Prober, rows: Ints) -> Predictions | None:
        """:meth:`HeldOutPanel.predict`, of which this rank does its share."""
        panel = self._plan.held_out
        assert panel is not None

        def predicted() -> tuple[bool, list[Predictions | None]]:
            self._keep_step()
            # A loss that is that of a batch needs the batch: every rank predicts all of them then.
            joint = panel.understand(prober).joint
            shares = [rows] if joint else [one[self.place] for one in self.layout.shares(rows)]
            return joint, [panel.predict(prober, own if len(own) else rows[:1]) for own in shares]

        parts = self.team.work(predicted)
        joint = parts[0][0]
        groups = self._groups([found for _, found in parts])
        found: list[Predictions] = []
        for number, shares in enumerate([[rows]] if joint else self.layout.shares(rows)):
            for group, own in zip(groups, shares, strict=not joint):
                first, *others = (rank[number] for rank in group)
                if first is None or any(other != first for other in others):
                    return None
                if len(own):
                    found.append(first)
        return _joined(found)

    def of_all_units(self, report: FoldingReport, joined: WalkedPaths) -> FoldingReport:
        """The report with the units of all ranks, where they share layers."""
        if len(self.layout.units) == 1:
            return report
        units = dict(zip(self.prober.sites, joined.counts.units, strict=True))
        coverage = replace(report.coverage, sites={**report.coverage.sites, **units})
        if joined.classes is None and report.decision is None:
            coverage = coverage.with_notes(_SPREAD_LOGITS)
        return replace(report, units=tuple(units[layer] for layer in report.layers), coverage=coverage)

    def _keep_step(self) -> None:
        if self.layout.lockstep:
            self.prober.rows_at_once = min(self._rows, self.prober.rows_at_once)

    def _groups(self, parts: list[Any]) -> list[list[Any]]:
        """By place, and within it by rank."""
        size = len(self.layout.units)
        return [parts[low : low + size] for low in range(0, len(parts), size)]


def _first_to_hold(samples: Sequence[Sequence[npt.NDArray[np.float32]]]) -> Holds:
    """Shape (ranks, sites): whether a rank has values of a site that no rank before it has."""
    found = np.ones((len(samples), len(samples[0])), dtype=np.bool_)
    for rank, own in enumerate(samples):
        for place, values in enumerate(own):
            before = (other[place] for other in samples[:rank])
            found[rank, place] = not any(np.array_equal(values, o, equal_nan=True) for o in before)
    return found


def _united(parts: list[WalkedPaths], holds: Holds) -> WalkedPaths:
    whole = WalkedPaths.united(parts, holds)
    classes = [part.classes for part in parts]
    agree = all(c is not None and np.array_equal(c, classes[0]) for c in classes)  # type: ignore[arg-type]
    return whole if agree else replace(whole, classes=None)


def _joined(parts: Sequence[Predictions]) -> Predictions:
    names = [column.name for column in fields(parts[0])]
    columns = {name: [getattr(part, name) for part in parts] for name in names}
    known = {
        n: None if any(v is None for v in values) else np.concatenate(values) for n, values in columns.items()
    }
    return Predictions(**known)

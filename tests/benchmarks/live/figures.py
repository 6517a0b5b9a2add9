"""What is said of a course: from its runs, their journals and the whole panel measured beside."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.benchmarks.live.courses import Course
from tests.benchmarks.live.running import Run, pairs_of
from tests.benchmarks.panel import probes

Floats = np.ndarray
Whole = dict[int, dict[str, float]]


@dataclass(frozen=True)
class Watched:
    """A watched run, its measurements in training, and its options."""

    run: Run
    records: list[dict[str, Any]]
    config: dict[str, Any]

    @property
    def cost(self) -> float:
        """Seconds that probes cost in training, as the journal says."""
        costs = [record["monitor"] for record in self.records]
        return float(sum(c["probe_seconds"] + c["stall_seconds"] for c in costs))

    @property
    def charged(self) -> float:
        """Seconds of it that count against the contract: those in which they compute, beside training."""
        return float(self.records[-1]["monitor"].get("cost_seconds", self.cost))

    def contract(self, seconds: float) -> float:
        """Seconds that probes may cost in so long a training."""
        return float(self.config["budget"] * seconds + self.config.get("allowance", 1.0))

    @property
    def curve(self) -> dict[int, tuple[float, float, float]]:
        """phi and its interval by step."""
        unknown = (math.nan, math.nan)  # of a single pair
        return {
            r["step"]: (r["phi"], *(r["phi_interval"] if None not in r["phi_interval"] else unknown))
            for r in self.records
        }


def thinned(steps: Sequence[int], most: int) -> list[int]:
    """So many of the steps at most, evenly by their place, the first and the last among them."""
    if len(steps) <= most:
        return list(steps)
    return [steps[place] for place in np.linspace(0, len(steps) - 1, most).round().astype(int)]


def points_judged(course: Course, watched: Watched) -> list[int]:
    """Steps of the curve at which the whole panel is measured."""
    return thinned(sorted(watched.curve), course.judged)


def course_judged(course: Course, steps: int) -> list[int]:
    """Steps at which it is measured wherever the curve has points: dense early, as training moves."""
    return sorted({*thinned(list(probes(steps)), course.judged // 2), steps})


@dataclass(frozen=True)
class Curves:
    """The published curve beside that of the whole panel.

    Attributes:
        steps: at which the whole panel was measured; phi of it is ``whole``.
        at_points: which of them are points of the curve.
        course: which of them are chosen for the run's length alone: over these two curves are compared.
        published, lower, upper: at every step of ``steps``, held since the last point.
        rival: the whole panel at rarer probes, held in between, at the same cost.
        rival_probes: how many.
    """

    steps: Floats
    whole: Floats
    at_points: Floats
    course: Floats
    published: Floats
    lower: Floats
    upper: Floats
    rival: Floats
    rival_probes: int

    def error(self, curve: Floats, where: Floats | slice = slice(None)) -> float:
        """Root mean square distance from the whole panel's curve, over its range."""
        difference = (curve - self.whole)[where] / np.ptp(self.whole)
        return float(np.sqrt(np.mean(difference**2))) if len(difference) else math.nan

    @property
    def covered(self) -> float:
        """Share of the points whose interval holds the whole panel's phi, but for rounding."""
        inside = (self.lower - 1e-9 <= self.whole) & (self.whole <= self.upper + 1e-9)
        return float(inside[self.at_points].mean())


def curves(course: Course, watched: Watched, whole: Whole) -> Curves:
    """Line up what was published and what the whole panel says."""
    curve = watched.curve
    last = max(max(whole), 1)
    at_points = points_judged(course, watched)
    steps = np.array(sorted({*at_points, *course_judged(course, last)}))
    truth = np.array([whole[step]["phi"] for step in steps])
    own = np.array(sorted(curve))
    held = np.array([curve[step] for step in own])[np.searchsorted(own, steps, side="right") - 1]
    over = np.isin(steps, course_judged(course, last))
    offline = statistics.median(found["seconds"] for found in whole.values())
    seconds = watched.run.whole_seconds or offline
    timetables = _timetables(last, watched.charged / seconds)
    rivals = [_rival(steps, wished, watched, seconds) for wished in timetables]
    places = min(rivals, key=lambda places: float(np.mean((_held(truth, places) - truth)[over] ** 2)))
    rival = _held(truth, places)
    return Curves(steps, truth, np.isin(steps, at_points), over, *held.T, rival, len(places))


def _timetables(last: int, probes: float) -> list[Callable[[int], float]]:
    """Steps from one whole panel to the next: evenly, or wished as a share's are, more or less densely."""
    evenly = last / max(1, int(probes))
    return [lambda step: evenly, *(lambda step, d=d: max(1.0, step / d) for d in (5, 10, 20, 50))]  # type: ignore[misc]


def _rival(steps: Floats, interval: Callable[[int], float], watched: Watched, whole: float) -> Floats:
    """Places among the judged steps at which the whole panel can have been measured.

    The rules are a share's: the contract from the first step on, a probe only when the one before has ended
    (the first one begins with the training), and no more cost in all.
    """
    stretch = max(1.0, watched.cost / watched.charged)  # probes beside training wait for their turn
    a_step = watched.run.seconds / max(1, int(steps[-1]))
    places, last, free = [0], 0, stretch * whole
    for place, step in enumerate(steps.tolist()):
        now, cost = step * a_step, len(places) * whole
        due = step - last >= interval(step) and now >= free
        if due and cost + whole <= min(watched.contract(now), watched.charged):
            places.append(place)
            last, free = step, now + stretch * whole
    return np.array(places)


def _held(values: Floats, places: Floats) -> Floats:
    return values[places[np.searchsorted(places, np.arange(len(values)), side="right") - 1]]


@dataclass(frozen=True)
class Cost:
    """What the line costs; wall time, but where CPU time is said.

    Attributes:
        contract: seconds that probes may cost.
        shares: cost that the journal says over the contract, of every watched run.
        outside: time of a run with the line less without it, over the contract, of every pair.
        beside: CPU time of the threads beside training, likewise.
        stall: standstill at a probe over a step, medians.
        standstill: of all probes over the training, median.
    """

    contract: float
    shares: list[float]
    outside: list[float]
    beside: list[float]
    stall: float
    standstill: float


def cost(watched: Sequence[Watched], plain: Sequence[Run]) -> Cost:
    """Put watched and plain runs side by side, pair by pair."""
    both = list(zip(watched, plain, strict=True))
    contracts = [w.contract(run.seconds) for w, run in both]
    stalls = [stall for w in watched for stall in _stalls(w)]
    step = statistics.median(run.step_seconds for run in plain)
    return Cost(
        statistics.median(contracts),
        [w.cost / w.contract(w.run.seconds) for w in watched],
        [(w.run.seconds - p.seconds) / c for (w, p), c in zip(both, contracts, strict=True)],
        [(w.run.beside_seconds - p.beside_seconds) / c for (w, p), c in zip(both, contracts, strict=True)],
        statistics.median(stalls) / step if stalls else math.nan,
        statistics.median(sum(_stalls(w)) / w.run.seconds for w in watched),
    )


def _stalls(watched: Watched) -> list[float]:
    return [r["monitor"]["stall_seconds"] for r in watched.records if r["step"] > 0]


def pairs_a_point(watched: Watched) -> float:
    """Median number of pairs that a probe measured."""
    return statistics.median(map(pairs_of, watched.records))


def points_a_path(watched: Watched) -> float:
    """Median number of points at which a probe walked a path."""
    own = watched.config.get("points", math.nan)
    return statistics.median((r.get("nested") or {"points": own})["points"] for r in watched.records)

"""The record's schema: what a line of the journal holds, with shapes and units.

Of each part the keys that every reader may count on stand first, in a class of their own: a record without
one of them is damaged (see :func:`foldmon.journal.check.flaw`). The others are there in what this version
writes; a reader does without them where an older journal lacks them.

Shapes: P measured paths, L layers in order of execution, C classes, K leading classes. Where P is a share of
the panel, phi, its interval, folding, cumulative and the decision's changes and elsewhere are composite
estimates for all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict, TypeGuard

JOURNAL_VERSION = 1

Record = Mapping[str, Any]
"""One line of the journal, of any kind; readers ignore kinds that they do not know."""


class Numbered(TypedDict):
    """What the journal gives every line as it is written."""

    seq: int  # number of the line, 0, 1, 2, ...
    time_ms: int  # wall clock, milliseconds since 1970


class _Coverage(TypedDict):
    sites: dict[str, int]  # units of each covered activation call, in order of execution
    not_covered: dict[str, str]  # reason, by place


class CoverageEntry(_Coverage, total=False):
    """What of the model is measured, see :class:`foldmon.Coverage`."""

    kinks: dict[str, str]  # function, by place
    notes: list[str]


class Start(TypedDict):
    """What a run measures, and with which options."""

    kind: str  # "start"
    model: str  # name of its class
    config: dict[str, Any]  # option: value
    coverage: CoverageEntry


class StartRecord(Numbered, Start, total=False):
    """The line that a run begins with."""

    version: int  # JOURNAL_VERSION


class _Decision(TypedDict):
    changes: float  # mean class changes a path
    elsewhere: float  # mean share of a path in a class that is neither end's


class DecisionEntry(_Decision, total=False):
    """Decision folding, see :class:`foldmon.DecisionFolding`."""

    path_changes: list[float]  # (P,) class changes, path by path
    path_elsewhere: list[float]  # (P,)
    ends: list[list[int]]  # (P, 2) predicted class
    entropy: list[list[float]]  # (P, 2) nats
    leading: list[list[list[int]]]  # (P, 2, K) classes, most probable first
    probabilities: list[list[list[float]]]  # (P, 2, K)
    of: int  # C, 0 where unknown


class _HeldOut(TypedDict):
    loss: float | None  # mean: cross-entropy in nats, or the loss that was given; None where none is known
    loss_interval: list[float] | None  # (2,) its 95% interval
    accuracy: float | None  # share of right predictions, None where outputs are no classes
    accuracy_interval: list[float] | None  # (2,)


class NestedEntry(TypedDict):
    """What was counted where distances are extrapolated, see :class:`foldmon.folding.results.nested.Nested`.

    Three of each: of all points, of every second, of every fourth.
    """

    points: int  # a path, fewer than wished
    r1: list[list[list[int]]]  # (3, P, L)
    r2: list[list[list[int]]]  # (3, P, L)
    r1_cumulative: list[list[list[int]]]  # (3, P, L)
    changes: list[list[int]]  # (3, P) of the predicted class, empty without classes


class HeldOutEntry(_HeldOut, total=False):
    """Predictions of held-out inputs, see :class:`foldmon.folding.results.score.HeldOutScore`."""

    inputs: int  # N, of which loss and accuracy are
    measured: list[int] | None  # (R,) places of the inputs predicted now, block by block; None where all were
    losses: list[float] | None  # (R,) of these; tokens and pixels by their number, so that their mean is loss
    correct: list[float] | None  # (R,) share of an input's labels that is predicted right: 1 or 0 of one
    predicted: list[int] | None  # (R,) class, or number of the set of labels; None without classes


class _Measurement(TypedDict):
    step: int  # training step
    phi: float  # mean network folding over the paths
    phi_interval: list[float]  # (2,) 95% interval of phi
    phi_median_nonzero: float  # median over the paths that fold
    nonzero_fraction: float  # share of the paths that fold
    layers: list[str]  # (L,) site names
    folding: list[float]  # (L,) mean over the paths
    cumulative: list[float]  # (L,) the same of the joined units of layers 1..l
    decision: DecisionEntry | None  # None where the output gives no class


class Measurement(_Measurement, total=False):
    """What ``FoldingReport.to_dict()`` gives."""

    method: str  # "sampled", "exact" or "auto"
    exact: bool  # certified for the continuous path
    phi_max: float  # largest of a path
    units: list[int]  # (L,)
    r1: list[float]  # (L,) largest distance from the start, mean over the paths, units
    r2: list[float]  # (L,) distance walked, likewise
    pairs: int  # of the whole panel
    measured: list[int] | None  # (P,) places in it of the measured pairs; None where all were
    path_r1: list[list[float]]  # (P, L) largest distance from the start, path by path, units
    path_r2: list[list[float]]  # (P, L) distance walked
    path_r1_cumulative: list[list[float]]  # (P, L) r1 of the joined units of layers 1..l
    nested: NestedEntry | None  # None where distances are as they were counted
    network_r1: list[float]  # (P,) of all units, path by path
    network_r2: list[float]  # (P,)
    dead: list[float]  # (L,) share of units at their lowest symbol throughout
    saturated: list[float]  # (L,) share of units at their highest
    nonfinite: list[int]  # (L,) number of NaN or infinite pre-activations met
    classes: list[list[int]] | None  # (P, 2) given class of each end, None without labels
    class_names: list[str]  # (C,)
    class_matrix: list[list[float]] | None  # (C, C) mean network folding, NaN where no path
    evaluations: int  # inputs passed forward
    seconds: float  # wall time of the measurement
    notes: list[str]
    held_out: HeldOutEntry | None  # None where none were predicted


class _WarningEvent(TypedDict):
    step: int
    severity: int  # 1 or 2
    reasons: list[str]  # sentences


class WarningEvent(_WarningEvent, total=False):
    """A warning that begins at this probe, see :class:`foldmon.FoldingWarning`."""

    kind: str  # what got worse
    best_step: int | None  # at which it was best


class _Warning(TypedDict):
    level: int  # in force: 0, 1 or 2
    event: WarningEvent | None


class WarningEntry(_Warning, total=False):
    """The warning's state."""

    score: float | None  # from 0 to 1, a test passes at 0.5; None where nothing could be tested
    best_step: int | None  # with the best held-out score
    # By quantity ("error", "loss", "turned"), now against its lowest so far over the same inputs: "rise" (the
    # mean of the paired differences), "z" (that in standard errors), "inputs" (the number compared).
    tests: dict[str, dict[str, float]]


class _RunCosts(TypedDict):
    overhead: float  # share of the time since the first step
    skipped: int  # probes that were due while another one ran


class RunCosts(_RunCosts, total=False):
    """What the monitor has cost so far."""

    cost_seconds: float  # what all probes have cost
    interval: float  # seconds from one probe to the next, 0 with a fixed step interval


class _ProbeCosts(TypedDict):
    probe_seconds: float  # wall time of this probe


class ProbeCosts(RunCosts, _ProbeCosts, total=False):
    """The same, and what this probe has cost."""

    stall_seconds: float  # standstill of the training for the copy of the weights


class _Probe(TypedDict):
    kind: str  # "probe"
    logged: dict[str, float]  # what the user logged since the probe before
    warning: WarningEntry
    monitor: ProbeCosts


class Probe(Measurement, _Probe):
    """One measurement, as the monitor hands it over."""


class ProbeRecord(Numbered, Probe):
    """One measurement, as the journal holds it."""


class End(TypedDict, total=False):
    """The run was closed in order."""

    kind: str  # "end"
    step: int
    monitor: RunCosts


class EndRecord(Numbered, End):
    """The line that a run ends with."""


def is_probe(record: Record) -> TypeGuard[ProbeRecord]:
    """Whether a sound record is a measurement.

    Example:
        >>> is_probe({"kind": "probe", "step": 3}), is_probe({"kind": "end"})
        (True, False)
    """
    return bool(record["kind"] == "probe")


def is_start(record: Record) -> TypeGuard[StartRecord]:
    """Whether a sound record is the beginning of a run."""
    return bool(record["kind"] == "start")

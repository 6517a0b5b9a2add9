"""The console: one line now and then."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TextIO

from foldmon.exporters.words import cost_text, scores_text
from foldmon.journal.plain import number
from foldmon.journal.schema import ProbeRecord, Record, StartRecord, is_probe, is_start
from foldmon.journal.unparsed import UNEXPORTED

_MISSED_SHOWN = 3


class ConsoleExporter:
    """Prints what is covered, then probes: the first, the last, those that warn, else one in ``seconds``.

    Args:
        seconds: least time between two lines, in seconds of training.
        file: where to; standard error by default, as progress bars.

    Example:
        >>> import sys
        >>> probe = {"kind": "probe", "step": 20, "time_ms": 0, "phi": 0.0314, "layers": ["1", "3"],
        ...          "phi_interval": [0.02, 0.04], "decision": {"changes": 1.5, "elsewhere": 0.2},
        ...          "warning": {"level": 0, "event": None},
        ...          "monitor": {"overhead": 0.04, "cost_seconds": 0.3}}
        >>> ConsoleExporter(file=sys.stdout).write([probe])
        foldmon: step 20: phi 0.0314 [0.0200, 0.0400], 1.5 class changes a path, cost 0.30 s
    """

    name = "console"
    unread = UNEXPORTED

    def __init__(self, seconds: float = 60.0, file: TextIO | None = None) -> None:
        self.seconds = seconds
        self._file = file
        self._last_ms: int | None = None
        self._unsaid: ProbeRecord | None = None

    def write(self, records: Sequence[Record]) -> None:
        """Print what is due; of many probes at once the latest only."""
        for record in records:
            if is_start(record):
                self._print(coverage_line(record))
            if record["kind"] == "end" and self._unsaid is not None:
                self._say(self._unsaid)
            if not is_probe(record):
                continue
            self._unsaid = record
            due = self._last_ms is None or record["time_ms"] - self._last_ms >= self.seconds * 1000
            # What a warning says is in the log; here stands the probe that it came with.
            if due or record["warning"]["event"] is not None:
                self._say(record)

    def close(self) -> None:
        """Nothing is held."""

    def _say(self, record: ProbeRecord) -> None:
        self._last_ms, self._unsaid = record["time_ms"], None
        self._print(probe_line(record))

    def _print(self, text: str) -> None:
        print(f"foldmon: {text}", file=self._file or sys.stderr, flush=True)


def coverage_line(record: StartRecord) -> str:
    """What a run measures, and what it saw without understanding it.

    Example:
        >>> coverage_line({"coverage": {"sites": {"1": 32}, "not_covered": {"rnn": "fused gates"}}})
        'measuring 1 activation sites with 32 units; not covered: rnn (fused gates)'
    """
    sites, missed = record["coverage"]["sites"], record["coverage"]["not_covered"]
    text = f"measuring {len(sites)} activation sites with {sum(sites.values()):,} units"
    shown = [f"{place} ({why})" for place, why in missed.items()]
    if len(shown) > _MISSED_SHOWN:
        shown[_MISSED_SHOWN:] = [f"and {len(shown) - _MISSED_SHOWN} more, see monitor.coverage"]
    text += f"; not covered: {', '.join(shown)}" if shown else ""
    understood = (n for n in record["coverage"].get("notes", ()) if n.startswith("inputs: "))
    return "; ".join([text, *understood])


def probe_line(record: ProbeRecord) -> str:
    """A probe in one line."""
    phi, low, high = (number(value) for value in (record["phi"], *record["phi_interval"]))
    text = f"step {record['step']}: phi {phi:.4f}"
    if not math.isnan(low + high):  # a single pair tells of no interval
        text += f" [{low:.4f}, {high:.4f}]"
    if (decision := record["decision"]) is not None:
        text += f", {number(decision['changes']):.1f} class changes a path"
    if (held_out := record.get("held_out")) is not None:
        scores = scores_text(held_out["accuracy"], held_out["loss"])
        text += f", {scores}" if scores else ""
    if isinstance(measured := record.get("measured"), list):
        text += f" ({len(measured)} of {record.get('pairs', '?')} pairs)"
    spent = cost_text(record["monitor"].get("cost_seconds"), record["monitor"]["overhead"])
    return f"{text}, {spent}" if spent else text

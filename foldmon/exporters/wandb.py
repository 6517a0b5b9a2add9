"""Weights & Biases: an exporter more, online and offline alike."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from typing import Any

from foldmon.exporters.charts import Charts
from foldmon.exporters.scalars import scalars
from foldmon.exporters.words import warning_text
from foldmon.exporters.writers import Names
from foldmon.journal.schema import Record, WarningEvent, is_probe
from foldmon.journal.unparsed import UNEXPORTED

logger = logging.getLogger("foldmon")

_STEP = "foldmon/step"


class WandbExporter:
    """Logs to one Weights & Biases run, over an axis of its own, ``foldmon/step``.

    The run's own step counter belongs to the training loop and only moves forward: a row of ours would shift
    it, and values that the user then logs with a step of their own choice would be dropped. So the latest
    probe goes into the row that the user is filling, and what found no room follows when the exporter is
    closed; where the user chooses the steps there is no room for it then either, which is said. A warning
    becomes an alert and an entry ``foldmon/warning`` of the run's summary.

    Args:
        run: as ``wandb.init`` returned it; None takes the one that is active.
        layers: layers with a chart of their own at most; of more, those that change most in the first
            probes. None charts all.

    Raises:
        ImportError: Weights & Biases is not installed.
        ValueError: no run is active, or ``layers`` is negative.

    Example:
        >>> import os, wandb
        >>> run = wandb.init(mode="disabled")
        >>> WandbExporter().name
        'wandb'
        >>> run.finish()
    """

    name = "wandb"
    unread = UNEXPORTED

    def __init__(self, run: Any = None, layers: int | None = 12) -> None:
        self._charts = Charts(layers)
        try:
            import wandb
        except ImportError as error:
            raise ImportError(
                "the Weights & Biases exporter needs wandb; install it with: pip install 'foldmon[wandb]'"
            ) from error
        active: Any = run if run is not None else wandb.run
        if active is None:
            raise ValueError("no Weights & Biases run is active; call wandb.init() first, or pass run=")
        self.run = active
        self._last_seq = -1
        self._waiting: list[dict[str, float]] = []
        self._row: tuple[int, dict[str, float]] | None = None  # step of the run, and what lies there
        self._names = Names(self, "Weights & Biases", getattr(active, "id", None) or id(active))
        self._step = self._names(_STEP)
        self.run.define_metric(self._step, hidden=True)
        for group in ("folding/*", "folding_ci/*", "heldout/*", "heldout_ci/*", "foldmon/*"):
            self.run.define_metric(self._names(group), step_metric=self._step)

    def recall(self, earlier: Iterable[Record]) -> None:
        """Keep the charts that an earlier process chose."""
        self._charts.recall(earlier)

    def write(self, records: Sequence[Record]) -> None:
        """Log the probes into the user's rows; one that was logged before is not repeated."""
        for record in filter(is_probe, records):
            if record["seq"] <= self._last_seq:
                continue
            values = scalars(record, self._charts.of(record))
            named = {self._names(tag): value for tag, value in values.items()}
            self._waiting.append({**named, self._step: record["step"]})
            self._fill()
            if (event := record["warning"]["event"]) is not None:
                self._warn(event)
            self._last_seq = record["seq"]

    def close(self) -> None:
        """Log what found no room, each probe in a row of its own; the run is the user's and stays open."""
        self._names.give_back(self)
        rest, lying, self._waiting, self._row = self._waiting, self._row, [], None
        if rest and _steps_are_chosen(self.run):
            logger.warning(
                "foldmon: %d probes are not in the Weights & Biases run, whose steps you choose: rows of "
                "ours would take the place of yours. All are in the journal",
                len(rest),
            )
            return
        if lying is not None and lying[0] == self.run.step:
            self.run.log({}, commit=True)
        for values in rest:
            self.run.log(values)

    def _fill(self) -> None:
        """Put the latest probe into the row that is not committed yet; one that lies there gives way."""
        if self._row is not None and self._row[0] == self.run.step:
            before = self._row[1]
            self._waiting.insert(len(self._waiting) - 1, before)
        else:
            before = {}
        values = self._waiting.pop()
        # The row keeps what it holds: what only the earlier probe had is unknown at the later one.
        self.run.log({**dict.fromkeys(before, math.nan), **values}, commit=False)
        self._row = self.run.step, values

    def _warn(self, event: WarningEvent) -> None:
        text = warning_text(event)
        self.run.summary[self._names("foldmon/warning")] = text
        self.run.alert(title="foldmon warning", text=text)


def _steps_are_chosen(run: Any) -> bool:
    """Whether the user logs with steps of their own choice, which the run notes."""
    noted = getattr(getattr(run, "_telemetry_obj", None), "feature", None)
    return bool(getattr(noted, "set_step_log", False))

"""Weights & Biases: an exporter more, online and offline alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from foldmon.exporters.charts import Charts
from foldmon.exporters.scalars import scalars
from foldmon.exporters.words import warning_text
from foldmon.journal.schema import Record, WarningEvent, is_probe

_STEP = "foldmon/step"


class WandbExporter:
    """Logs to one Weights & Biases run, over an axis of its own, ``foldmon/step``.

    The run's own step counter belongs to the training loop and only moves forward; probes come from
    another thread and later, so they have an axis of their own. A warning becomes an alert and an entry
    ``foldmon/warning`` of the run's summary.

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
        self.run.define_metric(_STEP, hidden=True)
        for group in ("folding/*", "folding_ci/*", "heldout/*", "heldout_ci/*", "foldmon/*"):
            self.run.define_metric(group, step_metric=_STEP)

    def recall(self, earlier: Iterable[Record]) -> None:
        """Keep the charts that an earlier process chose."""
        self._charts.recall(earlier)

    def write(self, records: Sequence[Record]) -> None:
        """Log the probes; one that was logged before is not repeated."""
        for record in filter(is_probe, records):
            if record["seq"] <= self._last_seq:
                continue
            self.run.log({**scalars(record, self._charts.of(record)), _STEP: record["step"]})
            if (event := record["warning"]["event"]) is not None:
                self._warn(event)
            self._last_seq = record["seq"]

    def close(self) -> None:
        """Nothing is held: the run is the user's."""

    def _warn(self, event: WarningEvent) -> None:
        text = warning_text(event)
        self.run.summary["foldmon/warning"] = text
        self.run.alert(title="foldmon warning", text=text)

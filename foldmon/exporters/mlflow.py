"""MLflow: the metrics of all probes of a second in one batch, into one run that the user's thread names."""

from __future__ import annotations

import io
import logging
import math
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from foldmon.exporters.base import PermanentError, WriteReport
from foldmon.exporters.charts import Charts
from foldmon.exporters.pictures import Pictures
from foldmon.exporters.scalars import safe_name, scalars
from foldmon.exporters.words import warning_text
from foldmon.exporters.writers import Names
from foldmon.journal.schema import ProbeRecord, Record, StartRecord, is_probe, is_start
from foldmon.journal.unparsed import UNEXPORTED

logger = logging.getLogger("foldmon")

_BATCH = 1000  # most metrics of one request of the REST interface
_TAG_LENGTH = 4000
_PARAM_LENGTH = 500


class MLflowExporter:
    """Logs to one MLflow run, under the probes' own wall-clock times, so that repeating is harmless.

    Args:
        run_id: the run; None takes the run that is active in this thread, or makes one.
        tracking_uri: where the run lives; None takes MLflow's current one.
        layers: layers with a chart of their own at most; of more, those that change most in the first
            probes. None charts all.

    Raises:
        ImportError: MLflow is not installed.
    """

    name = "mlflow"
    unread = UNEXPORTED
    apart = 1.0

    def __init__(
        self, run_id: str | None = None, tracking_uri: str | None = None, layers: int | None = 12
    ) -> None:
        self._charts = Charts(layers)
        self._pictures = Pictures()
        self._images_failed = False
        self._shown: set[int] = set()
        self._warned: dict[int, str] = {}
        try:
            import mlflow
        except ImportError as error:
            raise ImportError(
                "the MLflow exporter needs MLflow; install it with: pip install 'foldmon[mlflow]'"
            ) from error
        # The active run belongs to the calling thread: another thread would start a second run.
        active = mlflow.active_run()
        self._client = mlflow.MlflowClient(tracking_uri=tracking_uri)
        self._made = run_id is None and active is None
        if run_id is not None:
            self.run_id = run_id
        elif active is not None:
            self.run_id = active.info.run_id
        else:
            self.run_id = self._make_run(mlflow)
        self._names = Names(self, "MLflow", (self._client.tracking_uri, self.run_id))

    def _make_run(self, mlflow: Any) -> str:
        # Not mlflow.start_run: the user's own code may start a run later.
        from mlflow.tracking.fluent import _get_experiment_id

        run = self._client.create_run(_get_experiment_id(), tags={"mlflow.source.name": "foldmon"})
        return str(run.info.run_id)

    def recall(self, earlier: Iterable[Record]) -> None:
        """Keep the charts that an earlier process chose."""
        self._charts.recall(earlier)

    def write(self, records: Sequence[Record]) -> None:
        """Log the records in as few requests as the interface takes.

        Raises:
            PermanentError: the run was deleted or does not exist.
            Exception: whatever MLflow raises for a server that does not answer.
        """
        from mlflow.exceptions import MlflowException

        try:
            for start in filter(is_start, records):
                self._log_start(start)
            probes = list(filter(is_probe, records))
            metrics = (m for record in probes for m in self._metrics(record))
            for batch in _batches(metrics):
                self._client.log_batch(self.run_id, metrics=batch, synchronous=True)
            self._log_warnings(probes)
            for record in probes:
                self._log_images(record)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "INVALID_STATE"):
                raise PermanentError(f"run {self.run_id}: {error}") from error
            raise

    def finish(self, journal: Path, write_report: WriteReport) -> None:
        """Add the HTML report of the run as an artifact, at its end."""
        with tempfile.TemporaryDirectory(prefix="foldmon-") as folder:
            page = Path(folder) / "report.html"
            write_report(journal, page)
            self._client.log_artifact(self.run_id, str(page), self._names("foldmon"))

    def close(self) -> None:
        """End the run, where this exporter made it."""
        self._names.give_back(self)
        if self._made:
            self._client.set_terminated(self.run_id)

    def _log_start(self, record: StartRecord) -> None:
        from mlflow.entities import RunTag

        config = {f"foldmon.{safe_name(name)}": str(value) for name, value in record["config"].items()}
        config["foldmon.model"] = record["model"]
        config["foldmon.layers"] = str(len(record["coverage"]["sites"]))
        config = {self._names(name): value for name, value in config.items()}
        # A resumed run may have other options: a tag follows them, a parameter never changes.
        tags = [RunTag(name, value[:_TAG_LENGTH]) for name, value in config.items()]
        self._client.log_batch(self.run_id, tags=tags, synchronous=True)
        self._log_params(config)

    def _log_params(self, config: Mapping[str, str]) -> None:
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException

        there = self._client.get_run(self.run_id).data.params
        params = [Param(name, value[:_PARAM_LENGTH]) for name, value in config.items() if name not in there]
        try:
            self._client.log_batch(self.run_id, params=params, synchronous=True)
        except MlflowException as error:
            # Another process gave one of them in between; the tags hold them all.
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            logger.debug("foldmon: MLflow did not take the parameters: %s", error)

    def _metrics(self, record: ProbeRecord) -> Iterable[Any]:
        from mlflow.entities import Metric

        for tag, value in scalars(record, self._charts.of(record)).items():
            # MLflow would store infinities as the largest float.
            if not math.isinf(value):
                name = self._names(metric_name(tag))
                yield Metric(name, float(value), record["time_ms"], record["step"])

    def _log_images(self, record: ProbeRecord) -> None:
        pictures = self._pictures.of(record)
        if record["seq"] in self._shown:
            return
        from PIL import Image

        try:
            for key, png in pictures.items():
                self._client.log_image(
                    self.run_id, Image.open(io.BytesIO(png)), key=self._names(key), step=record["step"],
                    timestamp=record["time_ms"], synchronous=True,
                )  # fmt: skip
        except Exception as error:
            # The numbers count, and artifacts often live elsewhere: they must not wait for a picture.
            if not self._images_failed:
                logger.warning("foldmon: MLflow did not take an image (%s); the numbers go on", error)
            self._images_failed = True
        if pictures:
            self._shown.add(record["seq"])

    def _log_warnings(self, probes: Sequence[ProbeRecord]) -> None:
        for record in probes:
            if (event := record["warning"]["event"]) is not None:
                text = warning_text(event)
                self._client.set_tag(self.run_id, self._names("foldmon.warning"), text[:_TAG_LENGTH])
                self._warned[record["seq"]] = f"- {text}"
                self._log_note()

    def _log_note(self) -> None:
        # In a file of its own: the run's description is the user's.
        note = "\n".join(["# Warnings of foldmon", "", *self._warned.values(), ""])
        try:
            self._client.log_text(self.run_id, note, self._names("foldmon/warnings.md"))
        except Exception as error:
            logger.debug("foldmon: no note of warnings in MLflow: %s", error)


def active_run_exists() -> bool:
    """Whether the calling thread has an active MLflow run; never imports MLflow."""
    mlflow = sys.modules.get("mlflow")
    active = getattr(mlflow, "active_run", None)
    return active is not None and active() is not None


def metric_name(tag: str) -> str:
    """A tag as MLflow's charts group and sort it: ``folding/layer/NN_name``.

    Example:
        >>> metric_name("folding/layer/03.block.1.relu:1")
        'folding/layer/03_block.1.relu:1'
    """
    group, _, last = tag.rpartition("/")
    depth, dot, rest = last.partition(".")
    if group in ("folding/layer", "folding/cumulative") and dot and depth.isdigit():
        last = f"{depth}_{rest}"
    return f"{group}/{last}" if group else last


def _batches(metrics: Iterable[Any]) -> Iterable[list[Any]]:
    rows = list(metrics)
    for low in range(0, len(rows), _BATCH):
        yield rows[low : low + _BATCH]

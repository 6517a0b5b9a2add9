"""Hugging Face Trainer: ``Trainer(callbacks=[FoldingTrainerCallback(eval_dataset)])``."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from foldmon import MLflowExporter, Monitor, Pairs, TensorBoardExporter, watch
from foldmon.exporters.base import Exporter
from foldmon.exporters.wandb import WandbExporter
from foldmon.folding.data.heldout import validation_part
from foldmon.integrations.ranks import watched_here
from foldmon.monitor.callbacks import guarded

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ImportError as error:
    raise ImportError(
        "FoldingTrainerCallback needs transformers; install it with: pip install 'foldmon[transformers]'"
    ) from error

_STATE = "foldmon.json"


class FoldingTrainerCallback(TrainerCallback):  # type: ignore[misc]
    """Watches the model of a Trainer and streams its folding to what ``report_to`` says.

    TensorBoard, MLflow and Weights & Biases are served; other integrations are left to the journal. Steps are
    the Trainer's global step. Each checkpoint folder holds ``foldmon.json``, from which a resumed run
    goes on. The world's rank 0 measures; of a sharded model (FSDP of both versions, ZeRO 3) all ranks do,
    together.

    Args:
        data: held-out data, as :func:`foldmon.watch` takes them. Items of a data set are joined by the
            Trainer's own collator, and columns that the model does not take are left out as the Trainer
            does it. None takes the Trainer's evaluation loader, and begins at the first evaluation.
        options: of :func:`foldmon.watch`, by keyword.

    Attributes:
        monitor: the :class:`foldmon.Monitor`, None before watching begins, and on ranks that do not
            measure.

    Example:
        >>> callback = FoldingTrainerCallback(every=10)
        >>> callback.monitor is None
        True
    """

    def __init__(self, data: Any = None, **options: Any) -> None:
        self.monitor: Monitor | None = None
        self._watching = False
        self._data, self._options = data, options

    @guarded
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin to watch, where held-out data are at hand."""
        if self._data is not None:
            self._begin(self._data, args, state, kwargs)

    @guarded
    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put the evaluation's metrics beside the folding."""
        if not self._watching and self._data is None and kwargs.get("train_dataloader") is not None:
            self._begin(kwargs["eval_dataloader"], args, state, kwargs)
        if self.monitor is not None:
            metrics: dict[str, Any] = kwargs.get("metrics") or {}
            self.monitor.log(**{k: v for k, v in metrics.items() if isinstance(v, int | float)})

    @guarded
    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Give the warning the training loss that the Trainer reports."""
        loss = (kwargs.get("logs") or {}).get("loss")
        if self.monitor is not None and isinstance(loss, int | float):
            self.monitor.log(loss=loss)

    @guarded
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count the Trainer's global step."""
        if self.monitor is not None:
            self.monitor.step(state.global_step)

    @guarded
    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the monitor's state in the checkpoint."""
        folder = _checkpoint(args, state)
        if self.monitor is not None and folder.is_dir():
            (folder / _STATE).write_text(json.dumps(self.monitor.state_dict()))

    @guarded
    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Deliver what is left."""
        if self.monitor is not None:
            self.monitor.close()
        self._watching = False

    def _begin(self, data: Any, args: TrainingArguments, state: TrainerState, kwargs: dict[str, Any]) -> None:
        self._watching = True
        model = watched_here(kwargs["model"], kwargs["model"], state.is_world_process_zero)
        if model is None:
            return
        data = _as_the_trainer_reads(data, args, kwargs["model"], kwargs.get("train_dataloader"))
        options: dict[str, Any] = {"log_dir": args.output_dir, **self._options}
        if "exporters" not in options:
            options["exporters"] = _exporters(args) if state.is_world_process_zero else []
        self.monitor = watch(
            model, data, optimizer=kwargs.get("optimizer"), step=state.global_step, **options
        )
        saved = _checkpoint(args, state) / _STATE
        if state.global_step and saved.is_file():
            self.monitor.load_state_dict(json.loads(saved.read_text()) | {"step": state.global_step})


class _Columns:
    """The Trainer's collator, shown what the model takes of each item."""

    def __init__(self, collate: Callable[[list[Any]], Any], names: set[str]) -> None:
        self._collate, self._names = collate, names

    def __call__(self, items: list[Any]) -> Any:
        if not all(isinstance(item, Mapping) for item in items):
            return self._collate(items)
        return self._collate([{n: v for n, v in item.items() if n in self._names} for item in items])


def _as_the_trainer_reads(data: Any, args: TrainingArguments, model: nn.Module, training: Any) -> Any:
    """A loader of a data set with the collator, and the workers, of the Trainer's loader for training."""
    data = validation_part(data)
    rows = hasattr(data, "__getitem__") and not isinstance(
        data, Tensor | np.ndarray | tuple | Mapping | Pairs
    )
    if training is None or isinstance(data, DataLoader) or not (rows or isinstance(data, IterableDataset)):
        return data
    collate = training.collate_fn
    if args.remove_unused_columns:
        base: Any = getattr(model, "get_base_model", lambda: model)()  # of an adapter
        taken = inspect.signature(base.forward).parameters
        collate = _Columns(collate, {*taken, "label", "label_ids", "labels", *(args.label_names or ())})
    workers = args.dataloader_num_workers
    return DataLoader(data, args.per_device_eval_batch_size, collate_fn=collate, num_workers=workers)


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"


def _exporters(args: TrainingArguments) -> list[Exporter | str]:
    reported = [args.report_to] if isinstance(args.report_to, str) else list(args.report_to or [])
    found: list[Exporter | str] = ["console"]
    if "tensorboard" in reported:
        found.append(TensorBoardExporter(_tensorboard_folder(args)))
    if "mlflow" in reported:
        found.append(MLflowExporter())
    if "wandb" in reported:
        found.append(WandbExporter())
    return found


def _tensorboard_folder(args: TrainingArguments) -> Path:
    """The run folder that the Trainer's own writer has just made."""
    named = os.environ.get("TENSORBOARD_LOGGING_DIR") or getattr(args, "logging_dir", None)
    if named:
        return Path(named)
    runs = [path for path in (Path(args.output_dir) / "runs").glob("*") if path.is_dir()]
    return max(runs, key=lambda path: path.stat().st_mtime, default=Path(args.output_dir))

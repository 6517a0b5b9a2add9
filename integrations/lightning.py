"""PyTorch Lightning: ``Trainer(callbacks=[FoldingCallback()])``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from foldmon import MLflowExporter, Monitor, TensorBoardExporter, watch
from foldmon.exporters.wandb import WandbExporter
from foldmon.integrations.ranks import watched_here
from foldmon.integrations.trackers import exporters_or_usual
from foldmon.monitor.callbacks import guarded

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError:
    try:
        from pytorch_lightning import Callback, LightningModule, Trainer
    except ImportError as error:
        raise ImportError(
            "FoldingCallback needs Lightning; install it with: pip install 'foldmon[lightning]'"
        ) from error

_MAKERS = {
    "TensorBoardLogger": lambda found: TensorBoardExporter(found.log_dir),
    "MLFlowLogger": lambda found: MLflowExporter(found.run_id, found._tracking_uri),
    "WandbLogger": lambda found: WandbExporter(found.experiment),
}


class FoldingCallback(Callback):  # type: ignore[misc]
    """Watches the module in training and streams its folding to the trainer's own loggers.

    Held-out inputs come from the validation loader, steps are the trainer's global step, and the state
    travels in the trainer's checkpoints. The global rank 0 measures; of a sharded model (strategies FSDP,
    ModelParallel and DeepSpeed) all ranks do, together. Loggers that it knows are TensorBoard's, MLflow's and
    Weights & Biases'; beside any other one the journal and TensorBoard files are written into the
    trainer's folder.

    Args:
        data: held-out data, as :func:`foldmon.watch` takes them; None takes the (first) validation loader.
        options: of :func:`foldmon.watch`, by keyword. ``forward=lambda module, x: module.net(x)`` is for
            modules that do not define ``forward``.

    Attributes:
        monitor: the :class:`foldmon.Monitor`, None before training begins, and on ranks that do not
            measure.

    What cannot be measured is said once, and training goes on.

    Example:
        >>> callback = FoldingCallback(pairs=32)
        >>> callback.monitor is None
        True
    """

    def __init__(self, data: Any = None, **options: Any) -> None:
        self.monitor: Monitor | None = None
        self._data, self._options = data, options
        self._state: dict[str, Any] = {}

    @property
    def state_key(self) -> str:
        """Under which a checkpoint keeps the state: two callbacks that measure other layers have two."""
        layers = self._options.get("layers")
        return str(super().state_key if layers is None else self._generate_state_key(layers=layers))

    @guarded
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to watch."""
        # Read on every rank: under DDP it is broadcast.
        folder = trainer.log_dir or trainer.default_root_dir
        model = watched_here(trainer.strategy.model, pl_module, trainer.is_global_zero)
        if model is None:
            return
        options: dict[str, Any] = {"log_dir": folder, **self._options}
        if "exporters" not in options:
            # On other ranks the loggers are not the run's own.
            first = trainer.is_global_zero
            options["exporters"] = exporters_or_usual(trainer.loggers, _MAKERS) if first else []
        if trainer.optimizers:
            options.setdefault("optimizer", trainer.optimizers[0])
        data = self._data if self._data is not None else _validation_loader(trainer)
        self.monitor = watch(model, data, step=trainer.global_step, **options)
        if self._state:
            self.monitor.load_state_dict({**self._state, "step": trainer.global_step})

    @guarded
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the trainer's global step, which stands still while gradients accumulate."""
        if self.monitor is None:
            return
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        # Reading a number waits for the device: off the CPU, only where the loggers read some too.
        if isinstance(loss, Tensor) and (
            loss.device.type == "cpu" or batch_idx % max(trainer.log_every_n_steps, 1) == 0
        ):
            # Lightning has divided it by the batches that make one step.
            self.monitor.log(loss=loss * trainer.accumulate_grad_batches)
        self.monitor.step(trainer.global_step)

    @guarded
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the validation metrics beside the folding."""
        if self.monitor is not None and not trainer.sanity_checking:
            self.monitor.log(**{name: float(value) for name, value in trainer.callback_metrics.items()})

    @guarded
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Deliver what is left."""
        if self.monitor is not None:
            self.monitor.close()

    @guarded
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Deliver what is left of a run that failed or was interrupted."""
        if self.monitor is not None:
            self.monitor.close(last=0)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return self.monitor.state_dict() if self.monitor is not None else self._state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Taken up when training begins."""
        self._state = state_dict


def _validation_loader(trainer: Trainer) -> Any:
    loaders = trainer.val_dataloaders or _passed_loaders(trainer)
    if isinstance(loaders, dict):
        loaders = list(loaders.values())
    if isinstance(loaders, list | tuple):
        loaders = loaders[0] if loaders else None
    if loaders is None:
        raise ValueError(
            "foldmon needs held-out inputs, and the trainer has no validation loader: pass one to fit, "
            "or FoldingCallback(data=...)"
        )
    return loaders


def _passed_loaders(trainer: Trainer) -> Any:
    """Validation loaders that Lightning was given and leaves be, since the module has no validation step."""
    try:
        source = trainer.fit_loop.epoch_loop.val_loop._data_source
        return source.dataloader() if source.is_defined() else None
    except Exception:  # of another release, or a hook that gives none
        return None

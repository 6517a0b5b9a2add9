"""Accelerate: ``monitor = watch_accelerated(accelerator, model, val_loader)``."""

from __future__ import annotations

from typing import Any

from torch import nn

from foldmon import MLflowExporter, Monitor, TensorBoardExporter, watch
from foldmon.exporters.wandb import WandbExporter
from foldmon.integrations.ranks import watched_here
from foldmon.integrations.trackers import exporters_or_usual
from foldmon.monitor.inert import InertMonitor

try:
    from accelerate import Accelerator
except ImportError as error:
    raise ImportError(
        "watch_accelerated needs accelerate; install it with: pip install 'foldmon[transformers]'"
    ) from error

_MAKERS = {
    "TensorBoardTracker": lambda found: TensorBoardExporter(found.logging_dir),
    "MLflowTracker": lambda found: MLflowExporter(found.active_run.info.run_id),
    "WandBTracker": lambda found: WandbExporter(found.run),
}


def watch_accelerated(accelerator: Accelerator, model: nn.Module, data: Any, **options: Any) -> Monitor:
    """:func:`foldmon.watch` with the accelerator's trackers, checkpoints and ranks.

    The main process measures, while on the others the monitor does nothing; of a sharded model (FSDP of both
    versions, ZeRO 3) all processes measure together: call it on each. ``accelerator.save_state`` keeps the
    monitor's state, and ``load_state`` brings it back.

    Args:
        accelerator: after ``init_trackers``, where trackers are to be served.
        model: as ``accelerator.prepare`` returned it.
        data: held-out data, as :func:`foldmon.watch` takes them.
        options: of :func:`foldmon.watch`, by keyword.

    Returns:
        Monitor: close it before ``accelerator.end_training()``, which ends the trackers' runs.

    Example:
        >>> import tempfile, torch
        >>> accelerator = Accelerator(cpu=True)
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
        >>> model, optimizer = accelerator.prepare(net, torch.optim.SGD(net.parameters(), lr=0.1))
        >>> held_out = torch.randn(60, 4), torch.arange(60) % 3
        >>> with watch_accelerated(
        ...     accelerator, model, held_out, exporters=[], log_dir=tempfile.mkdtemp()) as monitor:
        ...     for _ in range(5):
        ...         accelerator.backward(model(torch.randn(8, 4)).square().mean())
        ...         optimizer.step(); optimizer.zero_grad()
        >>> monitor.steps
        5
    """
    monitor: Monitor = InertMonitor()
    first = accelerator.is_main_process
    watched = watched_here(model, accelerator.unwrap_model(model), first)
    if watched is not None:
        if "exporters" not in options:
            options["exporters"] = exporters_or_usual(accelerator.trackers, _MAKERS) if first else []
        monitor = watch(watched, data, **options)
    accelerator.register_for_checkpointing(monitor)
    return monitor

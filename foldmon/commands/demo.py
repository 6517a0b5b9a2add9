"""``foldmon demo``: two small networks on real handwriting, one of them with wrong labels, side by side.

Both are the same CNN on scikit-learn's digits (1,797 images of 8 x 8 pixels). The twin learns from labels
of which a share is wrong. It can only memorise those: its held-out accuracy falls, its folding rises, and the
warning says so while most of the accuracy is still there.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foldmon.exporters.base import Exporter
from foldmon.exporters.mlflow import MLflowExporter
from foldmon.exporters.tensorboard import TensorBoardExporter
from foldmon.monitor.protocol import Monitor
from foldmon.watching import watch

TRAINING, BATCH, NOISE = 1000, 50, 0.4
EPOCHS = 80
EVERY = 40  # so often that the short run gives a smooth curve; the default keeps the cost at 1%


@dataclass
class Twin:
    """One of the two networks in training."""

    name: str
    images: Tensor
    labels: Tensor
    model: nn.Module
    optimizer: torch.optim.Optimizer
    monitor: Monitor
    generator: torch.Generator

    def train_epoch(self) -> None:
        """An ordinary epoch; of foldmon it knows one line, and could do without."""
        self.model.train()
        order = torch.randperm(len(self.labels), generator=self.generator)
        for rows in torch.split(order, BATCH):
            loss = F.cross_entropy(self.model(self.images[rows]), self.labels[rows])
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.monitor.log(loss=loss)

    @property
    def accuracies(self) -> list[tuple[int, float]]:
        """Steps and held-out accuracies, as the monitor has them."""
        return [
            (report.step or 0, report.held_out.accuracy)
            for report in self.monitor.history
            if report.held_out is not None and report.held_out.accuracy is not None
        ]


def run(
    log_dir: str | Path = "foldmon-demo",
    *,
    epochs: int = EPOCHS,
    mlflow: bool = True,
    quiet: bool = False,
    seed: int = 0,
) -> Path:
    """Train both networks under ``foldmon.watch`` and leave their dashboards behind.

    Args:
        log_dir: folder for TensorBoard's runs, the journals, MLflow's database and the plot.
        epochs: passes over the 1,000 training images.
        mlflow: also log to an embedded MLflow database; no server is needed.
        quiet: print nothing but the result.
        seed: of weights, batches and noise.

    Returns:
        The plot's path.

    Raises:
        ImportError: scikit-learn, matplotlib or tqdm is missing; the message says what to install.
    """
    _require("sklearn", "matplotlib", "tqdm")
    folder = Path(log_dir)
    folder.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    images, labels = _digits()
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        twins = [
            _twin(stack, name, noise, folder, stamp, images, labels, mlflow, seed)
            for name, noise in (("healthy", 0.0), ("noisy-labels", NOISE))
        ]
        if not quiet:
            print(_intro(folder, mlflow), flush=True)
        for _ in _progress(epochs, twins, quiet):
            for twin in twins:
                twin.train_epoch()
        for twin in twins:
            twin.monitor.probe()  # the end state, wherever the interval fell
    plot = _plot(twins, folder / f"folding-{stamp}.png")
    print(_outcome(twins, plot, folder, mlflow, time.perf_counter() - began))
    return plot


def _digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(data.images / 16, dtype=torch.float32).unsqueeze(1)
    return images[order], torch.tensor(data.target)[order]


def digits_cnn() -> nn.Module:
    """A small CNN for images of 8 x 8 pixels and ten classes."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(),
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def _twin(
    stack: contextlib.ExitStack,
    name: str,
    noise: float,
    folder: Path,
    stamp: str,
    images: Tensor,
    labels: Tensor,
    mlflow: bool,
    seed: int,
) -> Twin:
    generator = torch.Generator().manual_seed(seed)
    learned = labels[:TRAINING].clone()
    wrong = torch.rand(TRAINING, generator=generator) < noise
    shift = torch.randint(1, 10, (TRAINING,), generator=generator)
    learned[wrong] = (learned[wrong] + shift[wrong]) % 10
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = digits_cnn()
    exporters: list[Exporter] = [TensorBoardExporter(folder / stamp / name)]
    if mlflow:
        exporters.append(_mlflow_run(folder, f"{name} {stamp}"))
    monitor = watch(model, (images[TRAINING:], labels[TRAINING:]), every=EVERY, exporters=exporters)
    stack.enter_context(monitor)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return Twin(name, images[:TRAINING], learned, model, optimizer, monitor, generator)


def _mlflow_run(folder: Path, name: str) -> Exporter:
    _require("mlflow")
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=_database(folder))
    experiment = client.get_experiment_by_name("foldmon demo")
    if experiment is not None:
        experiment_id = experiment.experiment_id
    else:
        artifacts = (folder / "mlflow-artifacts").resolve().as_uri()
        experiment_id = client.create_experiment("foldmon demo", artifact_location=artifacts)
    run_id = client.create_run(experiment_id, run_name=name).info.run_id
    return MLflowExporter(run_id, _database(folder))


def _database(folder: Path) -> str:
    return f"sqlite:///{(folder / 'mlflow.db').resolve()}"


def _progress(epochs: int, twins: list[Twin], quiet: bool) -> Iterator[int]:
    from tqdm import tqdm

    with tqdm(range(epochs), unit="epoch", disable=quiet or not sys.stderr.isatty()) as bar:
        for epoch in bar:
            yield epoch
            reports = [twin.monitor.report for twin in twins]
            bar.set_postfix_str(
                ", ".join(
                    f"{twin.name}: phi {report.phi:.3f}"
                    for twin, report in zip(twins, reports, strict=True)
                    if report is not None
                )
            )


def _plot(twins: list[Twin], path: Path) -> Path:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    for twin, colour in zip(twins, ("#1f77b4", "#d62728"), strict=True):
        reports = list(twin.monitor.history)
        steps = [report.step for report in reports]
        band = [report.phi_interval for report in reports]
        axes[0].plot(steps, [report.phi for report in reports], color=colour, label=twin.name)
        axes[0].fill_between(steps, *zip(*band, strict=True), color=colour, alpha=0.2, lw=0)
        changes = [r.decision.mean_changes for r in reports if r.decision is not None]
        axes[1].plot(steps[: len(changes)], changes, color=colour, label=twin.name)
        axes[2].plot(*zip(*twin.accuracies, strict=True), color=colour, label=twin.name)
        for warning in twin.monitor.warnings:
            for axis in axes:
                axis.axvline(warning.step, color=colour, lw=1, ls="-" if warning.severity == 2 else ":")
    titles = ("network folding phi, 95% interval", "class changes a path", "held-out accuracy")
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("training step")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path


def _intro(folder: Path, mlflow: bool) -> str:
    lines = ["Two CNNs on scikit-learn's digits; watch them live from another terminal:"]
    return "\n".join([*lines, *_commands(folder, mlflow)])


def _commands(folder: Path, mlflow: bool) -> list[str]:
    commands = [f"  tensorboard --logdir {folder}"]
    if mlflow:
        commands.append(f"  mlflow ui --backend-store-uri {_database(folder)}")
    return commands


def _outcome(twins: list[Twin], plot: Path, folder: Path, mlflow: bool, seconds: float) -> str:
    head = (
        f"{'':<14} {'phi':>7} {'95% interval':>18} {'class changes':>14} "
        f"{'accuracy':>9} {'best':>7} {'cost':>6} {'warned at step':>15}"
    )
    lines = ["", head, "-" * len(head)]
    for twin in twins:
        report = twin.monitor.report
        if report is None or report.decision is None:
            lines.append(f"{twin.name:<14} no probe ended; see the messages above")
            continue
        low, high = report.phi_interval
        warned = ", ".join(str(warning.step) for warning in twin.monitor.warnings) or "-"
        accuracies = [value for _, value in twin.accuracies]
        lines.append(
            f"{twin.name:<14} {report.phi:>7.4f} {f'[{low:.4f}, {high:.4f}]':>18} "
            f"{report.decision.mean_changes:>14.2f} {accuracies[-1]:>9.1%} {max(accuracies):>7.1%} "
            f"{twin.monitor.overhead:>6.1%} {warned:>15}"
        )
    lines += [f"\n{twin.name}, {warning}" for twin in twins for warning in twin.monitor.warnings]
    lines += [
        "",
        f"cost: share of the time, with a probe every {EVERY} of these tiny steps; the default is 1%",
        f"trained in {seconds:.0f} s; plot: {plot}",
        "",
        "Open the dashboards with:",
    ]
    return "\n".join([*lines, *_commands(folder, mlflow)])


def _require(*modules: str) -> None:
    import importlib.util

    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"the demo needs {', '.join(missing)}; install them with: pip install 'foldmon[demo]'"
        )

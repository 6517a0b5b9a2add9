"""One training run under ``foldmon.watch`` at its defaults, and beside it the truth that it cannot see."""

from __future__ import annotations

import contextlib
import math
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

import foldmon
from foldmon.journal.following import read_journal
from tests.benchmarks.warnings.data import Data, load
from tests.benchmarks.warnings.grid import Spec
from tests.benchmarks.warnings.models import build

BATCH = 64
EPOCHS, EQUAL, EARLY = 60, 40, 12
"""Most validations after epochs; those at equal steps, and before them at steps that grow by a factor."""
_EVIDENCE, _PARTS = 16, 8  # times that the gradients are looked at, and batches of 32 for it
_LOOKS, _PAIRS, _POINTS = 12, 64, 17  # of folding on held-out and on training inputs, for the exploration
_BEFORE = 400  # steps of the training that a fine-tuning goes on from


class CpuClock:
    """Seconds that this process has computed, less what the benchmark's own measuring took.

    In place of ``time.perf_counter`` it makes the contract of the cost independent of what else runs on the
    machine: on a quiet one the wall clock of a training loop on the CPU says nearly the same. It would fail
    where training waits for something that is no computing of its own.
    """

    def __init__(self) -> None:
        self._main = time.pthread_getcpuclockid(threading.main_thread().ident or 0)
        self._left_out = 0.0
        self._since: float | None = None

    def __call__(self) -> float:
        paused = 0.0 if self._since is None else time.clock_gettime(self._main) - self._since
        return time.process_time() - self._left_out - paused

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """What the main thread does here does not count."""
        since = self._since = time.clock_gettime(self._main)
        try:
            yield
        finally:
            self._left_out += time.clock_gettime(self._main) - since
            self._since = None


def train(spec: Spec) -> dict[str, Any]:
    """Train one network under the one line.

    Returns:
        "spec"; "records", the journal's probe lines; "truth" (step, loss and accuracy of the whole
        validation set); "epochs" (the same after each epoch, and the share of training predictions that
        changed in it; at most 60, joined where there are more); "evidence" (step, value); "paths" (what
        folding says at some steps on held-out and on training inputs, of the development part only);
        "seconds" of computing.
    """
    clock = CpuClock()
    with mock.patch("time.perf_counter", clock), tempfile.TemporaryDirectory() as folder:
        run = Run(spec, clock, Path(folder))
        began = clock()
        run.train()
        records = [line for line in read_journal(run.monitor.journal_path) if line["kind"] == "probe"]
    return {
        "spec": spec.__dict__,
        "records": records,
        "truth": [[step, *run.truth[step]] for step in sorted(run.truth)],
        "epochs": run.epochs,
        "evidence": run.evidence,
        "paths": run.paths,
        "seconds": clock() - began,
    }


class Run:
    """A training run in the making."""

    def __init__(self, spec: Spec, clock: CpuClock, folder: Path) -> None:
        torch.manual_seed(spec.seed)
        self.spec, self.clock = spec, clock
        self.data = load(spec.data, spec.seed % 16, domains=spec.condition == "domain")
        self.criterion = criterion_of(self.data)
        dropout = 0.3 if spec.condition == "dropout" else 0.0
        self.model = build(spec.architecture, spec.activation, dropout, self.data.task)
        if spec.condition == "tuning":
            self._pretrain()
        self.x, self.y = _training_set(spec, self.data)
        self.optimizer = _optimizer(spec, self.model)
        self.truth: dict[int, tuple[float, float]] = {}
        self.epochs: list[list[float]] = []
        self.evidence: list[list[float]] = []
        self.paths: list[dict[str, Any]] = []
        options = {} if _is_classification(self.data) else {"loss": self.criterion}
        held_out = self.data.x_val, self.data.y_val
        self.monitor = foldmon.watch(self.model, held_out, exporters=[], log_dir=folder, **options)
        self._pairs = (
            foldmon.draw_pairs(self.data.x_val, _PAIRS, kind="any"),
            foldmon.draw_pairs(self.x, min(_PAIRS, len(self.x)), kind="any"),
        )

    def train(self) -> None:
        spec = self.spec
        truth, evidence, looks = _steps(spec)
        epoch = max(1, math.ceil(len(self.x) / BATCH))
        joined = math.ceil(spec.steps / epoch / EPOCHS)
        order = torch.randperm(len(self.x))
        said = torch.full((len(self.x),), -1)
        before, changed, place = said.clone(), 0.0, 0
        for step in range(spec.steps + 1):
            with self.clock.stopped():
                if step in truth:
                    self._validate(step)
                if step in evidence:
                    self.evidence.append([step, self._evidence()])
                if step in looks and spec.part == "development":
                    self.paths.append({"step": step, **self._folding()})
            if step == spec.steps:
                break
            rows = order[place * BATCH : (place + 1) * BATCH]
            rows, classes = self._step(step, rows)
            said[rows] = classes
            place += 1
            if place == epoch:
                changed += float((said != before).float().mean())
                before, place = said.clone(), 0
                order = torch.randperm(len(self.x))
                if ((step + 1) // epoch) % joined == 0:
                    with self.clock.stopped():
                        self.epochs.append([step + 1, *self._validate(step + 1), changed / joined])
                    changed = 0.0
        self.monitor.close(last=0)

    def _step(self, step: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Train on some rows, or others in their place; these, and the class that each was given."""
        for group in self.optimizer.param_groups:
            group["lr"] = _rate(self.spec, step)
        rows = self._drifted(rows, step)
        inputs = (
            _augmented(self.x[rows], self.data) if self.spec.condition == "augmentation" else self.x[rows]
        )
        output = self.model(inputs)
        loss = self.criterion(output, self.y[rows])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.monitor.log(loss=loss.item())
        return rows, output.detach().flatten(1).argmax(-1)

    def _drifted(self, rows: Tensor, step: int) -> Tensor:
        """With "drift", from half time on ever fewer examples of half of the classes arrive."""
        late = step / self.spec.steps - 0.5
        if self.spec.condition != "drift" or late < 0:
            return rows
        gone = self.y[rows] % 2 == 1
        left = torch.nonzero(self.y % 2 == 0).flatten()
        replaced = gone & (torch.rand(len(rows)) < min(1.0, 4 * late))
        return torch.where(replaced, left[torch.randint(len(left), (len(rows),))], rows)

    @torch.no_grad()
    def _validate(self, step: int) -> tuple[float, float]:
        """Loss and accuracy of the whole validation set; no accuracy for a regression."""
        if step not in self.truth:
            with evaluating(self.model):
                outputs = torch.cat([self.model(part) for part in self.data.x_val.split(500)])
            loss = float(self.criterion(outputs, self.data.y_val))
            right = (outputs.argmax(-1) == self.data.y_val).float() if self.data.task.classes else None
            self.truth[step] = loss, math.nan if right is None else float(right.mean())
        return self.truth[step]

    def _evidence(self) -> float:
        """The evidence-based criterion, positive where training should stop.

        Mahsereci et al., "Early Stopping without a Validation Set" (arXiv 1703.09580), equation 12: one less
        the mean, over the parameters, of the squared mean gradient in units of its own variance. Variances
        are those between 8 batches of 32 training examples; the factor makes one over them unbiased.
        """
        weights = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        generator = torch.Generator().manual_seed(0)
        gradients = []
        with evaluating(self.model):
            for _ in range(_PARTS):
                rows = torch.randint(len(self.x), (BATCH // 2,), generator=generator)
                loss = self.criterion(self.model(self.x[rows]), self.y[rows])
                found = torch.autograd.grad(loss, weights, allow_unused=True)
                gradients.append(torch.cat([g.flatten() for g in found if g is not None]))
        stacked = torch.stack(gradients)
        mean, variance = stacked.mean(0), stacked.var(0)
        moves = variance > 0
        unbiased = (_PARTS - 3) / (_PARTS - 1)
        return float(1 - unbiased * (mean[moves] ** 2 / (variance[moves] / _PARTS)).mean())

    def _folding(self) -> dict[str, Any]:
        """Folding path by path, on held-out and on training inputs."""
        found = {}
        with evaluating(self.model):
            for name, pairs in zip(("held_out", "training"), self._pairs, strict=True):
                report = foldmon.measure(self.model, pairs, points=_POINTS, method="sampled")
                entry: dict[str, Any] = {
                    "phi": _short(report.chi_network),
                    "cumulative": _short(report.chi_cumulative[:, [0, -1]]),
                    "crossings": _short(report.r2_cumulative[:, -1]),
                }
                if report.decision is not None:
                    entry["changes"] = report.decision.changes.tolist()
                    entry["elsewhere"] = _short(report.decision.elsewhere)
                    entry["ends"] = report.decision.ends.tolist()
                found[name] = entry
        return found

    def _pretrain(self) -> None:
        """Train on clean examples first, which the run itself does not see again."""
        optimizer = torch.optim.Adam(self.model.parameters(), 1e-3)
        half = len(self.data.x) // 2
        for _ in range(_BEFORE):
            rows = torch.randint(half, (BATCH,))
            loss = self.criterion(self.model(self.data.x[rows]), self.data.y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, then as it was."""
    model.eval()
    try:
        yield
    finally:
        model.train()


def criterion_of(data: Data) -> Callable[[Tensor, Tensor], Tensor]:
    """The training loss of a task."""
    if not data.task.classes:
        return mse_loss
    if data.task.place is None:
        return lambda output, target: cross_entropy(output.flatten(0, 1), target.flatten())
    return cross_entropy


def _is_classification(data: Data) -> bool:
    return data.task.classes > 0 and data.task.place is not None


def _steps(spec: Spec) -> tuple[set[int], set[int], set[int]]:
    """At which steps the truth, the gradients and the paths are looked at."""
    equal = np.linspace(0, spec.steps, EQUAL + 1)
    early = np.geomspace(1, spec.steps / EQUAL, EARLY) if spec.steps > EQUAL else np.empty(0)
    truth = {int(step) for step in np.concatenate([equal, early])}
    few = [np.linspace(0, spec.steps, count + 1).astype(int).tolist() for count in (_EVIDENCE, _LOOKS)]
    return truth, set(few[0]), set(few[1])


def _training_set(spec: Spec, data: Data) -> tuple[Tensor, Tensor]:
    x, y = data.x[-spec.size :], data.y[-spec.size :].clone()
    if spec.noise:
        wrong = torch.rand(y.shape) < spec.noise
        y[wrong] = (y[wrong] + torch.randint(1, data.task.classes, (int(wrong.sum()),))) % data.task.classes
    if spec.condition == "imbalance":
        # A long tail: each class has a fixed part of the one before it, fifty times fewer at the end.
        keep = 50.0 ** (-y / max(data.task.classes - 1, 1))
        kept = torch.rand(len(y)) < keep
        x, y = x[kept], y[kept]
    return x, y


def _optimizer(spec: Spec, model: nn.Module) -> torch.optim.Optimizer:
    decay = 1.0 if spec.condition in ("decay", "late") else 0.0
    if spec.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), spec.rate, momentum=0.9, weight_decay=1e-2 * decay)
    return torch.optim.AdamW(model.parameters(), spec.rate, weight_decay=decay)


def _rate(spec: Spec, step: int) -> float:
    if spec.condition == "rate" and step >= spec.steps // 2:
        return 30 * spec.rate
    if spec.schedule == "constant":
        return spec.rate
    length = spec.steps if spec.schedule == "cosine" else max(1, spec.steps // 4)
    return spec.rate * 0.5 * (1 + math.cos(math.pi * (step % length) / length)) + 1e-5 * spec.rate


def _augmented(inputs: Tensor, data: Data) -> Tensor:
    if data.task.vocabulary:
        other = torch.randint(data.task.vocabulary, inputs.shape)
        return torch.where(torch.rand(inputs.shape) < 0.1, other, inputs)
    if data.task.shape is not None:
        moves = torch.randint(-1, 2, (2,)).tolist()
        inputs = inputs.unflatten(1, data.task.shape).roll(moves, (2, 3)).flatten(1)
    return inputs + 0.3 * torch.randn_like(inputs)


def _short(values: np.ndarray) -> list[Any]:
    found: list[Any] = np.round(values, 5).tolist()
    return found

"""Runs of a course, each in a process of its own: with the line, without it, and beside the whole panel."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from torch import Tensor
from tqdm import tqdm

import foldmon
from foldmon.journal.following import read_journal
from tests.benchmarks.live.courses import COURSES, Task

_P, _R = ParamSpec("_P"), TypeVar("_R")


@dataclass(frozen=True)
class Run:
    """One training, watched or not.

    Attributes:
        seconds: wall time of the training loop.
        beside_seconds: CPU time of all other threads, until what was measured is delivered.
        step_seconds: median wall time of a step.
        weights: fingerprint of all weights and buffers at the end.
        load: processes that the machine ran or had waiting at the end, over the last minute.
        pairs: fingerprint of the pairs, empty without the line.
        probes: made in training; what the journal holds beyond was measured at the close.
        whole_seconds: of a probe of the whole panel, made after training; None where none was.
        attach_seconds, close_seconds: of ``foldmon.watch`` and of ``monitor.close``.
    """

    seconds: float
    beside_seconds: float
    step_seconds: float
    weights: str
    load: float
    pairs: str = ""
    probes: int = 0
    whole_seconds: float | None = None
    attach_seconds: float = 0.0
    close_seconds: float = 0.0


def in_process(threads: int, function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """Call a function in a new process with so many intra-op threads."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        return processes.submit(function, *args, **kwargs).result()


def train(name: str, steps: int, folder: Path, watched: bool) -> Run:
    """Train once, at the defaults of the line where it is watched, and keep what it took as ``run.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "stderr.txt").open("w") as file, contextlib.redirect_stderr(file):
        task = COURSES[name].begin()
        run = _watched(task, name, steps, folder) if watched else _timed(task, name, steps)
    kept = folder / "run.part"
    kept.write_text(json.dumps(asdict(run)))
    kept.rename(folder / "run.json")
    return run


def _watched(task: Task, name: str, steps: int, folder: Path) -> Run:
    began = time.perf_counter()
    monitor = foldmon.watch(task.model, task.held_out, log_dir=folder)
    attach = time.perf_counter() - began
    run = _timed(task, name, steps, monitor.flush)
    probes = len(probes_of(Path(monitor.journal_path)))
    until = time.perf_counter() + 0.5
    monitor.probe()
    while time.perf_counter() < until:
        monitor.probe()  # while they are cheap: the first is slower than those to come
    began = time.perf_counter()
    monitor.close()
    close = time.perf_counter() - began
    later = probes_of(Path(monitor.journal_path))[probes:]
    whole = [r["monitor"]["probe_seconds"] for r in later if pairs_of(r) == monitor.config.pairs]
    return replace(
        run,
        pairs=monitor.state_dict()["pairs"],
        probes=probes,
        whole_seconds=min(whole, default=None),
        attach_seconds=attach,
        close_seconds=close,
    )


def _timed(task: Task, name: str, steps: int, flush: Callable[[], object] = lambda: None) -> Run:
    beside, ends = _cpu_seconds_beside(), [time.perf_counter()]
    for _ in _with_progress(task.train(COURSES[name].batch, steps), name, steps):
        ends.append(time.perf_counter())
    flush()
    return Run(
        seconds=ends[-1] - ends[0],
        beside_seconds=_cpu_seconds_beside() - beside,
        step_seconds=statistics.median(after - before for before, after in pairwise(ends)),
        weights=_weights(task),
        load=os.getloadavg()[0],
    )


def _cpu_seconds_beside() -> float:
    """CPU time so far of the process's threads but this one."""
    return time.process_time() - time.thread_time()


def probes_of(journal: Path) -> list[dict[str, Any]]:
    """The journal's measurements, in order."""
    return [record for record in read_journal(journal) if record["kind"] == "probe"]


def pairs_of(record: dict[str, Any]) -> int:
    """How many pairs a probe measured."""
    return len(record.get("measured") or record["network_r1"])


def measure_whole(
    name: str, steps: int, kept: Path, like: Run, at: Iterable[int], config: dict[str, Any]
) -> None:
    """Train again without the line, and measure the whole panel at some steps; what is measured is kept.

    Args:
        name: of the course.
        steps: of the training.
        kept: JSON lines, a step each; those of an interrupted or an earlier run are used again where they
            are of the same training and the same pairs.
        like: the watched run, whose training this must repeat bit for bit.
        at: steps to measure at.
        config: options of the watched run.

    Raises:
        RuntimeError: the pairs or the training are not those of the watched run.
    """
    head = {"weights": like.weights, "pairs": like.pairs}
    known, missing = read_whole(kept, head), set(at)
    missing -= set(known)
    if not missing:
        return
    task = COURSES[name].begin()
    pairs = foldmon.draw_pairs(task.held_out, config["pairs"], seed=config["seed"])
    if pairs.fingerprint() != like.pairs:
        raise RuntimeError(f"{name}: draw_pairs does not draw the pairs of the watched run")
    kept.parent.mkdir(parents=True, exist_ok=True)
    if not known:
        kept.write_text(json.dumps(head) + "\n")
    with kept.open("a") as file:
        for step in _with_progress(_from_0(task.train(COURSES[name].batch, steps)), f"{name}, whole", steps):
            if step in missing:
                report = foldmon.measure(task.model, pairs, method="sampled", points=config["points"])
                found = {"step": step, "phi": report.phi, "seconds": report.seconds}
                print(json.dumps(found), file=file, flush=True)
    if _weights(task) != like.weights:
        kept.unlink()
        raise RuntimeError(f"{name}: training with and without the line is not the same")


def read_whole(kept: Path, head: dict[str, str]) -> dict[int, dict[str, float]]:
    """What is kept of the whole panel, by step; nothing where it is of another training or other pairs."""
    if not kept.exists():
        return {}
    first, *rest = map(json.loads, kept.read_text().splitlines())
    return {found["step"]: found for found in rest} if first == head else {}


def _from_0(steps: Iterator[int]) -> Iterator[int]:
    yield 0
    yield from steps


def _with_progress(steps: Iterable[int], name: str, total: int) -> Iterator[int]:
    yield from tqdm(
        steps, name, total, leave=False, mininterval=2, position=1, file=sys.__stderr__, disable=None
    )


def _weights(task: Task) -> str:
    digest = hashlib.sha256()
    for value in task.model.state_dict().values():
        if isinstance(value, Tensor):
            digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:16]

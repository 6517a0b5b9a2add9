"""Long runs: ``python -m tests.benchmarks.warnings.long``, a residual CNN and a transformer for 20,000 steps.

Each once with wrong labels and once as it should be, at the defaults of the one line. They are too dear for
the grid: minutes each, in batches of 16. Prints what the warning said and what became of them.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from unittest import mock

import torch

from tests.benchmarks.warnings import training
from tests.benchmarks.warnings.detectors import SHOWN, judged
from tests.benchmarks.warnings.grid import Spec
from tests.benchmarks.warnings.store import complete, read
from tests.benchmarks.warnings.table import kind_of
from tests.benchmarks.warnings.truth import truth_of

_BATCH = 16
_STEPS = 20_000
_NOISY = Spec(
    part="development",
    data="digits",
    architecture="resnet",
    activation="relu",
    optimizer="adam",
    rate=1e-3,
    schedule="constant",
    condition="noise",
    noise=0.3,
    size=1000,
    steps=_STEPS,
    seed=3,
)
_SOUND = {"schedule": "cosine", "condition": "cosine", "noise": 0.0}
_TEXT = {"data": "letters", "architecture": "transformer", "activation": "gelu"}
RUNS = (
    _NOISY,
    replace(_NOISY, **_SOUND),
    replace(_NOISY, **_TEXT, size=2000),
    replace(_NOISY, **_TEXT, **_SOUND, size=8000),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.warnings.long", description=__doc__)
    parser.add_argument("--seconds", type=float, default=7200.0, help="begin no run after this")
    parser.add_argument("--folder", type=Path, default=Path("runs/warnings/long"), help="of the runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("foldmon").setLevel(logging.ERROR)
    with mock.patch.object(training, "BATCH", _BATCH):
        complete(arguments.folder, RUNS, arguments.seconds)
    print("| run | probes | best accuracy, at step | last | warned, at step | accuracy there | kind |")
    print("| --- | ---: | --- | ---: | --- | --- | --- |")
    for run in read(arguments.folder, RUNS):
        truth, spec = truth_of(run, loss_only=False), run["spec"]
        for name in ("foldmon, labels and training loss", "foldmon, no labels, training loss"):
            verdict = judged({**run, "loss_only": False}, SHOWN[name])
            step = verdict.warned
            kind = "right" if truth.degraded and step is not None else kind_of(truth, verdict)
            best = f"{truth.best:.1%}, {int(truth.steps[truth.scores.argmax()]):,}"
            title = f"{spec['architecture']}, {spec['condition']}; {name.removeprefix('foldmon, ')}"
            then = ("none", "") if step is None else (f"{step:,}", f"{truth.at(step):.1%}")
            cells = (title, str(len(run["records"])), best, f"{truth.end:.1%}", *then, kind)
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

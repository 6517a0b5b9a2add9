"""What a path walked at fewer points says of one walked at 33, in four ways, pair by pair.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.points --data /tmp/points [--only gpt2 cnn]

Courses are those of tests/benchmarks/live. At some steps the distances between all 33 points of some paths
are kept (an interrupted run goes on where it was); all else is replay. A share of m pairs is drawn 200 times
at each step. Errors of its mean network chi are against the same pairs at 33 points, over the standard
deviation between pairs: beside them stands what drawing m pairs adds, 1 / sqrt(m).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import foldmon
from foldmon.folding.model.prober import Prober
from foldmon.folding.results.distances import Distances
from foldmon.folding.results.nested import STRIDES, Nested
from foldmon.folding.results.statistics import folding
from foldmon.folding.symbols.activations import Reading
from tests.benchmarks.live.courses import COURSES, Course

POINTS, PAIRS, DRAWS = 33, 24, 200
STEPS = (0, 5, 20, 60, 120, 300)
Floats = np.ndarray
Way = Callable[[Floats, int, np.random.Generator], Floats]


def record(course: Course, path: Path) -> None:
    """Train, and keep the distances (steps, pairs, points, points) of all units joined."""
    task = course.begin()
    pairs = foldmon.draw_pairs(task.held_out, PAIRS, seed=0)
    steps = [step for step in STEPS if step <= course.steps]
    training, found, now = task.train(course.batch, steps[-1]), [], 0
    for step in tqdm(steps, desc=course.title, mininterval=2):
        while now < step:
            now = next(training)
        found.append(_distances(task.model, pairs))
    np.savez_compressed(path.with_suffix(".part.npz"), steps=steps, distances=np.array(found))
    path.with_suffix(".part.npz").rename(path)


def _distances(model: torch.nn.Module, pairs: foldmon.Pairs) -> Floats:
    prober, found = Prober(model, pairs), np.zeros((len(pairs), POINTS, POINTS))
    t = torch.linspace(0, 1, POINTS, dtype=torch.float64)[:, None]
    with prober.active():
        for pair in range(len(pairs)):

            def look(place: int, reading: Reading, pair: int = pair) -> None:
                on = (reading.values.flatten(1) > 0).float()  # all activations of these courses cut at 0
                both, count = on @ on.T, on.sum(1)
                found[pair] += (count[:, None] + count - 2 * both).round().numpy()

            prober.run(torch.tensor([[pair]]), t, look)
    return found


def walked(distances: Floats, places: Floats) -> Distances:
    """r1 and r2 of paths, shape (m, 33, 33), at some of their points."""
    r1 = distances[:, 0, places].max(1)
    r2 = distances[:, places[:-1], places[1:]].sum(1)
    return Distances(r1[:, None], r2[:, None], r1[:, None])


def _chi(found: Distances) -> Floats:
    return folding(found.r1, found.r2)[:, 0]


def as_seen(paths: Floats, points: int, draw: np.random.Generator) -> Floats:
    """Too low: what happens within a gap is missed."""
    return _chi(walked(paths, np.arange(0, POINTS, (POINTS - 1) // (points - 1))))


def offset(paths: Floats, points: int, draw: np.random.Generator) -> Floats:
    """The ends, and a grid between them that begins elsewhere in each turn."""
    gap = (POINTS - 1) // (points - 1)
    inner = np.arange(draw.integers(1, gap + 1), POINTS - 1, gap)
    return _chi(walked(paths, np.unique(np.r_[0, inner, POINTS - 1])))


def extrapolated(paths: Floats, points: int, draw: np.random.Generator) -> Floats:
    """As the product does."""
    gap = (POINTS - 1) // (points - 1)
    walks = tuple(walked(paths, np.arange(0, POINTS, gap * stride)) for stride in STRIDES)
    return _chi(Nested(points, POINTS, walks).distances)


def scaled(before: Floats) -> Way:
    """By the ratio of one pair, measured in full at the step before."""

    def way(paths: Floats, points: int, draw: np.random.Generator) -> Floats:
        one = before[[draw.integers(len(before))]]
        full, few = _chi(walked(one, np.arange(POINTS)))[0], as_seen(one, points, draw)[0]
        return as_seen(paths, points, draw) * (full / few if few else 1.0)

    return way


def table(name: str, distances: Floats) -> None:
    """Bias and root mean square error of every way, over steps and draws."""
    full = np.array([_chi(walked(paths, np.arange(POINTS))) for paths in distances])
    for points in (17, 9):
        for count in (1, 4):
            cells = []
            for way in (as_seen, offset, extrapolated, None):
                draw, errors = np.random.default_rng(0), []
                for place, paths in enumerate(distances):
                    used = way or scaled(distances[max(place - 1, 0)])
                    for _ in range(DRAWS):
                        rows = draw.choice(len(paths), count, replace=False)
                        error = used(paths[rows], points, draw) - full[place, rows]
                        errors.append(error.mean() / full[place].std())
                cells.append(f"{np.mean(errors):+.2f}, {np.sqrt(np.mean(np.square(errors))):.2f}")
            print(f"| {name} | {points} | {count} | {' | '.join(cells)} | {count**-0.5:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    every = [name for name in COURSES if name not in ("long", "resnet18")]
    parser.add_argument("--data", type=Path, required=True, help="folder of what was measured")
    parser.add_argument("--only", nargs="+", choices=every, default=every, help="these courses")
    arguments = parser.parse_args()
    arguments.data.mkdir(parents=True, exist_ok=True)
    print(
        "| course | points | m | as seen: bias, rms | offset grids | extrapolated | scaled | drawing pairs |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in arguments.only:
        path = arguments.data / f"{name}.npz"
        if not path.exists():
            record(COURSES[name], path)
        table(name, np.load(path)["distances"])


if __name__ == "__main__":
    main()

"""What method="auto" costs at equal error of phi, and how often phi's interval covers.

Truth is the mean over a population of pairs, each walked exactly (curved networks: at very many points).
Every repeat draws pairs from it, with replacement, and measures phi from them anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from torch import nn

import foldmon
from foldmon.folding.results.statistics import bootstrap_interval
from tests.benchmarks.precision_exact import medians

UNIFORM = [2**k + 1 for k in range(1, 9)]
_MANY = 1025
_AT_ONCE = 250
_DEFAULT = 33


@dataclass(frozen=True)
class Population:
    """Pairs, the chi of each, and what uniform points make of it, by number of points; shapes (pairs,)."""

    model: nn.Module
    pairs: foldmon.Pairs
    chi: np.ndarray
    uniform: dict[int, np.ndarray]

    @classmethod
    def of(cls, model: nn.Module, pairs: foldmon.Pairs) -> Population:
        parts = [pairs[low : low + _AT_ONCE] for low in range(0, len(pairs), _AT_ONCE)]
        exact = foldmon.measure(model, parts[0][:2], method="exact").exact
        options: dict[str, Any] = {"method": "exact"} if exact else {"points": _MANY}
        chi = np.concatenate([foldmon.measure(model, part, **options).chi_network for part in parts])
        uniform = {
            n: np.concatenate([foldmon.measure(model, part, points=n).chi_network for part in parts])
            for n in UNIFORM
        }
        return cls(model, pairs, chi, uniform)

    def draw(self, generator: np.random.Generator, count: int) -> np.ndarray:
        return generator.integers(len(self.chi), size=count)

    def pairs_at(self, rows: np.ndarray) -> foldmon.Pairs:
        return foldmon.Pairs(self.pairs.first[rows], self.pairs.second[rows])


def phi_cost(population: Population, tolerance: float, repeats: int, offered: int) -> dict[str, Any]:
    """One row: auto stopped by its tolerance, beside uniform points with the same error of phi."""
    truth, generator = population.chi.mean(), np.random.default_rng(0)
    phis, spent, used, covered, points = [], [], [], 0, []
    for _ in range(repeats):
        pairs = population.pairs_at(population.draw(generator, offered))
        report = foldmon.measure(population.model, pairs, method="auto", tolerance=tolerance)
        phis.append(report.phi)
        spent.append(report.evaluations)
        used.append(len(report.r1))
        points.append(report.evaluations / len(report.r1))
        covered += holds(report.phi_interval, truth)
    error = float(np.sqrt(np.mean((np.array(phis) - truth) ** 2)))
    cost = float(np.mean(spent))
    uniform = uniform_costs(population, error)
    best = min(uniform, key=lambda n: uniform[n])
    checked = first_that_settles(population, tolerance)
    # In time, against the points that settle, or that reach the error at all.
    rival = checked if np.isfinite(uniform[checked]) else best
    same = population.pairs_at(population.draw(generator, max(2, round(uniform[rival] / rival))))
    seconds = medians(
        lambda: foldmon.measure(population.model, pairs, method="auto", tolerance=tolerance),
        lambda: foldmon.measure(population.model, same, points=rival),
        turns=9,
    )
    return {
        "phi": truth,
        "bias": float(np.mean(phis)) - truth,
        "error": error,
        "pairs": float(np.median(used)),
        "evaluations a pair": float(np.mean(points)),
        "evaluations": cost,
        "33 points": shown(uniform[_DEFAULT], cost, _DEFAULT),
        "settled": shown(uniform[checked], cost, checked),
        "best of all n": shown(uniform[best], cost, best),
        "in time": f"{seconds[1] / seconds[0]:.2f} (n = {rival})",
        "covered": covered / repeats,
    }


def shown(uniform: float, cost: float, points: int) -> str:
    return f"{uniform / cost:.1f} (n = {points})" if np.isfinite(uniform) else f"never (n = {points})"


def uniform_costs(population: Population, error: float) -> dict[int, float]:
    """Evaluations that n uniform points take to the error; infinite where their bias alone is larger."""
    costs = {}
    for n, chi in population.uniform.items():
        left = error**2 - (chi.mean() - population.chi.mean()) ** 2
        costs[n] = n * chi.var() / left if left > 0 else np.inf
    return costs


def first_that_settles(population: Population, tolerance: float) -> int:
    """Points without knowing the truth: their last doubling moved phi by at most a standard error."""
    means = {n: chi.mean() for n, chi in population.uniform.items()}
    return next((b for a, b in pairwise(UNIFORM) if abs(means[b] - means[a]) <= tolerance / 4), UNIFORM[-1])


def fixed_coverage(population: Population, repeats: int, count: int = 64) -> dict[str, Any]:
    """How often the interval of a fixed number of pairs holds the truth: exact paths, and those of auto."""
    truth, generator = population.chi.mean(), np.random.default_rng(1)
    exact = automatic = 0
    for _ in range(repeats):
        rows = population.draw(generator, count)
        exact += holds(bootstrap_interval(population.chi[rows]), truth)
        report = foldmon.measure(
            population.model, population.pairs_at(rows), method="auto", tolerance=1e-9, max_evaluations=10**6
        )
        automatic += holds(report.phi_interval, truth)
    return {"64 pairs, exact": exact / repeats, "64 pairs, auto": automatic / repeats}


def holds(interval: tuple[float, float], mean: float) -> bool:
    return bool(interval[0] <= mean <= interval[1])


def rows_error(population: Population, paths: int) -> dict[str, Any]:
    """Mean error of single paths' chi: auto's, and the fewest uniform points with as small a one."""
    report = foldmon.measure(population.model, population.pairs[:paths], method="auto", tolerance=1e-9)
    error = np.abs(report.chi_network - population.chi[:paths]).mean()
    errors = {n: np.abs(chi[:paths] - population.chi[:paths]).mean() for n, chi in population.uniform.items()}
    return {
        "of auto": float(error),
        "evaluations a pair": report.evaluations / paths,
        "uniform points as good": next((n for n in UNIFORM if errors[n] <= error), f">{UNIFORM[-1]}"),
    }

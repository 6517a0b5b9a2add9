"""Shares of the panel: whose turn it is, what is published, and that a journal holds all it was made of."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import foldmon
from foldmon.folding.results.distances import Distances
from foldmon.folding.results.nested import Nested
from foldmon.folding.results.panel import Panel
from foldmon.folding.results.statistics import bootstrap_interval, folding
from foldmon.journal.following import read_journal
from foldmon.sampling.rotation import Rotation


def pairs(count: int = 12) -> foldmon.Pairs:
    inputs, labels = torch.randn(200, 8), torch.arange(200) % 4
    return foldmon.draw_pairs((inputs, labels), count)


def net() -> nn.Module:
    layers = [m for _ in range(3) for m in (nn.Linear(8, 8), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(8, 4))


def share(model: nn.Module, ends: foldmon.Pairs, places: list[int]) -> foldmon.FoldingReport:
    from foldmon.folding.model.prober import Prober
    from foldmon.folding.sampled.report import measure_sampled

    return measure_sampled(Prober(model, ends), 17, np.array(places))


def test_a_share_measures_its_pairs_as_the_whole_does():
    model, ends = net(), pairs()
    whole, some = foldmon.measure(model, ends, points=17), share(model, ends, [7, 2, 5])
    assert some.measured is not None
    assert some.measured.tolist() == [7, 2, 5]
    for name in ("r1", "r2", "r1_cumulative", "classes"):
        assert np.array_equal(getattr(some, name), getattr(whole, name)[[7, 2, 5]])
    assert np.array_equal(some.decision.changes, whole.decision.changes[[7, 2, 5]])
    assert np.array_equal(some.decision.ends, whole.decision.ends[[7, 2, 5]])


def test_once_all_had_their_turn_the_estimate_of_a_model_at_rest_is_near_the_whole():
    model, ends = net(), pairs(24)
    whole, rotation = foldmon.measure(model, ends, points=17), Rotation(ends, 17, seed=0)
    for step in range(1, 60):
        places = rotation.next(4)
        report = rotation.taken_in(share(model, ends, places.tolist()), step)
    low, high = report.phi_interval
    assert low < whole.phi < high
    spread = whole.chi_network.std()
    assert abs(report.phi - whole.phi) < spread / 4
    assert abs(report.folding - whole.folding).max() < whole.chi.std(0).max() / 3
    assert report.profile[-1] == report.phi
    assert abs(report.decision.mean_changes - whole.decision.mean_changes) < whole.decision.changes.std() / 2
    # What is no mean is of every pair's latest value.
    assert report.nonzero_fraction == whole.nonzero_fraction
    assert report.phi_max == whole.phi_max
    assert np.allclose(report.class_matrix, whole.class_matrix, equal_nan=True)
    assert len(report.chi_network) == 4


def test_a_turn_of_all_pairs_is_none_of_some():
    rotation = Rotation(pairs(), 17, seed=0)
    assert len(rotation.next(11)) == 11
    assert rotation.next(12) is None
    assert rotation.next(20) is None


def test_a_whole_measurement_is_published_as_it_is():
    model, ends = net(), pairs()
    whole, rotation = foldmon.measure(model, ends, points=17), Rotation(ends, 17, seed=0)
    rotation.taken_in(share(model, ends, [3, 4]), 1)
    report = rotation.taken_in(whole, 2)
    assert report.estimate is None
    assert report.phi == whole.phi
    assert report.phi_interval == whole.phi_interval


def test_a_resumed_rotation_goes_on_where_it_was():
    model, ends = net(), pairs()
    first, second = Rotation(ends, 17, seed=0), Rotation(ends, 17, seed=5)
    for step in range(3):
        first.taken_in(share(model, ends, first.next(3).tolist()), step)
    second.load_state_dict(first.state_dict())
    unseen = set(np.flatnonzero(np.isnan(first._chi)).tolist())
    assert unseen, "not all had their turn"
    places = first.next(3)
    assert np.array_equal(second.next(3), places)
    one, other = (r.taken_in(share(model, ends, places.tolist()), 9) for r in (first, second))
    assert one.phi == other.phi
    assert one.phi_interval == other.phi_interval
    # Of every pair's latest value, whichever of the two has measured it.
    assert len(one.estimate.latest) == len(set(places) | set(range(12)) - unseen)
    assert np.array_equal(one.estimate.latest, other.estimate.latest)
    assert np.array_equal(one.class_matrix, other.class_matrix, equal_nan=True)


def test_every_published_number_can_be_computed_again_from_the_journal(mlp, held_out, tmp_path):
    """Of a run whose allowance pays for shares only."""
    optimizer = torch.optim.Adam(mlp.parameters(), 1e-2)
    inputs, labels = held_out
    with foldmon.watch(mlp, held_out, allowance=0.05, points=1025, exporters=[], log_dir=tmp_path) as monitor:
        for _ in range(150):
            loss = nn.functional.cross_entropy(mlp(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.flush()
    probes = [r for r in read_journal(monitor.journal_path) if r["kind"] == "probe"]
    shares = [record["measured"] for record in probes]
    assert any(
        places is not None and len(places) < record["pairs"]
        for places, record in zip(shares, probes, strict=False)
    )
    assert shares[-1] is None, "the end of the run is measured whole"
    assert any(record["nested"] for record in probes), "pairs that are dear are walked at fewer points"
    panel = Panel(probes[0]["pairs"], None)
    points, layers = monitor.config.points, len(probes[0]["layers"])
    for record in probes:
        r1, r2, joined = (np.array(record[f"path_{name}"]) for name in ("r1", "r2", "r1_cumulative"))
        if (counted := record["nested"]) is not None:
            walks = zip(counted["r1"], counted["r2"], counted["r1_cumulative"], strict=True)
            found = Nested(
                counted["points"], points, tuple(Distances(*map(np.array, walk)) for walk in walks),
                tuple(map(np.array, counted["changes"])),
            )  # fmt: skip
            for own, recomputed in ((r1, "r1"), (r2, "r2"), (joined, "r1_cumulative")):
                assert np.allclose(own, getattr(found.distances, recomputed))
            assert np.allclose(record["decision"]["path_changes"], found.class_changes)
        chi, cumulative = folding(r1, r2), folding(joined, r2.cumsum(1))
        decision = [record["decision"]["path_changes"], record["decision"]["path_elsewhere"]]
        values = np.concatenate([chi, cumulative, np.array(decision).T], axis=1)
        places = np.arange(record["pairs"]) if record["measured"] is None else np.array(record["measured"])
        largest = np.array([1.0] * 2 * layers + [points - 1, 1])
        estimate = panel.update(record["step"], places, values, largest)
        assert np.allclose(record["folding"], estimate.mean[:layers], atol=1e-6)
        assert np.allclose(record["cumulative"], estimate.mean[layers : 2 * layers], atol=1e-6)
        assert np.isclose(record["phi"], estimate.mean[2 * layers - 1], atol=1e-6)
        changes = record["decision"]["changes"], record["decision"]["elsewhere"]
        assert np.allclose(changes, estimate.mean[-2:], atol=1e-3)
        whole = record["measured"] is None
        phi = estimate.lower[2 * layers - 1], estimate.upper[2 * layers - 1]
        interval = bootstrap_interval(cumulative[:, -1]) if whole else phi
        published = np.array(record["phi_interval"], dtype=float)  # null where one pair leaves it open
        assert np.allclose(published, interval, atol=1e-6, equal_nan=True)
        assert record["network_r1"] == [row[-1] for row in record["path_r1_cumulative"]]

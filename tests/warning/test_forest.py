"""The forest as foldmon evaluates it, against the library that grows it."""

import json

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier

from foldmon.warning.forest import Forest, Tree, tuned
from foldmon.warning.reasons import _WORDS
from foldmon.warning.signals import SHAPES

READINGS = ("phi", "doubt")


def as_tree(grown):
    """One of the library's trees as foldmon keeps it."""
    shares = grown.value[:, 0]
    leaf = grown.children_left < 0
    return Tree(
        np.where(leaf, -1, grown.feature).tolist(),
        [float(f"{cut:.5g}") for cut in np.where(leaf, 0.0, grown.threshold)],
        np.where(leaf, 0, grown.children_left).tolist(),
        np.where(leaf, 0, grown.children_right).tolist(),
        (shares[:, 1] / shares.sum(1)).round(4).tolist(),
    )


@pytest.fixture(scope="module")
def grown():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(400, len(READINGS) * len(SHAPES)))
    classes = (inputs[:, 1] + inputs[:, 9] ** 2 + 0.3 * rng.normal(size=400)) > 1
    library = ExtraTreesClassifier(20, max_depth=5, random_state=0).fit(inputs, classes)
    trees = tuple(as_tree(member.tree_) for member in library.estimators_)
    return library, Forest(READINGS, trees, warn=0.5, severe=0.9, release=0.4), inputs


def test_scores_are_those_of_the_library(grown):
    library, forest, inputs = grown
    expected = library.predict_proba(inputs[:100])[:, 1]
    assert [forest.score(row) for row in inputs[:100]] == pytest.approx(expected.tolist(), abs=1e-3)


def test_parts_add_up_to_the_score_and_name_what_matters(grown):
    _, forest, inputs = grown
    root = np.mean([tree.value[0] for tree in forest.trees])
    for row in inputs[:20]:
        assert root + sum(forest.parts(row).values()) == pytest.approx(forest.score(row))
    row = np.zeros(len(forest.keys))
    row[1], row[9] = 3.0, 3.0
    parts = forest.parts(row)
    assert {key for key, part in parts.items() if part > 0.05} == {("phi", "rise"), ("doubt", "rise")}


def test_shipped_forests_survive_json_and_speak_of_known_readings():
    for forest in tuned().values():
        assert Forest.from_dict(json.loads(json.dumps(forest.to_dict()))) == forest
        assert forest.release < forest.warn < forest.severe
        assert set(forest.readings) <= _WORDS.keys()
        for tree in forest.trees:
            assert max(tree.signal) < len(forest.keys)
            assert all(0 <= value <= 1 for value in tree.value)

import json
import math

import pytest

from foldmon.warning.detector import (
    HOLD,
    WARM_UP,
    Detector,
    FoldingWarning,
)
from foldmon.warning.forest import Forest, Tree
from foldmon.warning.signals import SHAPES
from tests.warning.courses import healthy, memorising

# Steps up where phi (its log) is above its lowest by 0.2, 0.5 and 2.
_RISE = list(SHAPES).index("rise")
FOREST = Forest(
    ("phi",),
    (
        Tree(
            [_RISE, -1, _RISE, -1, _RISE, -1, -1],
            [0.2, 0, 0.5, 0, 2.0, 0, 0],
            [1, 0, 3, 0, 5, 0, 0],
            [2, 0, 4, 0, 6, 0, 0],
            [0.3, 0.1, 0.6, 0.4, 0.8, 0.7, 0.9],
        ),
    ),
    warn=0.5,
    severe=0.8,
    release=0.2,
)


def _without_loss(records):
    return [record | {"logged": {}} for record in records]


def _fed(detector, records):
    return [warning for record in records if (warning := detector.update(record)) is not None]


def _plain(levels):
    decision = {"entropy": [[0.5, 0.5]]}
    return [
        {"step": 10 * place, "phi": math.exp(level), "decision": decision}
        for place, level in enumerate(levels)
    ]


def _detector():
    return Detector({"with loss": FOREST, "without loss": FOREST})


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("adapt", [list, _without_loss])
def test_a_healthy_course_raises_no_warning(seed, adapt):
    detector = Detector()
    assert _fed(detector, adapt(healthy(seed=seed))) == []
    assert detector.level == 0


@pytest.mark.parametrize("seed", range(3))
def test_memorisation_raises_one_warning_after_it_began(seed):
    (warning,) = _fed(Detector(), memorising(seed=seed))
    assert 200 < warning.step < 600
    assert warning.reasons


def test_no_warning_in_the_warm_up():
    detector = _detector()
    warnings = _fed(detector, _plain([0.0] * 3 + [3.0] * 30))
    assert [warning.step for warning in warnings] == [10 * (WARM_UP + HOLD - 1)]


def test_one_warning_an_episode_and_another_after_a_calm_time():
    calm, risen = [0.0] * 20, [1.0] * 10
    detector = _detector()
    assert len(_fed(detector, _plain(calm + risen))) == 1
    assert detector.level == 1
    assert len(_fed(_detector(), _plain(calm + risen + calm))) == 1
    assert len(_fed(_detector(), _plain(calm + risen + calm + risen))) == 2


def test_between_the_marks_an_episode_neither_starts_nor_ends():
    between = [0.35] * 20
    assert _fed(_detector(), _plain([0.0] * 20 + between)) == []
    detector = _detector()
    assert len(_fed(detector, _plain([0.0] * 20 + [1.0] * 10 + between + [1.0] * 10))) == 1
    assert detector.level == 1


def test_a_single_outlier_is_no_episode():
    assert _fed(_detector(), _plain([0.0] * 20 + [1.0] + [0.0] * 20)) == []


def test_the_level_follows_the_severity_without_a_second_warning():
    detector = _detector()
    (warning,) = _fed(detector, _plain([0.0] * 20 + [1.0] * 10 + [5.0] * 10))
    assert warning.severity == 1
    assert detector.level == 2


def test_nan_activations_warn_at_once_and_once():
    detector = _detector()
    broken = {"step": 3, "layers": ["a", "b", "c", "d", "e"], "nonfinite": [1, 2, 0, 4, 5], "phi": math.nan}
    warning = detector.update(broken)
    assert warning == FoldingWarning(3, 2, ("NaN or infinite pre-activations in layers a, b, d and 1 more",))
    assert detector.update(broken) is None
    assert "severity 2" in str(warning)


def test_missing_and_nan_fields_are_left_out_of_account():
    detector = Detector()
    for place, record in enumerate(healthy()):
        record = dict(record)
        if place % 3 == 0:
            record |= {"phi": math.nan, "folding": [math.nan, math.nan], "logged": {"loss": math.nan}}
        if place % 5 == 0:
            record["decision"] = None
        if place % 7 == 0:
            del record["network_r2"]
        assert detector.update(record) is None
    assert math.isfinite(detector.score)
    assert _fed(Detector(), [{"step": step} for step in range(40)]) == []


def test_a_logged_validation_loss_past_its_best_is_a_reason():
    losses = [1.0] * 15 + [1.05] * 15 + [1.3] * 10
    records = [
        record | {"logged": {"val_loss": loss}} for record, loss in zip(healthy(), losses, strict=False)
    ]
    (warning,) = _fed(Detector(), records)
    assert warning.step == 10 * (30 + HOLD - 1)
    assert warning.reasons[0] == "the logged validation loss is past its best of step 0"


def test_a_validation_loss_about_the_mark_is_one_episode():
    above, below, back = 1.3, 1.08, 1.02
    losses = [1.0] * 15 + [above] * 5 + [below, above, below, below, below, above, above, above] + [back] * 10
    records = [
        record | {"logged": {"val_loss": loss}} for record, loss in zip(healthy(), losses, strict=False)
    ]
    detector = _detector()
    assert len(_fed(detector, records[:28])) == 1
    assert detector.level == 1
    assert _fed(detector, records[28:]) == []
    assert detector.level == 0


def test_reasons_name_signals_steps_and_layers():
    records = [
        record | {"layers": ["a", "b"], "folding": [0.0, record["phi"]]}
        for record in _plain([0.0] * 20 + [1.0] * 10)
    ]
    (warning,) = _fed(_detector(), records)
    assert warning.step == 230
    assert warning.reasons[0].startswith("log of the mean folding: from 0.0")
    assert " at step " in warning.reasons[0]
    assert warning.reasons[-1] == "folding changed most in layer b (times 2.7)"


def test_the_detector_goes_on_from_a_saved_state():
    records = memorising(90)
    whole, first, second = Detector(), Detector(), Detector()
    expected = [whole.update(record) for record in records]
    found = [first.update(record) for record in records[:40]]
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    found += [second.update(record) for record in records[40:]]
    assert found == expected
    assert json.dumps(second.state_dict()) == json.dumps(whole.state_dict())


def test_a_model_without_classes_is_judged_by_nonfinite_values_and_validation_loss_only():
    detector = _detector()
    records = [record | {"decision": None} for record in _plain([0.0] * 20 + [3.0] * 20)]
    assert _fed(detector, records) == []
    assert math.isnan(detector.score)
    losses = [1.0] * 15 + [1.3] * 25
    told = [record | {"logged": {"val_loss": loss}} for record, loss in zip(records, losses, strict=True)]
    (warning,) = _fed(_detector(), told)
    assert warning.reasons[0] == "the logged validation loss is past its best of step 0"

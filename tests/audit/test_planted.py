"""A fast subset of ``benchmarks.audit``: planted errors are found and named, right
formulas pass. The table with all kinds, seeds and precisions is in RESULTS.md."""

import pytest

from jax_logreg import check_derivatives
from tests.audit.planting.correct import correct_cases
from tests.audit.planting.large import lone_coordinates
from tests.audit.planting.planted import planted_cases

# Every so many-th of the kinds; the offsets differ, so that together they cover most.
_STRIDE = 8
COMBINATIONS = [("sigmoid", "float64"), ("softmax", "float64"), ("softmax", "float32")]


@pytest.mark.parametrize(("model", "dtype"), COMBINATIONS)
def test_planted_errors_are_found_and_named(model, dtype):
    start = COMBINATIONS.index((model, dtype))
    cases = list(planted_cases(model, dtype, seed=1))[start::_STRIDE]
    assert len(cases) >= 20
    unnamed = []
    for case in cases:
        report = check_derivatives(**case.kwargs)
        assert not report.ok, case.name
        if not case.accepted & {d.kind for d in report.diagnoses[:2]}:
            unnamed.append((case.name, [d.kind for d in report.diagnoses]))
    assert len(unnamed) <= 0.05 * len(cases), unnamed


def test_right_formulas_pass():
    for case in correct_cases(6, seed=5):
        report = check_derivatives(**case.kwargs)
        assert report.ok, f"{case}\n{report}"


def test_one_wrong_of_ten_thousand():
    case = next(iter(lone_coordinates("float64", 1)))
    report = check_derivatives(**case.kwargs)
    assert not report.ok
    assert report.diagnosis.kind == "coordinate"

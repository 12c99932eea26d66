import jax
import numpy as np
import pytest

from jax_logreg import make_objective
from jax_logreg.audit import proof
from jax_logreg.audit.proof import (
    FORMULAS,
    ROUND_OFF_UNITS,
    audit_objective,
    compare,
    kind_of_difference,
)
from jax_logreg.derivatives import analytic
from tests.problems import make_problem


def test_differences_are_measured_against_the_largest_entry():
    found = compare("g", np.array([1.0, 10.0, 1e-9]), np.array([1.0, 10.0, 2e-9]))
    assert found.absolute == pytest.approx(1e-9)
    assert found.relative == pytest.approx(1e-10)
    assert not found.agrees


@pytest.mark.parametrize(
    ("hand", "agrees"),
    [
        ([1.0, -2.0], True),
        ([-1.0, 2.0], False),
        ([1.0, -2.0 * (1 + 2 * ROUND_OFF_UNITS * 2.3e-16)], False),
        ([1.0], False),
        ([1.0, np.nan], False),
        ([0.0, 0.0], False),
    ],
)
def test_the_verdict(hand, agrees):
    assert compare("g", np.array(hand), np.array([1.0, -2.0])).agrees is agrees


def test_zero_against_zero_agrees_and_anything_else_does_not():
    assert compare("g", np.zeros(2), np.zeros(2)).agrees
    assert not compare("g", np.array([0.0, 1e-300]), np.zeros(2)).agrees


def test_the_audit_lists_every_formula_in_order(x64):
    F = make_problem("softmax", "float64").objective()
    found = audit_objective(F, jax.random.key(0))
    assert [c.name for c in found] == [formula.name for formula in FORMULAS]
    assert all(c.agrees for c in found)


def test_the_audit_catches_a_planted_error(x64, monkeypatch):
    def negated(compute):
        return lambda d, *a: (-1 if d is analytic else 1) * compute(d, *a)

    wrong = [f._replace(compute=negated(f.compute)) for f in FORMULAS]
    monkeypatch.setattr(proof, "FORMULAS", wrong)
    proof.both_versions.clear_cache()
    F = make_problem("sigmoid", "float64").objective()
    assert not any(c.agrees for c in audit_objective(F, jax.random.key(0)))
    monkeypatch.undo()
    proof.both_versions.clear_cache()


@pytest.mark.parametrize(
    ("hand", "kind"),
    [
        ([1.0, 2.0], "sign"),
        ([-3.0, -6.0], "ratio 3"),
        ([1.0], "shape"),
        ([1.0, 3.0], "values"),
    ],
)
def test_the_kind_of_a_difference(hand, kind):
    assert kind_of_difference(np.array(hand), np.array([-1.0, -2.0])) == kind
    assert kind_of_difference(np.array(True), np.array(False)) == "claim"


def test_an_outlying_row_does_not_saturate_the_audit(dtype):
    """Where a probability is exactly 0 or 1, ∂ℓ/∂ŷ is 0/0 in every version."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(24, 3))
    X[0] = [500.0, 300.0, 0.0]
    F = make_objective(np.asarray(X, dtype), rng.integers(0, 2, 24).astype(dtype))
    for seed in range(4):
        assert all(c.agrees for c in audit_objective(F, jax.random.key(seed)))

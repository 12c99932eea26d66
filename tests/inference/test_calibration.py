"""Calibration against scikit-learn and against definitions."""

import numpy as np
import pytest
from sklearn import metrics

from jax_logreg import calibration


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    mu = np.round(rng.uniform(size=200), 2)  # with ties
    return mu, (rng.uniform(size=200) < mu).astype(int), rng.integers(0, 3, size=200)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_brier_score_is_scikit_learns(predictions, weighted):
    mu, y, counts = predictions
    weight = counts if weighted else None
    brier = calibration(mu, y, sample_weight=weight).brier
    np.testing.assert_allclose(brier, metrics.brier_score_loss(y, mu, sample_weight=weight))


def test_groups_are_of_like_size_and_the_test_is_its_formula(predictions):
    mu, y, _ = predictions
    found = calibration(mu, y)
    assert len(found.count) == 10
    assert found.count.min() >= 12
    np.testing.assert_allclose(found.count @ found.predicted, mu.sum())
    np.testing.assert_allclose(found.count @ found.observed, y.sum())
    p, o, n = found.predicted, found.observed, found.count
    statistic = np.sum(n * (o - p) ** 2 / (p * (1 - p)))
    np.testing.assert_allclose(found.hosmer_lemeshow.statistic, statistic)
    assert found.hosmer_lemeshow.degrees_of_freedom == 8
    assert found.hosmer_lemeshow.p_value > 0.001  # the labels were drawn from mu


def test_wrong_probabilities_fail_the_test(predictions):
    mu, y, _ = predictions
    assert calibration(mu**3, y).hosmer_lemeshow.p_value < 1e-6


@pytest.mark.parametrize(
    ("mu", "y", "named"),
    [
        ([0.5, 1.5], [0, 1], "probability"),
        ([0.5, 0.5], [0, 2], "y must hold 0 and 1"),
        ([0.5], [0, 1], "one shape"),
    ],
)
def test_bad_input_is_refused_by_name(mu, y, named):
    with pytest.raises(ValueError, match=named):
        calibration(mu, y)

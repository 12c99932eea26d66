"""benchmarks.minimize: what it times is right, and both ways arrive at the same place."""

import jax
import numpy as np
import pytest

from benchmarks import minimize as bench


@pytest.mark.parametrize(
    "make", [bench._rosenbrock, bench._focal, bench._own_entropy, lambda: bench._softmax(200)]
)
def test_both_ways_and_the_fit_agree(make):
    with jax.enable_x64(True):
        row = make()
        calls = [row.by_hand, row.by_autodiff, *([row.fit] if row.fit else [])]
        results = [call() for call in calls]
        assert all(result.converged for result in results)
        hand, auto, *ours = map(bench._answer, results)
        assert np.abs(hand - auto).max() <= 1e-9
        assert all(np.abs(hand - ours).max() <= 1e-6 for ours in ours)

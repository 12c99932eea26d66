"""benchmarks.differentiable: what it measures is small, and a kink is left out."""

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.differentiable import KINDS, errors


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[-1]], ids=lambda kind: kind.name)
def test_the_derivatives_have_six_digits(kind, x64):
    assert max(errors(kind, 0)) <= 1e-6


def test_differences_across_a_kink_are_none(x64):
    across = KINDS[0]._replace(answer=lambda x, **_: jnp.maximum(x["X"][0] - 0.1256, 0))
    at, direction = across.make(np.random.default_rng(0))
    across = across._replace(make=lambda _: (at | {"X": at["X"].at[0].set(0.1256)}, direction))
    assert np.isnan(errors(across, 0)).all()

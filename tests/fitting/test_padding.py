"""Neighbouring sizes share a program, and the answer does not notice."""

import numpy as np

from jax_logreg import L2, fit
from jax_logreg.fitting.loop import _solve
from jax_logreg.fitting.padding import padded_size
from tests.problems import count_programs


def test_sizes_grow_by_an_eighth_at_most_beyond_the_smallest_tables():
    for n in range(1, 3000):
        assert n <= padded_size(n, 1000) <= max(n, 1.125 * n + 1)
        assert n <= padded_size(n, 1) <= max(256, 1.125 * n + 1)
    assert len({padded_size(n, 1) for n in range(1024, 2049)}) == 9


def test_folds_of_neighbouring_sizes_compile_once(x64):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(800, 3)), np.arange(800) % 2
    fit(X, y, penalty=L2(0.1))
    before = count_programs(_solve)
    for n in (769, 790, 799, 800):
        fit(X[:n], y[:n], penalty=L2(0.1))
    assert count_programs(_solve) == before


def test_padding_changes_the_answer_by_round_off_only(model, x64):
    """Minibatches take the rows as they are, so their objective is the unpadded one."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(149, 3)), np.arange(149) % (2 if model == "sigmoid" else 3)
    offset = rng.normal(size=(149,) if model == "sigmoid" else (149, 3))
    padded = fit(X, y, penalty=L2(0.1), offset=offset, tol=1e-11)
    plain = fit(X, y, penalty=L2(0.1), offset=offset, tol=1e-11, init=padded, progress=None,
                sample_weight=np.ones(149), max_steps=0)  # fmt: skip
    np.testing.assert_allclose(padded.objective, plain.objective, rtol=1e-14)
    from jax_logreg import make_objective

    labels = y if model == "sigmoid" else np.eye(3)[y]
    F = make_objective(X, labels, L2(0.1), offset=offset)
    theta = F.join(padded.coef, padded.intercept)
    np.testing.assert_allclose(padded.objective, F.value(theta), rtol=1e-14)

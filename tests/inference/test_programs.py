"""Inference compiles one program for a fit, whatever is asked of it: the first answer is quick."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import fit, infer, marginal_effects
from jax_logreg.inference.delta import _log_odds

_DOORS = """
import jax, numpy as np
import jax_logreg as lr
jax.config.update("jax_enable_x64", True)
compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda name, *rest, **more: "backend_compile" in name and compiled.append(name)
)
rng = np.random.default_rng(0)
X = rng.normal(size=(300, 5))
y = np.argmax(X[:, :{K}] + rng.gumbel(size=(300, {K})), axis=1)
result = lr.fit(X, y).raise_if_failed()
compiled.clear()
inference = lr.infer(result, X, y)
inference.summary()
lr.predict_interval(inference, X)
lr.influence(inference)
for method in ("wald", "score", "likelihood_ratio"):
    lr.hypothesis_test(inference, inference.names[0], method=method)
lr.profile_interval(inference, parameters=inference.names[:1])
lr.infer(result, X, y, covariance="HC3")
print(len(compiled))
compiled.clear()
lr.marginal_effects(inference, counts=["x0"])
print(len(compiled))
"""


@pytest.mark.parametrize("K", [2, 3])
def test_every_door_shares_one_program_and_marginal_effects_are_another(K):
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    run = [sys.executable, "-c", _DOORS.replace("{K}", str(K))]
    printed = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    assert printed.stdout.split() == ["1", "1"]


@pytest.mark.parametrize("K", [2, 4])
def test_the_derivatives_of_log_odds_are_those_of_autodiff(K, x64):
    rng = np.random.default_rng(1)
    X, offset = rng.normal(size=(80, 3)), rng.normal(size=(80, K) if K > 2 else 80)
    y = rng.integers(K, size=80)
    known = infer(fit(X, y, offset=offset), X, y, offset=offset, reference=K // 2 if K > 2 else 0)
    _, J = _log_odds(known.fit, X, offset)

    def log_odds(gamma):
        eta = jnp.column_stack([X, np.ones(80)]) @ gamma.reshape(4, -1) @ known.fit.selection.T
        if K == 2:
            return eta[:, 0] + offset
        mu = jax.nn.softmax(eta + offset, axis=1)
        return jnp.log(mu) - jnp.log1p(-mu)

    expected = jax.jacfwd(log_odds)(jnp.asarray(known.fit.contrasts(known.fit.theta)))
    np.testing.assert_allclose(J, expected, atol=1e-12)


def test_marginal_effects_where_jax_looks_for_nans(x64):
    X, y = np.arange(12.0).reshape(6, 2) ** 2, np.array([0, 1, 0, 0, 1, 1])
    known = infer(fit(X[:, :1], y), X[:, :1], y)
    with jax.debug_nans(True):
        found = marginal_effects(known)
    assert found.estimate == marginal_effects(known).estimate

"""A fit and its predictions as programs of jax.export, which a fresh process loads."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from jax import export

from jax_logreg import L2, ElasticNet, fit, logits, probability
from tests.problems import make_problem

LOADER = """
import sys, jax, numpy as np
jax.config.update("jax_enable_x64", True)
from jax_logreg import FitResult  # and with it the names of what a program returns
folder = sys.argv[1]
train, predict = (jax.export.deserialize(bytearray(open(f"{folder}/{name}", "rb").read()))
                  for name in ("train", "predict"))
data = np.load(f"{folder}/data.npz")
result = train.call(data["X"], data["y"])
np.savez(f"{folder}/found.npz", coef=result.coef, history=result.history.objective,
         status=str(result.status), probability=predict.call(data["X"], result.coef))
"""


@pytest.mark.parametrize("penalty", [L2(0.1), ElasticNet(0.02)])
def test_a_fresh_process_loads_a_fit_and_predicts(penalty, tmp_path, x64):
    problem = make_problem("softmax", "float64")
    expected = fit(problem.X, problem.y, penalty=penalty)
    kinds = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (problem.X, problem.y, expected.coef)]

    def train(X, y):
        return fit(X, y, penalty=penalty)

    def predict(X, coef):
        return probability(logits(X, coef))

    for function, which in ((train, (0, 1)), (predict, (0, 2))):
        program = export.export(jax.jit(function))(*[kinds[i] for i in which])
        (tmp_path / function.__name__).write_bytes(program.serialize())
    np.savez(tmp_path / "data.npz", X=problem.X, y=problem.y)
    subprocess.run([sys.executable, "-c", LOADER, str(tmp_path)], check=True)
    found = np.load(tmp_path / "found.npz")
    np.testing.assert_allclose(found["coef"], expected.coef, atol=1e-10)
    np.testing.assert_allclose(found["probability"], predict(problem.X, expected.coef), atol=1e-10)
    assert found["status"] == "CONVERGED"
    assert len(found["history"]) > 1


def test_a_derivative_is_exported_too(x64):
    problem = make_problem("sigmoid", "float64")

    def slope(strength):
        return jax.grad(lambda s: fit(problem.X, problem.y, penalty=L2(s)).coef[0])(strength)

    program = export.export(jax.jit(slope))(jax.ShapeDtypeStruct((), np.float64))
    loaded = export.deserialize(bytearray(program.serialize()))
    np.testing.assert_allclose(loaded.call(np.float64(0.1)), slope(0.1), rtol=1e-8)

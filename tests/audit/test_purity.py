"""Functions that answer by more than their arguments, or leave something behind."""

import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import check_derivatives

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = (RNG.uniform(size=40) < 0.5).astype(float)
CAPTURED = X.copy()
GENERATOR = np.random.default_rng(1)


def loss(w, X=X, y=Y):
    return float(np.mean(np.logaddexp(0, X @ w) - y * (X @ w)))


def slope(w, X=X, y=Y):
    return X.T @ (1 / (1 + np.exp(-X @ w)) - y) / len(y)


def curvature(w):
    p = 1 / (1 + np.exp(-X @ w))
    return (X.T * p * (1 - p)) @ X / len(X)


def with_dropout(w):
    return slope(w) * (np.random.rand(3) > 0.5)


def of_a_minibatch(w):
    rows = GENERATOR.choice(40, 10)
    return slope(w, X[rows], Y[rows])


def noise():
    return GENERATOR.normal(size=3)


def of_a_helper(w):
    return slope(w) + 0.1 * noise()


class Model:
    def __init__(self):
        self.rng = np.random.default_rng(3)

    def slope(self, w):
        return slope(w) + 0.1 * self.rng.normal(size=3)


@pytest.mark.parametrize(
    ("gradient", "source"),
    [
        (with_dropout, "np.random"),
        (of_a_minibatch, "GENERATOR"),
        (of_a_helper, "GENERATOR"),
        (Model().slope, "self.rng"),
    ],
)
def test_random_numbers_are_told_and_nothing_else(gradient, source):
    report = check_derivatives(loss, gradient=gradient, at=np.zeros(3), numpy=True)
    assert not report.ok
    assert report.verdict == "could not be checked"
    (error,) = [f.message for f in report.findings if f.severity == "error"]
    assert error.startswith(f"gradient draws random numbers ({source}): two equal calls differ by")
    assert [d.kind for d in report.diagnoses] == ["hidden-state"]
    assert not report.checks


def test_the_other_derivatives_are_checked_all_the_same():
    report = check_derivatives(
        loss, gradient=with_dropout, hessian=curvature, at=np.zeros(3), numpy=True
    )
    assert [(c.name, c.agrees) for c in report.checks] == [("hessian", True)]


def test_a_value_that_draws_cannot_be_a_reference():
    report = check_derivatives(
        lambda w: loss(w) + GENERATOR.normal(), gradient=slope, at=np.zeros(3), numpy=True
    )
    assert report.verdict == "could not be checked"
    assert report.findings[-1].message.startswith("value draws random numbers (GENERATOR)")


def after_it_shifts(name):
    def value(w, X, y):
        found = loss(w, X, y)
        {"θ": w, "X": X, "y": y}[name][:] += 1
        return found

    return value


@pytest.mark.parametrize("numpy", [True, False])
@pytest.mark.parametrize("name", ["θ", "X", "y"])
def test_a_value_that_writes_into_its_arguments(name, numpy):
    data = X.copy(), Y.copy()
    at = np.ones(3)
    report = check_derivatives(after_it_shifts(name), gradient=slope, at=at, args=data, numpy=numpy)
    what = "θ" if name == "θ" else f"its argument {name}"
    assert report.findings[0].message == f"value changes {what} in place."
    assert not report.ok
    assert report.checks[0].agrees, str(report)
    assert np.array_equal(data[0], X)
    assert np.array_equal(data[1], Y)
    assert np.array_equal(at, np.ones(3))


def writes_into_theta(w, data):
    found = slope(w, data["X"], data["y"])
    w[0] = 0
    return found


def writes_into_an_array(w, data):
    found = slope(w, data["X"], data["y"])
    data["y"] -= 1
    return found


def writes_into_a_dict(w, data):
    found = slope(w, data["X"], data["y"])
    data["cache"] = found
    return found


def writes_into_a_global(w, data):
    found = slope(w, data["X"], data["y"])
    CAPTURED[0] += 1
    return found


@pytest.mark.parametrize(
    ("gradient", "what"),
    [
        (writes_into_theta, "θ"),
        (writes_into_an_array, "its argument data"),
        (writes_into_a_dict, "its argument data"),
        (writes_into_a_global, "CAPTURED, which it captures,"),
    ],
)
@pytest.mark.parametrize("xp", [np, jnp])
def test_what_a_gradient_writes_into(gradient, what, xp):
    def value(w, data):
        eta = data["X"] @ w
        return xp.mean(xp.logaddexp(0, eta) - data["y"] * eta)

    data = {"X": X.copy(), "y": Y.copy()}
    report = check_derivatives(value, gradient=gradient, at=np.ones(3), args=(data,))
    assert f"gradient changes {what} in place." in [f.message for f in report.findings]
    assert report.checks[0].agrees, str(report)
    assert list(data) == ["X", "y"]
    assert np.array_equal(data["y"], Y)


def test_a_vector_that_is_written_into():
    def hvp(w, v):
        found = curvature(w) @ v
        v *= 2
        return found

    report = check_derivatives(loss, gradient=slope, hvp=hvp, at=np.ones(3), numpy=True)
    assert "hvp changes its vector in place." in [f.message for f in report.findings]


def test_numpy_code_is_called_with_numpy_arrays_only():
    seen = set()

    def value(w):
        seen.add(type(w))
        return loss(w)

    assert check_derivatives(value, gradient=slope, at=np.ones(3), numpy=True).ok
    assert {kind for kind in seen if "Tracer" not in kind.__name__} == {np.ndarray}


def test_functions_without_a_module_are_looked_through():
    """As those of a page of examples are."""
    names = {"__name__": None, "np": np}
    exec("def inner(t): return np.sum(t**2)\ndef value(t): return inner(t)", names)
    assert check_derivatives(names["value"], gradient=lambda t: 2 * t, at=np.ones(2)).ok

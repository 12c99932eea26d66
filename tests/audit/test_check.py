"""The audit of somebody's functions: verdicts, names, and what a report tells."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import assert_derivatives, check_derivatives

N, P = 20, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, P))
Y = (RNG.uniform(size=N) < 0.5).astype(float)
AT = np.array([0.5, -0.3, 0.2])


def loss(theta, X, y):
    eta = X @ theta
    return jnp.mean(jax.nn.softplus(eta) - y * eta) + 0.05 * jnp.sum(theta**2)


def gradient(theta, X, y):
    return X.T @ (jax.nn.sigmoid(X @ theta) - y) / len(y) + 0.1 * theta


def hessian(theta, X, y):
    mu = jax.nn.sigmoid(X @ theta)
    return (X.T * mu * (1 - mu)) @ X / len(y) + 0.1 * jnp.eye(len(theta))


def hvp(theta, v, X, y):
    return hessian(theta, X, y) @ v


def numpy_gradient(theta, X, y):
    assert type(theta) is np.ndarray
    mu = 1 / (1 + np.exp(-X @ theta))
    return X.T @ (mu - y) / len(y) + 0.1 * theta


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_right_derivatives_pass_in_both_precisions(dtype):
    data = tuple(a.astype(dtype) for a in (X, Y))
    report = check_derivatives(
        loss, gradient=gradient, hessian=hessian, hvp=hvp, at=AT.astype(dtype), args=data
    )
    assert report.ok, str(report)
    assert report.dtype == dtype
    assert [check.name for check in report.checks] == ["gradient", "hessian", "hvp"]
    assert not report.diagnoses
    assert all(finding.severity != "error" for finding in report.findings)


def test_a_report_tells_what_it_saw():
    report = check_derivatives(
        loss, gradient=gradient, hessian=hessian, hvp=hvp, at=AT, args=(X, Y)
    )
    text = str(report)
    assert "recognised: the cross-entropy of a sigmoid model, 20 rows" in text
    assert "positive definite" in text
    assert "both by hand, agree" in text
    assert "convex along all" in text
    assert max(map(len, text.splitlines())) <= 80
    assert report.sweep.slope == pytest.approx(2, abs=0.1)
    assert report.sweep.best_error < 1e-8
    assert 0 < report.checks[0].worst[0].allowed < 1e-10


def test_numpy_code_is_called_with_numpy_arrays():
    report = check_derivatives(loss, gradient=numpy_gradient, at=AT, args=(X, Y), numpy=True)
    assert report.ok, str(report)


def test_a_value_in_numpy_is_judged_by_differences():
    def value(theta):
        return float(np.sum(np.exp(X @ theta)) / N)

    def slope(theta):
        return X.T @ np.exp(X @ np.asarray(theta)) / N

    right = check_derivatives(value, gradient=slope, at=AT, numpy=True)
    assert right.ok, str(right)
    assert right.reference == "differences"
    wrong = check_derivatives(
        value, gradient=lambda t: slope(t) * [1, 1, 1.0001], at=AT, numpy=True
    )
    assert not wrong.ok
    assert wrong.diagnosis.kind == "coordinate"


def test_pytrees_and_names():
    at = {"coef": np.zeros((2, 3)), "intercept": np.zeros(3)}
    names = {"coef": [["age", "dose"], ["setosa", "versicolor", "virginica"]]}
    data, labels = X[:, :2], np.eye(3)[RNG.integers(0, 3, N)]

    def value(t):
        logits = data @ t["coef"] + t["intercept"]
        return -jnp.mean(jnp.sum(labels * jax.nn.log_softmax(logits), axis=1))

    def slope(t):
        r = jax.nn.softmax(data @ t["coef"] + t["intercept"]) - labels
        coef = (data.T @ r / N).at[1, 2].multiply(1.0002)
        return {"coef": coef, "intercept": jnp.mean(r, axis=0)}

    report = check_derivatives(value, gradient=slope, at=at, names=names)
    assert report.diagnosis.kind == "coordinate"
    assert "coef[dose, virginica]" in report.diagnosis.message
    assert report.checks[0].worst[0].name == "coef[dose, virginica]"
    assert "recognised: the cross-entropy of a softmax model" in str(report)


def test_vector_values_and_jacobians():
    def value(z):
        return jax.nn.softmax(z)

    def jacobian(z):
        mu = jax.nn.softmax(z)
        return jnp.diag(mu) - jnp.outer(mu, mu)

    at = np.array([0.1, 0.7, -0.4])
    assert check_derivatives(value, jacobian=jacobian, at=at).ok
    wrong = check_derivatives(value, jacobian=lambda z: jnp.diag(jax.nn.softmax(z)), at=at)
    assert wrong.diagnosis.kind == "diagonal"


def test_the_scores_of_rows_are_diagnosed_like_a_gradient():
    def rows(theta):
        eta = X @ theta
        return jnp.logaddexp(0, eta) - Y * eta

    def scores(theta, labels=Y):
        return (jax.nn.sigmoid(X @ theta) - labels)[:, None] * X

    assert check_derivatives(rows, jacobian=scores, at=AT).ok
    report = check_derivatives(rows, jacobian=lambda t: scores(t, 2 * Y - 1), at=AT)
    assert report.diagnosis.kind == "labels", str(report)


def test_one_number_as_the_point():
    assert check_derivatives(lambda t: t**3, gradient=lambda t: 3 * t**2, at=1.0).ok
    assert check_derivatives(lambda t: t @ t, gradient=lambda t: 2 * t, at=[1, 2.0]).ok
    report = check_derivatives(lambda t: t**3, gradient=lambda t: t**2, at=1.0)
    assert report.diagnosis.kind == "factor"


def test_at_the_optimum_a_wrong_sign_is_still_seen():
    """There the gradient is zero, and so is the wrong one."""

    def value(t):
        return jnp.sum(jnp.cosh(t))

    report = check_derivatives(value, gradient=lambda t: -jnp.sinh(t), at=np.zeros(3))
    assert report.diagnosis.kind == "sign"


def test_null_directions_are_counted_as_class_shifts():
    labels = np.eye(3)[RNG.integers(0, 3, N)]

    def value(W):
        return -jnp.mean(jnp.sum(labels * jax.nn.log_softmax(X @ W), axis=1))

    report = check_derivatives(value, hessian=jax.hessian(value), at=np.zeros((P, 3)))
    assert "3 null directions, 3 of them class shifts" in " ".join(report.properties)

    def flat(theta):
        return value(theta.reshape(P, 3))

    report = check_derivatives(flat, hessian=jax.hessian(flat), at=np.zeros(3 * P))
    assert "3 of them class shifts" in " ".join(report.properties)


def test_assert_derivatives_raises_with_the_report():
    assert_derivatives(loss, gradient=gradient, at=AT, args=(X, Y))
    with pytest.raises(AssertionError, match="The sign is flipped"):
        assert_derivatives(loss, gradient=lambda *a: -gradient(*a), at=AT, args=(X, Y))


def test_the_report_as_plain_data():
    import json

    report = check_derivatives(loss, gradient=lambda *a: -gradient(*a), at=AT, args=(X, Y))
    document = json.loads(json.dumps(report.as_dict()))
    assert document["ok"] is False
    assert document["diagnoses"][0]["kind"] == "sign"
    assert len(document["differences"]["errors"]) == len(report.sweep.steps)


def test_the_seed_decides_the_points():
    def errors(seed):
        report = check_derivatives(loss, gradient=gradient, at=AT, args=(X, Y), seed=seed)
        return report.checks[0].reference_norm

    assert errors(0) == errors(0) != errors(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at": None, "gradient": gradient}, "at= must be a point"),
        ({"at": AT}, "give at least one of"),
        ({"at": AT, "gradient": 3}, "gradient= must be a function"),
        ({"at": AT, "gradient": gradient, "args": X}, "args= must be a tuple"),
        ({"at": AT * np.nan, "gradient": gradient}, "at= must be finite"),
        ({"at": np.array(["a"]), "gradient": gradient}, "at= must hold real numbers"),
        ({"at": AT, "gradient": gradient, "names": ["a"]}, "names must be 3"),
        ({"at": AT, "jacobian": gradient, "args": (X, Y)}, "use gradient="),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        check_derivatives(loss, **options)

"""Whatever a user's function does becomes a finding, never a traceback from inside."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import check_derivatives

AT = np.array([0.4, -0.7, 1.1])


def value(t):
    return jnp.sum(jnp.sin(t) * t)


def slope(t):
    return jnp.cos(t) * t + jnp.sin(t)


def raises(t):
    raise RuntimeError("boom")


def mutates(t):
    t *= 2
    return np.cos(t / 2) * t / 2 + np.sin(t / 2)


class Counts:
    calls = 0

    def __call__(self, t):
        self.calls += 1
        return slope(t) * (1 + 0.01 * self.calls)


class Remembers:
    answer = None

    def __call__(self, t):
        if self.answer is None:
            self.answer = slope(t)
        return self.answer


@pytest.mark.parametrize(
    ("function", "kind", "options"),
    [
        (raises, "raises", {}),
        (lambda t: slope(t)[:2], "shape", {}),
        (lambda t: None, "shape", {}),
        (lambda t: "text", "shape", {}),
        (lambda t: {"a": slope(t)}, "shape", {}),
        (lambda t: slope(t) * jnp.nan, "not-finite", {}),
        (lambda t: slope(t).astype(int), "dtype", {}),
        (lambda t: slope(t) * 1j, "dtype", {}),
        (lambda t: slope(t).astype(jnp.float32), "dtype", {}),
        (mutates, "hidden-state", {"numpy": True}),
        (Counts(), "hidden-state", {}),
        (Remembers(), "hidden-state", {}),
    ],
)
def test_misconduct_has_a_name(function, kind, options):
    report = check_derivatives(value, gradient=function, at=AT, **options)
    assert not report.ok
    assert kind in [d.kind for d in report.diagnoses[:2]], str(report)
    assert kind in str(report)


def test_a_transposed_shape_is_called_transposed():
    A = np.arange(6.0).reshape(2, 3) / 5

    def value(W):
        return jnp.sum(jnp.exp(A * W))

    report = check_derivatives(value, gradient=lambda W: (A * jnp.exp(A * W)).T, at=np.ones((2, 3)))
    assert [f.kind for f in report.findings if f.severity == "error"] == ["shape"]
    assert "transposed" in [d.kind for d in report.diagnoses]


def test_a_value_that_fails_is_a_finding_too():
    report = check_derivatives(raises, gradient=slope, at=AT)
    assert not report.ok
    assert report.findings[0].where == "value"
    report = check_derivatives(lambda t: jnp.nan * t[0], gradient=slope, at=AT)
    assert not report.ok
    assert report.findings[-1].kind == "not-finite"


def test_autodiff_that_is_nan_does_not_condemn_the_hand():
    """Behind a where the untaken branch still spoils autodiff."""

    def value(t):
        return jnp.sum(jnp.where(t > 1e9, jnp.sqrt(t - 1e9), t**2))

    report = check_derivatives(value, gradient=lambda t: 2 * t, at=AT)
    assert report.ok, str(report)
    assert report.reference == "differences"
    assert "reference-not-finite" in [f.kind for f in report.findings]


def test_a_wrong_rule_in_the_value_is_told():
    @jax.custom_jvp
    def cube(t):
        return t**3

    cube.defjvp(lambda primals, tangents: (cube(*primals), 2 * primals[0] ** 2 * tangents[0]))
    report = check_derivatives(lambda t: jnp.sum(cube(t)), gradient=lambda t: 3 * t**2, at=AT)
    assert [f.kind for f in report.findings if f.severity == "error"] == ["autodiff-differs"]
    assert report.checks[0].agrees


def test_a_custom_vjp_knows_only_the_way_back():
    @jax.custom_vjp
    def square(t):
        return t**2

    square.defvjp(lambda t: (t**2, t), lambda t, g: (2 * t * g,))

    report = check_derivatives(
        lambda t: jnp.sum(square(t)),
        gradient=lambda t: 2 * t,
        hessian=lambda t: 2 * jnp.eye(3),
        at=AT,
    )
    assert report.ok, str(report)


def test_a_loop_without_a_way_back():
    def value(t):
        def step(carry):
            i, total = carry
            return i + 1, total + jnp.sum(t**2) / (i + 1)

        return jax.lax.while_loop(lambda carry: carry[0] < 3, step, (0, 0.0 * t[0]))[1]

    factor = 2 * (1 + 1 / 2 + 1 / 3)
    report = check_derivatives(value, gradient=lambda t: factor * t, at=AT)
    assert report.ok, str(report)
    assert report.reference == "autodiff"
    wrong = check_derivatives(value, gradient=lambda t: -factor * t, at=AT)
    assert wrong.diagnosis.kind == "sign"


def test_lossy_is_not_wrong():
    """exp(x) − 1 for small x loses digits in any precision, and is no mistake."""

    def value(t):
        return jnp.sum(jnp.expm1(t) - t)

    report = check_derivatives(value, gradient=lambda t: jnp.exp(t) - 1, at=AT * 1e-9)
    assert report.ok, str(report)


def test_an_audit_leaves_the_users_arrays_alone():
    """A float64 trace must not pin a captured NumPy array to float64."""
    X = np.random.default_rng(0).normal(size=(7, 3))

    def value(t):
        return jnp.sum(jnp.tanh(X @ t))

    def slope(t):
        return X.T @ (1 - jnp.tanh(X @ t) ** 2)

    assert check_derivatives(value, gradient=slope, at=AT).ok
    with jax.enable_x64(False):
        assert (X @ jnp.ones(3, jnp.float32)).dtype == jnp.float32


def test_wrong_only_at_large_arguments():
    def clipped(t):
        u = jnp.clip(t, -5, 5)
        return jnp.tanh(u / 10) ** 2 / 10 * 3

    def value(t):
        return jnp.sum(3 * (t / 10 - jnp.tanh(t / 10)))

    report = check_derivatives(value, gradient=clipped, at=AT)
    assert not report.ok
    assert report.diagnosis.kind == "large-logits", str(report)


def test_a_kink_at_the_point_given_is_no_mistake():
    """At zero any slope of |t| between −1 and 1 is right; elsewhere only the sign is."""

    def value(t):
        return jnp.sum(jnp.abs(t) + t**2)

    report = check_derivatives(value, gradient=lambda t: jnp.sign(t) + 2 * t, at=np.zeros(3))
    assert report.ok, str(report)
    assert "kink" in [f.kind for f in report.findings]
    assert not check_derivatives(value, gradient=lambda t: 2 * t, at=np.zeros(3)).ok


def test_a_matrix_for_a_value():
    def value(t):
        return jnp.outer(t, t**2)

    assert check_derivatives(value, jacobian=jax.jacfwd(value), at=AT).ok
    assert not check_derivatives(value, jacobian=lambda t: 2 * jax.jacfwd(value)(t), at=AT).ok


def test_numpy_code_with_a_domain():
    def value(t):
        if np.min(t) <= 0:
            raise ValueError("not positive")
        return float(np.sum(np.log(np.asarray(t))))

    report = check_derivatives(value, gradient=lambda t: 1 / t, at=np.array([0.3, 0.7]), numpy=True)
    assert report.ok, str(report)


def test_overflow_in_float32_excuses_nothing():
    x = np.array([1e3, 2e3, 3e3])

    def value(t):
        return jnp.sum((x * t) ** 6)

    def slope(t):
        return 1.001 * 6 * x * (x * t) ** 5

    assert not check_derivatives(value, gradient=slope, at=np.full(3, 1e4)).ok


@pytest.mark.parametrize("answer", [[[1.0], [2.0, 3.0]], (1.0, {"a": 2.0})])
def test_a_ragged_answer_is_a_finding(answer):
    report = check_derivatives(lambda t: jnp.sum(t**2), gradient=lambda t: answer, at=AT)
    assert report.findings[0].kind == "shape"


def test_a_key_among_the_arguments():
    def value(t, key):
        return jnp.sum(t**2 * jax.random.uniform(key, (3,), t.dtype))

    report = check_derivatives(
        value,
        gradient=lambda t, key: t * jax.random.uniform(key, (3,), t.dtype),
        at=AT,
        args=(jax.random.key(0),),
    )
    assert report.diagnosis.kind == "factor"


def test_mistakes_that_vanish_at_zero_are_not_called_large():
    X = np.random.default_rng(0).normal(size=(20, 3))

    def value(t):
        return float(np.sum(np.logaddexp(0, X @ t)) + 0.5 * np.sum(t**2))

    def slope(t):
        return X.T @ (1 / (1 + np.exp(-X @ t)))

    report = check_derivatives(value, gradient=slope, at=np.zeros(3), numpy=True)
    assert "penalty-missing" in [d.kind for d in report.diagnoses], str(report)


def test_the_users_arrays_cannot_be_written_into():
    X = np.ones((2, 3))

    def slope(t, X):
        X[0, 0] = 5
        return X.sum(axis=0)

    report = check_derivatives(
        lambda t, X: jnp.sum(X @ t), gradient=slope, at=AT, args=(X,), numpy=True
    )
    assert report.findings[0].message == "gradient changes its argument X in place."
    assert X[0, 0] == 1

"""Answers in any form: the numbers are read, and the form is told."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from scipy.sparse.linalg import aslinearoperator

from jax_logreg import check_derivatives

AT = np.array([0.4, -0.7, 1.1])
RNG = np.random.default_rng(0)
A, B, C = np.arange(6.0).reshape(2, 3) / 5, RNG.normal(size=(5, 3)), RNG.normal(size=(5, 2))


def value(t):
    return float(np.sum(np.sin(t) * t))


def slope(t):
    return np.cos(t) * t + np.sin(t)


def messages(report, kind, severity):
    return [f.message for f in report.findings if (f.kind, f.severity) == (kind, severity)]


def check(wrap, **options):
    return check_derivatives(value, gradient=lambda t: wrap(slope(t)), at=AT, numpy=True, **options)


@pytest.mark.parametrize(
    ("wrap", "shape"),
    [
        (lambda v: np.array([v]), "(1,)"),
        (lambda v: np.array([[v]]), "(1, 1)"),
        (lambda v: np.matrix([[v]]), "(1, 1)"),
        (lambda v: jnp.array([[[v]]]), "(1, 1, 1)"),
        (lambda v: [v], "(1,)"),
        (lambda v: [[v]], "(1, 1)"),
        (lambda v: scipy.sparse.csr_matrix([[v]]), "(1, 1)"),
        (lambda v: np.ma.array([v]), "(1,)"),
    ],
)
@pytest.mark.parametrize("numpy", [True, False])
def test_a_value_of_size_one_is_a_number(wrap, shape, numpy):
    report = check_derivatives(lambda t: wrap(value(t)), gradient=slope, at=AT, numpy=numpy)
    assert report.ok, str(report)
    said = f"the value has shape {shape}; its one number is taken."
    assert messages(report, "shape", "note") == [said]
    assert not check_derivatives(
        lambda t: wrap(value(t)), gradient=lambda t: -slope(t), at=AT, numpy=numpy
    ).ok


@pytest.mark.parametrize("wrap", [float, np.asarray, lambda v: np.array(v, object), complex])
def test_a_number_of_any_type_is_a_number(wrap):
    report = check_derivatives(lambda t: wrap(value(t)), gradient=slope, at=AT, numpy=True)
    assert report.ok, str(report)


@pytest.mark.parametrize("seed", range(3))
def test_a_value_with_the_digits_of_float32(seed):
    def coarse(t):
        return np.float32(np.sum(np.exp(B @ t)))

    def checked(factor, name, function):
        given = {name: lambda t: factor * function(t)}
        return check_derivatives(coarse, **given, at=AT, numpy=True, seed=seed)

    for name, function in {"gradient": lambda t: B.T @ np.exp(B @ t), "hessian": curvature}.items():
        report = checked(1.0, name, function)
        assert report.ok, str(report)
        assert "value returns float32, fewer digits than it was given." in str(report)
        assert not checked(1.1, name, function).ok


def test_a_value_may_be_the_integer_zero():
    def hinge(t):
        margin = 1 - B @ t
        return 0 if (margin < 0).all() else float(np.sum(np.maximum(0, margin) ** 2))

    report = check_derivatives(
        hinge, gradient=lambda t: -2 * B.T @ np.maximum(0, 1 - B @ t), at=AT, numpy=True
    )
    assert report.ok, str(report)
    assert check_derivatives(lambda t: 0, gradient=np.zeros_like, at=AT, numpy=True).ok


@pytest.mark.parametrize(
    ("wrap", "words"),
    [
        (lambda v: None, "nothing (None)"),
        (str, "a str"),
        (lambda v: v > 0, "a bool"),
        (lambda v: v + 1j, "imaginary parts"),
        (lambda v: {"loss": v}, "a dict where a number is expected"),
        (lambda v: (v, np.ones(3)), "give the function as value_and_grad="),
        (lambda v: (v, {"aux": 1.0}, 2), "a tuple where a number is expected"),
        (lambda v: lambda: v, "is a call missing"),
        (lambda v: np.ma.array([v], mask=[True]), "masked"),
        (lambda v: object(), "no numbers"),
    ],
)
@pytest.mark.parametrize("numpy", [True, False])
def test_a_value_that_is_no_number_cannot_be_checked(wrap, words, numpy):
    report = check_derivatives(lambda t: wrap(value(t)), gradient=slope, at=AT, numpy=numpy)
    assert not report.ok
    assert report.verdict == "could not be checked"
    assert "could not be checked" in str(report)
    assert "WRONG" not in str(report)
    assert words in report.findings[0].message


@pytest.mark.parametrize(
    ("wrap", "form"),
    [
        (lambda g: g[:, None], "has shape (3, 1) where (3,) is expected"),
        (lambda g: g[None], "has shape (1, 3) where (3,) is expected"),
        (np.matrix, "has shape (1, 3) (a matrix) where (3,) is expected"),
        (scipy.sparse.csr_matrix, "has shape (1, 3) (a csr_matrix) where (3,) is expected"),
        (lambda g: [[x] for x in g], "has shape (3, 1) where (3,) is expected"),
        (lambda g: (g[:1], g[1:]), "returns a tuple where an array of shape (3,) is expected"),
        (lambda g: {"a": g}, "returns a dict with a where an array of shape (3,) is expected"),
    ],
)
def test_the_shape_does_not_hide_the_numbers(wrap, form):
    right = check(wrap)
    severity = "warning" if form.startswith("has shape") else "error"
    assert messages(right, "shape", severity) == [f"gradient {form}; its numbers are right."]
    assert right.checks[0].agrees
    wrong = check(lambda g: wrap(-g))
    said = f"gradient {form}; its numbers are wrong, too."
    assert messages(wrong, "shape", "error") == [said]
    assert [d.kind for d in wrong.diagnoses] == ["shape", "sign"]


@pytest.mark.parametrize(
    "wrap",
    [
        list,
        lambda g: [jnp.asarray(x) for x in g],
        lambda g: g.astype(object),
        lambda g: np.ma.array(g),
        jnp.asarray,
    ],
)
def test_other_holders_of_the_same_numbers_are_fine(wrap):
    assert check(wrap).ok
    assert check(lambda g: wrap(-g)).diagnosis.kind == "sign"


@pytest.mark.parametrize(
    ("wrap", "words"),
    [
        (lambda g: g[:-1], "one entry is missing"),
        (lambda g: np.outer(g, g), "the size of a Hessian"),
        (lambda g: (1.0, g), "give the function as value_and_grad="),
        (lambda g: (g, g**2), "gradient and Hessian"),
        (lambda g: g.astype(str), "numbers are expected"),
        (lambda g: map(float, g), "make it an array"),
        (lambda g: np.ma.array(g, mask=[0, 0, 1]), "1 masked entries count as missing"),
        (lambda g: g + 0j, "its imaginary part is 0"),
        (lambda g: np.outer(np.ones(4) / 4, g), "summed over axis 0, its numbers are right"),
        (lambda g: np.outer(g, np.ones(4)), "averaged over axis 1, its numbers are right"),
    ],
)
def test_what_cannot_be_a_gradient_is_told(wrap, words):
    report = check(wrap)
    assert report.verdict == "wrong"
    assert words in " ".join(f.message for f in report.findings), str(report)


def test_whole_numbers_are_a_mistake_only_if_they_are_wrong():
    def linear(t):
        return float(2 * t[0] + 3 * t[1])

    right = check_derivatives(linear, gradient=lambda t: np.array([2, 3]), at=AT[:2], numpy=True)
    assert right.ok
    assert messages(right, "dtype", "warning")
    assert messages(check(lambda g: g.astype(int)), "dtype", "error")


TREE = {"W": np.ones((2, 3)), "b": np.array([0.3, 0.2, 0.1])}


def tree_value(t):
    return float(np.sum(np.exp(A * t["W"])) + np.sum(np.sin(t["b"])))


def tree_slope(t):
    return A * np.exp(A * t["W"]), np.cos(t["b"])


@pytest.mark.parametrize(
    ("build", "how"),
    [
        (lambda W, b: {"b": b, "W": W}, None),
        (lambda W, b: collections.OrderedDict(b=b, W=W), None),
        (lambda W, b: collections.namedtuple("Parameters", "b W")(b, W), None),
        (lambda W, b: (W, b), None),
        (lambda W, b: np.append(W, b), None),
        (lambda W, b: (b, W), "in the order item 2, item 1"),
        (lambda W, b: {"db": b, "dW": W}, None),
        (lambda W, b: {"W_grad": W, "b_grad": b}, None),
        (lambda W, b: np.append(b, W), "in the order b, W"),
        (lambda W, b: np.append(W.T, b), "in Fortran order"),
        (lambda W, b: np.append(W.T, b)[:, None], "in Fortran order"),
        (lambda W, b: {"W": W.T, "b": b}, "transposed"),
        (lambda W, b: {"W": W, "b": b[:, None]}, ""),
    ],
)
def test_the_order_that_is_right_is_told(build, how):
    def gradient(t, sign=1):
        W, b = tree_slope(t)
        return build(sign * W, sign * b)

    report = check_derivatives(tree_value, gradient=gradient, at=TREE, numpy=True)
    assert report.ok == (not how), str(report)
    assert report.checks[0].agrees
    if how is not None:
        said = f"{how}, its numbers are right." if how else "; its numbers are right."
        severity = "error" if how else "warning"
        assert messages(report, "shape", severity)[0].endswith(said)
    wrong = check_derivatives(tree_value, gradient=lambda t: gradient(t, -1), at=TREE, numpy=True)
    assert "sign" in [d.kind for d in wrong.diagnoses]


@pytest.mark.parametrize("build", [lambda W, b: {"W": W}, lambda W, b: {"W": W, "b": None}])
def test_a_leaf_that_is_missing_is_named(build):
    report = check_derivatives(
        tree_value, gradient=lambda t: build(*tree_slope(t)), at=TREE, numpy=True
    )
    assert report.findings[-1].kind == "shape"
    assert "b" in report.findings[-1].message


def curved(t):
    return jnp.sum(jnp.exp(B @ t))


def curvature(t):
    return B.T * np.exp(B @ t) @ B


@pytest.mark.parametrize(
    ("wrap", "is_due"),
    [
        (np.matrix, True),
        (scipy.sparse.csr_matrix, True),
        (aslinearoperator, True),
        (np.ndarray.tolist, True),
        (lambda H: H[:, :, None], True),
        (np.ravel, True),
        (lambda H: np.stack([H / 4] * 4), False),
    ],
)
def test_hessians_in_any_form(wrap, is_due):
    report = check_derivatives(curved, hessian=lambda t: wrap(curvature(t)), at=AT, numpy=True)
    assert report.ok == is_due, str(report)
    assert report.checks[0].agrees
    wrong = check_derivatives(
        curved, hessian=lambda t: wrap(curvature(t) + 0.01 * np.eye(3)), at=AT, numpy=True
    )
    assert not wrong.ok


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (1, 3, 0, 2), (0, 2, 1, 3), (1, 0, 3, 2)])
def test_a_hessian_of_a_table_in_any_order_of_axes(axes):
    def loss(W):
        return jnp.sum(jax.nn.logsumexp(C @ W, axis=1))

    report = check_derivatives(
        loss,
        hessian=lambda W: np.transpose(jax.hessian(loss)(W), axes),
        at=RNG.normal(size=(2, 3)),
    )
    assert report.checks[0].agrees, str(report)
    assert report.ok == (axes == (0, 1, 2, 3))


def test_blocks_of_a_hessian():
    at = {"a": np.array([0.1, 0.2]), "b": np.array([0.3])}

    def loss(t):
        return jnp.exp(t["a"][0] * t["a"][1]) * jnp.sin(t["b"][0])

    def blocks(t, factor=1.0):
        H = jax.hessian(loss)(t)
        return [[factor * H[i][j] for j in "ab"] for i in "ab"]

    assert check_derivatives(loss, hessian=blocks, at=at).ok
    assert not check_derivatives(loss, hessian=lambda t: blocks(t, 1.1), at=at).ok


def test_a_diagonal_is_compared_with_the_diagonal():
    """The objectives of XGBoost and LightGBM: gradient and curvature of every raw score."""
    y = np.array([0.0, 1.0, 1.0, 0.0])

    def loss(score):
        return np.sum(np.logaddexp(0, score) - y * score)

    def slope(score):
        return 1 / (1 + np.exp(-score)) - y

    def curvature(score, factor=1.0):
        p = 1 / (1 + np.exp(-score))
        return factor * p * (1 - p)

    at = np.array([0.3, -0.2, 1.0, 0.5])
    report = check_derivatives(loss, gradient=slope, hessian=curvature, at=at, numpy=True)
    assert report.ok, str(report)
    assert report.checks[1].num_entries == 4
    assert "diagonal" in messages(report, "diagonal", "note")[0]
    wrong = check_derivatives(
        loss, gradient=slope, hessian=lambda s: curvature(s, 2.0), at=at, numpy=True
    )
    assert wrong.diagnosis.kind == "factor"
    dense = check_derivatives(curved, hessian=lambda t: np.diag(curvature_of(t)), at=AT)
    assert dense.ok
    assert "off-diagonal entries reach 7.9" in messages(dense, "diagonal", "note")[0]


def curvature_of(t):
    return curvature(np.asarray(t))


@pytest.mark.parametrize("xp", [np, jnp])
@pytest.mark.parametrize(
    ("wrap", "how"),
    [
        (lambda J: J, None),
        (scipy.sparse.csr_matrix, None),
        (aslinearoperator, None),
        (list, None),
        (np.transpose, "transposed, its numbers are right."),
        (np.ravel, "; its numbers are right."),
        (lambda J: J.ravel("F"), "in Fortran order, its numbers are right."),
    ],
)
def test_jacobians_of_residuals(xp, wrap, how):
    """What SciPy's least_squares takes as jac."""

    def residuals(t):
        return xp.exp(B @ t)

    def jacobian(t):
        return wrap(np.exp(B @ t)[:, None] * B)

    report = check_derivatives(residuals, jacobian=jacobian, at=AT, numpy=True)
    is_in_order = how is None or how.startswith(";")
    assert report.ok == is_in_order, str(report)
    assert report.checks[0].agrees
    if how is not None:
        severity = "warning" if is_in_order else "error"
        assert messages(report, "shape", severity)[0].endswith(how)


def test_one_residual():
    def jacobian(t):
        return np.exp(B @ t)[0] * B[0]

    report = check_derivatives(lambda t: np.exp(B @ t)[:1], jacobian=jacobian, at=AT, numpy=True)
    assert report.ok, str(report)

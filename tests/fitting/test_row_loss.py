"""fit(loss=): another loss of one row, by autodiff or by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_logreg import L2, LBFGS, ElasticNet, Firth, NewtonCG, Optax, Status, fit
from jax_logreg.fitting.row_loss import RowLoss
from tests.problems import make_problem


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def binary(y, eta):
    return jax.nn.softplus(eta) - y * eta


def categorical(y, eta):
    return -jnp.sum(y * jax.nn.log_softmax(eta))


def softmax_curvature(y, eta):
    mu = jax.nn.softmax(eta)
    return jnp.diag(mu) - jnp.outer(mu, mu)


BINARY = {
    "autodiff": RowLoss(binary),
    "slope": RowLoss(binary, lambda y, eta: jax.nn.sigmoid(eta) - y),
    "by hand": RowLoss(
        binary,
        lambda y, eta: jax.nn.sigmoid(eta) - y,
        lambda y, eta: jax.nn.sigmoid(eta) * jax.nn.sigmoid(-eta),
    ),
}
CATEGORICAL = {
    "autodiff": RowLoss(categorical),
    "by hand": RowLoss(categorical, lambda y, eta: jax.nn.softmax(eta) - y, softmax_curvature),
}


def focal(y, eta, gamma):
    """Lin et al. (2017), "Focal loss for dense object detection": not convex for γ > 0."""
    right = jnp.where(y > 0.5, eta, -eta)
    return -(jax.nn.sigmoid(-right) ** gamma) * jax.nn.log_sigmoid(right)


def same(a, b, tol=1e-9):
    return np.allclose(a.coef, b.coef, rtol=tol, atol=tol) and np.allclose(
        a.intercept, b.intercept, rtol=tol, atol=tol
    )


@pytest.mark.parametrize("penalty", [None, L2(0.1)], ids=["plain", "ridge"])
@pytest.mark.parametrize(
    ("model", "form"),
    [*(("sigmoid", f) for f in BINARY), *(("softmax", f) for f in CATEGORICAL)],
)
def test_the_cross_entropy_as_a_loss_of_ones_own_is_the_fit(model, form, penalty):
    problem = make_problem(model, "float64")
    data = problem.X * np.array([1, 10.0, 0.01] + [1] * (problem.X.shape[1] - 3)), problem.y
    options = {"sample_weight": problem.sample_weight, "penalty": penalty}
    loss = (BINARY if model == "sigmoid" else CATEGORICAL)[form]
    plain, own = fit(*data, **options), fit(*data, **options, loss=loss)
    assert own.status == plain.status == Status.CONVERGED
    assert same(plain, own)
    assert np.isclose(plain.objective, own.objective, rtol=1e-12)
    assert own.rank == plain.rank


SOLVERS = {
    "newton": "newton",
    "newton_cg": NewtonCG(),
    "lbfgs": LBFGS(),
    "gram": LBFGS("gram"),
    "optax": Optax(optax.lbfgs()),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_drives_it(name):
    problem = make_problem("sigmoid", "float64")
    data = problem.X, (problem.y > 0.5).astype(float)
    loss = RowLoss(focal, args=(1.0,))
    found = fit(*data, penalty=L2(0.05), solver=SOLVERS[name], loss=loss)
    assert found.converged, found.message
    assert same(found, fit(*data, penalty=L2(0.05), loss=loss), 1e-6)


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_drives_one_of_softmax(name):
    problem = make_problem("softmax", "float64")
    loss = CATEGORICAL["by hand"]
    found = fit(problem.X, problem.y, penalty=L2(0.1), solver=SOLVERS[name], loss=loss)
    assert found.converged, found.message
    assert same(found, fit(problem.X, problem.y, penalty=L2(0.1)), 1e-6)


def test_sparse_features_offsets_and_no_intercept():
    sparse = pytest.importorskip("scipy.sparse")
    problem = make_problem("sigmoid", "float64")
    options = {"offset": problem.offset, "fit_intercept": False, "penalty": L2(0.2)}
    plain = fit(problem.X, problem.y, **options)
    for X in (problem.X, sparse.csr_array(problem.X)):
        assert same(plain, fit(X, problem.y, **options, loss=BINARY["by hand"]), 1e-7)


def smoothed(y, eta):
    """Label smoothing by a tenth."""
    return categorical(0.9 * y + 0.1 / len(y), eta)


def test_label_smoothing_is_a_fit_to_smooth_labels():
    problem = make_problem("softmax", "float64")
    Y = problem.y if problem.y.ndim == 2 else jax.nn.one_hot(problem.y, problem.y.max() + 1)
    K = Y.shape[1]
    plain = fit(problem.X, 0.9 * Y + 0.1 / K, penalty=L2(0.1))
    assert same(plain, fit(problem.X, Y, penalty=L2(0.1), loss=RowLoss(smoothed)))


def test_a_loss_that_feels_shifts_has_no_gauge():
    """One logistic regression a class: the intercepts are all determined."""

    def one_against_the_rest(y, eta):
        return jnp.sum(binary(y, eta))

    problem = make_problem("softmax", "float64")
    Y = problem.y if problem.y.ndim == 2 else jax.nn.one_hot(problem.y, problem.y.max() + 1)
    many = fit(problem.X, Y, penalty=L2(0.1), loss=RowLoss(one_against_the_rest))
    assert many.converged
    for k in range(Y.shape[1]):
        one = fit(problem.X, Y[:, k], penalty=L2(0.1), tol=1e-12)
        assert np.allclose(one.coef, many.coef[:, k], rtol=1e-8, atol=1e-10)
        assert np.isclose(one.intercept, many.intercept[k], rtol=1e-8)


def test_separated_data_have_no_minimum_for_it_either():
    X, y = np.array([[-1.0], [1.0]]), np.array([0, 1])
    assert fit(X, y, loss=BINARY["autodiff"]).status == Status.LOOSE


def test_derivatives_are_those_of_differences():
    problem = make_problem("sigmoid", "float64")
    y = (problem.y > 0.5).astype(float)

    def answer(X, strength, gamma, form):
        args = RowLoss(focal, args=(gamma,)), RowLoss(lambda y, eta: focal(y, eta, gamma))
        return jnp.sum(jnp.sin(fit(X, y, penalty=L2(strength), loss=args[form]).coef))

    X = jnp.asarray(problem.X)
    along = np.random.default_rng(0).normal(size=X.shape), 0.1, 1.0
    at, h = (X, 0.1, 1.5), 1e-4

    def moved(t):
        return answer(*(a + t * v for a, v in zip(at, along, strict=True)), 0)

    differences = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h)
    for form in (0, 1):
        slopes = jax.grad(answer, (0, 1, 2))(*at, form)
        found = sum(jnp.sum(a * b) for a, b in zip(slopes, along, strict=True))
        assert np.isclose(found, differences, rtol=1e-6)


def test_inside_jit_and_vmap():
    problem = make_problem("sigmoid", "float64")

    def answer(strength):
        return fit(problem.X, problem.y, penalty=L2(strength), loss=BINARY["by hand"]).coef

    strengths = jnp.array([0.1, 1.0])
    many = jax.jit(jax.vmap(answer))(strengths)
    assert np.allclose(many, [fit(problem.X, problem.y, penalty=L2(s)).coef for s in strengths])


def test_wrong_slopes_and_curvatures_are_refused_with_the_report():
    problem = make_problem("sigmoid", "float64")
    wrong = RowLoss(binary, lambda y, eta: y - jax.nn.sigmoid(eta))
    with pytest.raises(ValueError, match=r"slope[\s\S]*gradient: WRONG[\s\S]*sign is flipped"):
        fit(problem.X, problem.y, loss=wrong)
    halved = RowLoss(binary, curvature=lambda y, eta: jax.nn.sigmoid(eta) * y)
    with pytest.raises(ValueError, match="hessian: WRONG"):
        fit(problem.X, problem.y, loss=halved)
    problem = make_problem("softmax", "float64")
    diagonal = RowLoss(categorical, curvature=lambda y, eta: jnp.diag(jax.nn.softmax(eta)))
    with pytest.raises(ValueError, match="hessian: WRONG"):
        fit(problem.X, problem.y, loss=diagonal)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"loss": binary}, r"RowLoss\(value, slope, curvature\)"),
        ({"loss": RowLoss(lambda y, eta: jnp.ones(2))}, r"value of a loss.*shape \(\)"),
        ({"loss": RowLoss(binary, lambda y, eta: jnp.ones(2))}, "slope of a loss"),
        ({"loss": BINARY["slope"], "penalty": ElasticNet(0.1)}, "smooth"),
        ({"loss": BINARY["slope"], "penalty": Firth()}, "smooth"),
        ({"loss": BINARY["slope"], "progress": print}, "progress"),
        ({"loss": BINARY["slope"], "solver": "gradient_descent"}, "curvature_bound.*step_size"),
    ],
)
def test_bad_losses_are_refused(options, says):
    problem = make_problem("sigmoid", "float64")
    with pytest.raises(ValueError, match=says):
        fit(problem.X, problem.y, **options)


def test_bad_functions_are_refused():
    with pytest.raises(ValueError, match="value of a loss must be a function"):
        RowLoss(3)
    with pytest.raises(ValueError, match="slope of a loss must be a function"):
        RowLoss(binary, slope=1.0)
    with pytest.raises(ValueError, match="tuple"):
        RowLoss(binary, args=2.0)

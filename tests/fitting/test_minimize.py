"""minimize: the caller's own function, by the caller's own derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_logreg import LBFGS, GradientDescent, Minibatch, Newton, Solver, Status, minimize
from jax_logreg.audit import check
from jax_logreg.fitting import minimize as module

START = {"x": -1.2, "y": 1.0}


def rosenbrock(t):
    return (1 - t["x"]) ** 2 + 100 * (t["y"] - t["x"] ** 2) ** 2


def rosenbrock_gradient(t):
    off = t["y"] - t["x"] ** 2
    return {"x": -2 * (1 - t["x"]) - 400 * t["x"] * off, "y": 200 * off}


def rosenbrock_hessian(t):
    x, y = t["x"], t["y"]
    xx, xy = 2 - 400 * (y - 3 * x**2), -400 * x
    return {"x": {"x": xx, "y": xy}, "y": {"x": xy, "y": jnp.full_like(x, 200)}}


def rosenbrock_hvp(t, v):
    H = rosenbrock_hessian(t)
    return {a: H[a]["x"] * v["x"] + H[a]["y"] * v["y"] for a in ("x", "y")}


BY_HAND = {
    "gradient": rosenbrock_gradient,
    "hessian": rosenbrock_hessian,
    "hvp": rosenbrock_hvp,
}


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize(
    "derivatives", [{}, BY_HAND, {"hvp": rosenbrock_hvp}], ids=["autodiff", "by hand", "hvp"]
)
@pytest.mark.parametrize(
    "solver",
    ["auto", *module.SOLVERS, GradientDescent(1.5e-3), optax.adam(0.02), optax.lbfgs()],
    ids=lambda s: s if isinstance(s, str) else type(s).__name__,
)
def test_every_solver_gets_through_the_valley_by_any_derivatives(solver, derivatives):
    steps = 60_000 if not isinstance(solver, str) or solver == "gradient_descent" else None
    found = minimize(rosenbrock, START, solver=solver, max_steps=steps, **derivatives)
    assert found.status == Status.CONVERGED, found.message
    assert jnp.allclose(jnp.stack(list(found.theta.values())), 1.0, rtol=1e-9, atol=0)
    assert found.history.objective[found.num_steps] == found.value < 1e-18


def chain(t, c):
    """A function with as many valleys as one likes: Rosenbrock's of many variables."""
    return jnp.sum(c * (t[1:] - t[:-1] ** 2) ** 2 + (1 - t[:-1]) ** 2) / len(t)


@pytest.mark.parametrize("size", [2, 10, 600])  # 600 is judged by products
def test_valleys_of_many_variables(size):
    found = minimize(chain, jnp.zeros(size), 10.0, max_steps=5000)
    assert found.status == Status.CONVERGED, found.message
    assert jnp.max(jnp.abs(found.theta - 1)) < 1e-6


def test_a_tree_keeps_its_structure_shapes_and_dtypes():
    start = {"w": jnp.zeros((2, 3)), "b": (jnp.float32(1), [jnp.zeros(())])}

    def far(t):
        return sum(jnp.sum((x - 2.0) ** 2) for x in jax.tree.leaves(t))

    found = minimize(far, start).theta
    assert jax.tree.structure(found) == jax.tree.structure(start)
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(start), strict=True)
    assert all(a.shape == b.shape and a.dtype == b.dtype and (a == 2).all() for a, b in pairs)


@pytest.mark.parametrize("solver", ["newton", "newton_cg", "lbfgs", "bfgs"])
def test_without_float64(solver):
    with jax.enable_x64(False):
        found = minimize(rosenbrock, START, solver=solver)
        assert found.theta["x"].dtype == jnp.float32
        assert found.status == Status.CONVERGED, found.message
        assert abs(found.theta["x"] - 1) < 1e-4


def test_half_precision_is_solved_in_float32():
    found = minimize(lambda t: jnp.sum((t - 0.5) ** 2), jnp.zeros(2, jnp.bfloat16))
    assert found.converged
    assert found.theta.dtype == jnp.bfloat16
    assert (found.theta == 0.5).all()


# --- what is no minimum -------------------------------------------------------------------


def saddle(t):
    return t[0] ** 2 - t[1] ** 2 + t[1] ** 4


@pytest.mark.parametrize("solver", ["newton", "newton_cg", "lbfgs", "gradient_descent"])
def test_a_saddle_point_is_no_minimum_and_is_left_downhill(solver):
    stays = minimize(saddle, jnp.array([1.0, 0.0]), solver=solver)
    assert stays.status == Status.LOOSE
    assert "saddle point" in stays.message
    assert jnp.isnan(stays.newton_decrement)
    leaves = minimize(saddle, jnp.array([1.0, 1e-3]), solver=solver)
    assert leaves.status == Status.CONVERGED
    assert jnp.allclose(jnp.abs(leaves.theta), jnp.array([0, 0.5**0.5]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("solver", module.SOLVERS)
def test_negative_curvature_along_one_axis_stops_nobody(solver):
    def hills(t):
        return jnp.sum(t**4 / 4 - t**2 / 2 + 0.1 * t)

    for start in np.random.default_rng(0).uniform(-2, 2, (20, 3)):
        found = minimize(hills, start, solver=solver)
        assert found.status == Status.CONVERGED, found.message
        assert jnp.all(3 * found.theta**2 > 1)


@pytest.mark.parametrize(
    ("function", "start"),
    [
        (lambda t: -(t**2), 0.0),  # a maximum
        (lambda t: t**3, 0.0),  # an inflection
        (lambda t: jnp.sum(t**3) + t[0] ** 2, np.zeros(2)),  # one beside a valley
        (lambda t: jnp.exp(-t), 0.0),  # falls forever
        (lambda t: jax.nn.softplus(-3 * t), 1.0),  # separated data
        (lambda t: -jnp.exp(-(t**2)), 6.0),  # the plain around a well
    ],
)
def test_a_small_gradient_is_no_minimum(function, start):
    assert minimize(function, start).status == Status.LOOSE


def test_by_products_a_saddle_of_many_variables_is_found():
    signs = jnp.ones(600).at[7].set(-0.01)
    found = minimize(lambda t, s: jnp.sum(s * t**2), jnp.zeros(600), signs)
    assert found.status == Status.LOOSE
    assert minimize(lambda t, s: jnp.sum(s * t**2), jnp.zeros(600), signs**2).converged


def test_a_flat_valley_has_no_unique_minimum():
    X = np.random.default_rng(0).normal(size=(40, 2))
    labels = jax.nn.one_hot(np.arange(40) % 3, 3)

    def softmax_loss(t, X):  # all intercepts may be shifted
        eta = X @ t["w"] + t["b"]
        return -jnp.mean(jnp.sum(labels * jax.nn.log_softmax(eta), axis=1)) + jnp.sum(t["w"] ** 2)

    found = minimize(softmax_loss, {"w": jnp.zeros((2, 3)), "b": jnp.zeros(3)}, X)
    assert found.status == Status.NOT_UNIQUE
    assert found.converged


def test_other_ends_have_their_names():
    assert minimize(rosenbrock, START, max_steps=3).status == Status.MAX_STEPS
    assert minimize(lambda t: jnp.log(t), -1.0).status == Status.NOT_FINITE
    rough = minimize(lambda t: 1e9 * (1 + (t - 0.3) ** 2), 0.0, tol=1e-30)
    assert rough.status in (Status.STALLED, Status.CONVERGED)
    with pytest.raises(RuntimeError, match="MAX_STEPS"):
        minimize(rosenbrock, START, max_steps=3).raise_if_failed()


# --- a closed form ------------------------------------------------------------------------


def cubic(t, strength):
    """Stationary where t² + 2λt = 1: at −λ + √(λ² + 1), and at a maximum."""
    return t**3 / 3 + strength * t**2 - t


@pytest.mark.parametrize("solver", ["newton", "newton_cg", "lbfgs", "bfgs"])
@pytest.mark.parametrize("strength", [0.0, 0.5, 2.0, 30.0])
def test_a_closed_form_is_found_to_the_last_digits(solver, strength):
    found = minimize(cubic, 1.0, strength, solver=solver).raise_if_failed()
    exact = 1 / (strength + np.sqrt(strength**2 + 1))  # −λ + √(λ² + 1), without its cancellation
    assert abs(found.theta - exact) <= 1e-12


# --- transformations ----------------------------------------------------------------------


def test_inside_jit_and_vmap_it_is_the_same():
    strengths = jnp.array([0.1, 1.0, 10.0])
    one_by_one = [minimize(cubic, 1.0, s).theta for s in strengths]
    many = jax.jit(jax.vmap(lambda s: minimize(cubic, 1.0, s)))(strengths)
    assert many.converged.all()
    assert jnp.allclose(many.theta, jnp.stack(one_by_one), rtol=1e-14)
    starts = jax.vmap(lambda t: minimize(cubic, t, 1.0).theta)(jnp.array([0.5, 3.0]))
    assert jnp.allclose(starts, 2**0.5 - 1, rtol=1e-12)


# --- the audit ----------------------------------------------------------------------------


def half(t):
    return {"x": 0.5 * rosenbrock_gradient(t)["x"], "y": rosenbrock_gradient(t)["y"]}


def test_wrong_derivatives_are_refused_with_the_report():
    with pytest.raises(ValueError, match=r"gradient= did not pass[\s\S]*by hand[\s\S]*reference"):
        minimize(rosenbrock, START, gradient=half)
    with pytest.raises(ValueError, match="hvp: WRONG"):
        minimize(rosenbrock, START, hvp=lambda t, v: v)
    assert not minimize(rosenbrock, START, gradient=half, audit=False).converged


def test_right_derivatives_are_audited_once_and_never_in_a_trace(monkeypatch):
    calls = []

    def counted(*args, **kwargs):
        calls.append(kwargs)
        return check.check_derivatives(*args, **kwargs)

    monkeypatch.setattr(module, "check_derivatives", counted)

    def gradient(t):
        return 4 * t**3 + 2 * t - 1

    def quartic(t):
        return jnp.sum(t**4 + t**2 - t)

    jax.jit(lambda t: minimize(quartic, t, gradient=gradient).theta)(jnp.ones(2))
    assert not calls
    for start in (jnp.ones(2), jnp.zeros(2)):
        minimize(quartic, start, gradient=gradient)
    assert len(calls) == 1
    minimize(quartic, jnp.zeros(3), gradient=gradient)
    assert len(calls) == 2


def with_rule(factor):
    """A quartic whose gradient is a rule of JAX."""

    @jax.custom_vjp
    def quartic(t):
        return jnp.sum(t**4 + (t - 1) ** 2)

    quartic.defvjp(lambda t: (quartic(t), t), lambda t, g: (g * (factor * t**3 + 2 * (t - 1)),))
    return quartic


@pytest.mark.parametrize("solver", ["newton", "newton_cg", "lbfgs"])
def test_a_rule_of_jax_trains_and_is_audited(solver):
    found = minimize(with_rule(4), jnp.zeros(2), solver=solver)
    assert found.converged
    assert jnp.allclose(4 * found.theta**3 + 2 * found.theta, 2.0, rtol=1e-10)
    with pytest.raises(ValueError, match=r"rule of the function did not pass"):
        minimize(with_rule(3), jnp.zeros(2), solver=solver)
    assert minimize(
        with_rule(4), jnp.zeros(2), gradient=lambda t: 4 * t**3 + 2 * (t - 1), solver=solver
    ).converged


# --- bad input ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        ((lambda t: t, np.ones(2)), {}, "function must return one floating number.*jnp.sum"),
        ((lambda t: (t, t), 1.0), {}, "function must return one floating number.*tuple"),
        ((lambda t: jnp.round(t).astype(int), 1.0), {}, "one floating number"),
        ((lambda t: np.sin(np.asarray(t)), 1.0), {}, "jax.numpy"),
        ((jnp.sum, np.arange(3)), {}, "theta must hold floating.*args"),
        ((rosenbrock, {"x": 1.0, "y": 2}), {}, r"theta\['y'\] must hold floating"),
        ((rosenbrock, {}), {}, "at least one number"),
        ((lambda t, a: t, 1.0, "lasso"), {}, r"args\[0\] must be an array.*partial"),
        (("f", 1.0), {}, "function must be a function"),
        ((rosenbrock, START), {"gradient": 1}, "gradient must be a function"),
        ((rosenbrock, START), {"gradient": lambda t: [t["x"], t["y"]]}, "gradient.*structure"),
        ((jnp.sum, np.ones(2)), {"gradient": lambda t: t[:, None]}, "gradient.*shapes"),
        ((jnp.sum, np.ones(2)), {"hessian": lambda t: t}, r"hessian must return \(2, 2\)"),
        ((jnp.sum, np.ones(2)), {"hvp": lambda t, v: v[0]}, "hvp.*structure"),
        ((jnp.sum, np.ones(2)), {"solver": "sgd"}, "'newton_cg'"),
        ((jnp.sum, np.ones(2)), {"solver": LBFGS()}, r"preconditioner.*LBFGS\('none'\)"),
        ((jnp.sum, np.ones(2)), {"solver": GradientDescent()}, "curvature_bound"),
        ((jnp.sum, np.ones(2)), {"tol": -1.0}, "tol must be"),
        ((jnp.sum, np.ones(2)), {"max_steps": 0.5}, "max_steps must be"),
        ((jnp.sum, np.ones(2)), {"audit": "no"}, "audit must be"),
    ],
)
def test_bad_input_names_the_argument_and_the_remedy(arguments, options, says):
    with pytest.raises((ValueError, TypeError), match=says):
        minimize(*arguments, **options)


def test_rows_are_not_to_be_had():
    batches = Minibatch(optax.sgd(0.1), batch_size=2, key=jax.random.key(0))
    with pytest.raises(ValueError, match="rows"):
        minimize(jnp.sum, np.ones(2), solver=batches)


def test_a_solver_of_ones_own_drives_it():
    @jax.tree_util.register_dataclass
    @module.dataclass(frozen=True)
    class Halving(Solver):
        def init(self, oracle, theta):
            return module.State(oracle.evaluate(theta), jnp.asarray(False))

        def step(self, oracle, state):
            point = oracle.evaluate(state.point.theta - 0.25 * state.point.gradient)
            return module.State(point, jnp.asarray(False))

    found = minimize(lambda t: jnp.sum((t - 2) ** 2), np.zeros(3), solver=Halving())
    assert found.converged
    assert jnp.allclose(found.theta, 2)
    assert Newton().requires <= module.TreeOracle.capabilities

"""The proof of this project's own derivatives: each one by hand and by autodiff.

``FORMULAS`` pairs every hand-written derivative with its namesake by autodiff, and every
question that a solver asks of an oracle: the functions that train.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jax_logreg.derivatives import analytic, autodiff
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.derivatives.oracle import Oracle, value
from jax_logreg.objective.model import probability
from jax_logreg.objective.objective import Objective

# Two correct forms of one sum differ by a few rounding errors a term. Over the shapes
# and scales of the tests the largest difference is about 30 units of the largest entry.
ROUND_OFF_UNITS = 200


class Comparison(NamedTuple):
    """One derivative by hand against the same by autodiff.

    Attributes:
        name: what was compared.
        absolute: largest |hand − autodiff|.
        relative: the same over the largest |autodiff| entry.
        bound: the largest relative difference that round-off explains.
        agrees: whether shapes match, both are finite, and relative ≤ bound.
    """

    name: str
    absolute: float
    relative: float
    bound: float
    agrees: bool


def compare(name: str, hand: ArrayLike, autodiff: ArrayLike) -> Comparison:
    """Compare a hand-written derivative with autodiff's, entry by entry.

    Args:
        name: what to call it in the report.
        hand: any array.
        autodiff: the reference, of the same shape.

    >>> compare("slope", np.float32([1, 2]), np.float32([1, 2])).agrees
    True
    >>> compare("slope", np.float32([1, 2]), np.float32([1, 2.1])).agrees
    False
    """
    a, b = np.asarray(hand), np.asarray(autodiff)
    bound = ROUND_OFF_UNITS * float(np.finfo(b.dtype).eps)
    if a.shape != b.shape or not (np.all(np.isfinite(a)) and np.all(np.isfinite(b))):
        return Comparison(name, float("nan"), float("nan"), bound, False)
    absolute = float(np.max(np.abs(a - b), initial=0.0))
    largest = float(np.max(np.abs(b), initial=0.0))
    relative = absolute / largest if largest > 0 else (0.0 if absolute == 0 else float("inf"))
    return Comparison(name, absolute, relative, bound, relative <= bound)


def kind_of_difference(hand: np.ndarray, reference: np.ndarray) -> str:
    """How two arrays differ: "claim" (true or false), "shape", "sign", "ratio 2" or "values".

    >>> kind_of_difference(np.array([2.0, 4.0]), np.array([1.0, 2.0]))
    'ratio 2'
    """
    if reference.dtype == bool:
        return "claim"
    if hand.shape != reference.shape:
        return "shape"
    ratio = float(np.vdot(reference, hand) / np.vdot(reference, reference))
    if not compare("", hand, ratio * reference).agrees:
        return "values"
    return "sign" if np.isclose(ratio, -1) else f"ratio {ratio:.4g}"


class Formula(NamedTuple):
    """One derivative in two versions.

    Attributes:
        name: in the field's notation.
        hand: the hand-written function.
        auto: the same by autodiff.
        arguments: (objective, θ, vector) ↦ the arguments of both.
    """

    name: str
    hand: Callable[..., jax.Array]
    auto: Callable[..., jax.Array]
    arguments: Callable[[Objective, jax.Array, jax.Array], tuple[Any, ...]]


def _of_rows(name: str, function: str, arguments: Callable[..., tuple[Any, ...]]) -> Formula:
    def from_objective(F: Objective, theta: jax.Array, vector: jax.Array) -> tuple[Any, ...]:
        return arguments(F, F.add_offset(F.linear(theta)), F.split(theta)[0])

    return Formula(name, getattr(analytic, function), getattr(autodiff, function), from_objective)


def _of_objective(name: str, function: str) -> Formula:
    def arguments(F: Objective, theta: jax.Array, vector: jax.Array) -> tuple[Any, ...]:
        return (F, theta, vector) if function == "hvp" else (F, theta)

    return Formula(name, getattr(analytic, function), getattr(autodiff, function), arguments)


def _of_solver(name: str, ask: Callable[..., jax.Array]) -> Formula:
    """A question as a solver puts it, to both oracles."""
    return Formula(
        name,
        lambda F, theta, vector: ask(ModelOracle(F, analytic), theta, vector),
        lambda F, theta, vector: ask(ModelOracle(F, autodiff), theta, vector),
        lambda F, theta, vector: (F, theta, vector),
    )


def _gradient_on_a_line(oracle: Oracle, theta: jax.Array, vector: jax.Array) -> jax.Array:
    line, step = oracle.line(oracle.evaluate(theta), vector), jnp.asarray(0.5, theta.dtype)
    return line.point(step, line.at(step)).gradient


FORMULAS = (
    _of_rows("dσ/dz", "sigmoid_derivative", lambda F, eta, coef: (eta,)),
    _of_rows("∂softmax/∂z", "softmax_jacobian", lambda F, eta, coef: (jnp.atleast_2d(eta),)),
    _of_rows("∂ℓ/∂ŷ", "loss_wrt_prediction", lambda F, eta, coef: (probability(eta), F.y)),
    _of_rows("∂ŷ/∂z", "prediction_wrt_logits", lambda F, eta, coef: (eta,)),
    _of_rows("∂z/∂w", "logits_wrt_coef", lambda F, eta, coef: (F.X.to_array(), coef)),
    _of_rows("∂ℓ/∂z", "loss_wrt_logits", lambda F, eta, coef: (eta, F.y)),
    _of_objective("score of each row", "scores"),
    _of_objective("gradient ∇F", "gradient"),
    _of_objective("Hessian ∇²F", "hessian"),
    _of_objective("∇²F · v", "hvp"),
    _of_solver("solver: gradient", lambda oracle, t, v: oracle.evaluate(t).gradient),
    _of_solver("solver: Hessian", lambda oracle, t, v: oracle.hessian(oracle.evaluate(t))),
    _of_solver(
        "solver: ∇²F · v",
        lambda oracle, t, v: oracle.hessian_operator(oracle.evaluate(t))(v).product,
    ),
    _of_solver(
        "solver: slope on a line",
        lambda oracle, t, v: oracle.line(oracle.evaluate(t), v).at(jnp.asarray(0.5, t.dtype)).slope,
    ),
    _of_solver("solver: ∇F on a line", _gradient_on_a_line),
    _of_solver("solver: ∇ of value", lambda oracle, t, v: jax.grad(value, argnums=1)(oracle, t)),
)


@jax.jit
def both_versions(
    objective: Objective, theta: jax.Array, vector: jax.Array
) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Every formula at θ, (by hand, by autodiff)."""
    answers = {}
    for formula in FORMULAS:
        arguments = formula.arguments(objective, theta, vector)
        answers[formula.name] = formula.hand(*arguments), formula.auto(*arguments)
    return answers


def audit_objective(objective: Objective, key: jax.Array) -> list[Comparison]:
    """Compare every derivative of an objective with autodiff's at a random point.

    The point is drawn, not the optimum: there a wrong sign passes, since ∇F is zero.

    Args:
        objective: the very one that trains.
        key: from ``jax.random.key``.

    Returns:
        A comparison for each formula.
    """
    here, there = jax.random.split(key)
    size = (objective.num_parameters,)
    # Logits of at most a few units in every row: none saturated, where ∂ℓ/∂ŷ is 0/0.
    scale = jnp.sqrt(jnp.max(objective.X.row_squares()) + 1)
    theta = 2 * jax.random.normal(here, size, objective.X.dtype) / scale
    vector = jax.random.normal(there, size, objective.X.dtype)
    answers = both_versions(objective, theta, vector)
    return [compare(formula.name, *answers[formula.name]) for formula in FORMULAS]

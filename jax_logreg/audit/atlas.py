"""Every derivative of this project as an entry: the hand function and its counterpart."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jax_logreg.audit.compare import Comparison, compare
from jax_logreg.derivatives import analytic, autodiff
from jax_logreg.derivatives.analytic_oracle import AnalyticOracle
from jax_logreg.derivatives.autodiff import AutodiffOracle
from jax_logreg.derivatives.oracle import Oracle
from jax_logreg.objective.dense_features import row_squares
from jax_logreg.objective.model import probability
from jax_logreg.objective.objective import Objective


class Formula(NamedTuple):
    """One derivative in two versions.

    Attributes:
        name: in the field's notation.
        hand: the hand-written function.
        auto: the same by autodiff.
        arguments: (objective, θ, vector) ↦ what both are called with.
    """

    name: str
    hand: Callable[..., jax.Array]
    auto: Callable[..., jax.Array]
    arguments: Callable[[Objective, jax.Array, jax.Array], tuple[Any, ...]]


def _pair(module: Any, name: str) -> Callable[..., jax.Array]:
    return getattr(module, name)


def _row_formula(name: str, function: str, arguments: Callable[..., tuple[Any, ...]]) -> Formula:
    def from_objective(F: Objective, theta: jax.Array, vector: jax.Array) -> tuple[Any, ...]:
        return arguments(F, F.add_offset(F.linear(theta)), F.split(theta)[0])

    return Formula(name, _pair(analytic, function), _pair(autodiff, function), from_objective)


def _whole_formula(name: str, function: str) -> Formula:
    def arguments(F: Objective, theta: jax.Array, vector: jax.Array) -> tuple[Any, ...]:
        return (F, theta, vector) if function == "hvp" else (F, theta)

    return Formula(name, _pair(analytic, function), _pair(autodiff, function), arguments)


def _oracle_formula(name: str, ask: Callable[..., jax.Array]) -> Formula:
    """A question as a solver puts it, to both oracles."""

    def by_hand(F: Objective, theta: jax.Array, vector: jax.Array) -> jax.Array:
        return ask(AnalyticOracle(F), theta, vector)

    def by_autodiff(F: Objective, theta: jax.Array, vector: jax.Array) -> jax.Array:
        return ask(AutodiffOracle(F), theta, vector)

    return Formula(name, by_hand, by_autodiff, lambda F, theta, vector: (F, theta, vector))


def _gradient_on_a_line(oracle: Oracle, theta: jax.Array, vector: jax.Array) -> jax.Array:
    line, step = oracle.along(oracle.at(theta), vector), jnp.asarray(0.5, theta.dtype)
    return line.point(step, line.at(step)).gradient


FORMULAS = (
    _row_formula("dσ/dz", "sigmoid_derivative", lambda F, eta, coef: (eta,)),
    _row_formula("∂softmax/∂z", "softmax_jacobian", lambda F, eta, coef: (jnp.atleast_2d(eta),)),
    _row_formula("∂ℓ/∂ŷ", "loss_wrt_prediction", lambda F, eta, coef: (probability(eta), F.y)),
    _row_formula("∂ŷ/∂z", "prediction_wrt_logits", lambda F, eta, coef: (eta,)),
    _row_formula("∂z/∂w", "logits_wrt_coef", lambda F, eta, coef: (F.X, coef)),
    _row_formula("∂ℓ/∂z", "loss_wrt_logits", lambda F, eta, coef: (eta, F.y)),
    _whole_formula("score of each row", "scores"),
    _whole_formula("gradient ∇F", "gradient"),
    _whole_formula("Hessian ∇²F", "hessian"),
    _whole_formula("∇²F · v", "hvp"),
    _oracle_formula("solver: gradient", lambda oracle, t, v: oracle.at(t).gradient),
    _oracle_formula("solver: Hessian", lambda oracle, t, v: oracle.hessian(oracle.at(t))),
    _oracle_formula("solver: ∇²F · v", lambda oracle, t, v: oracle.hvp(oracle.at(t), v)),
    _oracle_formula(
        "solver: slope on a line",
        lambda oracle, t, v: oracle.along(oracle.at(t), v).at(jnp.asarray(0.5, t.dtype)).slope,
    ),
    _oracle_formula("solver: ∇F on a line", _gradient_on_a_line),
    _oracle_formula("solver: ∇ of value", lambda oracle, t, v: jax.grad(oracle.value)(t)),
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
    """Hold every derivative of an objective against autodiff at a random point.

    The point is drawn, not the optimum: there a wrong sign passes, since ∇F is zero.

    Args:
        objective: the very one that trains.
        key: from ``jax.random.key``.
    """
    here, there = jax.random.split(key)
    size = (objective.num_parameters,)
    # Logits of at most a few units in every row: none saturated, where ∂ℓ/∂ŷ is 0/0.
    scale = jnp.sqrt(jnp.max(row_squares(objective.X)) + 1)
    theta = 2 * jax.random.normal(here, size, objective.X.dtype) / scale
    vector = jax.random.normal(there, size, objective.X.dtype)
    answers = both_versions(objective, theta, vector)
    return [compare(formula.name, *answers[formula.name]) for formula in FORMULAS]

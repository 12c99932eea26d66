"""The proof of this project's own derivatives: each by hand and by autodiff.

The functions of ``derivatives/analytic.py`` are the ones that train; each is compared with its
namesake in ``derivatives/autodiff.py``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jax_logreg.derivatives import analytic, autodiff
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.derivatives.oracle import Point, Trial, value
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
        compute: (module, objective, θ, vector) ↦ the derivative, by the functions of
            ``analytic`` or of ``autodiff``.
    """

    name: str
    compute: Callable[[Any, Objective, jax.Array, jax.Array], jax.Array]


def _logits(F: Objective, theta: jax.Array) -> jax.Array:
    return F.add_offset(F.linear(theta))


def _prediction(F: Objective, theta: jax.Array) -> jax.Array:
    return probability(_logits(F, theta))


def _on_a_line(d: Any, F: Objective, theta: jax.Array, v: jax.Array) -> tuple[Trial, Point]:
    """Half way along v."""
    line, step = d.line(F, d.evaluate(F, theta), v), jnp.asarray(0.5, theta.dtype)
    trial = line.at(step)
    return trial, line.point(step, trial)


FORMULAS = (
    Formula("dσ/dz", lambda d, F, t, v: d.sigmoid_derivative(_logits(F, t))),
    Formula("∂softmax/∂z", lambda d, F, t, v: d.softmax_jacobian(jnp.atleast_2d(_logits(F, t)))),
    Formula("∂ℓ/∂ŷ", lambda d, F, t, v: d.loss_wrt_prediction(_prediction(F, t), F.y)),
    Formula("∂ŷ/∂z", lambda d, F, t, v: d.prediction_wrt_logits(_logits(F, t))),
    Formula("∂z/∂w", lambda d, F, t, v: d.logits_wrt_coef(F.X.to_array(), F.split(t)[0])),
    Formula("∂ℓ/∂z", lambda d, F, t, v: d.loss_wrt_logits(_logits(F, t), F.y)),
    Formula("score of each row", lambda d, F, t, v: d.scores(F, t)),
    Formula("gradient ∇F", lambda d, F, t, v: d.evaluate(F, t).gradient),
    Formula("Hessian ∇²F", lambda d, F, t, v: d.hessian_at(F, d.evaluate(F, t))),
    Formula("∇²F · v", lambda d, F, t, v: d.hessian_operator(F, d.evaluate(F, t))(v).product),
    Formula("∇²F · v with ∇F", lambda d, F, t, v: d.evaluate(F, t, v).hvp.product),
    Formula("slope on a line", lambda d, F, t, v: _on_a_line(d, F, t, v)[0].slope),
    Formula("∇F on a line", lambda d, F, t, v: _on_a_line(d, F, t, v)[1].gradient),
    Formula("∇ of value", lambda d, F, t, v: jax.grad(value, argnums=1)(ModelOracle(F, d), t)),
)


@jax.jit
def both_versions(
    objective: Objective, theta: jax.Array, vector: jax.Array
) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Every formula at θ, (by hand, by autodiff)."""
    return {
        formula.name: (
            formula.compute(analytic, objective, theta, vector),
            formula.compute(autodiff, objective, theta, vector),
        )
        for formula in FORMULAS
    }


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

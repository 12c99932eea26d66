"""The derivatives of ``analytic.py`` by autodiff: the same names, each taken by JAX from the
plain formula.

Nothing here is written by hand beyond the function that is differentiated, so each
of these is evidence about its namesake.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.oracle import HessianProduct, Line, Oracle, Point, Trial
from jax_logreg.objective.identifiability import Problem, max_logit_change
from jax_logreg.objective.losses import cross_entropy, cross_entropy_of_probability
from jax_logreg.objective.model import logits, sigmoid, softmax
from jax_logreg.objective.objective import Objective

# --- one row: the steps of the chain rule ---------------------------------------


def sigmoid_derivative(z: jax.Array) -> jax.Array:
    """Slope of the sigmoid, any shape."""
    return jax.jvp(sigmoid, (z,), (jnp.ones_like(z),))[1]


def softmax_jacobian(z: jax.Array) -> jax.Array:
    """Jacobian of softmax, (..., K, K)."""
    return jnp.vectorize(jax.jacobian(softmax), signature="(k)->(k,k)")(z)


def loss_wrt_prediction(prediction: jax.Array, y: jax.Array) -> jax.Array:
    """∂ℓ/∂ŷ, of the shape of the prediction."""
    return jax.grad(lambda mu: jnp.sum(cross_entropy_of_probability(mu, y)))(prediction)


def prediction_wrt_logits(eta: jax.Array) -> jax.Array:
    """∂ŷ/∂z: (n,) for the sigmoid, (n, K, K) for softmax."""
    return sigmoid_derivative(eta) if eta.ndim == 1 else softmax_jacobian(eta)


def logits_wrt_coef(X: jax.Array, coef: jax.Array) -> jax.Array:
    """∂z/∂w: (n, p) for coefficients (p,), (n, K, p, K) for (p, K)."""
    return jax.jacobian(lambda w: logits(X, w))(coef)


def loss_wrt_logits(eta: jax.Array, y: jax.Array) -> jax.Array:
    """∂ℓ/∂z, of the shape of the logits."""
    return jax.grad(lambda z: jnp.sum(cross_entropy(z, y)))(eta)


# --- the objective: value, gradient, Hessian --------------------------------------------


def smooth_value(objective: Objective, theta: jax.Array) -> jax.Array:
    """F without the L1 part of its penalty, a scalar: the function that is differentiated."""
    return _value_and_logits(objective, theta)[0]


def _value_and_logits(objective: Objective, theta: jax.Array) -> tuple[jax.Array, jax.Array]:
    eta = objective.add_offset(objective.linear(theta))
    return _value_from_logits(objective, eta, theta), eta


def _value_from_logits(objective: Objective, eta: jax.Array, theta: jax.Array) -> jax.Array:
    penalty = objective.penalty.smooth_value(objective.split(theta)[0])
    return objective.mean(cross_entropy(eta, objective.y)) + penalty


def evaluate(objective: Objective, theta: jax.Array, direction: jax.Array | None = None) -> Point:
    """F and its gradient at θ; with a direction also the Hessian's product with it."""

    def value(theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _value_and_logits(objective, theta)

    (loss, eta), slope = jax.value_and_grad(value, has_aux=True)(theta)
    point = Point(theta, loss, slope, eta)
    if direction is None:
        return point
    return point._replace(hvp=hessian_operator(objective, point)(direction))


def hessian_operator(objective: Objective, point: Point) -> Callable[[jax.Array], HessianProduct]:
    """v ↦ Hessian times v, from θ again: JAX differentiates functions, not stored logits."""

    def apply(vector: jax.Array) -> HessianProduct:
        change = max_logit_change(objective.linear(vector))
        return HessianProduct(vector, hvp(objective, point.theta, vector), change)

    return apply


def hessian_at(objective: Objective, point: Point) -> jax.Array:
    """The Hessian at a point, (P, P)."""
    return hessian(objective, point.theta)


def line(objective: Objective, point: Point, direction: jax.Array) -> Line:
    """F along θ + t·d, and its slope."""
    z = objective.linear(direction)

    def value(t: jax.Array) -> jax.Array:
        return _value_from_logits(objective, point.logits + t * z, point.theta + t * direction)

    trial = jax.value_and_grad(value)
    return Line(
        lambda t: Trial(*trial(t)), lambda t, _: evaluate(objective, point.theta + t * direction)
    )


def scores(objective: Objective, theta: jax.Array) -> jax.Array:
    """Score of every row, (n, P): the Jacobian of the row log-likelihoods."""

    def row_log_likelihoods(theta: jax.Array) -> jax.Array:
        return -cross_entropy(objective.add_offset(objective.linear(theta)), objective.y)

    return jax.jacobian(row_log_likelihoods)(theta)


def gradient(objective: Objective, theta: jax.Array) -> jax.Array:
    """∇F, (P,)."""
    return jax.grad(smooth_value, argnums=1)(objective, theta)


def hvp(objective: Objective, theta: jax.Array, vector: jax.Array) -> jax.Array:
    """Hessian times vector, (P,), forward over reverse."""
    slope = jax.grad(lambda theta: smooth_value(objective, theta))
    return jax.jvp(slope, (theta,), (vector,))[1]


def hessian(objective: Objective, theta: jax.Array) -> jax.Array:
    """∇²F, (P, P)."""
    return jax.hessian(smooth_value, argnums=1)(objective, theta)


# --- any other function -------------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FunctionOracle(Oracle):
    """The oracle of any smooth function of a vector.

    Attributes:
        function: (θ, *args) ↦ scalar.
        args: arrays that the function needs; traced, never compiled in as constants.

    >>> bowl = FunctionOracle(lambda t, c: jnp.sum((t - c) ** 2), (jnp.ones(2),))
    >>> bowl.evaluate(jnp.zeros(2)).gradient.tolist()
    [-2.0, -2.0]
    """

    function: Callable[..., jax.Array] = field(metadata={"static": True})
    args: Any = ()

    capabilities = frozenset({"gradient", "hessian", "hvp", "line"})

    @property
    def problem(self) -> Problem:
        return Problem()

    def evaluate(self, theta: jax.Array, direction: jax.Array | None = None) -> Point:
        point = Point(theta, *jax.value_and_grad(self._value)(theta), jnp.zeros(0, theta.dtype))
        if direction is None:
            return point
        return point._replace(hvp=self.hessian_operator(point)(direction))

    def _value(self, theta: jax.Array) -> jax.Array:
        return self.function(theta, *self.args)

    def hessian(self, point: Point) -> jax.Array:
        return jax.hessian(self._value)(point.theta)

    def hessian_operator(self, point: Point) -> Callable[[jax.Array], HessianProduct]:
        def apply(vector: jax.Array) -> HessianProduct:
            product = jax.jvp(jax.grad(self._value), (point.theta,), (vector,))[1]
            return HessianProduct(vector, product, jnp.zeros((), vector.dtype))

        return apply

    def line(self, point: Point, direction: jax.Array) -> Line:
        trial = jax.value_and_grad(lambda t: self._value(point.theta + t * direction))
        return Line(
            lambda t: Trial(*trial(t)), lambda t, _: self.evaluate(point.theta + t * direction)
        )

"""The same derivatives as ``analytic.py``, each taken by JAX from the plain formula.

Nothing here is written by hand beyond the function that is differentiated, so each
of these is evidence about its namesake.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.derivatives.oracle import Line, Point, Trial
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


# --- the whole objective --------------------------------------------------------


def scores(objective: Objective, theta: jax.Array) -> jax.Array:
    """Score of every row, (n, P): the Jacobian of the row log-likelihoods."""

    def row_log_likelihoods(theta: jax.Array) -> jax.Array:
        return -cross_entropy(objective.add_offset(objective.linear(theta)), objective.y)

    return jax.jacobian(row_log_likelihoods)(theta)


def gradient(objective: Objective, theta: jax.Array) -> jax.Array:
    """∇F, (P,)."""
    return jax.grad(objective.value)(theta)


def hvp(objective: Objective, theta: jax.Array, vector: jax.Array) -> jax.Array:
    """Hessian times vector, (P,), forward over reverse."""
    return jax.jvp(jax.grad(objective.value), (theta,), (vector,))[1]


def hessian(objective: Objective, theta: jax.Array) -> jax.Array:
    """∇²F, (P, P)."""
    return jax.hessian(objective.value)(theta)


# --- the oracle -----------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AutodiffOracle(ModelOracle):
    """The objective with every derivative taken by JAX.

    Curvature starts again from θ: JAX differentiates functions, not remembered logits.
    """

    objective: Objective
    rough: Objective | None = None

    def at(self, theta: jax.Array) -> Point:
        F = self.objective

        def value(theta: jax.Array) -> tuple[jax.Array, jax.Array]:
            eta = F.add_offset(F.linear(theta))
            return F.value_from_logits(eta, F.split(theta)[0]), eta

        (loss, eta), slope = jax.value_and_grad(value, has_aux=True)(theta)
        return Point(theta, loss, slope, eta)

    def value(self, theta: jax.Array) -> jax.Array:
        return self.objective.value(theta)

    def hessian(self, point: Point) -> jax.Array:
        return hessian(self.objective, point.theta)

    def products_at(self, point: Point) -> Callable[[jax.Array], jax.Array]:
        return lambda vector: hvp(self.objective, point.theta, vector)

    def along(self, point: Point, direction: jax.Array) -> Line:
        F = self.objective
        z = F.linear(direction)

        def value(t: jax.Array) -> jax.Array:
            coef, _ = F.split(point.theta + t * direction)
            return F.value_from_logits(point.logits + t * z, coef)

        along = jax.value_and_grad(value)
        return Line(lambda t: Trial(*along(t)), lambda t, _: self.at(point.theta + t * direction))

r"""Standard errors and evidence of a fit in JAX: inside ``jit``, ``vmap`` and ``grad``.

``infer`` polishes an answer in NumPy, and no derivative goes through it. What is here is plain
algebra on the answer of ``fit``, and differentiable with it.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jax.typing import ArrayLike

from jax_logreg.derivatives import analytic
from jax_logreg.derivatives.linear_algebra import jacobi_scaling
from jax_logreg.fitting import validation
from jax_logreg.fitting.result import FitResult
from jax_logreg.objective.objective import Objective, make_objective
from jax_logreg.objective.penalties import Penalty
from jax_logreg.programs.jax_settings import own_settings


@own_settings()
def standard_error(
    result: FitResult,
    X: ArrayLike,
    *,
    penalty: Penalty | None = None,
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    fit_intercept: bool = True,
    reference: int = 0,
) -> jax.Array:
    r"""Standard errors of a fit, which ``jax.grad`` goes through: what ``infer`` calls "observed".

    .. math:: \operatorname{se}^2 = \operatorname{diag}
        \Big(\textstyle\sum_i w_i \nabla^2 F\Big)^{-1}

    Args:
        result: what ``fit`` returned.
        X: as given to ``fit``, (n, p), dense; of columns of about unit size.
        penalty: as given to ``fit``: smooth. Its curvature counts as information, under ``Firth()``
            that of the data alone.
        sample_weight: as given to ``fit``, read as frequencies.
        offset: as given to ``fit``.
        fit_intercept: as given to ``fit``.
        reference: for softmax, the class with which the contrasts are taken.

    Returns:
        In the order of ``infer``, feature by feature and the intercept last: (p + 1,), or
        (p + 1, K − 1) flattened; NaN where the information is singular.

    Raises:
        ValueError: for an L1 penalty.

    >>> import numpy as np
    >>> from jax_logreg import fit
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0.0, 1.0, 0.0, 1.0])
    >>> standard_error(fit(X, y), X).round(3).tolist()
    [1.085..., 1.975...]
    """
    F, total = _objective(X, None, result, penalty, sample_weight, offset, fit_intercept)
    H = total * _contrasts(F, _hessian(F, result), reference)
    scale = jacobi_scaling(H)
    factor = jnp.linalg.cholesky(H * scale[:, None] * scale)
    root = solve_triangular(factor, jnp.eye(len(H), dtype=H.dtype), lower=True)
    return scale * jnp.sqrt(jnp.sum(root**2, axis=0))


@own_settings()
def log_marginal_likelihood(
    result: FitResult,
    X: ArrayLike,
    y: ArrayLike,
    *,
    penalty: Penalty,
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    fit_intercept: bool = True,
) -> jax.Array:
    r"""Log evidence of a ridge penalty by Laplace's method, a scalar: its gradient in the strengths
    chooses them without held-out data.

    .. math::
        -N F(\hat\theta) + \tfrac12\sum_j \log(N c_j) - \tfrac12\log\det(N \nabla^2 F)
        + \tfrac12 (P - P_c) \log 2\pi, \qquad N = \textstyle\sum_i w_i,

    with :math:`c_j` the penalty's curvatures, :math:`P_c` in number: a normal prior of variance
    :math:`1/(N c_j)` for each coefficient, and a flat one for the intercept. Source: MacKay (1992),
    Neural Computation 4, "The evidence framework applied to classification networks".

    Args:
        result: what ``fit`` returned for these data and this penalty.
        X: as given to ``fit``, (n, p), dense; of columns of about unit size.
        y: probabilities as given to ``fit``: (n,) in [0, 1], or (n, K).
        penalty: ``L2`` of a positive strength.
        sample_weight: as given to ``fit``, read as frequencies.
        offset: as given to ``fit``.
        fit_intercept: as given to ``fit``.

    Returns:
        In nats.

    Raises:
        ValueError: for another penalty.

    >>> import numpy as np
    >>> from jax_logreg import L2, fit
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0.0, 1.0, 0.0, 1.0])
    >>> def evidence(strength):
    ...     penalty = L2(strength)
    ...     return log_marginal_likelihood(fit(X, y, penalty=penalty), X, y, penalty=penalty)
    >>> round(evidence(0.1).item(), 2), round(jax.grad(evidence)(0.1).item(), 2)
    (-2.12, 2.09)
    """
    if not getattr(penalty, "is_quadratic", False):
        raise ValueError(
            f"penalty must be L2(strength), the logarithm of a normal prior, but it is {penalty!r}."
        )
    F, total = _objective(X, y, result, penalty, sample_weight, offset, fit_intercept)
    theta = F.join(result.coef, result.intercept)
    H = total * _hessian(F, result)
    if F.class_shape and fit_intercept:
        # The shift common to all intercepts has no curvature: a direction of determinant 1.
        K = F.class_shape[0]
        H = H.at[-K:, -K:].add(1 / K)
    own = F.penalty.curvature(result.coef)
    free = theta.size - own.size
    _, log_determinant = jnp.linalg.slogdet(H)
    prior = jnp.sum(jnp.log(total * own)) + free * math.log(2 * math.pi)
    return 0.5 * (prior - log_determinant) - total * F.value(theta)


def _objective(
    X: Any,
    y: Any,
    result: FitResult,
    penalty: Penalty | None,
    sample_weight: Any,
    offset: Any,
    fit_intercept: bool,
) -> tuple[Objective, Any]:
    """F, of labels without meaning if there are none, and Σw."""
    table = validation.check_features(X)
    n, classes = table.shape[0], result.coef.shape[1:]
    checked = validation.check_penalty(penalty, table)
    if checked.has_l1:
        raise ValueError(
            f"penalty is {type(penalty).__name__}(...), but the curvature at the answer of an L1 "
            "penalty describes no standard error. Use L2."
        )
    if y is None:
        y = jnp.zeros((n, *classes), table.dtype)
    else:
        y = validation.check_labels(y, n, classes[0] if classes else None, table.dtype)
    weight = validation.check_weight(sample_weight, table)
    offset = validation.check_offset(offset, table, y)
    F = make_objective(
        table, y, checked, sample_weight=weight, offset=offset, fit_intercept=fit_intercept
    )
    return F, n if weight is None else jnp.sum(weight)


def _hessian(F: Objective, result: FitResult) -> jax.Array:
    """∇²F at the answer, (P, P)."""
    theta = F.join(result.coef, result.intercept)
    eta = F.add_offset(F.linear(theta))
    return analytic.information(F, eta) + jnp.diag(F.penalty_terms(theta)[2])


def _contrasts(F: Objective, H: jax.Array, reference: int) -> jax.Array:
    """The same of the contrasts of the classes, whose coefficients have mean zero over them."""
    if not F.class_shape:
        return H
    (K,) = F.class_shape
    lift = jnp.delete(jnp.eye(K, dtype=H.dtype), reference, axis=1) - 1 / K
    table = H.reshape(len(H) // K, K, len(H) // K, K)
    table = jnp.einsum("jklm,kc,md->jcld", table, lift, lift, precision="highest")
    return table.reshape(len(H) // K * (K - 1), -1)

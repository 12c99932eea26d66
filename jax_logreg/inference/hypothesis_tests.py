r"""Hypothesis tests, and the confidence intervals that invert one of them.

Of a hypothesis :math:`R\gamma = r`, with ℓ the log-likelihood, s and I its score and
information, and :math:`\tilde\gamma` the best fit that obeys it:

==================  ===================================================================
method              statistic, χ² with as many degrees of freedom as R has rows
==================  ===================================================================
"wald"              :math:`(R\hat\gamma-r)^\top(R\,\mathrm{cov}\,R^\top)^{-1}(R\hat\gamma-r)`
"score"             Wald's at one Newton step from :math:`\tilde\gamma`, its covariance there:
                    with that of the model :math:`s(\tilde\gamma)^\top I(\tilde\gamma)^{-1}
                    s(\tilde\gamma)`
"likelihood_ratio"  :math:`2\,(\ell(\hat\gamma) - \ell(\tilde\gamma))`
==================  ===================================================================

A robust score test has the covariance A⁻¹(Σsᵢsᵢᵀ)A⁻¹ at :math:`\tilde\gamma`. statsmodels centres
the sᵢ at their mean, over n − 1: its statistic is (n − 1)T/(n − T).

The interval of one parameter holds the values c that a likelihood-ratio test does not reject,

.. math::
    r(c)^2 = 2\,(\ell(\hat\gamma) - \max_{\gamma_j = c} \ell(\gamma)) \le \chi^2_1(\text{level}),

and need not be symmetric about the estimate. r is nearly linear in c, so that a few secant steps
find each end. ℓ is penalised as the fit was.

Sources: Wilks (1938), Annals of Mathematical Statistics 9; Rao (1948), Proceedings of the
Cambridge Philosophical Society 44; Boos (1992), American Statistician 46, for the robust score;
Venzon & Moolgavkar (1988), Applied Statistics 37.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from jax.typing import ArrayLike
from scipy.linalg import null_space
from scipy.special import ndtri

from jax_logreg.fitting import validation
from jax_logreg.fitting.padding import Dataset
from jax_logreg.inference.covariance import check_groups, check_kind, covariance_root
from jax_logreg.inference.delta import Derived
from jax_logreg.inference.fit_context import FitContext, make_context
from jax_logreg.inference.inference import (
    ChiSquaredTest,
    Inference,
    check_inference,
    check_level,
    chi_squared,
)
from jax_logreg.inference.information import (
    Information,
    information,
    restricted_information,
    row_norms,
    triangle,
)
from jax_logreg.inference.restricted_fit import restricted_fit
from jax_logreg.objective.dense_features import as_features, to_device
from jax_logreg.programs.jax_settings import in_auto_axes, in_float64, own_settings

_METHODS = ("wald", "score", "likelihood_ratio")
# Singular values below this fraction of the largest count as zero in the rank of a covariance.
_RANK_TOLERANCE = 1e-8
# The ends of a profile interval: the relative error of r, and the most secant steps.
_CLOSE = 1e-9
_MAX_SECANT_STEPS = 60
# Beyond this many standard errors the likelihood has a flat tail: the end is infinite.
_FURTHEST_END = 1e3


@own_settings()
@in_auto_axes
def hypothesis_test(
    inference: Inference,
    restrictions: ArrayLike | str | Sequence[str] | None = None,
    value: ArrayLike = 0.0,
    *,
    method: Literal["wald", "score", "likelihood_ratio"] = "likelihood_ratio",
    added_columns: ArrayLike | None = None,
    covariance: Literal["observed", "HC0", "HC1", "HC3"] = "observed",
) -> ChiSquaredTest:
    r"""Test of linear restrictions on the parameters, :math:`R\gamma = r`.

    Wald's test needs no other fit, and has the covariance of the inference. The other two fit anew
    under the restrictions. Under Firth's penalty ℓ is the penalised
    likelihood of the full model on both sides, as in Heinze & Schemper (2002): its information
    keeps the columns that are tested.

    Args:
        inference: what ``infer`` returned.
        restrictions: R, (m, P) or (P,), or the names of the parameters that have the ``value``;
            by default all but the intercept.
        value: r, a number or (m,).
        method: "wald", "score" or "likelihood_ratio". The score needs a fit without a penalty,
            the likelihood ratio one without a penalty or under ``Firth()``.
        added_columns: (n, m), in place of restrictions and with ``method="score"``: the
            hypothesis that features that were left out have coefficients of zero. The model
            that holds them is not fitted.
        covariance: that of the score, for ``method="score"``: a robust one as well.

    Returns:
        The χ² test.

    Raises:
        ValueError: for bad input, restrictions that are not estimable or depend on one another,
            added columns that depend on those of the fit, or a penalty under which the
            statistic has no χ² distribution.
        FitError: where the best fit under the restrictions is not found.

    >>> import jax_logreg as lr
    >>> X, y = np.arange(6.0).reshape(-1, 1), np.array([0.0, 1, 0, 0, 1, 1])
    >>> inference = lr.infer(lr.fit(X, y), X, y)
    >>> methods = ("wald", "score", "likelihood_ratio")
    >>> [round(hypothesis_test(inference, "x0", method=m).p_value, 3) for m in methods]
    [0.273, 0.232, 0.214]
    >>> hypothesis_test(inference, [1.0, 0.0], 0.5) == hypothesis_test(inference, ["x0"], 0.5)
    True
    >>> round(hypothesis_test(inference, added_columns=X**2, method="score").p_value, 3)
    0.42
    """
    check_inference(inference)
    if method not in _METHODS:
        raise ValueError(f"method must be one of {_METHODS}, but it is {method!r}.")
    if added_columns is not None and (restrictions is not None or method != "score"):
        raise ValueError(
            "added_columns are tested without restrictions and with method='score': for another "
            "test fit the model that holds them, and name its parameters."
        )
    score = method == "score"
    if inference.fit.is_penalised and (
        score or (method != "wald" and not inference.fit.penalty.is_jeffreys)
    ):
        raise ValueError(
            f"a {method.replace('_', ' ')} test needs a fit without a penalty: use method='wald'."
        )
    check_kind(covariance, None)
    if covariance != "observed" and not score:
        raise ValueError(
            f"covariance={covariance!r} is for method='score': Wald's test has the covariance of "
            "the inference, and a likelihood ratio has none."
        )
    if added_columns is not None:
        return _test_added_columns(inference, added_columns, covariance)
    R, excess = _check_restrictions(inference, restrictions, value)
    if method == "wald":
        return _wald_test(R @ inference.scaled_root, excess)
    fit, _ = _fit_under_restrictions(inference, R, excess)
    if score:
        return _score_test(fit, information(fit), R, covariance)
    return chi_squared(max(2 * (fit.value() - inference.fit.value()), 0.0), len(R))


@own_settings()
@in_auto_axes
def restricted_estimate(
    inference: Inference,
    restrictions: ArrayLike | str | Sequence[str],
    value: ArrayLike = 0.0,
    *,
    covariance: str = "observed",
    groups: Any = None,
) -> Derived:
    r"""The best estimate under linear restrictions, :math:`R\gamma = r`, with its standard errors.

    .. math::
        \operatorname{cov}(\tilde\gamma) = N (N^\top A N)^{-1} N^\top, \qquad RN = 0,

    or the robust covariance of the fit that may move along N only. Source: Aitchison & Silvey
    (1958), Annals of Mathematical Statistics 29.

    Args:
        inference: what ``infer`` returned; its kind of covariance does not matter here.
        restrictions: as in ``hypothesis_test``.
        value: as in ``hypothesis_test``.
        covariance: as in ``infer``.
        groups: as in ``infer``.

    Returns:
        The estimates, (P,), in the order of ``inference.names``, and their standard errors: 0
        where the restrictions fix a parameter.

    Raises:
        ValueError: for bad input, or restrictions that are not estimable or depend on one another.
        FitError: where the best fit under the restrictions is not found.

    >>> import jax_logreg as lr
    >>> X, y = np.arange(6.0).reshape(-1, 1), np.array([0.0, 1, 0, 0, 1, 1])
    >>> found = restricted_estimate(lr.infer(lr.fit(X, y), X, y), "x0", 0.5)
    >>> found.estimate.round(2).tolist(), found.standard_error.round(2).tolist()
    ([0.5, -1.25], [0.0, 0.89])
    """
    check_inference(inference)
    check_kind(covariance, groups)
    groups = None if groups is None else check_groups(groups, inference.fit.weight)
    R, excess = _check_restrictions(inference, restrictions, value)
    fit, directions = _fit_under_restrictions(inference, R, excess)
    within = restricted_information(information(fit), directions)
    root = fit.to_original(covariance_root(covariance, fit, within, groups))
    length = row_norms(root)
    fixed = length <= _RANK_TOLERANCE * row_norms(inference.covariance_root)
    error = np.where(inference.is_estimable, np.where(fixed, 0, length), np.nan)
    return Derived(fit.to_original(fit.contrasts(fit.theta)), error, root)


@own_settings()
def profile_interval(
    inference: Inference, level: float = 0.95, parameters: list[str] | None = None
) -> np.ndarray:
    """Profile-likelihood confidence intervals.

    Args:
        inference: what ``infer`` returned; its kind of covariance does not matter here.
        level: of confidence.
        parameters: m names; all if absent.

    Returns:
        The ends, (m, 2): infinite where the likelihood never falls enough, NaN for parameters
        that are not estimable.

    Raises:
        ValueError: for a level out of range, or a name that is none of the parameters.
        FitError: where the best fit with a parameter fixed is not found.

    >>> import jax_logreg as lr
    >>> X, y = np.arange(6.0).reshape(-1, 1), np.array([0.0, 1, 0, 0, 1, 1])
    >>> profile_interval(lr.infer(lr.fit(X, y), X, y), parameters=["x0"]).round(2).tolist()
    [[-0.3..., 2.3...]]
    """
    check_inference(inference)
    check_level(level)
    quantile = -float(ndtri((1 - level) / 2))
    rows = _positions(inference, inference.names if parameters is None else parameters)
    return np.array(
        [[_profile_end(inference, j, sign, quantile) for sign in (-1, 1)] for j in rows]
    )


def _check_restrictions(
    inference: Inference, restrictions: ArrayLike | str | Sequence[str] | None, value: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """R of the scaled parameters, (m, P), and the excess of the estimates over its values,
    Rγ − r, (m,), in units of one standard error.

    Raises:
        ValueError: for another shape, a row of zeros, or one that is not estimable.
    """
    R = np.atleast_2d(_restriction_matrix(inference, restrictions)).astype(float)
    P = len(inference.names)
    if R.ndim != 2 or R.shape[1] != P:
        raise ValueError(
            f"restrictions must have {P} columns, one for each parameter, but its shape is "
            f"{R.shape}."
        )
    if not np.all(np.any(R != 0, axis=1)):
        raise ValueError("restrictions holds a row of zeros: leave it out.")
    value = np.asarray(value, float)
    if value.shape not in ((), (len(R),)):
        raise ValueError(
            f"value must be a number or one for each of the {len(R)} restrictions, but its shape "
            f"is {value.shape}."
        )
    scaled, fit, full = inference.fit.to_scaled(R), inference.fit, inference.information
    estimable = full.estimable(scaled)
    if not np.all(estimable):
        raise ValueError(
            f"restriction {int(np.argmin(estimable))} cannot be estimated: columns of X depend "
            "on one another."
        )
    error = row_norms(scaled @ full.root)
    excess = scaled @ fit.contrasts(fit.theta) - value
    return scaled / error[:, None], excess / error


def _restriction_matrix(
    inference: Inference, restrictions: ArrayLike | str | Sequence[str] | None
) -> np.ndarray:
    """R as it was given, or the rows of the identity for parameters given by name."""
    fit, axes = inference.fit, np.eye(len(inference.names))
    if restrictions is None:
        return axes[: fit.objective.X.shape[1] * fit.num_contrasts]
    given = np.asarray(restrictions)
    if not given.size:
        raise ValueError("restrictions is empty: give at least one.")
    names = np.atleast_1d(given).tolist()
    if not all(isinstance(name, str) for name in names):
        return given
    return axes[list(dict.fromkeys(_positions(inference, names)))]


def _positions(inference: Inference, names: str | Sequence[str]) -> list[int]:
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, Iterable):
        raise ValueError(f"parameters must be names, such as ['x0'], but it is {names!r}.")
    if unknown := [name for name in names if name not in inference.names]:
        raise ValueError(f"no parameter is named {unknown}: the names are {inference.names}.")
    return [inference.names.index(name) for name in names]


def _wald_test(root: np.ndarray, excess: np.ndarray) -> ChiSquaredTest:
    """The test that an excess with covariance CCᵀ is zero."""
    unit = root / np.linalg.norm(root, axis=1, keepdims=True)
    if np.linalg.matrix_rank(unit, tol=_RANK_TOLERANCE) < len(root):
        raise ValueError(
            "the covariance of the restrictions is singular: leave out those that follow from "
            "others; there must be more clusters than restrictions."
        )
    whitened = np.linalg.solve(triangle(root.T).T, excess)
    return chi_squared(float(whitened @ whitened), len(root))


def _fit_under_restrictions(
    inference: Inference, R: np.ndarray, excess: np.ndarray
) -> tuple[FitContext, np.ndarray]:
    """The best fit whose Rγ is less by the excess, and the directions that it may move along."""
    full = inference.information
    # The shortest change in the metric of the information, so that no unit matters.
    change = full.root @ np.linalg.lstsq(R @ full.root, -excess, rcond=None)[0]
    directions = _free_directions(full, R)
    if directions.shape[1] != R.shape[1] - len(R):
        raise ValueError("restrictions holds rows that follow from others: leave them out.")
    return restricted_fit(inference.fit, change, directions), directions


def _free_directions(full: Information, R: np.ndarray) -> np.ndarray:
    """A basis of the changes that leave Rγ as it is."""
    unit = R / full.scale
    return null_space(unit / row_norms(unit)[:, None]) / full.scale[:, None]


def _score_test(
    fit: FitContext, full: Information, R: np.ndarray, covariance: str
) -> ChiSquaredTest:
    """Of restrictions that a fit obeys: whether the score lets Newton's next step break them."""
    return _wald_test(
        R @ covariance_root(covariance, fit, full, None), R @ full.solve(fit.gradient())
    )


def _test_added_columns(
    inference: Inference, added_columns: ArrayLike, covariance: str
) -> ChiSquaredTest:
    """The score test of the larger model at the answer of the smaller one."""
    fit = inference.fit
    F = fit.objective
    with in_float64():
        columns = validation.check_features(added_columns)
        if columns.shape[0] != F.X.shape[0]:
            raise ValueError(
                f"added_columns must have {F.X.shape[0]} rows, as the fit had, but it has "
                f"{columns.shape[0]}."
            )
        coef, intercept = fit.scaling.to_original(*F.split(fit.theta))
        extra = np.asarray(as_features(columns).to_array(), float)
        none = validation.check_penalty(None, columns)
        table = to_device(np.column_stack([fit.table, extra]), float)
        data = Dataset(table, F.y, to_device(fit.weight, float), F.offset)
        coef = np.concatenate([coef, np.zeros((extra.shape[1], *coef.shape[1:]))])
        context = make_context(data, none, coef, intercept, F.fit_intercept, fit.reference)
    full = information(context)
    gained = full.rank - inference.rank
    if gained == 0:
        raise ValueError("added_columns holds nothing new: they depend on the columns of the fit.")
    if covariance == "observed":
        score = full.root.T @ context.gradient()
        return chi_squared(float(score @ score), gained)
    p, added = F.X.shape[1], columns.shape[1]
    R = np.eye(context.num_parameters)[p * fit.num_contrasts :][: added * fit.num_contrasts]
    if gained < len(R):
        raise ValueError(
            "added_columns depend on one another or on the columns of the fit: leave those out "
            f"for covariance={covariance!r}."
        )
    return _score_test(context, full, R, covariance)


def _profile_end(inference: Inference, j: int, sign: int, quantile: float) -> float:
    """The end of the interval on one side: where r, the root of the deviance, is the quantile."""
    if not inference.is_estimable[j]:
        return float("nan")
    full = inference.information
    R = inference.fit.to_scaled(np.eye(len(inference.names))[[j]])
    error = float(row_norms(R @ full.root)[0])
    along = full.root @ (R[0] @ full.root / error)  # moves the parameter by a standard error
    directions = _free_directions(full, R)
    best, fit, at = inference.fit.value(), inference.fit, 0.0
    low, low_root = 0.0, 0.0  # distances from the estimate, in standard errors
    high, high_root = np.inf, np.inf
    distance = quantile
    for _ in range(_MAX_SECANT_STEPS):
        fit = restricted_fit(fit, sign * (distance - at) * along, directions)
        at = distance
        root = np.sqrt(max(2 * (fit.value() - best), 0.0))
        if abs(root - quantile) <= _CLOSE * quantile:
            break
        if root < quantile:
            low, low_root = distance, root
        else:
            high, high_root = distance, root
        if low > _FURTHEST_END:
            return float(sign * np.inf)
        distance = _next_distance(low, low_root, high, high_root, quantile)
    return float(inference.estimate[j] + sign * at * error)


def _next_distance(
    low: float, low_root: float, high: float, high_root: float, goal: float
) -> float:
    """The secant through both ends of the bracket, kept inside it; a longer step out where the
    bracket has no upper end."""
    if np.isinf(high):
        return min(low * goal / low_root if low_root > 0 else 2 * low, 3 * low)
    fraction = (goal - low_root) / (high_root - low_root)
    return low + min(max(fraction, 0.02), 0.98) * (high - low)

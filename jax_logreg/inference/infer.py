"""The entry of inference: from a fit and its data to standard errors and statistics."""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from jax_logreg.fitting import validation
from jax_logreg.fitting.collinearity import collinear_columns
from jax_logreg.fitting.result import MAX_LOGIT_CHANGE, FitError, FitResult
from jax_logreg.inference.covariance import check_groups, check_kind, covariance_root
from jax_logreg.inference.fit_context import FitContext, check_fit
from jax_logreg.inference.inference import Inference
from jax_logreg.inference.information import Information, information
from jax_logreg.inference.restricted_fit import SHORT_STEP, newton_path
from jax_logreg.objective.penalties import Penalty
from jax_logreg.programs.jax_settings import in_auto_axes, own_settings

# The most Newton steps that polish an answer, and where they end: a step of so many standard
# errors changes no digit that is reported.
_MAX_STEPS = 50
_CONVERGED_DECREMENT = 1e-12


@validation.refuse_foreign_words
@own_settings()
@in_auto_axes
def infer(
    result: FitResult,
    X: ArrayLike,
    y: ArrayLike,
    *,
    covariance: str = "observed",
    groups: Any = None,
    penalty: Penalty | None = None,
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    fit_intercept: bool = True,
    reference: int = 0,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> Inference:
    r"""Standard errors, tests and statistics of a fit, from the data it was made from.

    .. math::
        \operatorname{cov}(\hat\gamma) = (A^\top A)^{-1}, \qquad
        A = \sqrt{\textstyle\sum_i w_i \cdot \nabla^2 F}

    with γ the coefficients, for softmax their contrasts with the ``reference`` class. The
    answer is first polished to the last digit by Newton's steps in float64, whatever dtype and
    ``tol`` the fit had. All results are NumPy arrays.

    Args:
        result: what ``fit`` returned.
        X: as given to ``fit``, (n, p), dense; to be left unchanged while the result is in use.
        y: as given to ``fit``.
        covariance: "observed", "frequentist", "HC0", "HC1", "HC3" or "clustered"; see
            ``inference/covariance.py`` for what each is.
        groups: a label for each row, (n,), for "clustered"; (n, 2) for groups of two kinds.
        penalty: as given to ``fit``; the curvature of ``L2`` counts as information. Under
            ``Firth()`` the covariance is the inverse of the plain information, as in
            Firth (1993). Some programs, firthmodels among them, take the weights
            (w + h) μ(1 − μ) instead, with h the leverages, which gives smaller errors.
        sample_weight: as given to ``fit``, read as frequencies.
        offset: as given to ``fit``.
        fit_intercept: as given to ``fit``.
        reference: the class that contrasts are taken with, for softmax.
        feature_names: p names; those of a data frame's columns, or x0, x1, …, if absent. The
            intercept is "(intercept)" beside a column of the name "intercept".
        class_names: K names; the class numbers if absent.

    Returns:
        The estimates, their covariance, and the statistics of the fit.

    Raises:
        ValueError: for bad input, and for data that the result was not fitted to.
        FitError: for a fit without an answer: no standard error would be honest.

    Warns:
        UserWarning: where many columns are dummies of few rows each, which bias the others.

    >>> import jax_logreg as lr
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> y = np.array([0.0, 1.0, 0.0, 1.0])
    >>> inference = infer(lr.fit(X, y), X, y, feature_names=["dose"])
    >>> inference.names, inference.standard_error.round(3).tolist()
    (['dose', 'intercept'], [1.085, 1.975])
    """
    check_kind(covariance, groups)
    if not isinstance(result, FitResult):
        raise ValueError(
            f"result must be what fit returned, but it is a {type(result).__name__}. An estimator "
            "has infer() itself."
        )
    validation.refuse_traced("infer", result, X, y, penalty, sample_weight, offset)
    known = _known_names(result, X)
    start = check_fit(
        result, X, y,
        penalty=penalty, sample_weight=sample_weight, offset=offset,
        fit_intercept=fit_intercept, reference=reference,
    )  # fmt: skip
    groups = None if groups is None else check_groups(groups, start.weight)
    columns = _columns(start, known if feature_names is None else feature_names)
    names = _names(start, columns, class_names)
    fit, full = _polish(start)
    root = covariance_root(covariance, fit, full, groups)
    data = information(fit, penalised=False) if fit.has_curved_penalty else full
    inference = Inference(
        names=names,
        scaled_root=root,
        covariance_kind=covariance,
        dependent=_dependent(fit, full, columns),
        degrees_of_freedom=float(np.sum((data.factor @ full.root) ** 2)),
        fit=fit,
        information=full,
    )
    if inference.num_incidental:
        warnings.warn(inference.notes[-1], UserWarning, stacklevel=3)
    return inference


def _polish(start: FitContext) -> tuple[FitContext, Information]:
    """The fit at its optimum to the last digit, and the information there.

    Raises:
        FitError: where Newton's steps do not converge.
    """
    bound = np.inf
    for point in newton_path(start, _MAX_STEPS):
        if not _CONVERGED_DECREMENT < point.decrement < bound:  # converged, or at round-off
            break
        # Near the optimum the convergence is quadratic: a step that is not half as long as
        # the one before it is round-off.
        bound = point.decrement / 2 if point.decrement < SHORT_STEP else np.inf
    fit, _, step, decrement = point
    if not (decrement <= SHORT_STEP and fit.is_negligible(step, MAX_LOGIT_CHANGE)):
        raise FitError(
            f"Newton's steps from the fit do not converge: the last was {decrement:.1g} standard "
            "errors long. The data are separated or nearly so: try diagnose_separation(X, y)."
        )
    return fit, information(fit)


def _dependent(fit: FitContext, full: Information, columns: list[str]) -> list[list[str]]:
    """The sets of columns, by name, that make parameters inestimable."""
    if full.rank == fit.num_parameters:
        return []
    sets = collinear_columns(fit.table, fit.weight, fit.objective.fit_intercept)
    return [[columns[j] for j in subset] for subset in sets]


def _known_names(result: FitResult, X: Any) -> tuple[str, ...] | None:
    """The names that the columns of X had in the fit or have here.

    Raises:
        ValueError: where they differ, so that coefficients would change places.
    """
    fitted, here = result.feature_names, validation.column_names(X)
    if fitted and here and fitted != here:
        raise ValueError(f"X has the columns {list(here)}, but was fitted with {list(fitted)}.")
    return here or fitted


def _columns(fit: FitContext, features: Sequence[str] | None) -> list[str]:
    """The names of the design's columns."""
    p = fit.objective.X.shape[1]
    columns = _check_names("feature_names", features, p, [f"x{j}" for j in range(p)])
    intercept = "intercept"
    while intercept in columns:  # a column may have that name
        intercept = f"({intercept})"
    return columns + ([intercept] if fit.objective.fit_intercept else [])


def _names(fit: FitContext, columns: list[str], classes: Sequence[str] | None) -> list[str]:
    """A name for each entry of γ, in its layout: "feature", or "class: feature"."""
    if fit.reference is None:
        return columns
    (K,) = fit.objective.class_shape
    names = _check_names("class_names", classes, K, list(map(str, range(K))))
    return [f"{names[k]}: {column}" for column in columns for k in range(K) if k != fit.reference]


def _check_names(
    what: str, given: Sequence[str] | None, count: int, default: list[str]
) -> list[str]:
    if isinstance(given, str) or not isinstance(given, Iterable | None):
        raise ValueError(f"{what} must be a list of names, but it is {given!r}.")
    names = default if given is None else list(map(str, given))
    if len(names) != count:
        raise ValueError(f"{what} must hold {count} names, but it holds {len(names)}.")
    if len({*names}) != count:
        raise ValueError(f"{what} must differ from one another: {names}.")
    return names

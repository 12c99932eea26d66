"""The penalty in a derivative: left out, scaled, or where it should not be."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from jax_logreg.audit.anatomy import Cut
from jax_logreg.audit.diagnosis import Diagnosis
from jax_logreg.audit.fitting import Case, Fit, fit_parts
from jax_logreg.audit.logistic import penalty_slope
from jax_logreg.audit.patterns import Numbers
from jax_logreg.audit.program import run

# Random vectors that stand for a Hessian at each point.
_PROBES = 4


class Parts(NamedTuple):
    """The right derivative in two pieces, arrays like the case's, or a Hessian's products.

    Attributes:
        case: the case itself; of a Hessian its products with probe vectors.
        data: what comes through the logits.
        penalty: the rest.
    """

    case: Case
    data: np.ndarray
    penalty: np.ndarray

    def fit(self, data: np.ndarray) -> Fit:
        """The case by another data term and the penalty, each with a factor of its own."""
        return fit_parts(self.case, [data, self.penalty] if self.penalty.any() else [data])


def split(case: Case, cut: Cut, seed: int = 0) -> Parts:
    """Data term and penalty of the right derivative, at the case's points."""
    if case.name == "hessian":
        case = _as_products(case, seed)
    penalty = np.asarray(run(cut, _penalties, *asked(case)))
    # A round-off is no penalty.
    penalty = np.where(np.abs(penalty) > 1e-3 * case.allowed, penalty, 0.0)
    return Parts(case, case.expected - penalty, penalty)


def asked(case: Case) -> tuple[np.ndarray, ...]:
    """What the derivative was called with, stacked."""
    return (case.theta,) if case.vector is None else (case.theta, case.vector)


def _penalties(cut: Cut, *stacks: jax.Array) -> jax.Array:
    """Slope of what is no data term, or its derivative along a vector, at every row."""
    return jax.vmap(lambda *row: penalty_slope(cut, *row))(*stacks)


def penalty_hessians(case: Case, cut: Cut) -> np.ndarray:
    """Second derivatives of a penalty that is a sum over the parameters, (m, P, P)."""
    ones = np.ones(case.theta.shape)
    diagonals = np.asarray(run(cut, _penalties, case.theta, ones))
    return diagonals[:, :, None] * np.eye(cut.size)


def _as_products(case: Case, seed: int) -> Case:
    """A Hessian's products with random vectors: the same mistakes, in P numbers."""
    rng = np.random.default_rng(seed)
    size = case.theta.shape[1]
    scale = 1 / np.sqrt(np.maximum(np.abs(np.einsum("mii->mi", case.expected)).mean(0), 1e-300))
    scale = np.where(np.isfinite(scale) & (scale < 1e100), scale, 1.0)
    points = [i for i in range(len(case.theta)) for _ in range(_PROBES)]
    probes = rng.normal(size=(len(points), size)) * scale
    take = np.array(points)

    def times(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        return np.einsum("mij,mj->mi", matrices[take], vectors)

    return Case(
        "hessian", case.theta[take], probes, times(case.hand, probes),
        times(case.expected, probes), times(case.allowed, np.abs(probes)),
        np.ones(probes.shape, bool),
    )  # fmt: skip


def about_penalty(parts: Parts, on_intercept: np.ndarray, numbers: Numbers) -> Iterator[Diagnosis]:
    """The penalty left out, scaled, or applied where it should not be; a data factor."""
    case, data, penalty = parts
    if penalty.any():
        yield from _scaled_penalty(case, data, penalty, numbers)
        yield from _misshapen_penalty(case, data, penalty)
    yield from _penalised_intercept(case, penalty, on_intercept)


def _scaled_penalty(
    case: Case, data: np.ndarray, penalty: np.ndarray, numbers: Numbers
) -> Iterator[Diagnosis]:
    fit = fit_parts(case, [data, penalty])
    a, kappa = fit.factors
    if not fit.exact or a == kappa or not data.any():
        return
    evidence = f"data term × {a:.8g}, penalty × {kappa:.8g}, residual {fit.residual:.0e}"
    if a == 1:
        if kappa == 0:
            yield Diagnosis("penalty-missing", case.name, "The penalty is left out.", evidence, 0.9)
        else:
            text = f"The penalty has the factor {numbers.name(kappa)}."
            yield Diagnosis("penalty-factor", case.name, text, evidence, 0.95)
    elif kappa == 1:
        kind = "sign" if a == -1 else "factor"
        text = f"The data term, but not the penalty, has the factor {numbers.name(a)}."
        yield Diagnosis(kind, case.name, text, evidence, 0.95)
    elif kappa == 0:
        kind = "sign" if a == -1 else "factor"
        text = f"The penalty is left out, and the factor is {numbers.name(a)}."
        yield Diagnosis("penalty-missing", case.name, text, evidence, 1.5)
        yield Diagnosis(kind, case.name, text, evidence, 1.55)
    else:
        text = (
            f"Factors {numbers.name(a)} on the data term and {numbers.name(kappa)} on the penalty."
        )
        yield Diagnosis("factor", case.name, text, evidence, 1.7)


def _misshapen_penalty(case: Case, data: np.ndarray, penalty: np.ndarray) -> Iterator[Diagnosis]:
    """The penalty's slope with θ forgotten, squared, or in place of the vector."""
    x = case.theta if case.vector is None else case.vector
    with np.errstate(all="ignore"):
        strength = np.where(x != 0, penalty / x, 0.0)
    options = {
        "lacks the factor θ": strength,
        "has |θ| for θ": strength * np.abs(case.theta),
        "has the sign of θ for θ": strength * np.sign(case.theta),
        "has θ² for θ": strength * case.theta**2,
        "has the strength squared": strength**2 * x,
    }
    if case.vector is not None:
        options["has θ for the vector"] = strength * case.theta
        options["has a factor θ too much"] = strength * case.theta * case.vector
    for what, part in options.items():
        fit = fit_parts(case, [data, part])
        if fit.exact and fit.factors[0] == 1 and fit.factors[1] != 0:
            text = f"The penalty's part {what}."
            evidence = f"reproduced with the factor {fit.factors[1]:.8g}"
            cost = 1.0 if fit.factors[1] == 1 else 1.3
            yield Diagnosis("penalty-factor", case.name, text, evidence, cost)


def _penalised_intercept(
    case: Case, penalty: np.ndarray, on_intercept: np.ndarray
) -> Iterator[Diagnosis]:
    if not on_intercept.any() or on_intercept.all():
        return
    x = case.theta if case.vector is None else case.vector
    part = np.where(on_intercept, x, 0.0)
    fit = fit_parts(case, [case.expected, part])
    a, c = fit.factors
    if not fit.exact or a != 1 or c == 0:
        return
    with np.errstate(all="ignore"):
        ratios = (penalty / x)[:, ~on_intercept]
        ratios = ratios[np.isfinite(ratios)]
    same = ratios.size > 0 and bool(np.any(np.abs(ratios - c) <= 1e-6 * abs(c)))
    evidence = f"hand − reference = {c:.6g} · θ on the intercept, nothing elsewhere"
    if penalty[:, on_intercept].any():
        text = "The penalty on the intercept is left out or has a wrong factor."
        yield Diagnosis("penalty-factor", case.name, text, evidence, 1.0)
    else:
        text = "The penalty is applied to the intercept too" + (
            ", with the strength that the coefficients have." if same else "."
        )
        yield Diagnosis("penalty-on-intercept", case.name, text, evidence, 0.85 if same else 1.0)

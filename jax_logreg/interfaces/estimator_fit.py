"""The fit behind the estimator: NumPy's tables in, a verified answer in NumPy out."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from jax_logreg.fitting.column_scaling import pad_rows, padded_shape, units_of
from jax_logreg.fitting.fit import fit
from jax_logreg.fitting.result import FitResult, History
from jax_logreg.interfaces.estimator_settings import Settings
from jax_logreg.interfaces.row_weights import check_mass
from jax_logreg.objective.penalties import L2, ElasticNet

# A sparse table of so many places is spelt out: every pattern of a sparse one compiles anew.
_SPELT_OUT = 2**20
# What "auto" leaves of the gradient in float64, as a share of the rarest class's: where one
# row in a million tells, so does a gradient of a millionth.
_TOL, _FINEST_TOL = 2e-10, 1e-14


@dataclass(frozen=True)
class Training:
    """What a fit was made from; infer and diagnose_separation take it up again.

    Attributes:
        X: the table, dense or CSR.
        codes: class numbers, (n,).
        weight: of every row, class weights included, (n,).
        num_classes: K.
        strength: of the penalty, on the mean loss.
        l1_ratio: the share of L1 in it.
    """

    X: Any
    codes: np.ndarray
    weight: np.ndarray
    num_classes: int
    strength: float
    l1_ratio: float

    @property
    def penalty(self) -> L2 | ElasticNet:
        """As ``fit`` takes it."""
        return penalty_of(self.strength, self.l1_ratio)

    @property
    def classes_asked(self) -> int | None:
        """K where the model is softmax."""
        return self.num_classes if self.num_classes > 2 else None


def training_of(
    X: Any, codes: np.ndarray, weight: np.ndarray, classes: np.ndarray, settings: Settings
) -> Training:
    """Everything about the data, checked for classes that weigh nothing."""
    if settings.fit_intercept:
        check_mass(codes, weight, classes)
    strength = settings.strength(weight)
    ratio = settings.l1_ratio if strength > 0 else 0.0
    return Training(X, codes, weight, len(classes), strength, ratio)


def penalty_of(strength: float, l1_ratio: float, factor: Any = None) -> L2 | ElasticNet:
    """The penalty of an estimator: the one place that knows which there are."""
    return ElasticNet(strength, l1_ratio, factor) if l1_ratio > 0 else L2(strength, factor)


def fit_table(
    training: Training, settings: Settings, start: tuple[np.ndarray, np.ndarray] | None
) -> FitResult:
    """Fit in float64, or as the settings say; all numbers in NumPy and in the units of X.

    Small tables are padded to a few shapes, so that folds and resamples share a program.
    """
    X = training.X
    if hasattr(X, "toarray") and X.shape[0] * X.shape[1] <= _SPELT_OUT:
        X = X.toarray()
    n, p = X.shape
    if isinstance(X, np.ndarray) and isinstance(settings.solver, str):
        n, p = padded_shape(n, p, training.classes_asked or 1)
    power = {0.0: 2, 1.0: 1}.get(training.l1_ratio, 0)
    units = units_of(
        X,
        centre=settings.fit_intercept,
        power=power,
        strength=training.strength,
        extra=p - X.shape[1],
    )
    table = units.table(X).astype(settings.dtype)
    strength, factor = units.penalty(training.strength, power)
    rows = pad_rows((table, training.codes, _of_size_one(training.weight)), n)
    with jax.enable_x64(True), settings.scope():
        result = fit(
            *rows[:2],
            sample_weight=rows[2],
            penalty=penalty_of(strength, training.l1_ratio, factor),
            solver=settings.solver,
            derivatives=settings.derivatives,
            fit_intercept=settings.fit_intercept,
            num_classes=training.classes_asked,
            init=None if start is None else units.to_new(*start),
            tol=_default_tol(training, settings) if settings.tol is None else settings.tol,
            max_steps=settings.max_steps,
            progress=_show if settings.verbose else None,
        )
        result = jax.tree.map(np.asarray, result)
    coef, intercept = units.to_old(result.coef, result.intercept)
    held = units.extra * (training.classes_asked or 1)
    steps = int(result.num_steps) + 1
    return replace(
        result,
        coef=coef,
        intercept=intercept,
        rank=result.rank - held if result.rank >= 0 else result.rank,
        history=History(*(curve[:steps] for curve in result.history)),
    )


def _of_size_one(weight: np.ndarray) -> np.ndarray:
    """The same shares by a power of two, where sums neither overflow nor vanish."""
    return np.ldexp(weight, -np.frexp(np.max(weight))[1])


def _default_tol(training: Training, settings: Settings) -> float | None:
    if settings.dtype == np.float32:
        return None
    mass = np.bincount(training.codes, _of_size_one(training.weight), training.num_classes)
    return max(_TOL * float(np.min(mass / np.sum(mass))), _FINEST_TOL)


def _show(steps: int, loss: float, norm: float) -> None:
    print(f"step {steps}: loss {loss:.9g}, largest entry of the gradient {norm:.1e}")


def start_from(
    labels: np.ndarray, coef: Any, intercept: np.ndarray, classes: np.ndarray, num_columns: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """An estimator's answer as a start; None where classes or columns are others now."""
    coef = coef.toarray() if hasattr(coef, "toarray") else coef
    if not np.array_equal(labels, classes) or coef.shape[1] != num_columns:
        return None
    return (coef[0], intercept[0]) if len(classes) == 2 else (coef.T, intercept)

"""The estimator's fit and inference: NumPy's tables in, a verified answer in NumPy out."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.fitting.fit import fit
from jax_logreg.fitting.result import FitResult, History, Status
from jax_logreg.inference.infer import infer
from jax_logreg.inference.inference import Inference
from jax_logreg.inference.separation import Separation, find_separation
from jax_logreg.interfaces.estimator_options import Options
from jax_logreg.objective.dense_features import aligned_copy
from jax_logreg.objective.penalties import Penalty
from jax_logreg.programs.jax_settings import in_float64
from jax_logreg.programs.store import programs_on_disk

# Up to this many entries a sparse table is made dense: every sparsity pattern compiles anew.
_MAX_DENSE = 2**20
# Weights beyond this power of two lose digits in float32.
_LARGE_EXPONENT = 60
# Rows times classes up to which the linear program that names separating columns is quick.
_MAX_DIAGNOSED = 2000


@dataclass(frozen=True)
class Training:
    """What a fit is made from; inference needs it again.

    Attributes:
        X: the table, dense or CSR.
        codes: the place of every row's class in ``kept``, (n,).
        weight: of every row, class weights included, (n,).
        num_classes: K.
        kept: the numbers of the classes that are fitted.
        fit_intercept: whether there is an intercept.
        penalty: on the mean loss.
    """

    X: Any
    codes: np.ndarray
    weight: np.ndarray
    num_classes: int
    kept: np.ndarray
    fit_intercept: bool
    penalty: Penalty

    @property
    def softmax_classes(self) -> int | None:
        """The number of classes that are fitted, if the model is softmax."""
        return len(self.kept) if self.num_classes > 2 else None

    @property
    def is_certain(self) -> bool:
        """Whether one class has all the weight: its probability is 1."""
        return len(self.kept) == 1


def make_training(
    X: Any, codes: np.ndarray, weight: np.ndarray, num_classes: int, options: Options
) -> Training:
    """The data of a fit, with the penalty that the options mean for these weights.

    A class whose rows all have weight zero is left out where its intercept is free: that falls
    without end, so that the others are fitted as if the class had no rows.
    """
    penalty, kept = options.penalty_on_mean(weight), np.arange(num_classes)
    if options.fit_intercept and not penalty.is_jeffreys:
        counts = weight > 0
        occurs = np.bincount(codes if counts.all() else codes[counts], minlength=num_classes) > 0
        if not occurs.all():
            kept = np.flatnonzero(occurs)
            # Rows of the others count nothing, whatever their code.
            codes = np.searchsorted(kept, codes).clip(max=len(kept) - 1)
    return Training(X, codes, weight, num_classes, kept, options.fit_intercept, penalty)


def with_all_classes(result: FitResult, training: Training) -> FitResult:
    """The answer for all K classes: those left out have β = 0, and b = −∞ for probability 0."""
    K, kept = training.num_classes, training.kept
    if len(kept) == K:
        return result
    if K == 2:
        certain: Any = np.array(np.inf if kept[0] else -np.inf)
        return replace(result, intercept=certain)
    coef: Any = np.zeros((len(result.coef), K))
    intercept: Any = np.full(K, -np.inf)
    coef[:, kept], intercept[kept] = result.coef, result.intercept
    return replace(result, coef=coef, intercept=intercept)


def start_of(
    coef: np.ndarray, intercept: np.ndarray, training: Training
) -> tuple[np.ndarray, np.ndarray] | None:
    """A starting point, as ``fit`` takes it, from an earlier answer in scikit-learn's shapes; None
    where that was for other columns or lacks a class."""
    if coef.shape[1] != training.X.shape[1] or training.is_certain:
        return None
    if len(coef) > 1:
        coef, intercept = coef[training.kept], intercept[training.kept]
    if not np.all(np.isfinite(intercept)):
        return None
    return (coef[0], intercept[0]) if len(coef) == 1 else (coef.T, intercept)


def fit_training(
    training: Training, options: Options, start: tuple[np.ndarray, np.ndarray] | None
) -> FitResult:
    """Fit in the options' dtype; all numbers in NumPy and in the units of X.

    Args:
        training: the data.
        options: validated.
        start: (coef, intercept) to start from, as ``fit`` takes it; None for zeros.
    """
    if training.is_certain:
        return _certain(training)
    X, penalty = training.X, training.penalty
    if hasattr(X, "toarray") and X.shape[0] * X.shape[1] <= _MAX_DENSE:
        X = X.toarray()
    # Jeffreys' prior counts beside the sum of the weights: only their ratios matter otherwise.
    weight = training.weight if penalty.is_jeffreys else _of_size_one(training.weight)
    with in_float64(), options.on_device(), programs_on_disk():
        result = fit(
            _as_dtype(X, options.dtype),
            training.codes,
            sample_weight=weight,
            penalty=penalty,
            solver=options.solver,
            derivatives=options.derivatives,
            fit_intercept=options.fit_intercept,
            num_classes=training.softmax_classes,
            init=start,
            tol=options.tol,
            max_steps=options.max_steps,
            progress=_print_progress if options.verbose else None,
        )
        result = jax.tree.map(np.asarray, result)
    steps = int(result.num_steps) + 1
    return replace(result, history=History(*(curve[:steps] for curve in result.history)))


def _certain(training: Training) -> FitResult:
    """The answer where one class has all the weight: coefficients of zero, and no loss."""
    shape = () if training.softmax_classes is None else (1,)
    zero: Any = np.zeros(())
    answer: dict[str, Any] = {
        "coef": np.zeros((training.X.shape[1], *shape)),
        "intercept": np.zeros(shape),
        "status_code": np.array(Status.CONVERGED, np.int8),
        "num_steps": np.array(0),
        "rank": np.array(-1),
    }
    numbers = dict.fromkeys(
        ("objective", "gradient_norm", "newton_decrement", "remaining_step"), zero
    )
    history = History(zero[None], zero[None])
    return FitResult(**answer, **numbers, history=history, solver="none: one class has all weight")


def _as_dtype(X: Any, dtype: Any) -> Any:
    """A table in a dtype, copied at most once: ``fit`` takes over the copy of a large one."""
    if X.dtype == dtype:
        return X
    return aligned_copy(X, dtype) if isinstance(X, np.ndarray) else X.astype(dtype)


def _of_size_one(weight: np.ndarray) -> np.ndarray:
    """The weights, divided by a power of two where their sums would overflow or vanish."""
    exponent = np.frexp(np.max(weight))[1]
    return weight if abs(exponent) < _LARGE_EXPONENT else np.ldexp(weight, -exponent)


def _print_progress(steps: int, loss: float, norm: float) -> None:
    print(f"step {steps}: loss {loss:.9g}, largest entry of the gradient {norm:.1e}")


@programs_on_disk()
def infer_from(
    result: FitResult, training: Training, names: list[str] | None, classes: np.ndarray, **how: Any
) -> Inference:
    """The inference of an estimator's fit; ``how`` is passed on to ``infer``."""
    if hasattr(training.X, "toarray"):
        raise ValueError("X is sparse: inference needs X.toarray(), or fewer columns.")
    if training.is_certain:
        raise ValueError("one class has all the weight, so that there is nothing to infer.")
    penalty: Any = training.penalty
    if penalty.has_l1:
        raise ValueError(
            "the penalty has an L1 part, and coefficients that it chooses have no standard "
            "errors. Fit the columns that were kept with l1_ratio=0."
        )
    return infer(
        result,
        training.X,
        training.codes,
        penalty=penalty,
        sample_weight=training.weight,
        fit_intercept=training.fit_intercept,
        feature_names=names,
        class_names=list(map(str, classes[training.kept])) if training.softmax_classes else None,
        **how,
    )


def separation_of(training: Training) -> Separation | None:
    """How the classes are separated; None if finding out would take long."""
    X, K = training.X, len(training.kept)
    if len(training.codes) * K > _MAX_DIAGNOSED or not isinstance(X, np.ndarray):
        return None
    Y = np.eye(K)[training.codes] if training.softmax_classes else training.codes.astype(float)
    with in_float64():
        penalised = np.asarray(training.penalty.growth(jnp.zeros(X.shape[1]))) > 0
    return find_separation(X, Y, training.weight > 0, penalised, training.fit_intercept)

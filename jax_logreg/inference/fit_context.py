r"""A fit together with its data, in float64 and NumPy: the input of every inference.

Columns are in the units that a fit takes (``fitting/column_scaling.py``): in others the products
of an information may overflow, vanish or lose their digits.

Softmax coefficients are not unique: adding one vector to every class changes no probability.
Inference is therefore about their contrasts with a reference class r,

.. math::
    \gamma_{jk} = \beta_{jk} - \beta_{jr}, \qquad k \ne r,

the log-odds of class k against r. For the sigmoid model γ is (β, b) itself.

:func:`check_fit` refuses data that the result was not fitted to: Newton's steps would turn them
into the answer of another problem.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jax_logreg.derivatives.analytic import curvature, evaluate, information, loss_and_residual
from jax_logreg.derivatives.firth import FirthOracle
from jax_logreg.derivatives.oracle import Point
from jax_logreg.fitting import validation
from jax_logreg.fitting.column_scaling import ColumnScaling, choose_scaling, choose_sparse_scaling
from jax_logreg.fitting.padding import Dataset, make_design
from jax_logreg.fitting.result import FitResult, Status
from jax_logreg.objective.dense_features import DenseFeatures, to_device
from jax_logreg.objective.identifiability import LogisticProblem
from jax_logreg.objective.model import probability
from jax_logreg.objective.objective import Objective, normalized_weights
from jax_logreg.objective.penalties import Penalty
from jax_logreg.objective.sparse_features import SparseFeatures, typical_size
from jax_logreg.programs.compiled import Compiled
from jax_logreg.programs.jax_settings import in_float64

# Squares of larger numbers, summed over rows, overflow in float64.
_LARGEST = 1e152
# A gradient may differ by this many roundings of its terms: the fit may have had another dtype.
_GRADIENT_ROUNDINGS = 100
_NO_L1_INFERENCE = (
    "coefficients that an L1 penalty has chosen and shrunk have no standard errors: the "
    "curvature at its answer does not describe them. Fit and infer with penalty=L2(strength) "
    "or without a penalty."
)
# A Newton step that promises less than this share of the loss is lost in its round-off.
_DECREMENT_AT_ROUND_OFF = 1e-14


@dataclass(frozen=True)
class FitContext:
    """Validated data and a parameter vector, with the derivatives there.

    Attributes:
        objective: the problem, float64, of scaled columns.
        weight: the sample weights, (n,), not divided by their sum.
        theta: the parameters in the layout of the objective.
        reference: the class that contrasts are taken with; None for the sigmoid model.
        table: X as the caller has it, (n, p), not copied.
        scaling: from the caller's columns to those of the objective.
        largest: the largest absolute entry of each column of the objective, (p,).
    """

    objective: Objective
    weight: np.ndarray
    theta: np.ndarray
    reference: int | None
    table: np.ndarray
    scaling: ColumnScaling
    largest: np.ndarray

    @property
    def penalty(self) -> Penalty:
        """The penalty of the fit."""
        return self.objective.penalty

    @property
    def num_observations(self) -> float:
        """Σw: the number of rows, or the sum of the frequency weights."""
        return float(self.weight.sum())

    @property
    def is_penalised(self) -> bool:
        """Whether the fit was anything but maximum likelihood."""
        return self.penalty.is_jeffreys or self.has_curved_penalty

    @property
    def has_curved_penalty(self) -> bool:
        """Whether the curvature of a penalty is part of the information."""
        return bool(np.any(np.asarray(self._pass.growth) > 0))

    def has_observations_of(self, other: "FitContext") -> bool:
        """Whether both fits have the same labels, weights and offset."""
        pairs = (
            (self.objective.y, other.objective.y),
            (self.weight, other.weight),
            (self.objective.offset, other.objective.offset),
        )
        return all(np.array_equal(np.asarray(mine), np.asarray(theirs)) for mine, theirs in pairs)

    @cached_property
    def selection(self) -> np.ndarray:
        """S, (K, c), whose columns pick the classes of the contrasts; [[1]] for the sigmoid
        model."""
        if self.reference is None:
            return np.ones((1, 1))
        return np.delete(np.eye(self.objective.class_shape[0]), self.reference, axis=1)

    @property
    def lift(self) -> np.ndarray:
        """The map from contrasts to coefficients of mean zero over the classes, (K, c)."""
        return self.selection - (0 if self.reference is None else 1 / len(self.selection))

    @property
    def num_contrasts(self) -> int:
        """c, the columns of γ: 1 for the sigmoid model, K − 1 for softmax."""
        return self.selection.shape[1]

    @property
    def num_parameters(self) -> int:
        """P, the length of γ."""
        return self.num_columns * self.num_contrasts

    def to_original(self, table: np.ndarray) -> np.ndarray:
        """Changes of the caller's contrasts, (P, …), from those of γ."""
        coef, intercept = np.split(table.reshape(self.num_columns, -1), [len(self.scaling.scale)])
        coef, intercept = self.scaling.to_original(coef, intercept)
        return np.concatenate([coef, intercept]).reshape(table.shape)

    def to_scaled(self, combinations: np.ndarray) -> np.ndarray:
        """R of γ, (m, P), from that of the caller's contrasts: Rγ is the same number."""
        table = combinations.T.reshape(self.num_columns, -1)
        coef, intercept = np.split(table, [len(self.scaling.scale)])
        none = np.zeros(table.shape[1])
        coef = self.scaling.gradient_to_scaled(coef, intercept[0] if len(intercept) else none)
        return np.concatenate([coef, intercept]).reshape(combinations.shape[::-1]).T

    def contrasts(self, theta: np.ndarray) -> np.ndarray:
        """γ, (P,), of a θ."""
        table = theta.reshape(-1, len(self.selection))
        if self.reference is not None:
            table = table - table[:, [self.reference]]
        return (table @ self.selection).reshape(-1)

    def shifted(self, step: np.ndarray) -> "FitContext":
        """The context at the contrasts γ + step; the mean over the classes does not move."""
        return replace(self, theta=self.theta + self._change(step))

    def _change(self, step: np.ndarray) -> np.ndarray:
        """A step of γ as one of θ."""
        return (step.reshape(-1, self.num_contrasts) @ self.lift.T).reshape(-1)

    @property
    def num_columns(self) -> int:
        """q, the columns of Z."""
        return self.objective.X.shape[1] + self.objective.fit_intercept

    def design(self, rows: slice = slice(None)) -> np.ndarray:
        """Some rows of Z, (n, q): X, and a column of ones if there is an intercept."""
        X = self.features[rows]
        return np.column_stack([X, np.ones(len(X))]) if self.objective.fit_intercept else X

    @property
    def features(self) -> np.ndarray:
        """The scaled columns, (n, p), not copied."""
        return np.asarray(self.objective.X.to_array())

    @cached_property
    def logits(self) -> np.ndarray:
        """η, (n,) or (n, K)."""
        return np.asarray(self._pass.point.logits)

    @cached_property
    def probability(self) -> np.ndarray:
        """μ, (n,) or (n, K)."""
        with in_float64():
            return np.asarray(_probability(self.logits))

    @cached_property
    def curvature(self) -> np.ndarray:
        """σ′(η), (n,); for softmax the probabilities μ, (n, K), whose curvature is
        diag(μ) − μμᵀ."""
        return np.asarray(self._pass.curvature)

    @cached_property
    def row_losses(self) -> np.ndarray:
        """The loss of every row, in nats, (n,)."""
        return np.asarray(self._pass.loss)

    @cached_property
    def residuals(self) -> np.ndarray:
        """μ − y, (n,) or (n, K)."""
        return np.asarray(self._pass.residual)

    @property
    def contrast_residuals(self) -> np.ndarray:
        """The residuals of the classes of the contrasts, (n, c)."""
        return self.residuals.reshape(len(self.weight), -1) @ self.selection

    def curvature_root(self, rows: slice = slice(None)) -> np.ndarray:
        """B of some rows, with BᵀB their curvature in the contrasts, (n, 1, 1) or (n, K, c)."""
        if self.reference is None:
            return np.sqrt(self.curvature[rows])[:, None, None]
        mu = self.curvature[rows]
        same = np.eye(len(self.selection))
        # 1 − μ_k as the sum of the other probabilities: the difference would lose small ones.
        centred = np.where(same == 1, (mu @ (1 - same))[:, :, None], -mu[:, None, :])
        return np.sqrt(mu)[:, :, None] * (centred @ self.selection)

    def value(self) -> float:
        """Σw · F: the penalised negative log-likelihood, in nats."""
        return float(self._pass.point.value) * self.num_observations

    @property
    def mean_gradient(self) -> np.ndarray:
        """∂F/∂θ, in the layout of ``theta``."""
        return np.asarray(self._pass.point.gradient)

    def gradient(self) -> np.ndarray:
        """∂(Σw · F)/∂γ, (P,)."""
        table = self.mean_gradient.reshape(-1, len(self.selection))
        return (self.num_observations * table @ self.selection).reshape(-1)

    @property
    def penalty_curvature(self) -> np.ndarray:
        """That of the coefficients, (p, K)."""
        return np.asarray(self._pass.penalty_curvature).reshape(-1, len(self.selection))

    def data_information(self) -> np.ndarray:
        """The information of γ that the data give, (P, P), as a matrix."""
        return self._of_contrasts(self._pass.information)

    def firth_hessian(self) -> np.ndarray:
        """∂²(Σw · F)/∂γ² under Firth's penalty, (P, P), with the reference class held; the
        information is another matrix."""
        with in_float64():
            return self._of_contrasts(_firth_hessian(self.objective, self.theta, self._firth_total))

    def _of_contrasts(self, H: Any) -> np.ndarray:
        """Of γ, times Σw, from the second derivatives of a mean in the layout of θ."""
        classes = np.flatnonzero(self.selection.any(axis=1))
        table = np.asarray(H).reshape(2 * (self.num_columns, len(self.selection)))
        table = table[:, classes][:, :, :, classes]
        return self.num_observations * table.reshape(self.num_parameters, -1)

    @cached_property
    def _pass(self) -> "_Pass":
        with in_float64():
            return _derivatives(self.objective, self.theta, self._firth_total)

    @property
    def _firth_total(self) -> np.ndarray | None:
        """Σw, which Firth's penalty depends on; None under any other."""
        return np.asarray(self.num_observations) if self.penalty.is_jeffreys else None

    def is_negligible(self, step: np.ndarray, bound: float) -> bool:
        """Whether a step of γ changes no logit of a row, and no difference of two of them, by more
        than the bound, beyond its rounding."""
        change = self._change(step)
        coef, intercept = self.objective.split(np.abs(change))
        if 2 * np.max(self.largest @ coef + intercept) <= bound:  # in no row that could be
            return True
        with in_float64():
            return bool(_is_negligible(self.objective, change, self.theta, bound))


class _Pass(NamedTuple):
    """All that one pass over the data tells at a point.

    It is one program: each quantity by itself would be compiled for every shape.

    Attributes:
        point: with value and gradient; of Firth's function under his penalty.
        loss: of every row, (n,).
        residual: μ − y, (n,) or (n, K).
        curvature: as :func:`jax_logreg.derivatives.analytic.curvature` has it.
        information: that of the mean loss, in the layout of θ.
        penalty_curvature: of the shape of the coefficients.
        growth: of the penalty, (p,).
    """

    point: Point
    loss: jax.Array
    residual: jax.Array
    curvature: jax.Array
    information: jax.Array
    penalty_curvature: jax.Array
    growth: jax.Array


# Compiled, and so forgotten in their turn, where single operations would be kept for every shape.
_probability = Compiled(probability)


@Compiled
def _derivatives(F: Objective, theta: jax.Array, total: jax.Array | None) -> _Pass:
    """Of F; with Σw, of Firth's function."""
    point = evaluate(F, theta) if total is None else FirthOracle(F, total).evaluate(theta)
    return _Pass(
        point,
        *loss_and_residual(point.logits, F.y),
        curvature(point.logits),
        information(F, point.logits),
        F.penalty.curvature(F.split(theta)[0]),
        F.penalty.growth(jnp.ones(F.X.shape[1], theta.dtype)),
    )


@Compiled
def _firth_hessian(objective: Objective, theta: jax.Array, total: jax.Array) -> jax.Array:
    oracle = FirthOracle(objective, total)
    return jax.jacfwd(lambda at: oracle.evaluate(at).gradient)(theta)


@Compiled
def _is_negligible(F: Objective, step: jax.Array, theta: jax.Array, bound: float) -> jax.Array:
    return LogisticProblem(F).is_negligible(step, theta, bound)


def check_fit(
    result: FitResult,
    X: ArrayLike,
    y: ArrayLike,
    *,
    penalty: Penalty | None,
    sample_weight: ArrayLike | None,
    offset: ArrayLike | None,
    fit_intercept: bool,
    reference: int,
) -> FitContext:
    """The context of a result and the data that it was fitted to, which are checked.

    Raises:
        ValueError: for bad input, and for data that the result was not fitted to.
        FitError: for a fit without an answer.
    """
    if np.ndim(result.status):
        raise ValueError("result holds many fits: infer from one at a time.")
    _check_has_answer(result)
    fit_intercept = validation.check_flag("fit_intercept", fit_intercept)
    with in_float64():
        table = validation.check_features(X)
        if isinstance(table, SparseFeatures):
            raise ValueError("X is sparse: inference needs X.toarray(), or fewer columns.")
        table = table.astype(float)
        K = np.shape(result.intercept)
        if np.shape(result.coef) != (table.shape[1], *K):
            raise ValueError(
                f"X has {table.shape[1]} columns, but the result has coefficients of shape "
                f"{np.shape(result.coef)}: give the X that was given to fit."
            )
        labels = validation.check_labels(y, table.shape[0], K[0] if K else None, float).astype(
            float
        )
        if labels.shape[1:] != K:
            raise ValueError(
                f"y is of another model than the result, whose intercept has shape {K}: give "
                "what was given to fit."
            )
        weight = validation.check_weight(sample_weight, table)
        data = Dataset(table, labels, weight, validation.check_offset(offset, table, labels))
        start = validation.check_init(result, table, labels, fit_intercept)
        assert start is not None
        reference_class = _check_reference(reference, K) if K else None
        penalty = _check_penalty(penalty, table, K)
        context = make_context(data, penalty, *start, fit_intercept, reference_class)
    _check_gradient(context, result)
    return context


def make_context(
    data: Dataset,
    penalty: Penalty,
    coef: ArrayLike,
    intercept: ArrayLike,
    fit_intercept: bool,
    reference: int | None,
) -> FitContext:
    """The context of validated float64 data and of a coefficient vector of theirs."""
    design = make_design(data, penalty, centre=fit_intercept, may_scale=True, may_pad=False)
    X, y, weight, offset = design.data
    weights = np.ones(len(X)) if weight is None else np.asarray(weight)
    X = DenseFeatures(jnp.asarray(_without_far_deleted_rows(X, weight)))
    share: Any = normalized_weights(X, None if weight is None else weights)
    share = share if weight is None else to_device(share, float)
    objective = Objective(X, y, share, offset, design.penalty, fit_intercept)
    theta = np.asarray(objective.join(*map(np.asarray, design.start(coef, intercept))))
    largest = largest_entries(np.asarray(X.array))
    _check_size(largest)
    return FitContext(
        objective, weights, theta, reference, np.asarray(data.X), design.scaling, largest
    )


def _without_far_deleted_rows(X: Any, weight: Any) -> Any:
    """X with zeros in the rows of weight zero whose squares overflow: none of them counts."""
    if weight is None or (counts := np.asarray(weight) > 0).all():
        return X
    far = ~counts & (np.max(np.abs(X), axis=1) > _LARGEST)
    return np.where(far[:, None], 0.0, X) if far.any() else X


def largest_entries(X: np.ndarray) -> np.ndarray:
    """The largest absolute entry of each column, (p,)."""
    return np.maximum(X.max(axis=0), -X.min(axis=0))


def _check_size(largest: np.ndarray) -> None:
    """Refuse scaled columns whose squares, which an information is made of, overflow."""
    bad = np.flatnonzero(largest > _LARGEST)
    if len(bad):
        raise ValueError(
            f"column {bad[0]} of X has an entry {largest[bad[0]]:.1e} times as large as most, and "
            "its square leaves float64's range: leave its row out."
        )


def _check_penalty(penalty: Penalty | None, X: validation.Table, classes: Any) -> Penalty:
    """One whose curvature at the answer describes it: for softmax a quadratic one, of which
    contrasts have the information that is left when the classes' mean is at its best."""
    checked = validation.check_penalty(penalty, X)
    reason = _NO_L1_INFERENCE if checked.has_l1 else None
    if classes and not (checked.is_quadratic or checked.is_jeffreys or reason):
        reason = (
            "the curvature of a softmax fit in contrasts is known for quadratic penalties only: "
            "use L2(strength)."
        )
    if reason:
        raise ValueError(f"penalty is {type(penalty).__name__}(...), but {reason}")
    return checked


def _check_has_answer(result: FitResult) -> None:
    """Refuse a fit without an answer.

    One that stopped at the round-off of its dtype passes: Newton's steps in float64 finish it.

    Raises:
        FitError: for any other.
    """
    status, decrement = int(result.status), float(result.newton_decrement)
    unfinished = not decrement**2 <= _DECREMENT_AT_ROUND_OFF * abs(float(result.objective))
    if status in (Status.SEPARATED, Status.NOT_FINITE) or (
        status == Status.MAX_STEPS and unfinished
    ):
        result.raise_if_failed()


def _check_gradient(fit: FitContext, result: FitResult) -> None:
    """Refuse data whose gradient at the answer is not the one that the fit reported.

    Raises:
        ValueError: where rounding in the dtype of the fit does not explain the difference.
    """
    X = fit.table if fit.weight.all() else fit.table[fit.weight > 0]
    reported, dtype = float(result.gradient_norm), result.coef.dtype
    entry = fit.largest if fit.scaling.is_identity else largest_entries(X)
    units = choose_scaling(X, dtype, centre=fit.objective.fit_intercept)
    slope, level = fit.objective.split(fit.mean_gradient)
    slope = fit.scaling.gradient_to_original(slope, level)

    def norm_in(scaling: ColumnScaling) -> float:
        scaled = scaling.gradient_to_scaled(slope, level)
        return float(max(np.max(np.abs(scaled)), np.max(np.abs(level))))

    largest, terms = np.max(entry), np.max(np.abs(fit.logits))
    if not units.is_identity:
        coef, intercept = np.asarray(result.coef, float), np.asarray(result.intercept, float)
        largest = np.max(np.abs(units.transform(X)))
        terms = np.max(np.abs(X) @ np.abs(coef) + np.abs(intercept))
    term = max(1.0, largest) * (1 + terms)
    bound = 10 * reported + _GRADIENT_ROUNDINGS * float(np.finfo(dtype).eps) * term
    # Solvers that keep the caller's units report the gradient in those, a sparse fit in its own.
    norm = min(map(norm_in, (ColumnScaling.identity(len(entry)), units)))
    if not norm <= bound:
        sizes = np.array([typical_size(column) for column in X.T])
        norm = min(norm, norm_in(choose_sparse_scaling(sizes, dtype)))
    if not norm <= bound:
        raise ValueError(
            f"result is no fit of these data: its gradient was {reported:.1e}, and here it is "
            f"{norm:.1e}. Give X, y, penalty, sample_weight, offset and fit_intercept as they "
            "were given to fit."
        )


def _check_reference(reference: int, K: tuple[int, ...]) -> int:
    reference = validation.check_count("reference", reference)
    if reference >= K[0]:
        raise ValueError(f"reference must be a class 0 … {K[0] - 1}, but it is {reference}.")
    return reference

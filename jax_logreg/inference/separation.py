r"""Separation of the classes: its kind, its direction and the rows involved.

Data are separated if there is a direction of recession: a d, not of zero logits, with

.. math::
    z_i^\top(d_{y_i} - d_k) \ge 0 \quad\text{for all rows } i \text{ and classes } k,

and ``>`` in some row. The likelihood rises along d without end, so that no maximum likelihood
estimate exists. Newton's method screens: a step that moves no logit by 1 proves that there is no
such direction (``fitting/certificate.py``). Otherwise a linear programme finds one that is
strict in as many rows as possible:

.. math::
    \max \sum_{ik} t_{ik}, \qquad t_{ik} \le z_i^\top(d_{y_i} - d_k),\quad 0 \le t_{ik} \le 1.

Each t is 0 or 1 at the maximum, because d has no length.

Sources: Albert & Anderson (1984), Biometrika 71; Konis (2007), *Linear programming algorithms
for detecting separated data in binary logistic regression models*.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from scipy import sparse
from scipy.linalg import qr
from scipy.optimize import linprog

from jax_logreg.fitting import validation
from jax_logreg.fitting.result import FIT_TERMS
from jax_logreg.inference.fit_context import FitContext
from jax_logreg.inference.restricted_fit import PROVING_LOGIT_CHANGE, newton_path
from jax_logreg.objective.jax_settings import in_float64, own_settings
from jax_logreg.objective.objective import make_objective
from jax_logreg.objective.penalties import L2, Penalty
from jax_logreg.objective.sparse_features import SparseFeatures

Kind = Literal["none", "quasi", "complete"]

# Newton's steps of the screen. Each gains about one logit, so that after so few no probability
# is 0 or 1 to the last digit.
_SCREEN_STEPS = 30
# A sparse X may have so many entries as a dense table: 1 GB.
_MAX_DENSE_ENTRIES = 2**27
# The programme's t are 0 or 1 to seven digits.
_STRICT = 0.5
# Entries of a direction below this fraction of the largest are round-off.
_ROUND_OFF = 1e-9
_NEEDS_SMOOTH_PENALTY = (
    "separation is screened by Newton's method, which needs a smooth penalty. L2(strength, "
    "factor) keeps the same coefficients finite: ask with that."
)


@dataclass(frozen=True)
class Separation:
    """The kind of separation and its direction, as :func:`diagnose_separation` returns them.

    It is true in a condition if the data are separated.

    Attributes:
        kind: "none", "quasi" (some rows are tied along the direction), or "complete".
        coef: the coefficients of the direction, (p,) or (p, K); zero where there is none. For
            softmax their mean over the classes is zero.
        intercept: the intercept of the direction, () or (K,).
        rows: the rows that the direction separates from some class, (n,).
        feature_names: of the columns of X, if that was a data frame.

    >>> X = np.array([[0.0, 0.0], [1.0, 0.0], [1.5, 0.0], [2.0, 0.0], [3.0, 1.0]])
    >>> found = diagnose_separation(X, np.array([0, 1, 1, 0, 1]))
    >>> found.kind, found.diverging_sign.tolist(), np.flatnonzero(found.rows).tolist()
    ('quasi', [0, 1], [4])
    """

    kind: Kind
    coef: np.ndarray
    intercept: np.ndarray
    rows: np.ndarray = field(repr=False)
    feature_names: Sequence[str] | None = field(default=None, repr=False)

    def __bool__(self) -> bool:
        """Whether the data are separated."""
        return self.kind != "none"

    @property
    def diverging_sign(self) -> np.ndarray:
        """The sign of the infinity that each coefficient diverges to, 1 or −1, of the shape of
        ``coef``; 0 for those that stay finite."""
        return np.sign(self.coef).astype(int)

    @property
    def message(self) -> str:
        """In words, with the remedy in the arguments of ``fit``."""
        return self.explain()

    def explain(
        self, names: Sequence[str] | None = None, terms: Mapping[str, str] = FIT_TERMS
    ) -> str:
        """The same with column names, and in another interface's terms.

        Args:
            names: of the columns, p of them; those of the data frame, or indices, if absent.
            terms: as in ``Status.explain``.
        """
        if not self:
            return "The data are not separated: finite coefficients exist."
        features = np.flatnonzero(np.any(self.coef.reshape(len(self.coef), -1) != 0, axis=1))
        names = self.feature_names if names is None else names
        listed = ", ".join(str(names[j] if names else j) for j in features[:10])
        listed += ", …" if len(features) > 10 else ""
        rows = f"{int(self.rows.sum())} of {len(self.rows)} rows"
        if not len(features):
            return (
                f"The data are separated ({self.kind}): some class has no row that counts, so the "
                f"intercept alone tells {rows} apart, and diverges whatever L2. Give rows of "
                "every class, or fewer classes."
            )
        return (
            f"The data are separated ({self.kind}): coefficients of columns {listed} tell {rows} "
            "apart without error, and diverge to infinity. To make them finite, "
            f"{terms['finite']}, or leave columns out."
        )


@own_settings()
def diagnose_separation(
    X: Any,
    y: ArrayLike,
    *,
    penalty: Penalty | None = None,
    sample_weight: ArrayLike | None = None,
    fit_intercept: bool = True,
    num_classes: int | None = None,
) -> Separation:
    """Whether the classes are separated, so that no finite maximum likelihood estimate exists.

    Args:
        X: (n, p), dense or sparse; a sparse one is converted to a dense table.
        y: as given to ``fit``. A class with a positive share in a soft label is possible in
            that row: the direction must be tied there.
        penalty: ``L2`` as given to ``fit``: coefficients under it stay finite.
        sample_weight: rows of weight zero do not count.
        fit_intercept: whether there is an intercept.
        num_classes: K where y is (n,) and softmax is wanted.

    Returns:
        The kind of separation, a direction, and the rows that it separates.

    Raises:
        ValueError: for bad input.
        RuntimeError: where the linear programme fails, or its answer does not hold to nine
            digits.

    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> diagnose_separation(X, np.array([0, 0, 1, 1])).kind
    'complete'
    >>> diagnose_separation(X, np.array([0, 1, 0, 1])).kind
    'none'
    """
    fit_intercept = validation.check_flag("fit_intercept", fit_intercept)
    names = validation.column_names(X)
    with in_float64():
        X = _to_dense(validation.check_features(X)).astype(float)
        weight = validation.check_weight(sample_weight, X)
        if validation.check_penalty(penalty, X).is_jeffreys:
            raise ValueError("penalty=Firth() keeps every coefficient finite: ask without it.")
        checked = validation.check_smooth_penalty(penalty, X, _NEEDS_SMOOTH_PENALTY)
        penalised = np.asarray(checked.growth(X[0]) > 0)
        labels = np.asarray(validation.check_labels(y, X.shape[0], num_classes, float), float)
        table = np.asarray(X)
    counted = np.ones(len(labels), bool) if weight is None else np.asarray(weight) > 0
    if _is_proved_finite(table, labels, counted, penalised, fit_intercept):
        classes = labels.shape[1:]
        zeros = np.zeros((table.shape[1], *classes)), np.zeros(classes)
        return Separation("none", *zeros, np.zeros(len(labels), bool), names)
    found = find_separation(table, labels, counted, penalised, fit_intercept)
    return replace(found, feature_names=names)


def find_separation(
    X: np.ndarray, Y: np.ndarray, counted: np.ndarray, penalised: np.ndarray, fit_intercept: bool
) -> Separation:
    """The linear programme without the screen, for validated data that are hard to fit.

    It runs over the unpenalised, linearly independent columns, in units of its own.

    Args:
        X: (n, p).
        Y: labels, (n,), or probabilities, (n, K).
        counted: rows of positive weight, (n,).
        penalised: columns whose coefficients a penalty keeps finite, (p,).
        fit_intercept: whether there is an intercept.

    Raises:
        RuntimeError: where the linear programme fails, or its answer does not hold to nine
            digits.
    """
    X, centre, scale = _in_robust_units(X, counted, fit_intercept)
    Z = np.column_stack([X, np.ones(len(X))]) if fit_intercept else X
    columns = np.flatnonzero(np.append(~penalised, [True] * fit_intercept))
    columns = columns[_independent(Z[counted][:, columns])]
    strict_rows, tied_rows, row_of = _constraints(Z[:, columns], Y, counted)
    strict, d = _solve_lp(strict_rows, tied_rows)
    K = Y.shape[1] if Y.ndim == 2 else 1
    direction = np.zeros((X.shape[1] + 1, K))
    if strict.any():
        direction[columns] = d.reshape(-1, max(K - 1, 1)) @ _contrasts_to_classes(K)
    coef = direction[:-1] / scale[:, None]
    intercept = direction[-1] - centre @ coef
    rows = np.zeros(len(Y), bool)
    rows[row_of[strict]] = True
    complete = bool(strict.all() and tied_rows.shape[0] == 0)
    kind: Kind = "none" if not rows.any() else "complete" if complete else "quasi"
    shape = Y.shape[1:]
    return Separation(kind, coef.reshape(-1, *shape), intercept.reshape(shape), rows)


def _is_proved_finite(
    X: np.ndarray, Y: np.ndarray, counted: np.ndarray, penalised: np.ndarray, fit_intercept: bool
) -> bool:
    """Whether Newton's method, in robust units, comes to a step that proves a finite minimum."""
    X, _, _ = _in_robust_units(X, counted, fit_intercept)
    weight = counted.astype(float)
    with in_float64():
        # Any positive strength keeps a coefficient finite: which one does not matter.
        F = make_objective(
            jnp.asarray(X), jnp.asarray(Y), L2(1.0, penalised.astype(float)),
            sample_weight=weight, fit_intercept=fit_intercept,
        )  # fmt: skip
    start = FitContext(F, weight, np.zeros(F.num_parameters), 0 if Y.ndim == 2 else None)
    return any(
        point.fit.max_logit_change(point.step) < PROVING_LOGIT_CHANGE
        for point in newton_path(start, _SCREEN_STEPS)
    )


def _to_dense(X: validation.Table) -> jax.Array:
    """X as a dense table.

    Raises:
        ValueError: where the table would be too large.
    """
    if not isinstance(X, SparseFeatures):
        return X
    n, p = X.shape
    if n * p > _MAX_DENSE_ENTRIES:
        raise ValueError(
            f"X is sparse, {n} × {p}: the linear programme needs it as a dense table, and that "
            f"has more than {_MAX_DENSE_ENTRIES} entries. Give fewer columns or rows."
        )
    return X.matvec(jnp.eye(p, dtype=X.dtype))


def _in_robust_units(
    X: np.ndarray, counted: np.ndarray, fit_intercept: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X with columns centred and scaled by medians, which no outlier moves; the centre and the
    scale. Without an intercept, which absorbs the centre, nothing is centred."""
    centre = np.median(X[counted], axis=0) if fit_intercept else np.zeros(X.shape[1])
    X = X - centre
    size = np.abs(np.where(counted[:, None], X, 0))
    scale = np.array([np.median(s[s > 0]) if np.any(s > 0) else 1.0 for s in size.T])
    return X / scale, centre, scale


def _independent(Z: np.ndarray) -> np.ndarray:
    """A maximal set of linearly independent columns, in their order."""
    largest = np.max(np.abs(Z), axis=0)  # first, so that no square overflows
    nonzero = np.flatnonzero(largest > 0)
    unit = Z[:, nonzero] / largest[nonzero]
    _, R, order = qr(unit / np.linalg.norm(unit, axis=0), mode="economic", pivoting=True)
    size = np.abs(np.diag(R))
    rank = int(np.sum(size > max(Z.shape) * np.finfo(float).eps * size[0])) if len(size) else 0
    return np.sort(nonzero[order[:rank]])


def _contrasts_to_classes(K: int) -> np.ndarray:
    """The map from contrasts with class 0 to coefficients of mean zero, (K − 1, K); (1, 1) for
    the sigmoid model."""
    return np.ones((1, 1)) if K == 1 else np.eye(K)[1:] - 1 / K


def _constraints(
    Z: np.ndarray, Y: np.ndarray, counted: np.ndarray
) -> tuple[sparse.csr_array, sparse.csr_array, np.ndarray]:
    """The rows a with a·d ≥ 0, strictly if possible; those with a·d = 0; and the row of the data
    that each of the former comes from.

    d holds the contrasts with class 0, feature by feature.
    """
    Y = np.column_stack([1 - Y, Y]) if Y.ndim == 1 else Y
    K = Y.shape[1]
    strict_rows: list[sparse.csr_array] = []
    tied_rows: list[sparse.csr_array] = []
    row_of: list[np.ndarray] = []
    label = np.argmax(Y, axis=1)
    for k in range(K):
        rows = np.flatnonzero(counted & (label != k))
        # The constraint of row i is on d_label − d_k; class 0 has no contrast.
        sign = np.eye(K)[label[rows]] - np.eye(K)[k]
        table = np.einsum("nj,nc->njc", Z[rows], sign[:, 1:])
        table = table.reshape(len(rows), Z.shape[1] * (K - 1))
        # The scale of a row matters to the programme's tolerances only.
        table = table / np.max(np.abs(table), axis=1, keepdims=True, initial=1e-300)
        tied = Y[rows, k] > 0
        tied_rows.append(sparse.csr_array(table[tied]))
        strict_rows.append(sparse.csr_array(table[~tied]))
        row_of.append(rows[~tied])
    return (
        sparse.vstack(strict_rows).tocsr(),
        sparse.vstack(tied_rows).tocsr(),
        np.concatenate(row_of),
    )


def _solve_lp(strict_rows: Any, tied_rows: Any) -> tuple[np.ndarray, np.ndarray]:
    """Which of the strict rows some direction makes positive, and that direction.

    Raises:
        RuntimeError: where the programme fails, or its answer does not hold to nine digits.
    """
    m, P = strict_rows.shape
    cost = np.concatenate([np.zeros(P), -np.ones(m)])
    slack = sparse.hstack([-strict_rows, sparse.eye_array(m)])
    ties = sparse.hstack([tied_rows, sparse.csr_array((tied_rows.shape[0], m))])
    answer = linprog(
        cost, A_ub=slack, b_ub=np.zeros(m), method="highs",
        bounds=[(None, None)] * P + [(0.0, 1.0)] * m,
        A_eq=ties if tied_rows.shape[0] else None,
        b_eq=np.zeros(tied_rows.shape[0]) if tied_rows.shape[0] else None,
    )  # fmt: skip
    if answer.x is None:
        raise RuntimeError(f"the linear programme of the separation test failed: {answer.message}")
    strict = answer.x[P:] > _STRICT
    d = _without_round_off(answer.x[:P], sparse.vstack([strict_rows[~strict], tied_rows]))
    _check_direction(d, strict_rows, tied_rows, strict)
    return strict, d


def _without_round_off(d: np.ndarray, zero_rows: Any) -> np.ndarray:
    """The direction, projected onto a·d = 0 for the rows that it does not separate, without its
    small entries."""
    table = zero_rows.toarray()
    if len(table):
        d = d - np.linalg.pinv(table) @ (table @ d)
    largest = np.max(np.abs(d), initial=0.0)
    return np.where(np.abs(d) > _ROUND_OFF * largest, d, 0) / (largest or 1)


def _check_direction(d: np.ndarray, strict_rows: Any, tied_rows: Any, strict: np.ndarray) -> None:
    """The programme works to seven digits; its direction must hold to nine.

    Raises:
        RuntimeError: where it does not.
    """
    margin, size = strict_rows @ d, abs(strict_rows) @ np.abs(d)
    holds = np.where(strict, margin > _ROUND_OFF * size, np.abs(margin) <= _ROUND_OFF * size)
    tied = np.abs(tied_rows @ d) <= _ROUND_OFF * (abs(tied_rows) @ np.abs(d))
    if np.any(strict) and not (np.all(holds) and np.all(tied)):
        raise RuntimeError(
            "whether the data are separated cannot be decided at this precision: some rows are "
            "separated by less than a billionth of their columns. Centre the columns of X."
        )

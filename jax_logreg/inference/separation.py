r"""Are the data separated, how, and along which direction?

A direction d of recession tells every row's label from the other classes, or is level there:

.. math::
    z_i^\top(d_{y_i} - d_k) \ge 0 \quad\text{for all rows } i \text{ and classes } k,

with ``>`` in some row. Then the likelihood rises for ever along d. The linear programme

.. math::
    \max \sum_{ik} t_{ik}, \qquad t_{ik} \le z_i^\top(d_{y_i} - d_k),\quad 0 \le t_{ik} \le 1

finds all that can be told apart at once: each t is 0 or 1 at its maximum, for d may be as
long as it likes. Separation is complete where every t is 1.

Sources: Albert & Anderson (1984), Biometrika 71; Konis (2007), *Linear programming algorithms
for detecting separated data in binary logistic regression models*.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import numpy as np
from jax.typing import ArrayLike
from scipy import sparse
from scipy.linalg import qr
from scipy.optimize import linprog

from jax_logreg.fitting import inputs, settings
from jax_logreg.fitting.fit import fit
from jax_logreg.objective.penalties import L2, Firth
from jax_logreg.objective.sparse import SparseFeatures

Kind = Literal["none", "quasi", "complete"]

# A step of this many that settles proves that nothing recedes; the screen costs no more.
_SCREEN_STEPS = 30
_L2_HOLDS_THE_SAME = (
    "separation is screened by Newton's method, which needs a smooth penalty. L2(strength, "
    "factor) holds the same coefficients: ask with that."
)
_TOLD = 0.5
# Below this share of the largest entry a coefficient of the direction is round-off.
_ROUND_OFF = 1e-9


@dataclass(frozen=True)
class Separation:
    """What was found.

    Attributes:
        kind: "none", "quasi" (some rows stay in doubt), or "complete".
        coef: the direction's coefficients, (p,) or (p, K); zero where there is none. For
            softmax their mean over the classes is zero.
        intercept: the direction's intercept, () or (K,).
        rows: which rows the direction tells from a class, (n,).
    """

    kind: Kind
    coef: np.ndarray
    intercept: np.ndarray
    rows: np.ndarray = field(repr=False)

    def __bool__(self) -> bool:
        """Whether the data are separated."""
        return self.kind != "none"

    @property
    def runs_away(self) -> np.ndarray:
        """Where each coefficient runs, of the shape of ``coef``: 1 to +∞, −1 to −∞, else 0."""
        return np.sign(self.coef).astype(int)

    @property
    def message(self) -> str:
        """In words, with the remedy."""
        if not self:
            return "The data are not separated: finite coefficients exist."
        features = np.flatnonzero(np.any(self.coef.reshape(len(self.coef), -1) != 0, axis=1))
        which = ", ".join(map(str, features[:10])) + (", …" if len(features) > 10 else "")
        columns = f"coefficients of columns {which}" if len(features) else "the intercept alone"
        return (
            f"The data are separated ({self.kind}): {columns} tell {int(self.rows.sum())} of "
            f"{len(self.rows)} rows apart, and run to infinity. Add penalty=L2(strength) or "
            "penalty=Firth(), or leave the columns out."
        )


def diagnose_separation(
    X: Any,
    y: ArrayLike,
    *,
    penalty: L2 | None = None,
    sample_weight: ArrayLike | None = None,
    fit_intercept: bool = True,
    num_classes: int | None = None,
) -> Separation:
    """Whether maximum likelihood has a finite answer here, by linear programming.

    Args:
        X: (n, p), dense.
        y: as given to ``fit``; a soft label in doubt must stay level.
        penalty: coefficients that it holds cannot run away.
        sample_weight: rows of weight zero do not count.
        fit_intercept: whether there is an intercept.
        num_classes: K where y is (n,) and softmax is wanted.

    Raises:
        ValueError: for bad input.

    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> diagnose_separation(X, np.array([0, 0, 1, 1])).kind
    'complete'
    >>> diagnose_separation(X, np.array([0, 1, 0, 1])).kind
    'none'
    """
    if isinstance(penalty, Firth):
        raise ValueError("penalty=Firth() keeps every coefficient finite: ask without it.")
    fit_intercept = settings.check_flag("fit_intercept", fit_intercept)
    with jax.enable_x64(True):
        X = inputs.check_features(X)
        if isinstance(X, SparseFeatures):
            raise ValueError("X is sparse: give X.toarray(), or fewer columns.")
        labels = inputs.check_labels(y, X.shape[0], num_classes).astype(float)
        weight = inputs.check_weight(sample_weight, X)
        penalty = settings.check_smooth_penalty(penalty, X, _L2_HOLDS_THE_SAME)
        held = np.asarray(penalty.curvature(X[0]) > 0)
        table, Y = np.asarray(X, float), np.asarray(labels)
    counted = np.ones(len(Y), bool) if weight is None else np.asarray(weight) > 0
    if _settles(table, Y, penalty, counted, fit_intercept):
        return _nothing(table, Y)
    return separate(table, Y, counted, held, fit_intercept)


def separate(
    X: np.ndarray, Y: np.ndarray, counted: np.ndarray, held: np.ndarray, fit_intercept: bool
) -> Separation:
    """The programme alone, for data that are checked and known to be hard to fit: labels (n,)
    or probabilities (n, K), rows that have weight, (n,), columns that a penalty holds, (p,)."""
    Z = np.column_stack([X, np.ones(len(Y))]) if fit_intercept else X
    return _solve(Z, Y, counted, np.append(~held, [True] * fit_intercept), fit_intercept)


def _settles(
    X: np.ndarray, Y: np.ndarray, penalty: L2 | None, counted: np.ndarray, fit_intercept: bool
) -> bool:
    """The cheap screen: a fit that converges proves that a minimum exists."""
    shares = (Y if Y.ndim == 2 else np.column_stack([1 - Y, Y]))[counted].max(axis=0)
    if fit_intercept and np.any(shares == 0):
        return False  # a class that never occurs runs away by its intercept
    with jax.enable_x64(True):
        result = fit(
            X, Y, penalty=penalty, sample_weight=counted.astype(float), solver="newton",
            fit_intercept=fit_intercept, max_steps=_SCREEN_STEPS,
        )  # fmt: skip
    return bool(result.converged)


def _nothing(X: np.ndarray, Y: np.ndarray) -> Separation:
    classes = Y.shape[1:]
    nothing = np.zeros(X.shape[1:] + classes), np.zeros(classes), np.zeros(len(Y), bool)
    return Separation("none", *nothing)


def _solve(
    Z: np.ndarray, Y: np.ndarray, counted: np.ndarray, free: np.ndarray, fit_intercept: bool
) -> Separation:
    """The programme over the free, independent columns of Z, in units of its own."""
    Z, centre, scale = _in_own_units(Z, counted, fit_intercept)
    columns = np.flatnonzero(free)
    columns = columns[_independent(Z[counted][:, columns])]
    hard, level, owner = _differences(Z[:, columns], Y, counted)
    told, d = _programme(hard, level)
    K = Y.shape[1] if Y.ndim == 2 else 1
    direction = np.zeros((Z.shape[1], K))
    direction[columns] = d.reshape(-1, max(K - 1, 1)) @ _to_classes(K)
    direction = direction / scale[:, None]
    if fit_intercept:
        direction[-1] -= centre @ direction
    rows = np.zeros(len(Y), bool)
    rows[owner[told]] = True
    direction = direction if told.any() else np.zeros_like(direction)
    kind: Kind = "none"
    if told.any():
        kind = "complete" if told.all() and level.shape[0] == 0 else "quasi"
    shaped = direction[:, 0] if Y.ndim == 1 else direction
    if fit_intercept:
        return Separation(kind, shaped[:-1], np.asarray(shaped[-1]), rows)
    return Separation(kind, shaped, np.zeros(Y.shape[1:]), rows)


def _in_own_units(
    Z: np.ndarray, counted: np.ndarray, fit_intercept: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Z with columns centred and scaled by their medians, which no outlier moves; the centre
    and the scale."""
    centre = np.median(Z[counted], axis=0) if fit_intercept else np.zeros(Z.shape[1])
    if fit_intercept:
        centre[-1] = 0
    Z = Z - centre
    size = np.abs(np.where(counted[:, None], Z, 0))
    scale = np.array([np.median(s[s > 0]) if np.any(s > 0) else 1.0 for s in size.T])
    return Z / scale, centre, scale


def _independent(Z: np.ndarray) -> np.ndarray:
    """Columns that tell all that the others do, in their order."""
    largest = np.max(np.abs(Z), axis=0)  # first, so that no square overflows
    kept = np.flatnonzero(largest > 0)
    unit = Z[:, kept] / largest[kept]
    _, R, order = qr(unit / np.linalg.norm(unit, axis=0), mode="economic", pivoting=True)
    size = np.abs(np.diag(R))
    rank = int(np.sum(size > max(Z.shape) * np.finfo(float).eps * size[0])) if len(size) else 0
    return np.sort(kept[order[:rank]])


def _to_classes(K: int) -> np.ndarray:
    """From contrasts with class 0 to coefficients of mean zero, (K − 1, K); (1, 1) for the
    sigmoid."""
    return np.ones((1, 1)) if K == 1 else np.eye(K)[1:] - 1 / K


def _differences(
    Z: np.ndarray, Y: np.ndarray, counted: np.ndarray
) -> tuple[sparse.csr_array, sparse.csr_array, np.ndarray]:
    """Rows a with a·d ≥ 0 wanted, rows with a·d = 0 needed, and whose the former are.

    d holds the contrasts with class 0, feature by feature.
    """
    Y = np.column_stack([1 - Y, Y]) if Y.ndim == 1 else Y
    K = Y.shape[1]
    hard: list[sparse.csr_array] = []
    level: list[sparse.csr_array] = []
    owner: list[np.ndarray] = []
    top = np.argmax(Y, axis=1)
    for k in range(K):
        rows = np.flatnonzero(counted & (top != k))
        # Row i asks for d_top − d_k; class 0 has none.
        sign = np.eye(K)[top[rows]] - np.eye(K)[k]
        table = np.einsum("nj,nc->njc", Z[rows], sign[:, 1:])
        table = table.reshape(len(rows), Z.shape[1] * (K - 1))
        # How long a row is decides nothing, but the programme's tolerances.
        table = table / np.max(np.abs(table), axis=1, keepdims=True, initial=1e-300)
        doubt = Y[rows, k] > 0
        level.append(sparse.csr_array(table[doubt]))
        hard.append(sparse.csr_array(table[~doubt]))
        owner.append(rows[~doubt])
    return sparse.vstack(hard).tocsr(), sparse.vstack(level).tocsr(), np.concatenate(owner)


def _programme(hard: Any, level: Any) -> tuple[np.ndarray, np.ndarray]:
    """Which of the hard rows some direction tells apart, and that direction."""
    m, P = hard.shape
    cost = np.concatenate([np.zeros(P), -np.ones(m)])
    room = sparse.hstack([-hard, sparse.eye_array(m)])
    bounds = [(None, None)] * P + [(0.0, 1.0)] * m
    flat = sparse.hstack([level, sparse.csr_array((level.shape[0], m))])
    answer = linprog(
        cost, A_ub=room, b_ub=np.zeros(m), bounds=bounds, method="highs",
        A_eq=flat if level.shape[0] else None,
        b_eq=np.zeros(level.shape[0]) if level.shape[0] else None,
    )  # fmt: skip
    if answer.x is None:
        raise RuntimeError(f"the linear programme of the separation test failed: {answer.message}")
    told = answer.x[P:] > _TOLD
    d = _cleaned(answer.x[:P], hard, level, told)
    _verify(d, hard, level, told)
    return told, d


def _verify(d: np.ndarray, hard: Any, level: Any, told: np.ndarray) -> None:
    """The programme works to seven digits; what it found must hold to all.

    Raises:
        RuntimeError: where it does not.
    """
    margin, size = hard @ d, abs(hard) @ np.abs(d)
    holds = np.where(told, margin > _ROUND_OFF * size, np.abs(margin) <= _ROUND_OFF * size)
    flat = np.abs(level @ d) <= _ROUND_OFF * (abs(level) @ np.abs(d))
    if np.any(told) and not (np.all(holds) and np.all(flat)):
        raise RuntimeError(
            "whether the data are separated cannot be told at this precision: some rows are told "
            "apart by less than a billionth of their columns. Centre the columns of X."
        )


def _cleaned(d: np.ndarray, hard: Any, level: Any, told: np.ndarray) -> np.ndarray:
    """The direction, level to round-off in the rows that it does not tell apart."""
    still = sparse.vstack([hard[~told], level]).toarray()
    if len(still):
        d = d - np.linalg.pinv(still) @ (still @ d)
    largest = np.max(np.abs(d), initial=0.0)
    return np.where(np.abs(d) > _ROUND_OFF * largest, d, 0) / (largest or 1)

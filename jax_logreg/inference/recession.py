r"""The linear programme that finds all that a direction of recession can tell apart.

.. math::
    \max \sum_{ik} t_{ik}, \qquad t_{ik} \le z_i^\top(d_{y_i} - d_k),\quad 0 \le t_{ik} \le 1

Each t is 0 or 1 at its maximum, for d may be as long as it likes. Source: Konis (2007), *Linear
programming algorithms for detecting separated data in binary logistic regression models*.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import qr
from scipy.optimize import linprog

_TOLD = 0.5
# Below this share of the largest entry a coefficient of the direction is round-off.
_ROUND_OFF = 1e-9


class Recession(NamedTuple):
    """What the programme found.

    Attributes:
        coef: the direction's coefficients, (p, 1), or (p, K) of mean zero; zeros if none.
        intercept: (1,) or (K,).
        rows: which rows it tells from a class, (n,).
        complete: whether it tells every row from every other class.
    """

    coef: np.ndarray
    intercept: np.ndarray
    rows: np.ndarray
    complete: bool


def find_recession(
    X: np.ndarray, Y: np.ndarray, counted: np.ndarray, held: np.ndarray, fit_intercept: bool
) -> Recession:
    """The programme over the free, independent columns, in units of its own.

    Args:
        X: (n, p).
        Y: labels, (n,), or probabilities, (n, K).
        counted: rows that have weight, (n,).
        held: columns that a penalty holds, (p,).
        fit_intercept: whether there is an intercept.
    """
    X, centre, scale = in_own_units(X, counted, fit_intercept)
    Z = np.column_stack([X, np.ones(len(X))]) if fit_intercept else X
    columns = np.flatnonzero(np.append(~held, [True] * fit_intercept))
    columns = columns[_independent(Z[counted][:, columns])]
    hard, level, owner = _differences(Z[:, columns], Y, counted)
    told, d = _programme(hard, level)
    K = Y.shape[1] if Y.ndim == 2 else 1
    direction = np.zeros((X.shape[1] + 1, K))
    if told.any():
        direction[columns] = d.reshape(-1, max(K - 1, 1)) @ _to_classes(K)
    coef = direction[:-1] / scale[:, None]
    rows = np.zeros(len(Y), bool)
    rows[owner[told]] = True
    complete = bool(told.all() and level.shape[0] == 0)
    return Recession(coef, direction[-1] - centre @ coef, rows, complete)


def in_own_units(
    X: np.ndarray, counted: np.ndarray, fit_intercept: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X with columns centred, where an intercept takes that up, and scaled by their medians,
    which no outlier moves; the centre and the scale."""
    centre = np.median(X[counted], axis=0) if fit_intercept else np.zeros(X.shape[1])
    X = X - centre
    size = np.abs(np.where(counted[:, None], X, 0))
    scale = np.array([np.median(s[s > 0]) if np.any(s > 0) else 1.0 for s in size.T])
    return X / scale, centre, scale


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

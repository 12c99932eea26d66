r"""Separation of the classes: its kind, its direction and the rows involved.

Data are separated if there is a direction of recession: a d, not of zero logits, with

.. math::
    z_i^\top(d_{y_i} - d_k) \ge 0 \quad\text{for all rows } i \text{ and classes } k,

and ``>`` in some row. The likelihood rises along d without end, so that no maximum likelihood
estimate exists. A linear programme finds a direction that is strict in as many rows as possible:

.. math::
    \max \sum_{ik} t_{ik}, \qquad t_{ik} \le z_i^\top(d_{y_i} - d_k),\quad 0 \le t_{ik} \le 1.

Each t is 0 or 1 at the maximum, because d has no length. The programme is slow in large tables.
Newton's method decides most of them without it: a step that moves no logit by 1 proves that there
is no such direction (``fitting/certificate.py``), and on separated data its steps turn towards one.
The rows that this one separates are settled: far enough along it no other direction can turn them
back. What is left is a smaller problem of the same kind.

Sources: Albert & Anderson (1984), Biometrika 71; Konis (2007), *Linear programming algorithms
for detecting separated data in binary logistic regression models*.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from scipy import sparse
from scipy.linalg import qr
from scipy.optimize import linprog

from jax_logreg.fitting import validation
from jax_logreg.fitting.column_scaling import ColumnScaling, centre_and_spread
from jax_logreg.fitting.result import FIT_TERMS, MAX_LOGIT_CHANGE
from jax_logreg.inference.fit_context import FitContext, largest_entries
from jax_logreg.inference.information import scaled_cholesky, triangle
from jax_logreg.inference.restricted_fit import newton_path
from jax_logreg.objective.objective import make_objective
from jax_logreg.objective.penalties import Penalty
from jax_logreg.objective.sparse_features import SparseFeatures
from jax_logreg.programs.jax_settings import in_auto_axes, in_float64, own_settings

Kind = Literal["none", "quasi", "complete"]
Progress = Callable[[str], None]

# Each of Newton's steps gains about one logit, so that after the first number no probability is 0
# or 1 to the last digit, and a short step is a proof. A direction is proved by itself, and is
# looked for further.
_PROVING_STEPS = 30
_MAX_STEPS = 60
# Along a late step what is separated moves by so many times what is tied, or more.
_GAP = 30
# A programme of so many entries takes a fraction of a second.
_MAX_LP_ENTRIES = 2**15
# A sparse X may have so many entries as a dense table: 1 GB.
_MAX_DENSE_ENTRIES = 2**27
# Constraints are written out in blocks of so many entries: 16 MB.
_BLOCK_ENTRIES = 2**21
# The logit of a class that is settled for a row: its probability is exactly zero.
_OUT_OF_REACH = -1e300
# The programme's t are 0 or 1 to seven digits.
_STRICT = 0.5
# Entries of a direction below this fraction of the largest are round-off.
_ROUND_OFF = 1e-9
_NEEDS_SMOOTH_PENALTY = (
    "separation is screened by Newton's method, which needs a smooth penalty. L2(strength, "
    "factor) keeps the same coefficients finite: ask with that."
)


def _say_nothing(_: str) -> None:
    pass


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


@validation.refuse_foreign_words
@own_settings()
@in_auto_axes
def diagnose_separation(
    X: Any,
    y: ArrayLike,
    *,
    penalty: Penalty | None = None,
    sample_weight: ArrayLike | None = None,
    fit_intercept: bool = True,
    num_classes: int | None = None,
    progress: Progress | None = None,
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
        progress: called with a line of text at every stage of a large table.

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
    validation.refuse_traced("diagnose_separation", X, y, penalty, sample_weight)
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
    found = find_separation(
        table, labels, counted, penalised, fit_intercept,
        screen=True, progress=progress or _say_nothing,
    )  # fmt: skip
    return replace(found, feature_names=names)


def find_separation(
    X: np.ndarray,
    Y: np.ndarray,
    counted: np.ndarray,
    penalised: np.ndarray,
    fit_intercept: bool,
    *,
    screen: bool = False,
    progress: Progress = _say_nothing,
) -> Separation:
    """The same for validated data.

    It is decided over the unpenalised, linearly independent columns, in units of their own.

    Args:
        X: (n, p).
        Y: labels, (n,), or probabilities, (n, K).
        counted: rows of positive weight, (n,).
        penalised: columns whose coefficients a penalty keeps finite, (p,).
        fit_intercept: whether there is an intercept.
        screen: whether Newton's method may prove a small table finite before the programme: for
            data of which nothing is known.
        progress: called with what is going on.

    Raises:
        RuntimeError: where the linear programme fails, or its answer does not hold to nine
            digits.
    """
    Z, columns, units = _in_robust_units(X, counted, penalised, fit_intercept)
    problem = _make_problem(Z, Y, counted)
    d, strict, _ = _settle(problem, screen, progress)
    K = Y.shape[1] if Y.ndim == 2 else 1
    direction = np.zeros((X.shape[1] + 1, K))
    direction[columns] = d.reshape(-1, max(K - 1, 1)) @ _contrasts_to_classes(K)
    coef, intercept = units.to_original(direction[:-1], direction[-1])
    complete = bool(np.array_equal(strict, problem.open) and not problem.tied.any())
    kind: Kind = "none" if not strict.any() else "complete" if complete else "quasi"
    shape = Y.shape[1:]
    return Separation(
        kind, coef.reshape(-1, *shape), intercept.reshape(shape), np.any(strict, axis=1)
    )


# --- the rows, in units of their own ----------------------------------------------------------


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
    X: np.ndarray, counted: np.ndarray, penalised: np.ndarray, fit_intercept: bool
) -> tuple[np.ndarray, np.ndarray, ColumnScaling]:
    """The unpenalised, independent columns in robust units, and those.

    Returns:
        The table, (n, q), with ones for the intercept; the positions of its columns, (q,), that
        of the intercept last; the units of all columns. Without an intercept, which absorbs the
        centre, nothing is centred.
    """
    n, p = X.shape
    Z, found = np.ones((n, p + fit_intercept)), np.ones((2, p))
    for j in range(p):
        centre, scale = found[:, j] = centre_and_spread(X[counted, j], may_shift=fit_intercept)
        Z[:, j] = (X[:, j] - centre) / scale
    columns = np.flatnonzero(np.append(~penalised, [True] * fit_intercept))
    columns = columns[_independent(Z[counted][:, columns])]
    return (Z if len(columns) == Z.shape[1] else Z[:, columns]), columns, ColumnScaling(*found)


def _independent(Z: np.ndarray) -> np.ndarray:
    """A maximal set of linearly independent columns, in their order."""
    largest = np.max(np.abs(Z), axis=0)  # first, so that no square overflows
    nonzero = np.flatnonzero(largest > 0)
    unit = Z[:, nonzero] / largest[nonzero]
    unit /= np.linalg.norm(unit, axis=0)
    if scaled_cholesky(unit.T @ unit) is not None:
        return nonzero
    R, order = qr(triangle(unit), mode="r", pivoting=True)
    size = np.abs(np.diag(R))
    rank = int(np.sum(size > max(Z.shape) * np.finfo(float).eps * size[0])) if len(size) else 0
    return np.sort(nonzero[order[:rank]])


def _contrasts_to_classes(K: int) -> np.ndarray:
    """The map from contrasts with class 0 to coefficients of mean zero, (K − 1, K); (1, 1) for
    the sigmoid model."""
    return np.ones((1, 1)) if K == 1 else np.eye(K)[1:] - 1 / K


# --- what is to be decided --------------------------------------------------------------------


@dataclass(frozen=True)
class _Problem:
    """Pairs of a row and a class other than its label, which a direction may separate.

    A direction d holds the contrasts with class 0, feature by feature, (P,).

    Attributes:
        Z: (n, q).
        Y: labels, (n,) or (n, K).
        label: the likeliest class of each row, (n,).
        open: the pairs that are not decided, (n, K); of two classes for the sigmoid model.
        tied: the pairs that must be tied, because both classes have a share in the label.
    """

    Z: np.ndarray
    Y: np.ndarray
    label: np.ndarray
    open: np.ndarray
    tied: np.ndarray

    @property
    def is_large(self) -> bool:
        """Whether a linear programme would take long."""
        return self.open.sum() * self.Z.shape[1] * (self.open.shape[1] - 1) > _MAX_LP_ENTRIES

    @property
    def num_open_rows(self) -> int:
        """How many rows have a pair that is not decided."""
        return int(np.sum(np.any(self.open, axis=1)))

    def margins(self, d: np.ndarray) -> np.ndarray:
        """z·(d_label − d_k) of every pair, (n, K)."""
        eta = self._logits(self.Z, d)
        return np.take_along_axis(eta, self.label[:, None], axis=1) - eta

    def signs(self, d: np.ndarray) -> np.ndarray:
        """1 where a direction separates a pair, −1 where it is against it, and 0 where its margin
        is round-off, (n, K)."""
        size = self._logits(np.abs(self.Z), np.abs(d))
        size = size + np.take_along_axis(size, self.label[:, None], axis=1)
        margin = self.margins(d)
        return np.where(np.abs(margin) > _ROUND_OFF * size, np.sign(margin), 0)

    def _logits(self, Z: np.ndarray, d: np.ndarray) -> np.ndarray:
        eta = Z @ d.reshape(Z.shape[1], -1)
        return np.column_stack([np.zeros(len(Z)), eta])

    def constraints(self, pairs: np.ndarray) -> Iterator[np.ndarray]:
        """The rows a, (m, P), whose a·d are the margins of some pairs, in blocks, class by class.

        Their scale matters to tolerances only: the largest entry is 1.
        """
        K, q = pairs.shape[1], self.Z.shape[1]
        for k in range(K):
            rows = np.flatnonzero(pairs[:, k])
            for block in np.array_split(rows, 1 + rows.size * q * (K - 1) // _BLOCK_ENTRIES):
                # Class 0 has no contrast.
                sign = np.eye(K)[self.label[block], 1:] - np.eye(K)[k, 1:]
                table = (self.Z[block, :, None] * sign[:, None, :]).reshape(len(block), q * (K - 1))
                yield table / np.max(np.abs(table), axis=1, keepdims=True, initial=1e-300)


def _make_problem(Z: np.ndarray, Y: np.ndarray, counted: np.ndarray) -> _Problem:
    shares = np.column_stack([1 - Y, Y]) if Y.ndim == 1 else Y
    label = np.argmax(shares, axis=1)
    others = counted[:, None] & (label[:, None] != np.arange(shares.shape[1]))
    return _Problem(Z, Y, label, others & (shares == 0), others & (shares > 0))


class _Found(NamedTuple):
    """A direction, (P,), and the pairs that it separates, (n, K).

    All others it ties, as do the directions ``free``, (P, m), of which it is one.
    """

    d: np.ndarray
    strict: np.ndarray
    free: np.ndarray


def _nothing(problem: _Problem) -> _Found:
    P = problem.Z.shape[1] * (problem.open.shape[1] - 1)
    return _Found(np.zeros(P), np.zeros_like(problem.open), np.zeros((P, 0)))


def _settle(problem: _Problem, screen: bool, progress: Progress) -> _Found:
    """A direction that separates as many pairs as possible.

    Raises:
        RuntimeError: where the linear programme fails, or the direction does not hold to nine
            digits.
    """
    total, rest = _nothing(problem), problem
    while len(total.d) and rest.open.any():
        found = None
        if screen or rest.is_large:
            found = _follow_newton(rest, total.free, progress, rest.is_large)
        is_whole = found is None
        if found is None:
            progress(f"linear programme of {rest.num_open_rows} rows, {len(total.d)} coefficients")
            found = _solve_lp(rest)
            if found.strict.any() and not _holds(rest, found):  # its digits do not suffice
                found = _follow_newton(rest, total.free, progress, True) or found
                is_whole = False
        if not found.strict.any():
            break
        total = _join(problem, total, found)
        rest = replace(rest, open=rest.open & ~found.strict)
        if is_whole:
            break
    return total


def _join(problem: _Problem, first: _Found, second: _Found) -> _Found:
    """The direction that separates what either does, where the second knows nothing of what the
    first has settled.

    Raises:
        RuntimeError: where it does not hold to nine digits.
    """
    d = second.d
    if first.strict.any():
        against = -problem.margins(d)[first.strict] / problem.margins(first.d)[first.strict]
        d = d + max(1.0, 2 * float(np.max(against))) * first.d
        d = d / np.max(np.abs(d))
    joined = _Found(d, first.strict | second.strict, second.free)
    if not _holds(problem, joined):
        raise RuntimeError(
            "whether the data are separated cannot be decided at this precision: some rows are "
            "separated by less than a billionth of their columns. Centre the columns of X."
        )
    return joined


def _holds(problem: _Problem, found: _Found) -> bool:
    """Whether a direction separates and ties what it should, to nine digits."""
    sign = problem.signs(found.d)
    tied = (problem.open & ~found.strict) | problem.tied
    return bool(np.all(sign[found.strict] > 0) and np.all(sign[tied] == 0))


# --- by Newton's method -----------------------------------------------------------------------


def _follow_newton(
    problem: _Problem, free: np.ndarray, progress: Progress, settles: bool
) -> _Found | None:
    """What Newton's path proves: a direction, or that there is none; None if it proves nothing.

    Of a small table it is only asked whether there is none (``settles`` is false): the programme's
    direction involves fewer columns.
    """
    last = _MAX_STEPS if settles else _PROVING_STEPS
    for number, point in enumerate(newton_path(_start(problem), last, pinned=free)):
        if number <= _PROVING_STEPS and _moves_little(problem, point.step):
            return _nothing(problem)
        if settles:
            progress(f"Newton's step {number}: {problem.num_open_rows} rows are undecided")
            for candidate in (point.fit.contrasts(point.fit.theta), point.step):
                if found := _prove(problem, candidate):
                    return found
    return None


def _start(problem: _Problem) -> FitContext:
    """The likelihood of what is open, at zero; a class that is settled for a row is out of its
    reach there."""
    undecided = problem.open | problem.tied
    weight = np.any(undecided, axis=1).astype(float)
    settled = ~undecided & (np.arange(undecided.shape[1]) != problem.label[:, None])
    offset = np.where(settled, _OUT_OF_REACH, 0.0) if problem.Y.ndim == 2 else None
    with in_float64():
        F = make_objective(
            jnp.asarray(problem.Z), jnp.asarray(problem.Y), sample_weight=weight, offset=offset,
            fit_intercept=False,
        )  # fmt: skip
    reference, same = 0 if problem.Y.ndim == 2 else None, ColumnScaling.identity(F.X.shape[1])
    largest = largest_entries(problem.Z)
    return FitContext(F, weight, np.zeros(F.num_parameters), reference, problem.Z, same, largest)


def _moves_little(problem: _Problem, step: np.ndarray) -> bool:
    """Whether a step changes the difference of any two classes of a row by less than 1/2."""
    change = np.where(problem.open | problem.tied, problem.margins(step), 0)
    return bool(np.max(np.ptp(change, axis=1)) < MAX_LOGIT_CHANGE)


def _prove(problem: _Problem, candidate: np.ndarray) -> _Found | None:
    """The direction of recession that the candidate is, or that it comes near to.

    Along Newton's late steps what is separated moves by about one logit or more, and what is tied
    by less and less: so the two are told apart, and the candidate is projected.
    """
    margin, size = problem.margins(candidate), float(np.max(np.abs(candidate)))
    wrong = max(-np.min(margin[problem.open]), np.max(np.abs(margin[problem.tied]), initial=0))
    if wrong <= 0 < size:
        all_strict = _nothing(problem)._replace(d=candidate / size, strict=problem.open)
        if _holds(problem, all_strict):
            return all_strict
    above = np.sort(np.append(margin[problem.open & (margin > wrong)], wrong))
    above = np.maximum(above, _ROUND_OFF * size)
    gap = above[1:] / above[:-1]
    if not len(gap) or np.max(gap) < _GAP:
        return None
    strict = problem.open & (margin > above[np.argmax(gap)])
    tied = problem.constraints((problem.open & ~strict) | problem.tied)
    if scaled_cholesky(sum(block.T @ block for block in tied)) is not None:
        return None  # no direction ties all of these
    found = _project(problem, candidate, strict)
    return found if _holds(problem, found) else None


# --- by a linear programme --------------------------------------------------------------------


def _solve_lp(problem: _Problem) -> _Found:
    """A direction that separates as many pairs as possible.

    Raises:
        RuntimeError: where the programme fails.
    """
    strict_rows, tied_rows = (
        sparse.vstack([sparse.csr_array(block) for block in problem.constraints(pairs)])
        for pairs in (problem.open, problem.tied)
    )
    m, P = strict_rows.shape
    num_tied = tied_rows.shape[0]
    answer = linprog(
        np.concatenate([np.zeros(P), -np.ones(m)]),
        A_ub=sparse.hstack([-strict_rows, sparse.eye_array(m)]), b_ub=np.zeros(m),
        A_eq=sparse.hstack([tied_rows, sparse.csr_array((num_tied, m))]) if num_tied else None,
        b_eq=np.zeros(num_tied) if num_tied else None,
        bounds=[(None, None)] * P + [(0.0, 1.0)] * m, method="highs",
    )  # fmt: skip
    if answer.x is None:
        raise RuntimeError(f"the linear programme of the separation test failed: {answer.message}")
    strict = np.zeros_like(problem.open)
    strict.T[problem.open.T] = answer.x[P:] > _STRICT  # the constraints go class by class
    return _project(problem, answer.x[:P], strict)


def _project(problem: _Problem, d: np.ndarray, strict: np.ndarray) -> _Found:
    """The direction projected onto those that tie the pairs that it does not separate, without
    its small entries."""
    R, count = np.zeros((len(d), len(d))), len(d)
    for block in problem.constraints((problem.open & ~strict) | problem.tied):
        R, count = triangle(np.vstack([R, block])), count + len(block)
    _, values, vectors = np.linalg.svd(R)
    rank = np.sum(values > count * np.finfo(float).eps * values[0])
    free = vectors[rank:].T
    d = free @ (free.T @ d)
    largest = np.max(np.abs(d), initial=0.0)
    d = np.where(np.abs(d) > _ROUND_OFF * largest, d, 0) / (largest or 1)
    return _Found(d, strict, free)

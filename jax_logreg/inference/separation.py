r"""Are the data separated, how, and along which direction?

A direction d of recession tells every row's label from the other classes, or is level there:

.. math::
    z_i^\top(d_{y_i} - d_k) \ge 0 \quad\text{for all rows } i \text{ and classes } k,

with ``>`` in some row. Then the likelihood rises for ever along d. Newton's method screens: a
step that moves no logit by one proves that nothing recedes (``fitting/certificate.py``). Else a
linear programme finds all that can be told apart at once (``inference/recession.py``).

Source: Albert & Anderson (1984), Biometrika 71.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jax_logreg.fitting import validation
from jax_logreg.inference.fitted import Fitted
from jax_logreg.inference.information import information
from jax_logreg.inference.newton import SETTLED_LOGIT, downhill, newton_step
from jax_logreg.inference.recession import find_recession, in_own_units
from jax_logreg.objective.dense_features import Features
from jax_logreg.objective.objective import make_objective
from jax_logreg.objective.penalties import L2, Firth
from jax_logreg.objective.sparse_features import SparseFeatures

Kind = Literal["none", "quasi", "complete"]

# Few enough that no probability comes near 0 or 1 to the last digit: each gains one logit.
_SCREEN_STEPS = 30
# Entries of a sparse X that are spelt out at most: 1 GB.
_MOST_ENTRIES = 2**27
_L2_HOLDS_THE_SAME = (
    "separation is screened by Newton's method, which needs a smooth penalty. L2(strength, "
    "factor) holds the same coefficients: ask with that."
)


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
        X: (n, p), dense or sparse; a sparse one is spelt out.
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
    fit_intercept = validation.check_flag("fit_intercept", fit_intercept)
    with jax.enable_x64(True):
        X = _spelt_out(validation.check_features(X)).astype(float)
        weight = validation.check_weight(sample_weight, X)
        penalty = validation.check_smooth_penalty(penalty, X, _L2_HOLDS_THE_SAME)
        held = np.asarray(penalty.curvature(X[0]) > 0)
        labels = np.asarray(validation.check_labels(y, X.shape[0], num_classes, float), float)
        table = np.asarray(X)
    counted = np.ones(len(labels), bool) if weight is None else np.asarray(weight) > 0
    if _overlap(table, labels, counted, held, fit_intercept):
        classes = labels.shape[1:]
        nothing = np.zeros((table.shape[1], *classes)), np.zeros(classes)
        return Separation("none", *nothing, np.zeros(len(labels), bool))
    return separate(table, labels, counted, held, fit_intercept)


def separate(
    X: np.ndarray, Y: np.ndarray, counted: np.ndarray, held: np.ndarray, fit_intercept: bool
) -> Separation:
    """The programme alone, for data that are checked and known to be hard to fit: labels (n,)
    or probabilities (n, K), rows that have weight, (n,), columns that a penalty holds, (p,)."""
    found = find_recession(X, Y, counted, held, fit_intercept)
    kind: Kind = "none" if not found.rows.any() else "complete" if found.complete else "quasi"
    shape = Y.shape[1:]
    coef, intercept = found.coef.reshape(-1, *shape), found.intercept.reshape(shape)
    return Separation(kind, coef, intercept, found.rows)


def _overlap(
    X: np.ndarray, Y: np.ndarray, counted: np.ndarray, held: np.ndarray, fit_intercept: bool
) -> bool:
    """Whether Newton's steps, of the same problem in good units, come to one that proves a
    finite minimum."""
    X, _, _ = in_own_units(X, counted, fit_intercept)
    weight = counted.astype(float)
    with jax.enable_x64(True):
        # How strongly a column is held decides nothing.
        F = make_objective(
            jnp.asarray(X), jnp.asarray(Y), L2(1.0, held.astype(float)), sample_weight=weight,
            fit_intercept=fit_intercept,
        )  # fmt: skip
    fit = Fitted(F, weight, np.zeros(F.num_parameters), 0 if Y.ndim == 2 else None)
    for _ in range(_SCREEN_STEPS):
        step = newton_step(fit, information(fit))
        if fit.reach(step) < SETTLED_LOGIT:
            return True
        fit = downhill(fit, step)
    return False


def _spelt_out(X: Features) -> jax.Array:
    """X as a dense table, where there is room for one.

    Raises:
        ValueError: where there is not.
    """
    if not isinstance(X, SparseFeatures):
        return X
    n, p = X.shape
    if n * p > _MOST_ENTRIES:
        raise ValueError(
            f"X is sparse, {n} × {p}: the linear programme needs it spelt out, and that is more "
            f"than {_MOST_ENTRIES} entries. Give fewer columns or rows."
        )
    return X.times(jnp.eye(p, dtype=X.dtype))

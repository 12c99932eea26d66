"""The audit of this project's own formulas, on its two data sets."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.check import check_derivatives
from jax_logreg.audit.proof import Comparison, audit_objective
from jax_logreg.audit.report import DerivativeReport
from jax_logreg.audit.text_formulas import TextVerdict, audit_texts
from jax_logreg.derivatives import analytic
from jax_logreg.fitting.column_scaling import standardize
from jax_logreg.interfaces.tables import EMBEDDED, Table, load_embedded
from jax_logreg.objective.objective import Objective, make_objective
from jax_logreg.objective.penalties import L2

# The audit's arrays grow as n · P², so only the first rows of a large table are audited.
_AUDIT_ROWS = 600
# Strength of the penalty, so that its derivatives are audited too.
_L2 = 0.01

# Called with (activity, steps, loss, gradient norm); without the numbers where there are none.
OnProgress = Callable[..., None]


class OwnCheck(NamedTuple):
    """The audit of this project's formulas on one embedded data set.

    Attributes:
        name: of the data set.
        shape: rows and features.
        num_classes: two for the sigmoid's formulas, more for the softmax's.
        texts: the formulas of the texts.
        audits: dtype name ↦ this project's derivatives.
    """

    name: str
    shape: tuple[int, int]
    num_classes: int
    texts: list[TextVerdict]
    audits: dict[str, list[Comparison]]

    @property
    def sound(self) -> bool:
        """Whether every verdict is the expected one and every derivative agrees."""
        agree = all(c.agrees for audit in self.audits.values() for c in audit)
        return agree and all(verdict.as_expected for verdict in self.texts)

    def as_dict(self) -> dict[str, Any]:
        """In plain numbers and strings."""
        return {
            "data": self.name,
            "texts": [verdict.as_dict() for verdict in self.texts],
            "derivatives": {d: [c._asdict() for c in audit] for d, audit in self.audits.items()},
            "sound": self.sound,
        }


def check_own_formulas(seed: int, progress: OnProgress) -> list[OwnCheck]:
    """Audit the formulas of the texts and this project's derivatives, on both data sets.

    Args:
        seed: of the random points.
        progress: called with what is going on.

    Returns:
        One check for each embedded data set.
    """
    return [_check_table(name, seed, progress) for name in EMBEDDED]


def _check_table(name: str, seed: int, progress: OnProgress) -> OwnCheck:
    progress(f"{name}: formulas of the two texts")
    table = load_embedded(name)
    X = standardize(table.X)[0]
    audits, _ = audit_table(
        X, table, l2=_L2, fit_intercept=True, seed=seed,
        progress=lambda activity: progress(f"{name}: {activity}"),
    )  # fmt: skip
    return OwnCheck(
        name=name,
        shape=(X.shape[0], X.shape[1]),
        num_classes=len(table.class_names),
        texts=audit_texts(X, table.y, seed),
        audits=audits,
    )


def own_report(seed: int) -> DerivativeReport:
    """The full audit of gradient and Hessian by hand, on the first data set."""
    table = load_embedded(next(iter(EMBEDDED)))
    X = standardize(table.X)[0]
    with jax.enable_x64(True):
        F = _objective(X, table, _L2, True)
        return check_derivatives(
            F.value,
            gradient=lambda theta: analytic.gradient(F, theta),
            hessian=lambda theta: analytic.hessian(F, theta),
            at=np.zeros(F.num_parameters),
            seed=seed,
        )


def audit_table(
    X: np.ndarray, table: Table, *, l2: float, fit_intercept: bool, seed: int, progress: OnProgress
) -> tuple[dict[str, list[Comparison]], int]:
    """Every derivative of the objective on a table against autodiff, in both dtypes.

    Args:
        X: the table's columns, scaled or not, (n, p).
        table: labels and classes.
        l2: strength of the penalty.
        fit_intercept: whether the objective has an intercept.
        seed: of the random point.
        progress: called with what is going on.

    Returns:
        Name of the dtype ↦ comparisons, and the number of rows that were used: the first 600.
    """
    audits, X = {}, X[:_AUDIT_ROWS]
    for dtype in ("float64", "float32"):
        progress(f"derivative audit in {dtype}")
        with jax.enable_x64(dtype == "float64"):
            objective = _objective(X.astype(dtype), table, l2, fit_intercept)
            audits[dtype] = audit_objective(objective, jax.random.key(seed))
    return audits, len(X)


def _objective(X: np.ndarray, table: Table, l2: float, fit_intercept: bool) -> Objective:
    """The objective on the first rows of a table, in the dtype of X."""
    y, K = table.y[: len(X)], len(table.class_names)
    labels: Any = jax.nn.one_hot(y, K) if K > 2 else jnp.asarray(y)
    return make_objective(X, labels, L2(l2), fit_intercept=fit_intercept)

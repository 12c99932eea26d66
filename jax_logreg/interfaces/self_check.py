"""The audit of this project's own formulas, on its two data sets."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jax_logreg.audit.check import check_derivatives
from jax_logreg.audit.proof import Comparison
from jax_logreg.audit.report import DerivativeReport
from jax_logreg.audit.text_formulas import TextVerdict, audit_texts
from jax_logreg.derivatives import analytic
from jax_logreg.interfaces.comparison import (
    ComparisonSettings,
    OnProgress,
    audit_table,
    audited_objective,
    standardize,
)
from jax_logreg.interfaces.tables import EMBEDDED, load_embedded


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
    return [_check_table(name, ComparisonSettings(seed=seed), progress) for name in EMBEDDED]


def _check_table(name: str, settings: ComparisonSettings, progress: OnProgress) -> OwnCheck:
    progress(f"{name}: formulas of the two texts")
    table = load_embedded(name)
    X = standardize(table.X)[0]
    return OwnCheck(
        name=name,
        shape=(X.shape[0], X.shape[1]),
        num_classes=len(table.class_names),
        texts=audit_texts(X, table.y, settings.seed),
        audits=audit_table(X, table, settings, lambda what: progress(f"{name}: {what}")),
    )


def own_report(seed: int) -> DerivativeReport:
    """The full audit of gradient and Hessian by hand, on the first data set."""
    table = load_embedded(next(iter(EMBEDDED)))
    X = standardize(table.X)[0]
    with jax.enable_x64(True):
        F = audited_objective(X, table, ComparisonSettings())
        return check_derivatives(
            F.value,
            gradient=lambda theta: analytic.gradient(F, theta),
            hessian=lambda theta: analytic.hessian(F, theta),
            at=np.zeros(F.num_parameters),
            seed=seed,
        )

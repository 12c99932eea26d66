"""What an audit may remark, in one small type."""

from typing import NamedTuple

import numpy as np

ERROR, WARNING, NOTE = "error", "warning", "note"


class Finding(NamedTuple):
    """One remark.

    Attributes:
        kind: a word to test for, such as "shape" or "not-finite".
        severity: "error" (the derivative is wrong or unusable), "warning" or "note".
        where: "value", "gradient", "hessian", "hvp" or "jacobian".
        message: a sentence.
    """

    kind: str
    severity: str
    where: str
    message: str


class Unusable(Exception):
    """A user's function gave no array to compare.

    Attributes:
        finding: why.
        arrays: what it gave, where that was arrays of the wrong shape.
    """

    def __init__(self, finding: Finding, arrays: list[np.ndarray] | None = None) -> None:
        super().__init__(finding.message)
        self.finding = finding
        self.arrays = arrays or []

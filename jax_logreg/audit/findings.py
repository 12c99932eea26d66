"""What an audit remarks: findings, and the exception that carries one out of a call."""

from typing import NamedTuple

import numpy as np

ERROR, WARNING, NOTE = "error", "warning", "note"


class Finding(NamedTuple):
    """One remark of an audit.

    Attributes:
        kind: a word to test for, such as "shape" or "not-finite".
        severity: "error" (the derivative is wrong or unusable), "warning" or "note".
        where: "value", "gradient", "hessian", "hvp" or "jacobian".
        message: a sentence.

    >>> Finding("kink", NOTE, "gradient", "not compared there.").severity
    'note'
    """

    kind: str
    severity: str
    where: str
    message: str


class UnusableOutput(Exception):
    """A user's function returned no array that can be compared.

    Attributes:
        finding: why.
        arrays: what it returned, if that was arrays of the wrong shape.
    """

    def __init__(self, finding: Finding, arrays: list[np.ndarray] | None = None) -> None:
        super().__init__(finding.message)
        self.finding = finding
        self.arrays = arrays or []

"""How far two versions of one derivative are apart, and how far they may be."""

from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

# Two correct forms of one sum differ by a few rounding errors a term. Over the shapes
# and scales of the tests the largest seen is about 30 units of the largest entry.
ROUND_OFF_UNITS = 200


class Comparison(NamedTuple):
    """The verdict on one derivative.

    Attributes:
        name: what was compared.
        absolute: largest |hand − autodiff|.
        relative: the same over the largest |autodiff| entry.
        bound: the largest relative difference that round-off explains.
        agrees: whether shapes match, both are finite, and relative ≤ bound.
    """

    name: str
    absolute: float
    relative: float
    bound: float
    agrees: bool


def compare(name: str, hand: ArrayLike, autodiff: ArrayLike) -> Comparison:
    """Hold a hand-written derivative against autodiff's, entry by entry.

    Args:
        name: what to call it in the report.
        hand: any array.
        autodiff: the reference, of the same shape.

    >>> compare("slope", np.float32([1, 2]), np.float32([1, 2])).agrees
    True
    >>> compare("slope", np.float32([1, 2]), np.float32([1, 2.1])).agrees
    False
    """
    a, b = np.asarray(hand), np.asarray(autodiff)
    bound = ROUND_OFF_UNITS * float(np.finfo(b.dtype).eps)
    if a.shape != b.shape or not (np.all(np.isfinite(a)) and np.all(np.isfinite(b))):
        return Comparison(name, float("nan"), float("nan"), bound, False)
    absolute = float(np.max(np.abs(a - b), initial=0.0))
    largest = float(np.max(np.abs(b), initial=0.0))
    relative = absolute / largest if largest > 0 else (0.0 if absolute == 0 else float("inf"))
    return Comparison(name, absolute, relative, bound, relative <= bound)

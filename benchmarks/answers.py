"""What every contestant hands back, and how it is asked."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Answer(NamedTuple):
    """Coefficients as (p,) or (p, K) and intercepts to match, in NumPy.

    Of B resamples: (B, p) and (B,).
    """

    coef: np.ndarray
    intercept: np.ndarray


# (the method's own tolerance, the most steps it may take) ↦ the answer
Fit = Callable[[float, int], Answer]

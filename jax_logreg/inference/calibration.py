"""Are the probabilities right, and do they tell the classes apart?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from jax_logreg.inference.inference import ChiSquaredTest, chi_squared
from jax_logreg.programs.jax_settings import own_settings


@dataclass(frozen=True)
class Calibration:
    """Predicted against observed, in groups of rows of like prediction.

    Attributes:
        predicted: the mean probability of each group.
        observed: the share of class 1 in it.
        count: its weight.
        brier: the mean squared difference of probability and label.
        hosmer_lemeshow: the test that all groups are as predicted.
    """

    predicted: np.ndarray
    observed: np.ndarray
    count: np.ndarray
    brier: float
    hosmer_lemeshow: ChiSquaredTest


@own_settings()
def calibration(
    probability: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    groups: int = 10,
) -> Calibration:
    """The reliability of probabilities, with Brier's score and the test of Hosmer & Lemeshow.

    Groups are of equal numbers of rows, cut by rank; equal predictions stay together. The
    test has groups − 2 degrees of freedom, as for the rows that the model was fitted to.
    Source: Hosmer & Lemeshow (1980), Communications in Statistics A9.

    Args:
        probability: of class 1, (n,).
        y: 0 or 1, (n,).
        sample_weight: frequencies, (n,).
        groups: how many at most.

    Returns:
        The groups with their mean probabilities and frequencies, the test, and Brier's score.

    Raises:
        ValueError: for probabilities outside [0, 1] or labels but 0 and 1.

    >>> calibration([0.2, 0.2, 0.8, 0.8], [0, 1, 1, 1], groups=2).observed.tolist()
    [0.5, 1.0]
    """
    mu, labels, weight = _check(probability, y, sample_weight)
    if groups < 1:
        raise ValueError(f"groups must be at least 1, but it is {groups}.")
    edges = np.unique(np.quantile(mu, np.linspace(0, 1, groups + 1)[1:-1], method="lower"))
    group = np.searchsorted(edges, mu, side="left")
    group = np.unique(group, return_inverse=True)[1]
    count = np.bincount(group, weight)
    expected, seen = np.bincount(group, weight * mu), np.bincount(group, weight * labels)
    with np.errstate(divide="ignore", invalid="ignore"):
        off = (seen - expected) ** 2 / (expected * (1 - expected / count))
    statistic = float(np.sum(np.where(seen == expected, 0, off)))
    return Calibration(
        predicted=expected / count,
        observed=seen / count,
        count=count,
        brier=float(weight @ (mu - labels) ** 2 / weight.sum()),
        hosmer_lemeshow=chi_squared(statistic, max(len(count) - 2, 1)),
    )


def _check(
    probability: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mu, labels = np.asarray(probability, float), np.asarray(y, float)
    weight = np.ones(mu.shape) if sample_weight is None else np.asarray(sample_weight, float)
    if mu.ndim != 1 or labels.shape != mu.shape or weight.shape != mu.shape:
        raise ValueError(
            "probability, y and sample_weight must have one shape (n,), but theirs are "
            f"{mu.shape}, {labels.shape} and {weight.shape}."
        )
    if not np.all((mu >= 0) & (mu <= 1)):
        raise ValueError("probability must lie in [0, 1]: give that of class 1.")
    if not np.all((labels == 0) | (labels == 1)):
        raise ValueError("y must hold 0 and 1: of more classes give y == k and the k-th column.")
    if not np.all(weight >= 0):
        raise ValueError("sample_weight must not be negative.")
    counted = weight > 0
    if not np.any(counted):
        raise ValueError("probability holds no row of positive weight.")
    return mu[counted], labels[counted], weight[counted]

"""What the estimator's answer means: standard errors, and which columns separate."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jax_logreg.fitting.result import FitResult
from jax_logreg.inference.infer import infer
from jax_logreg.inference.inference import Inference
from jax_logreg.inference.separation import separate
from jax_logreg.interfaces.estimator_fit import Training
from jax_logreg.objective.penalties import L2

# Rows times classes up to which the programme that names separating columns is quick.
_QUICKLY_DIAGNOSED = 2000


def infer_from(
    result: FitResult,
    training: Training,
    fit_intercept: bool,
    feature_names: Sequence[str] | None,
    classes: np.ndarray,
    **how: Any,
) -> Inference:
    """The inference of an estimator's fit; ``how`` is passed on to ``infer``."""
    if hasattr(training.X, "toarray"):
        raise ValueError("X is sparse: inference needs X.toarray(), or fewer columns.")
    penalty = training.penalty
    if not isinstance(penalty, L2):
        raise ValueError(
            f"l1_ratio is {training.l1_ratio}, and coefficients chosen by L1 have no standard "
            "errors. Fit the columns that were kept with l1_ratio=0."
        )
    return infer(
        result,
        training.X,
        training.codes,
        penalty=penalty,
        sample_weight=training.weight,
        fit_intercept=fit_intercept,
        feature_names=feature_names,
        class_names=[str(label) for label in classes] if training.classes_asked else None,
        **how,
    )


def separation_message(
    training: Training, fit_intercept: bool, names: list[str] | None
) -> str | None:
    """Which columns separate the classes, where that is found out quickly."""
    if len(training.codes) * training.num_classes > _QUICKLY_DIAGNOSED:
        return None
    if not isinstance(training.X, np.ndarray):
        return None
    Y = training.codes.astype(float)
    if training.classes_asked:
        Y = np.eye(training.num_classes)[training.codes]
    held = np.full(training.X.shape[1], training.strength > 0)
    found = separate(training.X, Y, training.weight > 0, held, fit_intercept)
    if not found:
        return None
    involved = np.any(found.coef.reshape(len(found.coef), -1) != 0, axis=1)
    columns = [names[j] if names else f"x{j}" for j in np.flatnonzero(involved)]
    which = ", ".join(columns[:10]) + (", …" if len(columns) > 10 else "")
    return (
        f"The data are separated ({found.kind}): {which or 'the intercept alone'} "
        f"can tell {int(found.rows.sum())} of {len(found.rows)} rows apart without a mistake, and "
        "no finite coefficients are the best. Those kept are where the training stopped. Give a "
        "finite C, or leave the columns out."
    )

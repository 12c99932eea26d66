"""What holds of the derivatives beside being right: symmetry, curvature, consistency."""

import numpy as np

from jax_logreg.audit.examine import Examination
from jax_logreg.audit.layout import Layout
from jax_logreg.audit.logistic import LogisticModel

# Eigenvalues of larger matrices are not computed.
_EIGEN_LIMIT = 1500


def model_facts(model: LogisticModel | None) -> list[str]:
    """What the value was recognised as."""
    if model is None:
        return []
    kind = "softmax" if model.softmax else "sigmoid"
    return [f"recognised: the cross-entropy of a {kind} model, {len(model.weight)} rows."]


def hessian_facts(
    examination: Examination, layout: Layout, model: LogisticModel | None
) -> list[str]:
    """Symmetry, definiteness and null directions of a hand-written Hessian."""
    facts = []
    matrices = [p.hand for p in examination.places[:1] if np.isfinite(p.hand).all()]
    for H in matrices:
        size = float(np.max(np.abs(H), initial=0.0)) or 1.0
        skew = float(np.max(np.abs(H - H.T), initial=0.0)) / size
        facts.append(
            "the Hessian by hand is symmetric." if skew <= 1e-12 else
            f"the Hessian by hand is symmetric up to round-off ({skew:.0e})." if skew <= 1e-5 else
            f"the Hessian by hand is NOT symmetric (relative {skew:.1e})."
        )  # fmt: skip
        if len(H) <= _EIGEN_LIMIT:
            facts.append(_definiteness(H, layout, model))
    return facts


def _definiteness(H: np.ndarray, layout: Layout, model: LogisticModel | None) -> str:
    diagonal = np.sqrt(np.abs(np.diag(H)))
    scale = np.where(diagonal > 0, diagonal, 1)
    values = np.linalg.eigvalsh((H + H.T) / 2 / np.outer(scale, scale))
    tiny = 1e-10 * max(float(np.max(np.abs(values), initial=0.0)), 1e-300)
    null = int(np.sum(np.abs(values) <= tiny))
    if values[0] < -tiny:
        return (
            f"it is indefinite: the smallest eigenvalue (diagonal scaled to 1) is {values[0]:.2g}."
        )
    if not null:
        return f"it is positive definite: the smallest eigenvalue (diagonal scaled to 1) is {values[0]:.2g}."  # noqa: E501
    classes = model.y.shape[1] if model is not None and model.softmax else 0
    shifts = _class_shifts(layout, H, classes)
    what = f", {shifts} of them class shifts (the same added to every class)" if shifts else ""
    return f"it is positive semidefinite with {null} null directions{what}."


def _class_shifts(layout: Layout, H: np.ndarray, classes: int) -> int:
    """How many shifts along one axis of a table of parameters have no curvature."""
    tables = [
        np.moveaxis(np.arange(layout.size)[part].reshape(shape), axis, -1)
        for part, shape in zip(layout.slices, layout.shapes, strict=True)
        for axis in range(len(shape))
    ]
    if classes and layout.size % classes == 0:  # a table in a flat vector, either way
        flat = np.arange(layout.size)
        tables += [flat.reshape(-1, classes), flat.reshape(classes, -1).T]
    return max((_flat_groups(table, H) for table in tables), default=0)


def _flat_groups(table: np.ndarray, H: np.ndarray) -> int:
    """In how many rows of a table the same may be added to all entries."""
    count = 0
    for group in table.reshape(-1, table.shape[-1]):
        v = np.zeros(len(H))
        v[group] = 1
        size = float(np.max(np.abs(H[:, group]), initial=0.0))
        count += len(group) > 1 and bool(np.max(np.abs(H @ v)) <= 1e-10 * size)
    return count


def product_facts(hvp: Examination, hessian: Examination | None) -> list[str]:
    """Whether HVP and Hessian, both by hand, tell the same."""
    if hessian is None or not hessian.places or not hvp.places:
        return []
    pairs = [
        (H.hand @ p.vector, p.hand)
        for H, p in zip(hessian.places, hvp.places, strict=False)
        if p.vector is not None and np.array_equal(H.theta, p.theta)
    ]
    worst = max((_relative(a, b) for a, b in pairs), default=float("nan"))
    if not np.isfinite(worst):
        return []
    verdict = "agree" if worst <= 1e-6 else "do NOT agree"
    return [f"Hessian · v and hvp, both by hand, {verdict} (relative {worst:.1e})."]


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    size = float(np.max(np.abs(b), initial=0.0))
    return float(np.max(np.abs(a - b), initial=0.0)) / (size or 1.0)


def convexity_fact(curvatures: np.ndarray) -> str:
    """What second derivatives along random lines say."""
    lowest, highest = float(np.min(curvatures)), float(np.max(curvatures))
    if lowest >= -1e-9 * max(abs(highest), 1e-300):
        return f"the value is convex along all {len(curvatures)} lines tried."
    return f"the value is not convex: {int(np.sum(curvatures < 0))} of {len(curvatures)} lines curve down."  # noqa: E501

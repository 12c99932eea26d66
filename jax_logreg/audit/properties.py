"""Properties that derivatives have beside being right: symmetry, definiteness, consistency."""

import numpy as np

from jax_logreg.audit.compare_entries import DerivativeComparison
from jax_logreg.audit.layout import PytreeLayout
from jax_logreg.audit.logistic import LogisticModel

# Up to this many parameters the eigenvalues of a Hessian are computed.
_MAX_EIGEN = 1500


def model_properties(model: LogisticModel | None) -> list[str]:
    """The kind of model that the value was recognised as."""
    if model is None:
        return []
    kind = "softmax" if model.softmax else "sigmoid"
    return [f"recognised: the cross-entropy of a {kind} model, {len(model.weight)} rows."]


def hessian_properties(
    comparison: DerivativeComparison, layout: PytreeLayout, model: LogisticModel | None
) -> list[str]:
    """Symmetry, definiteness and null directions of a hand-written Hessian."""
    found = []
    for H in (p.hand for p in comparison.moderate[:1] if np.isfinite(p.hand).all()):
        size = float(np.max(np.abs(H), initial=0.0)) or 1.0
        skew = float(np.max(np.abs(H - H.T), initial=0.0)) / size
        found.append(
            "the Hessian by hand is symmetric." if skew <= 1e-12 else
            f"the Hessian by hand is symmetric up to round-off ({skew:.0e})." if skew <= 1e-5 else
            f"the Hessian by hand is NOT symmetric (relative {skew:.1e})."
        )  # fmt: skip
        if len(H) <= _MAX_EIGEN:
            found.append(_definiteness(H, layout, model))
    return found


def _definiteness(H: np.ndarray, layout: PytreeLayout, model: LogisticModel | None) -> str:
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


def _class_shifts(layout: PytreeLayout, H: np.ndarray, classes: int) -> int:
    """How many class shifts of a table of parameters have no curvature."""
    tables = [
        np.moveaxis(np.arange(layout.size)[part].reshape(shape), axis, -1)
        for part, shape in zip(layout.slices, layout.shapes, strict=True)
        for axis in range(len(shape))
    ]
    if classes and layout.size % classes == 0:  # a table in a flat vector, either way
        flat = np.arange(layout.size)
        tables += [flat.reshape(-1, classes), flat.reshape(classes, -1).T]
    return max((_null_groups(table, H) for table in tables), default=0)


def _null_groups(table: np.ndarray, H: np.ndarray) -> int:
    """In how many rows of a table adding the same to all entries changes no slope."""
    count = 0
    for group in table.reshape(-1, table.shape[-1]):
        v = np.zeros(len(H))
        v[group] = 1
        size = float(np.max(np.abs(H[:, group]), initial=0.0))
        count += len(group) > 1 and bool(np.max(np.abs(H @ v)) <= 1e-10 * size)
    return count


def hvp_properties(hvp: DerivativeComparison, hessian: DerivativeComparison | None) -> list[str]:
    """Whether HVP and Hessian, both by hand, agree."""
    if hessian is None or not hessian.moderate or not hvp.moderate:
        return []
    pairs = [
        (H.hand @ p.vector, p.hand)
        for H, p in zip(hessian.moderate, hvp.moderate, strict=False)
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


def convexity(curvatures: np.ndarray) -> str:
    """What the second derivatives along random lines, (m,), say about convexity."""
    lowest, highest = float(np.min(curvatures)), float(np.max(curvatures))
    if lowest >= -1e-9 * max(abs(highest), 1e-300):
        return f"the value is convex along all {len(curvatures)} lines tried."
    return f"the value is not convex: {int(np.sum(curvatures < 0))} of {len(curvatures)} lines curve down."  # noqa: E501

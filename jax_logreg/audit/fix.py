"""The fix of a mistake: a line of code in the user's own names, run before it is shown."""

from typing import Any

import jax
import numpy as np

from jax_logreg.audit.match import SLACK, Diagnosis, Mismatch
from jax_logreg.audit.user_names import RESULTS, UserNames


def _sigmoid(eta: Any) -> Any:
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(eta)))


def _softmax(eta: Any) -> Any:
    e = np.exp(eta - np.max(eta, axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def with_fix(diagnosis: Diagnosis, mismatch: Mismatch, names: UserNames) -> Diagnosis:
    """The diagnosis, without a fix that does not make every entry right at every point."""
    is_flat = names.layout is not None and names.layout.shapes == ((names.layout.size,),)
    if not diagnosis.fix or not (is_flat or mismatch.name in ("gradient", "hvp")):
        return diagnosis._replace(fix="")
    try:
        fixed = np.stack([
            run_fix(diagnosis.fix, names, mismatch.name, hand, *vectors)
            for hand, *vectors in zip(mismatch.hand, *mismatch.call_arguments, strict=True)
        ])  # fmt: skip
    except Exception:  # what cannot be written to, or a name that means something else
        return diagnosis._replace(fix="")
    with np.errstate(all="ignore"):
        scale = np.abs(mismatch.expected) / np.maximum(np.abs(mismatch.hand), 1e-300)
        allowed = SLACK * mismatch.allowed * np.clip(scale, 1.0, 1e6)
        off = np.abs(fixed - mismatch.expected)
        known = np.isfinite(mismatch.expected) & np.isfinite(mismatch.hand)
    right = known.any() and bool(np.all(off[known] <= allowed[known]))
    return diagnosis if right else diagnosis._replace(fix="")


def run_fix(
    fix: str, names: UserNames, name: str, hand: np.ndarray, *vectors: np.ndarray
) -> np.ndarray:
    """What a function returned, after a fix; flat as it was."""
    assert names.layout is not None
    vector_like = name in ("gradient", "hvp")
    result = RESULTS[name]
    space = {
        "np": np, "jax": jax, "sigmoid": _sigmoid, "softmax": _softmax, **names.data,
        result: names.layout.unravel(hand.copy()) if vector_like else hand.copy(),
    }  # fmt: skip
    space |= {
        key: names.layout.unravel(v.copy())
        for key, v in zip((names.theta, "v"), vectors, strict=False)
    }
    exec(fix, space)  # our own line: the user's names are identifiers
    found = names.layout.parameters_of(space[result]) if vector_like else None
    leaves = jax.tree.leaves(space[result]) if found is None else found
    return np.concatenate([np.ravel(leaf) for leaf in leaves]).reshape(hand.shape)

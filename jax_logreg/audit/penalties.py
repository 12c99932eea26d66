"""Penalties: an error that is linear in the parameters, alone or beside a factor.

A penalty adds a multiple of θ to the gradient. Forgotten, doubled, or on the intercept, it
leaves an error that is a multiple of θ, whatever the rest of the function is.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jax_logreg.audit.layout import PytreeLayout
from jax_logreg.audit.match import (
    KINDS,
    LOCATED,
    VAGUE,
    Diagnosis,
    Mismatch,
    complexity,
    fit_parts,
    matches,
)
from jax_logreg.audit.places import as_slice, describe_block, whole_arrays
from jax_logreg.audit.user_names import UserNames


class _Linear(NamedTuple):
    """hand = a · expected + slope ∘ θ: fitted, with the uncertainty of the slope."""

    a: float
    slope: np.ndarray
    noise: np.ndarray


def linear_in_parameters(
    mismatch: Mismatch,
    layout: PytreeLayout,
    names: UserNames,
    strength: np.ndarray | None = None,
) -> Iterator[Diagnosis]:
    """hand = a · expected + c ∘ θ (c ∘ v, or diag c): the error of a wrong penalty.

    The strength is the curvature of the right penalty, (P,), if it is known.
    """
    fit = _fit_linear(mismatch)
    if fit is None:
        return
    active = np.abs(fit.slope) > 1e-9 * np.max(np.abs(fit.slope))
    values = fit.slope[active]
    if fit.a != 1:
        yield from _scaled_and_linear(mismatch, fit, layout, names)
        return
    evidence = f"hand − reference = c·θ, c from {values.min():.6g} to {values.max():.6g}"
    size = float(np.median(values))
    text = f"A term linear in the parameters is wrong by {names.describe(size)} times θ"
    text += _where_active(layout, active)
    uniform = np.ptp(values) <= 1e-6 * np.max(np.abs(values)) + np.max(fit.noise[active])
    fix = add_linear(np.where(active, -size, 0.0), layout, names) if uniform else ""
    effort = complexity(factors=1, vagueness=LOCATED if fix and strength is None else VAGUE)
    if not active.all() and np.all(values > 0) and uniform and _may_be_intercepts(layout, active):
        kinds, effort = ["penalty-on-intercept"], complexity(factors=1)
        kinds += ["penalty-factor"] if strength is None else []
    elif strength is not None:
        missing = np.allclose(values, -strength[active], rtol=1e-6)
        kinds = ["penalty-missing" if missing else "penalty-factor"]
    else:
        kinds = ["penalty-missing", "penalty-factor"] if np.all(values < 0) else ["penalty-factor"]
    for kind in kinds:
        yield Diagnosis(kind, mismatch.name, f"{text}: {KINDS[kind]}.", evidence, effort, fix)


def _where_active(layout: PytreeLayout, active: np.ndarray) -> str:
    if active.all():
        return ""
    whole = whole_arrays(layout, active)
    is_whole = len(whole) > 1 and len(whole) == sum(active[p].any() for p in layout.slices)
    named = " and ".join(layout.labels[leaf] for leaf in whole)
    where = named if is_whole else describe_block(layout, active)
    return f", in {where or f'{active.sum()} of {active.size} coordinates'} only"


def _may_be_intercepts(layout: PytreeLayout, active: np.ndarray) -> bool:
    """One coordinate; or arrays that have fewer axes than the others."""
    if active.sum() == 1:
        return True
    parts = list(zip(layout.slices, layout.shapes, strict=True))
    most = max(len(shape) for _, shape in parts)
    return len(parts) > 1 and not any(active[p].any() for p, shape in parts if len(shape) == most)


def _scaled_and_linear(
    mismatch: Mismatch, fit: _Linear, layout: PytreeLayout, names: UserNames
) -> Iterator[Diagnosis]:
    """A factor on the data term, or on everything, and a penalty that does not go with it."""
    active = np.abs(fit.slope) > 1e-9 * np.max(np.abs(fit.slope))
    values, a = fit.slope[active], fit.a
    if np.ptp(values) > 1e-6 * np.max(np.abs(values)) + np.max(fit.noise[active]):
        return
    slope, where = float(np.median(values)), _where_active(layout, active)
    factor, undo = names.describe(a), names.unscale(a)
    evidence = f"hand = {a:.8g} · reference + {slope:.8g} · θ"
    left_out, kept = -slope / a, slope / (1 - a)

    def added(size: float) -> str:
        return add_linear(np.where(active, size, 0.0), layout, names) if size else ""

    text, fix, also = "", "", "sign" if a == -1 else "factor"
    kinds, effort = ["penalty-factor", also], complexity(factors=2, vagueness=LOCATED)
    if names.is_users(left_out) and added(left_out):
        text = f"The penalty ({names.describe(left_out)} times θ{where}) is left out, and the factor is {factor}"  # noqa: E501
        kinds, effort = ["penalty-missing", also], complexity(1, factors=1)
        fix = f"{undo}; {added(left_out)}"
    elif names.is_users(kept) and added(kept):
        text = (
            f"All but the penalty ({names.describe(kept)} times θ{where}) has the factor {factor}"
        )
        kinds, effort = [also], complexity(factors=1, vagueness=LOCATED)
        fix = f"{added(-kept)}; {undo}; {added(kept)}"
    elif names.has_name(a):
        text = f"It is {factor} times the right one, and {names.describe(slope)} times θ{where} too much"  # noqa: E501
        fix = f"{added(-slope)}; {undo}" if added(-slope) else f"{undo}; {added(-slope / a)}"
    else:
        text, effort = f"It is a multiple of the right one, and of θ{where}", complexity(2, 2)
    for kind in kinds:
        shown = fix if undo and not fix.endswith("; ") else ""
        yield Diagnosis(kind, mismatch.name, f"{text}.", evidence, effort, shown)


def add_linear(slope: np.ndarray, layout: PytreeLayout, names: UserNames) -> str:
    """The fix that adds slope ∘ θ; "" if it is not the same along whole runs of entries."""
    lines = []
    for part, shape, path in zip(layout.slices, layout.shapes, names.paths_of(layout), strict=True):
        values = slope[part]
        edges = np.flatnonzero(np.diff(values)) + 1
        runs = [slice(int(r[0]), int(r[-1]) + 1) for r in np.split(np.arange(len(values)), edges)]
        if len(runs) > 3 or (len(runs) > 1 and len(shape) != 1):
            return ""
        for run in runs:
            if values[run.start]:
                span = as_slice(run.start, run.stop, len(values))
                place = path + (f"[{span}]" if len(runs) > 1 else "")
                what = {"H": f"np.eye({run.stop - run.start})", "Hv": f"v{place}"}.get(names.result)
                if names.result == "H" and place:
                    place = f"[{span}, {span}]"
                what = what or names.theta + place
                lines.append(names.within(place).add(float(values[run.start]), what))
    return "; ".join(lines) if all(lines) else ""


def _fit_linear(mismatch: Mismatch) -> _Linear | None:
    """The fit, if it is exact and something is linear in θ."""
    if mismatch.name == "jacobian" or len(mismatch.hand) < 2:
        return None
    if mismatch.name == "hessian":
        mean = np.diag(np.nanmean(mismatch.error, axis=0))
        noise = np.einsum("mii->mi", mismatch.allowed).max(axis=0)
        fits = mean.any() and matches(mismatch, mismatch.expected + np.diag(mean))
        return _Linear(1.0, mean, noise) if fits else None
    x = mismatch.call_arguments[-1]
    total = np.sum(x**2, axis=0)
    total = np.where(total > 0, total, 1)
    noise = np.max(mismatch.allowed, axis=0) / np.sqrt(total)

    def along(stack: np.ndarray) -> np.ndarray:
        return np.sum(stack * x, axis=0) / total

    def fitted(a: float) -> _Linear | None:
        slope = along(mismatch.hand - a * mismatch.expected)
        slope = np.where(np.abs(slope) > noise * max(1.0, abs(a)), slope, 0.0)
        fits = slope.any() and matches(mismatch, a * mismatch.expected + slope * x)
        return _Linear(a, slope, noise * max(1.0, abs(a))) if fits else None

    # What is left of hand and reference when all that is linear in θ is taken away has the factor.
    hand, expected = (s - along(s) * x for s in (mismatch.hand, mismatch.expected))
    a = fit_parts(mismatch._replace(hand=hand), [expected]).factors[0]
    enough = len(mismatch.hand) > 2 and mismatch.hand.size > len(mismatch.hand) and a != 0
    return fitted(1.0) or (fitted(a) if enough else None)

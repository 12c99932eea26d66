"""Patterns: mistakes that show in the numbers alone, whatever the function was.

First the right numbers in other places or with a factor, which say what is wrong; then
the places that are wrong, which say where.
"""

from collections.abc import Callable, Iterator
from functools import partial
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
    residual,
)
from jax_logreg.audit.user_names import UserNames

_MOVED_BACK = "moved back, all entries agree"
# A permutation of θ, by kind and sentence: which entry of the right array stands where.
Permutation = tuple[str, str, np.ndarray]


def proportional(mismatch: Mismatch, names: UserNames) -> Iterator[Diagnosis]:
    """hand = r · expected with one r for all points."""
    name = mismatch.name
    if not mismatch.hand.any():
        yield Diagnosis("zero", name, "It is identically zero.", "every entry is 0")
        return
    fit = fit_parts(mismatch, [mismatch.expected])
    (ratio,) = fit.factors
    if not fit.exact or ratio == 1:
        return
    evidence = f"ratio {ratio:.10g} at {len(mismatch.hand)} points, residual {fit.residual:.0e}"
    if ratio == -1:
        fix = names.unscale(ratio)
        yield Diagnosis("sign", name, "The sign is flipped.", evidence, fix=fix)
    else:
        text = f"It is off by the factor {names.describe(ratio)}."
        fix = names.unscale(ratio)
        yield Diagnosis("factor", name, text, evidence, complexity(factors=1), fix)


def rearranged(mismatch: Mismatch, layout: PytreeLayout) -> Iterator[Diagnosis]:
    """The right numbers in the wrong places: transposed, class-major, shifted."""
    name, expected = mismatch.name, mismatch.expected
    if name in ("jacobian", "hessian"):
        yield from _rearranged_rows(mismatch)
    if name == "jacobian":
        return
    seen: set[bytes] = set()
    for kind, text, order in permutations(layout):
        if order.tobytes() in seen or np.array_equal(order, np.arange(order.size)):
            continue
        seen.add(order.tobytes())
        moved = expected[:, order]
        if name == "hessian":
            if any(matches(mismatch, one_side) for one_side in (moved, expected[:, :, order])):
                yield Diagnosis(kind, name, f"{text}, on one side only.", _MOVED_BACK)
            moved = moved[:, :, order]
        for pieces, sign, also in ((1, 1, ""), (2, -1, " and the sign flipped")):
            if matches(mismatch, sign * moved):
                yield Diagnosis(kind, name, f"{text}{also}.", _MOVED_BACK, complexity(pieces))


def _rearranged_rows(mismatch: Mismatch) -> Iterator[Diagnosis]:
    """A matrix whose rows, or columns, are shifted against the others; or its transpose."""
    expected = mismatch.expected
    rows, columns = expected.shape[1:]
    moves = [("transposed", "It is transposed", expected.transpose(0, 2, 1))]
    moves = moves if rows == columns and mismatch.name == "jacobian" else []
    for axis, size, word in ((1, rows, "row"), (2, columns, "column")):
        for shift in (1, -1) if size > 1 else ():
            text = f"Every {word} is shifted by one"
            moves.append(("off-by-one", text, np.roll(expected, shift, axis)))
    for kind, text, moved in moves:
        if matches(mismatch, moved):
            yield Diagnosis(kind, mismatch.name, f"{text}.", _MOVED_BACK)


def permutations(layout: PytreeLayout) -> Iterator[Permutation]:
    """Every order in which θ may be stored or read by mistake."""
    whole = np.arange(layout.size)

    def permuted(
        part: slice, shape: tuple[int, ...], change: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        order = whole.copy()
        order[part] = change(whole[part].reshape(shape)).ravel()
        return order

    def shifts(part: slice, shape: tuple[int, ...]) -> Iterator[tuple[int, np.ndarray]]:
        for axis, size in enumerate(shape):
            for shift in (1, -1) if size > 1 else ():
                yield axis, permuted(part, shape, partial(np.roll, shift=shift, axis=axis))

    for part, shape, label in zip(layout.slices, layout.shapes, layout.labels, strict=True):
        name = label or "It"
        if len(shape) == 2:
            if shape[0] == shape[1]:
                yield "transposed", f"{name} is transposed", permuted(part, shape, np.transpose)
            order = permuted(part, shape, np.transpose)
            yield "class-order", f"{name} is laid out column by column", order
            order = permuted(part, shape[::-1], np.transpose)
            yield "class-order", f"{name} is read in the order of its transpose", order
        for axis, order in shifts(part, shape):
            yield "off-by-one", f"{name} is shifted by one along axis {axis}", order
    if len(layout.shapes) == 1 and len(layout.shapes[0]) == 1:
        for span, height, classes in _flat_tables(layout.size):
            text = f"Its {height} × {classes} table is"
            for shape in ((height, classes), (classes, height)):
                order = permuted(span, shape, np.transpose)
                transposed = "in the order of the transpose (class-major against feature-major)"
                yield "class-order", f"{text} {transposed}", order
            for _, order in shifts(span, (height, classes)):
                yield "off-by-one", f"{text} shifted by one", order
        for span in (slice(0, layout.size - 1), slice(1, layout.size)):
            for _, order in shifts(span, (layout.size - 1,)):
                yield "off-by-one", "It is shifted by one, but for the intercept", order
    yield "off-by-one", "It is in reverse order", whole[::-1].copy()


def _flat_tables(size: int) -> Iterator[tuple[slice, int, int]]:
    """Spans of a flat θ that may be a (features × classes) table, with or without a row of
    intercepts last or first; with its shape."""
    for classes in range(2, size // 2 + 1):
        if size % classes == 0:
            rows = size // classes
            for start, stop, height in (
                (0, size, rows), (0, size - classes, rows - 1), (classes, size, rows - 1),
            ):  # fmt: skip
                if height > 1:
                    yield slice(start, stop), height, classes


def misshapen_matrices(matrices: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    """(kind, sentence, what becomes of square matrices)."""
    eye = np.eye(matrices.shape[1])
    yield "triangle", "Only the upper triangle is filled.", np.triu(matrices)
    yield "triangle", "Only the lower triangle is filled.", np.tril(matrices)
    yield "triangle", "Only the upper triangle is filled, no diagonal.", np.triu(matrices, 1)
    yield "triangle", "Only the lower triangle is filled, no diagonal.", np.tril(matrices, -1)
    yield "diagonal", "The diagonal is counted twice.", matrices * (1 + eye)
    yield "diagonal", "The diagonal is left out.", matrices * (1 - eye)
    yield "diagonal", "The diagonal is halved.", matrices * (1 - eye / 2)
    yield "diagonal", "Only the diagonal is filled.", matrices * eye
    yield "sign", "The sign off the diagonal is flipped.", matrices * (2 * eye - 1)
    yield "sign", "Absolute values of the entries.", np.abs(matrices)


def matrix_shapes(mismatch: Mismatch) -> Iterator[Diagnosis]:
    """Triangles, diagonals and inverses, of a square matrix."""
    expected, hand, name = mismatch.expected, mismatch.hand, mismatch.name
    if expected.ndim != 3 or expected.shape[1] != expected.shape[2] or expected.shape[1] < 2:
        return
    eye = np.eye(expected.shape[1])
    for kind, text, model in misshapen_matrices(expected):
        if matches(mismatch, model):
            yield Diagnosis(kind, name, text, f"residual {residual(mismatch, model):.0e}")
    off = ~eye.astype(bool)
    if not hand[:, off].any() and expected[:, off].any():
        text = "Everything off the diagonal is zero, and the diagonal is not right either."
        effort = complexity(pieces=1, vagueness=LOCATED)
        yield Diagnosis("diagonal", name, text, "no entry off the diagonal", effort)
    with np.errstate(all="ignore"):
        product = hand @ expected
    if np.allclose(product, eye, atol=1e-6) and not np.allclose(expected, eye):
        yield Diagnosis("inverse", name, "It is the inverse.", "hand · reference = 1")


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
    touched = [i for i, part in enumerate(layout.slices) if active[part].any()]
    whole = all(active[layout.slices[i]].all() for i in touched)
    named = " and ".join(layout.labels[i] for i in touched) if whole and len(touched) > 1 else ""
    where = named or describe_block(layout, active)
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


def as_slice(start: int, stop: int, size: int) -> str:
    """A slice as code: ``1:`` or ``:3``."""
    return f"{start or ''}:{'' if stop == size else stop}"


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
    enough = len(mismatch.hand) > 3 and a != 0
    return fitted(1.0) or (fitted(a) if enough else None)


def constant(mismatch: Mismatch, kind: str, words: str) -> Iterator[Diagnosis]:
    """The same error at every point: ``words`` say what part of it does not depend on θ."""
    name, hand = mismatch.name, mismatch.hand
    if len(hand) < 2 or name == "hvp" or not np.isfinite(hand).all():
        return
    effort = complexity(pieces=1, vagueness=VAGUE)
    if np.all(hand == hand[0]) and np.ptp(mismatch.expected, axis=0).any():
        text = "It gives the same answer at every point: a cache, or θ does not enter."
        yield Diagnosis("hidden-state", name, text, "equal to the last bit", effort)
        return
    mean = np.mean(mismatch.error, axis=0)
    if matches(mismatch, mismatch.expected + mean):
        square = mean.ndim == 2 and mean.shape[0] == mean.shape[1] > 1
        if square and not np.any(mean - np.diag(np.diag(mean))):
            return  # the form of a wrong penalty
        evidence = f"hand − reference is the same at {len(hand)} points"
        size = np.max(np.abs(mean))
        text = f"A part that does not depend on θ is wrong (by up to {size:.3g}): {words}."
        yield Diagnosis(kind, name, text, evidence, effort)


def scaled_rows(mismatch: Mismatch) -> Iterator[Diagnosis]:
    """A Jacobian whose rows, or columns, each have a factor of their own."""
    hand, expected = mismatch.hand, mismatch.expected
    if mismatch.name != "jacobian":
        return

    def factors(axes: int | tuple[int, ...]) -> np.ndarray:
        top = np.nansum(hand * expected, axis=axes, keepdims=True)
        bottom = np.nansum(expected**2, axis=axes, keepdims=True)
        return top / np.where(bottom > 0, bottom, 1)

    for axis, word, kind in ((2, "row", "weights"), (1, "column", "factor")):
        factor = factors((0, axis))
        if factor.size > 1 and np.ptp(factor) > 1e-6 and matches(mismatch, factor * expected):
            text = f"Every {word} has a factor of its own, {factor.min():.4g} to {factor.max():.4g}: weights?"  # noqa: E501
            effort = complexity(factors=1, vagueness=LOCATED)
            yield Diagnosis(kind, "jacobian", text, "the same factors at every point", effort)
            return
    factor = factors(2)
    if expected.shape[2] > 1 and matches(mismatch, factor * expected):
        text = "Every row has a factor that depends on the point, as when a link of the chain rule is missing."  # noqa: E501
        evidence = f"factors from {factor.min():.4g} to {factor.max():.4g}"
        effort = complexity(factors=1, vagueness=LOCATED)
        yield Diagnosis("chain-factor", "jacobian", text, evidence, effort)


def confined(mismatch: Mismatch, layout: PytreeLayout, names: UserNames) -> Iterator[Diagnosis]:
    """Wrong in some coordinates, right in the others."""
    wrong: np.ndarray = np.any(mismatch.wrong, axis=0)
    right, inside = mismatch.restrict(~wrong), mismatch.restrict(wrong)
    if wrong.all() or not wrong.any() or not matches(right, right.expected):
        return
    fit = fit_parts(inside, [inside.expected])
    how = "there the ratio is not constant"
    if not inside.hand.any():
        how = "there it is zero"
    elif fit.exact:
        how = f"there the factor is {names.describe(fit.factors[0])}"
    describe = _describe_coordinates if wrong.ndim == 1 else _describe_entries
    kind, place = describe(mismatch, layout, wrong)
    # A block of a vector is located only if it is known how it is off.
    is_known = fit.exact or not inside.hand.any() or wrong.ndim == 2
    located = place is not None and (kind == "coordinate" or is_known)
    effort = complexity(factors=1, vagueness=LOCATED if located else VAGUE)
    evidence = f"{int(wrong.sum())} of {wrong.size} entries differ; {how}"
    text = f"Only {place or 'a part'} is wrong ({how})."
    yield Diagnosis(kind, mismatch.name, text, evidence, effort)


def _describe_coordinates(
    mismatch: Mismatch, layout: PytreeLayout, wrong: np.ndarray
) -> tuple[str, str | None]:
    """Kind of a set of coordinates, and its name; None if it has none."""
    indices = np.flatnonzero(wrong)
    if len(indices) == 1:
        return "coordinate", layout.name(int(indices[0]))
    if np.max(np.sum(mismatch.wrong, axis=1)) == 1:
        return "coordinate", "one coordinate at a time, not always the same,"
    return "block", describe_block(layout, wrong)


def _describe_entries(
    mismatch: Mismatch, layout: PytreeLayout, wrong: np.ndarray
) -> tuple[str, str | None]:
    """The same of the entries of a matrix."""
    is_hessian = mismatch.name == "hessian"
    row_name: Callable[[int], str] = layout.name if is_hessian else str
    entries = [(int(a), int(b)) for a, b in np.argwhere(wrong)]
    rows, columns = ({entry[i] for entry in entries} for i in (0, 1))
    if len({tuple(sorted(entry)) for entry in entries}) == 1:
        return "coordinate", f"the entry ({row_name(entries[0][0])}, {layout.name(entries[0][1])})"
    if is_hessian:
        block = _leaf_block(layout, wrong)
        if block:
            return "block", block
        for i in sorted(rows & columns):
            if all(i in entry for entry in entries):
                return "coordinate", f"the row with the column of {layout.name(i)}"
    if len(rows) == 1:
        return "coordinate", f"row {row_name(min(rows))}"
    if len(columns) == 1:
        return "coordinate", f"column {layout.name(min(columns))}"
    return "block", None


def _leaf_block(layout: PytreeLayout, wrong: np.ndarray) -> str | None:
    """The block of one leaf against another, if all that is wrong lies there."""
    hit = {
        (a, b)
        for a, rows in enumerate(layout.slices)
        for b, columns in enumerate(layout.slices)
        if wrong[rows, columns].any()
    }
    if len(layout.shapes) < 2 or len({tuple(sorted(pair)) for pair in hit}) != 1:
        return None
    a, b = (layout.labels[i] or "θ" for i in min(hit))
    return f"the block of {a} with {b}"


def describe_block(layout: PytreeLayout, wrong: np.ndarray) -> str | None:
    """One leaf, or one index along one axis of a leaf, in the user's words."""
    touched = [i for i, part in enumerate(layout.slices) if wrong[part].any()]
    if len(touched) != 1:
        return None
    leaf = touched[0]
    shape, label = layout.shapes[leaf], layout.labels[leaf] or "θ"
    mask = wrong[layout.slices[leaf]].reshape(shape)
    for axis in range(len(shape) if len(shape) > 1 else 0):
        others = tuple(a for a in range(len(shape)) if a != axis)
        hit = np.flatnonzero(mask.any(axis=others))
        if len(hit) == 1:
            names = layout.axes[leaf][axis]
            index = str(hit[0]) if names is None else str(names[hit[0]])
            return f"{label}[{':, ' * axis}{index}{', :' * (len(shape) - axis - 1)}]"
    return label if len(layout.shapes) > 1 else None

"""Patterns: mistakes that show in the numbers alone, whatever the function was.

First the right numbers in other places or with a factor, which say what is wrong; then
the places that are wrong, which say where.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from jax_logreg.audit.layout import PytreeLayout
from jax_logreg.audit.match import (
    LOCATED,
    SLACK,
    VAGUE,
    Diagnosis,
    Mismatch,
    complexity,
    fit_parts,
    matches,
)
from jax_logreg.audit.places import as_slice
from jax_logreg.audit.user_names import UserNames

_MOVED_BACK = "moved back, all entries agree"
# Up to this many entries are looked for in all other places, at no fewer points than these; and so
# many are exchanged by a fix.
_MAX_PLACES, _MIN_POINTS, _MAX_SHOWN = 500, 3, 8
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


def rearranged(mismatch: Mismatch, layout: PytreeLayout, names: UserNames) -> Iterator[Diagnosis]:
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
                effort = complexity(pieces)
                fix = moved_back(order, layout, names) if name == "gradient" and sign == 1 else ""
                yield Diagnosis(kind, name, f"{text}{also}.", _MOVED_BACK, effort, fix)


def moved_back(order: np.ndarray, layout: PytreeLayout, names: UserNames) -> str:
    """The line that puts the entries of one array of θ in their places again."""
    inverse = np.argsort(order)
    whole = np.arange(order.size)
    moved = [k for k, p in enumerate(layout.slices) if np.any(inverse[p] != whole[p])]
    if len(moved) != 1:
        return ""
    (leaf,) = moved
    part, shape = layout.slices[leaf], layout.shapes[leaf]
    wanted, place = (inverse[part] - part.start).reshape(shape), names.result
    place += names.paths_of(layout)[leaf]
    for span, size in _spans(shape):
        for form in _forms(shape, size):
            found = np.arange(wanted.size).reshape(shape)
            found[span] = eval(form.format("x"), {"np": np, "x": found[span]})
            if np.array_equal(found, wanted):
                where = f"[{as_slice(span.start or 0, span.stop or shape[0], shape[0])}]"
                target = place if found[span].size == wanted.size else place + where
                return f"{target} = {form.format(target)}"
    return ""


def _spans(shape: tuple[int, ...]) -> Iterator[tuple[slice, int]]:
    """Parts of an array in which it may be in another order: all but an end of a vector."""
    yield slice(None), int(np.prod(shape, dtype=int))
    if len(shape) == 1:
        for k in range(1, shape[0] // 2 + 1):
            yield slice(k, shape[0]), shape[0] - k
            yield slice(0, shape[0] - k), shape[0] - k


def _forms(shape: tuple[int, ...], size: int) -> Iterator[str]:
    """Orders as code."""
    if len(shape) == 2:
        if shape[0] == shape[1]:
            yield "{0}.T"
        yield f"{{0}}.reshape({shape[1]}, {shape[0]}).T"
        yield f"{{0}}.T.reshape({shape[0]}, {shape[1]})"
    for axis in range(len(shape)):
        for shift in (1, -1):
            yield f"np.roll({{0}}, {shift}" + (f", axis={axis})" if len(shape) > 1 else ")")
    if len(shape) == 1:
        yield "{0}[::-1]"
        for rows in range(2, size // 2 + 1):
            if size % rows == 0:
                yield f"{{0}}.reshape({rows}, {size // rows}).T.ravel()"


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


def misplaced(mismatch: Mismatch, layout: PytreeLayout, names: UserNames) -> Iterator[Diagnosis]:
    """Entries exchanged, or one copied into another: each is the right one of another place."""
    size = layout.size
    if mismatch.hand.ndim != 2 or not 1 < size <= _MAX_PLACES:
        return
    wrong = np.flatnonzero(np.any(mismatch.wrong, axis=0))
    found = [_place_of(mismatch, int(i)) for i in wrong]
    places = [p for p in found if p is not None]
    if not places or len(places) < len(wrong) or len({sign for _, sign in places}) > 1:
        return
    order, (_, sign) = [p for p, _ in places], places[0]
    is_permutation = sorted(order) == list(wrong)
    pairs = list(zip(map(int, wrong), order, strict=True))
    blocks = _whole_arrays(layout, pairs)
    shown = blocks or [(layout.name(i), layout.name(j)) for i, j in pairs[:3]]
    fix = ""
    is_exchange = is_permutation and all((b, a) in shown for a, b in shown)
    turn = (order[0] - int(wrong[0])) % size
    rotated = 1 < turn < size - 1 and all(j == (i + turn) % size for i, j in pairs)
    if rotated and len(pairs) == size and not blocks:
        is_exchange = True
        text = f"The first {size - turn} entries and the last {turn} are exchanged: its blocks stand in another order"  # noqa: E501
        fix = f"g = np.roll(g, {turn})"
    elif is_exchange:
        text = f"{shown[0][0]} and {shown[0][1]} are exchanged"
    else:
        text = "; ".join(f"{a} holds the number{'s' * bool(blocks)} of {b}" for a, b in shown)
        text += "" if blocks or len(pairs) <= 3 else "; and so on"
    if (
        not fix
        and is_permutation
        and len(layout.shapes) == 1
        and len(pairs) <= _MAX_SHOWN
        and sign == 1
    ):
        inverse = {j: i for i, j in pairs}
        fix = f"g[{list(map(int, wrong))}] = g[{[inverse[int(i)] for i in wrong]}]"
    text += " with the wrong sign" if sign < 0 else ""
    effort = complexity(2 if sign < 0 else 1, vagueness=0.0 if is_exchange else LOCATED)
    yield Diagnosis("swapped", mismatch.name, f"{text}.", _MOVED_BACK, effort, fix)


def _place_of(mismatch: Mismatch, i: int) -> tuple[int, int] | None:
    """Where in the reference, and with which sign, stands what the hand has in entry i."""
    hand, expected = mismatch.hand[:, i : i + 1], mismatch.expected
    allowed = SLACK * (mismatch.allowed + mismatch.allowed[:, i : i + 1])
    if not np.any(np.abs(hand) > allowed[:, i : i + 1]):
        return None
    for sign in (1, -1):
        hits = np.flatnonzero(np.all(np.abs(hand - sign * expected) <= allowed, axis=0))
        if len(hits) == 1 and len(mismatch.hand) >= _MIN_POINTS and hits[0] != i:
            return int(hits[0]), sign
    return None


def _whole_arrays(layout: PytreeLayout, pairs: list[tuple[int, int]]) -> list[tuple[str, str]]:
    """The same by arrays of θ, if whole arrays hold the numbers of others, in order."""
    found, left = [], dict(pairs)
    starts = {part.start: k for k, part in enumerate(layout.slices)}
    for k, part in enumerate(layout.slices):
        other = starts.get(left.get(part.start, -1))
        if other is None:
            continue
        shift = layout.slices[other].start - part.start
        same = layout.shapes[k] == layout.shapes[other]
        if same and all(left.get(i) == i + shift for i in range(part.start, part.stop)):
            found.append((layout.labels[k], layout.labels[other]))
            for i in range(part.start, part.stop):
                del left[i]
    return [] if left else found


def constant(mismatch: Mismatch, kind: str, words: str) -> Iterator[Diagnosis]:
    """The same error at every point: ``words`` say what part of it does not depend on θ."""
    name, hand = mismatch.name, mismatch.hand
    if len(hand) < 2 or name == "hvp" or not np.isfinite(hand).all():
        return
    mean = np.mean(mismatch.error, axis=0)
    if matches(mismatch, mismatch.expected + mean):
        square = mean.ndim == 2 and mean.shape[0] == mean.shape[1] > 1
        if square and not np.any(mean - np.diag(np.diag(mean))):
            return  # the form of a wrong penalty
        evidence = f"hand − reference is the same at {len(hand)} points"
        size = np.max(np.abs(mean))
        text = f"A part that does not depend on θ is wrong (by up to {size:.3g}): {words}."
        effort = complexity(pieces=1, vagueness=VAGUE)
        yield Diagnosis(kind, name, text, evidence, effort)


def fixed(mismatch: Mismatch, rest: np.ndarray | float) -> Iterator[Diagnosis]:
    """The same at every point, apart from a part that is right."""
    hand, expected = mismatch.hand - rest, mismatch.expected - rest
    bound = SLACK * mismatch.allowed
    if len(hand) < _MIN_POINTS or np.all(np.abs(expected - expected[:1]) <= bound):
        return
    if np.any(hand) and np.all(np.abs(hand - hand[:1]) <= bound):
        apart = " apart from the penalty" if np.any(rest) else ""
        text = f"It is the same at every point{apart}: as if it were computed once, and kept."
        evidence = f"the same numbers at {len(hand)} points, where the reference changes"
        yield Diagnosis("hidden-state", mismatch.name, text, evidence)

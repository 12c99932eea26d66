"""The right numbers in the wrong places: transposed, class-major, shifted."""

from collections.abc import Iterator

import numpy as np

from jax_logreg.audit.diagnosis import Diagnosis
from jax_logreg.audit.fitting import Case, matches
from jax_logreg.audit.layout import Layout


def rearranged(case: Case, layout: Layout) -> Iterator[Diagnosis]:
    """The right numbers in the wrong places: transposed, class-major, shifted."""
    if case.name == "jacobian":
        yield from _rearranged_jacobian(case)
        return
    if case.name == "hessian":
        yield from _shifted_rows(case)
    seen: set[bytes] = set()
    for kind, text, order in orders(layout):
        key = order.tobytes()
        if key in seen or np.array_equal(order, np.arange(order.size)):
            continue
        seen.add(key)
        moved = case.expected[:, order]
        if case.name == "hessian":
            moved = moved[:, :, order]
        if case.name == "hessian":
            one_side = [case.expected[:, order], case.expected[:, :, order]]
            if any(matches(case, model) for model in one_side):
                evidence = f"moved back, all {order.size} rows agree"
                yield Diagnosis(kind, case.name, f"{text}, on one side only.", evidence, 1.2)
        for sign, also in ((1, ""), (-1, " and the sign flipped")):
            if matches(case, sign * moved):
                evidence = f"moved back, all {order.size} entries agree"
                cost = 1.15 if sign == 1 else 2.0
                yield Diagnosis(kind, case.name, f"{text}{also}.", evidence, cost)


def _shifted_rows(case: Case) -> Iterator[Diagnosis]:
    """A matrix whose rows, or columns, are shifted against the others."""
    for axis, word in ((1, "row"), (2, "column")):
        for shift in (1, -1):
            if matches(case, np.roll(case.expected, shift, axis)):
                text = f"Every {word} of the Hessian is shifted by one."
                yield Diagnosis("off-by-one", case.name, text, "moved back, all entries agree", 1.1)


def _rearranged_jacobian(case: Case) -> Iterator[Diagnosis]:
    rows, columns = case.expected.shape[1:]
    moves = [("transposed", "It is transposed", case.expected.transpose(0, 2, 1))]
    moves = moves if rows == columns else []
    for axis, size, word in ((1, rows, "row"), (2, columns, "column")):
        for shift in (1, -1) if size > 1 else ():
            text = f"Every {word} is shifted by one"
            moves.append(("off-by-one", text, np.roll(case.expected, shift, axis)))
    for kind, text, moved in moves:
        if matches(case, moved):
            yield Diagnosis(kind, case.name, f"{text}.", "moved back, all entries agree", 1.15)


def orders(layout: Layout) -> Iterator[tuple[str, str, np.ndarray]]:
    """(kind, sentence, which entry of the right array stands in each place)."""
    whole = np.arange(layout.size)
    for part, shape, label in zip(layout.slices, layout.shapes, layout.labels, strict=True):
        name = label or "It"
        if len(shape) == 2:
            order = whole.copy()
            index = whole[part].reshape(shape)
            if shape[0] == shape[1]:
                order[part] = index.T.ravel()
                yield "transposed", f"{name} is transposed", order.copy()
            order[part] = index.ravel(order="F")
            yield "class-order", f"{name} is laid out column by column", order.copy()
            order[part] = index.reshape(shape[::-1]).T.ravel()
            yield "class-order", f"{name} is read in the order of its transpose", order
        for axis in range(len(shape)):
            for shift in (1, -1) if shape[axis] > 1 else ():
                order = whole.copy()
                order[part] = np.roll(whole[part].reshape(shape), shift, axis).ravel()
                yield "off-by-one", f"{name} is shifted by one along axis {axis}", order
    if len(layout.shapes) == 1 and len(layout.shapes[0]) == 1:
        yield from _flat_orders(layout.size)
    yield "off-by-one", "It is in reverse order", whole[::-1].copy()


def _flat_orders(size: int) -> Iterator[tuple[str, str, np.ndarray]]:
    """A flat vector that holds a (features × classes) table, intercepts last or first."""
    whole = np.arange(size)
    for classes in range(2, size // 2 + 1):
        if size % classes:
            continue
        rows = size // classes
        spans = [(slice(0, size), rows), (slice(0, size - classes), rows - 1)]
        spans.append((slice(classes, size), rows - 1))
        for span, height in spans:
            if height < 2:
                continue
            order = whole.copy()
            order[span] = whole[span].reshape(height, classes).T.ravel()
            text = f"Its {height} × {classes} table is in the order of the transpose"
            yield "class-order", text + " (class-major against feature-major)", order
            order = whole.copy()
            order[span] = whole[span].reshape(classes, height).T.ravel()
            yield "class-order", text + " (class-major against feature-major)", order
            for shift in (1, -1):
                for axis in (0, 1):
                    order = whole.copy()
                    table = whole[span].reshape(height, classes)
                    order[span] = np.roll(table, shift, axis).ravel()
                    yield "off-by-one", f"Its {height} × {classes} table is shifted by one", order
    for span in (slice(0, size - 1), slice(1, size)):
        for shift in (1, -1):
            order = whole.copy()
            order[span] = np.roll(whole[span], shift)
            yield "off-by-one", "It is shifted by one, but for the intercept", order

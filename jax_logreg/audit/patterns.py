"""Mistakes that can be seen in the numbers alone, whatever the function was."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jax_logreg.audit.diagnosis import KINDS, Diagnosis
from jax_logreg.audit.fitting import Case, fit_parts, matches, residual
from jax_logreg.audit.layout import Layout


class Numbers(NamedTuple):
    """Numbers that a forgotten or added factor may be, by name."""

    named: dict[str, float]

    def name(self, factor: float) -> str:
        """'2', or 'n = 50', or all that fit; the bare number if none does."""
        fitting = []
        for name, number in self.named.items():
            for shown, value in ((name, number), (f"1/{name}", 1 / number)):
                for sign, text in ((1, shown), (-1, f"−{shown}")):
                    if abs(factor - sign * value) <= 1e-6 * abs(value):
                        fitting.append(f"{text} = {sign * value:.6g}")
        plain = {2.0: "2", 0.5: "½", -1.0: "−1", -2.0: "−2", -0.5: "−½", 4.0: "4", 0.25: "¼"}
        simple = [text for value, text in plain.items() if abs(factor - value) <= 1e-9]
        return " or ".join(simple + fitting) or f"{factor:.7g}"


def proportional(case: Case, numbers: Numbers) -> Iterator[Diagnosis]:
    """hand = r · expected with one r for all points."""
    if not case.hand.any():
        yield Diagnosis("zero", case.name, "It is identically zero.", "every entry is 0", 0.5)
        return
    fit = fit_parts(case, [case.expected])
    (ratio,) = fit.factors
    if not fit.exact or ratio == 1:
        return
    evidence = f"ratio {ratio:.10g} at {len(case.hand)} points, residual {fit.residual:.0e}"
    if ratio == -1:
        yield Diagnosis("sign", case.name, "The sign is flipped.", evidence, 0.9)
    else:
        text = f"It is off by the factor {numbers.name(ratio)}."
        yield Diagnosis("factor", case.name, text, evidence, 1.0)


def constant(case: Case, kind: str, fixed: str) -> Iterator[Diagnosis]:
    """The same array too much at every point; what that is depends on the function."""
    if len(case.hand) < 2 or case.name == "hvp" or not np.isfinite(case.hand).all():
        return
    if np.all(case.hand == case.hand[0]) and np.ptp(case.expected, axis=0).any():
        text = "It gives the same answer at every point: a cache, or θ does not enter."
        yield Diagnosis("hidden-state", case.name, text, "equal to the last bit", 1.7)
        return
    mean = np.mean(case.error, axis=0)
    if matches(case, case.expected + mean):
        square = mean.ndim == 2 and mean.shape[0] == mean.shape[1]
        diagonal = square and not np.any(mean - np.diag(np.diag(mean)))
        if diagonal and mean.shape[0] > 1:
            return  # that is what a penalty looks like
        evidence = f"hand − reference is the same at {len(case.hand)} points"
        size = np.max(np.abs(mean))
        text = f"A part that does not depend on θ is wrong (by up to {size:.3g}): {fixed}."
        yield Diagnosis(kind, case.name, text, evidence, 1.5)


def confined(case: Case, layout: Layout, numbers: Numbers) -> Iterator[Diagnosis]:
    """Wrong in some coordinates, right in the others."""
    wrong: np.ndarray = np.any(case.wrong, axis=0)
    if (
        wrong.all()
        or not wrong.any()
        or not matches(case.restrict(~wrong), case.expected[:, ~wrong])
    ):
        return
    inside = case.restrict(wrong)
    fit = fit_parts(inside, [inside.expected])
    how = "there the ratio is not constant"
    ratio = fit.factors[0]
    if not inside.hand.any():
        how = "there it is zero"
    elif fit.exact:
        how = f"there the factor is {numbers.name(ratio)}"
    if wrong.ndim == 1:
        yield from _confined_vector(case, layout, wrong, how, fit.exact)
    else:
        yield from _confined_matrix(case, layout, wrong, how)


def _confined_vector(
    case: Case, layout: Layout, wrong: np.ndarray, how: str, exact: bool
) -> Iterator[Diagnosis]:
    places = np.flatnonzero(wrong)
    evidence = f"{len(places)} of {wrong.size} coordinates differ; {how}"
    if len(places) > 1 and case.wrong.reshape(len(case.wrong), -1).sum(axis=1).max() == 1:
        text = f"One coordinate at a time is wrong, not always the same ({how})."
        yield Diagnosis("coordinate", case.name, text, evidence, 1.05)
        return
    if len(places) == 1:
        text = f"Only {layout.name(int(places[0]))} is wrong ({how})."
        yield Diagnosis("coordinate", case.name, text, evidence, 1.05)
        return
    block = describe_block(layout, wrong)
    if block:
        cost = 1.3 if exact or how.endswith("zero") else 1.7
        text = f"Only {block} is wrong ({how})."
        yield Diagnosis("block", case.name, text, evidence, cost)
    else:
        names = ", ".join(layout.name(int(i)) for i in places[:4])
        more = f" and {len(places) - 4} more" if len(places) > 4 else ""
        text = f"Only {names}{more} are wrong ({how})."
        yield Diagnosis("block", case.name, text, evidence, 1.8)


def _confined_matrix(
    case: Case, layout: Layout, wrong: np.ndarray, how: str
) -> Iterator[Diagnosis]:
    rows, columns = np.nonzero(wrong)
    evidence = f"{len(rows)} of {wrong.size} entries differ; {how}"
    row_name = layout.name if case.name == "hessian" else str
    pair = {(int(a), int(b)) for a, b in zip(rows, columns, strict=True)}
    if len(pair) == 1 or (len(pair) == 2 and pair == {(b, a) for a, b in pair}):
        a, b = min(pair)
        text = f"Only the entry ({row_name(a)}, {layout.name(b)}) is wrong ({how})."
        yield Diagnosis("coordinate", case.name, text, evidence, 1.05)
        return
    block = _leaf_block(layout, wrong) if case.name == "hessian" else None
    if block:
        yield Diagnosis("block", case.name, f"Only {block} is wrong ({how}).", evidence, 1.08)
    if wrong.shape[0] == wrong.shape[1] and case.name == "hessian":
        for i in set(rows) & set(columns):
            rest = wrong.copy()
            rest[i, :] = rest[:, i] = False
            if not rest.any():
                text = f"Only the row and column of {layout.name(int(i))} are wrong ({how})."
                yield Diagnosis("coordinate", case.name, text, evidence, 1.1)
                return
    if len(set(rows)) == 1:
        text = f"Only row {row_name(int(rows[0]))} is wrong ({how})."
        yield Diagnosis("coordinate", case.name, text, evidence, 1.2)
    elif len(set(columns)) == 1:
        text = f"Only column {layout.name(int(columns[0]))} is wrong ({how})."
        yield Diagnosis("coordinate", case.name, text, evidence, 1.2)
    else:
        yield Diagnosis("block", case.name, f"Only a part is wrong ({how}).", evidence, 2.4)


def _leaf_block(layout: Layout, wrong: np.ndarray) -> str | None:
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


def describe_block(layout: Layout, wrong: np.ndarray) -> str | None:
    """One leaf, or one place along one axis of a leaf, in the user's words."""
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
            place = str(hit[0]) if names is None else str(names[hit[0]])
            before = ":, " * axis
            return f"{label}[{before}{place}{', :' * (len(shape) - axis - 1)}]"
    return label if len(layout.shapes) > 1 else None


def _misshapen(matrices: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    """(kind, sentence, what becomes of the matrices)."""
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


def misshapen_product(case: Case, hessians: np.ndarray) -> Iterator[Diagnosis]:
    """A Hessian–vector product with a triangle, a diagonal and the like."""
    assert case.vector is not None
    for kind, text, matrices in _misshapen(hessians):
        if matches(case, np.einsum("mij,mj->mi", matrices, case.vector)):
            yield Diagnosis(kind, case.name, f"Of the Hessian: {text}", "residual vanishes", 1.0)


def matrix_shapes(case: Case) -> Iterator[Diagnosis]:
    """Triangles, diagonals and inverses, of a square matrix."""
    if case.expected.ndim != 3 or case.expected.shape[1] != case.expected.shape[2]:
        return
    size = case.expected.shape[1]
    if size < 2:
        return
    eye = np.eye(size)
    for kind, text, model in _misshapen(case.expected):
        if matches(case, model):
            yield Diagnosis(kind, case.name, text, f"residual {residual(case, model):.0e}", 1.0)
    off = ~eye.astype(bool)
    if not case.hand[:, off].any() and case.expected[:, off].any():
        text = "Everything off the diagonal is zero, and the diagonal is not right either."
        yield Diagnosis("diagonal", case.name, text, "no entry off the diagonal", 1.4)
    with np.errstate(all="ignore"):
        product = case.hand @ case.expected
    if np.allclose(product, eye, atol=1e-6) and not np.allclose(case.expected, eye):
        yield Diagnosis("inverse", case.name, "It is the inverse.", "hand · reference = 1", 1.0)


def linear_in_parameters(
    case: Case, layout: Layout, strength: np.ndarray | None = None
) -> Iterator[Diagnosis]:
    """hand − expected = c ∘ θ (c ∘ v, or diag c): what a penalty leaves.

    ``strength`` is the curvature that the right penalty has, (P,), where it is known.
    """
    diagonal = _diagonal_slope(case)
    if diagonal is None:
        return
    active = np.abs(diagonal) > 1e-9 * np.max(np.abs(diagonal))
    values = diagonal[active]
    evidence = f"hand − reference = c·θ, c from {values.min():.6g} to {values.max():.6g}"
    text = f"A term linear in the parameters is wrong by {np.median(values):.6g} times θ"
    if not active.all():
        where = describe_block(layout, active) or f"{active.sum()} of {active.size} coordinates"
        text += f", in {where} only"
    if strength is None:
        kinds = ["penalty-missing", "penalty-factor"] if np.all(values < 0) else ["penalty-factor"]
    else:
        missing = np.allclose(values, -strength[active], rtol=1e-6)
        kinds = ["penalty-missing" if missing else "penalty-factor"]
    if not active.all() and np.all(values > 0) and np.ptp(values) <= 1e-6 * values.max():
        kinds = ["penalty-on-intercept"]
    cost = 1.1 if kinds == ["penalty-on-intercept"] else 1.6
    for kind in kinds:
        yield Diagnosis(kind, case.name, f"{text}: {KINDS[kind]}.", evidence, cost)


def _diagonal_slope(case: Case) -> np.ndarray | None:
    """c of every coordinate, or None where the error is no such thing."""
    if case.name == "jacobian" or len(case.hand) < 2:
        return None
    if case.name == "hessian":
        mean = np.nanmean(case.error, axis=0)
        only = np.diag(np.diag(mean))
        return np.diag(mean) if matches(case, case.expected + only) else None
    with_respect_to = case.theta if case.vector is None else case.vector
    total = np.sum(with_respect_to**2, axis=0)
    slope = np.sum(case.error * with_respect_to, axis=0) / np.where(total > 0, total, 1)
    noise = np.max(case.allowed, axis=0) / np.sqrt(np.where(total > 0, total, 1))
    slope = np.where(np.abs(slope) > noise, slope, 0.0)
    return slope if slope.any() and matches(case, case.expected + slope * with_respect_to) else None


def scaled_rows(case: Case) -> Iterator[Diagnosis]:
    """A Jacobian whose rows, or columns, each have a factor of their own."""
    if case.name != "jacobian":
        return
    for axis, word in ((2, "row"), (1, "column")):
        top = np.nansum(case.hand * case.expected, axis=(0, axis), keepdims=True)
        bottom = np.nansum(case.expected**2, axis=(0, axis), keepdims=True)
        factor = top / np.where(bottom > 0, bottom, 1)
        if factor.size > 1 and np.ptp(factor) > 1e-6 and matches(case, factor * case.expected):
            text = f"Every {word} has a factor of its own, {factor.min():.4g} to {factor.max():.4g}"
            kind = "weights" if word == "row" else "factor"
            evidence = "the same factors at every point"
            yield Diagnosis(kind, case.name, f"{text}: weights?", evidence, 1.4)
            return
    top = np.sum(case.hand * case.expected, axis=2, keepdims=True)
    bottom = np.sum(case.expected**2, axis=2, keepdims=True)
    factor = top / np.where(bottom > 0, bottom, 1)
    if case.expected.shape[2] > 1 and matches(case, factor * case.expected):
        text = "Every row has a factor that depends on the point, as when a link of the chain rule is missing"  # noqa: E501
        evidence = f"factors from {factor.min():.4g} to {factor.max():.4g}"
        yield Diagnosis("chain-factor", case.name, f"{text}.", evidence, 1.5)

"""Matrices: triangles, diagonals, blocks and rows of a Hessian or a Jacobian."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jax_logreg.audit.layout import PytreeLayout
from jax_logreg.audit.match import (
    LOCATED,
    Diagnosis,
    Mismatch,
    complexity,
    fit_parts,
    inner_sentence,
    matches,
    residual,
)
from jax_logreg.audit.patterns import proportional
from jax_logreg.audit.places import as_slice, block_of
from jax_logreg.audit.user_names import UserNames


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


# What makes a matrix right that has one of these shapes.
_FIXES = {
    "Only the upper triangle is filled.": "{0} = np.triu({0}) + np.triu({0}, 1).T",
    "Only the lower triangle is filled.": "{0} = np.tril({0}) + np.tril({0}, -1).T",
    "The diagonal is counted twice.": "{0} -= np.diag(np.diag({0})) / 2",
    "The diagonal is halved.": "{0} += np.diag(np.diag({0}))",
    "The sign off the diagonal is flipped.": "{0} = 2 * np.diag(np.diag({0})) - {0}",
}


def matrix_shapes(mismatch: Mismatch, names: UserNames) -> Iterator[Diagnosis]:
    """Triangles, diagonals and inverses, of a square matrix."""
    expected, hand, name = mismatch.expected, mismatch.hand, mismatch.name
    if expected.ndim != 3 or expected.shape[1] != expected.shape[2] or expected.shape[1] < 2:
        return
    eye = np.eye(expected.shape[1])
    for kind, text, model in misshapen_matrices(expected):
        if matches(mismatch, model):
            fix = _FIXES.get(text, "").format(names.result)
            evidence = f"residual {residual(mismatch, model):.0e}"
            yield Diagnosis(kind, name, text, evidence, fix=fix)
    off = ~eye.astype(bool)
    if not hand[:, off].any() and expected[:, off].any():
        text = "Everything off the diagonal is zero, and the diagonal is not right either."
        effort = complexity(pieces=1, vagueness=LOCATED)
        yield Diagnosis("diagonal", name, text, "no entry off the diagonal", effort)
    with np.errstate(all="ignore"):
        product = hand @ expected
    if np.allclose(product, eye, atol=1e-6) and not np.allclose(expected, eye):
        yield Diagnosis("inverse", name, "It is the inverse.", "hand · reference = 1")


def scaled_rows(mismatch: Mismatch) -> Iterator[Diagnosis]:
    """A Jacobian whose rows, or columns, each have a factor of their own."""
    expected = mismatch.expected
    if mismatch.name != "jacobian":
        return

    for axis, word, kind in ((2, "row", "weights"), (1, "column", "factor")):
        factor = np.nan_to_num(mismatch.ratio((0, axis)))
        if factor.size > 1 and np.ptp(factor) > 1e-6 and matches(mismatch, factor * expected):
            text = f"Every {word} has a factor of its own, {factor.min():.4g} to {factor.max():.4g}: weights?"  # noqa: E501
            effort = complexity(factors=1, vagueness=LOCATED)
            yield Diagnosis(kind, "jacobian", text, "the same factors at every point", effort)
            return
    factor = np.nan_to_num(mismatch.ratio(2))
    if expected.shape[2] > 1 and matches(mismatch, factor * expected):
        text = "Every row has a factor that depends on the point, as when a link of the chain rule is missing."  # noqa: E501
        evidence = f"factors from {factor.min():.4g} to {factor.max():.4g}"
        effort = complexity(factors=1, vagueness=LOCATED)
        yield Diagnosis("chain-factor", "jacobian", text, evidence, effort)


class _Part(NamedTuple):
    """A part of θ: its name, and as code."""

    name: str
    span: str


def matrix_blocks(
    mismatch: Mismatch, layout: PytreeLayout, names: UserNames
) -> Iterator[Diagnosis]:
    """What one part of θ has with another, or with itself, is wrong; all else is right."""
    if mismatch.name != "hessian" or layout.size < 2:
        return
    yield from _unconnected(mismatch, layout)
    wrong = np.any(mismatch.wrong, axis=0)
    upper, lower = np.triu(wrong, 1), np.tril(wrong, -1)
    if np.diag(wrong).any() or not wrong.any():
        return
    corners = upper | lower.T
    rows, columns = _range(corners.any(axis=1)), _range(corners.any(axis=0))
    if rows.stop > columns.start:
        return
    a, b = (_part(layout, part) for part in (rows, columns))
    block = np.zeros_like(wrong)
    block[rows, columns] = True
    mask = (block & upper.any()) | (block.T & lower.any())
    inside = mismatch.restrict(mask)
    if not matches(mismatch.restrict(~mask), mismatch.expected[:, ~mask]):
        return
    how, kinds, fix = "", ["block"], ""
    for d in proportional(inside, names):
        how, kinds = inner_sentence(d.message), ["block", d.kind]
    if not how and rows.stop - rows.start == columns.stop - columns.start:
        turned = mismatch.expected.copy()
        turned[:, rows, columns] = mismatch.expected[:, rows, columns].transpose(0, 2, 1)
        turned[:, columns, rows] = mismatch.expected[:, columns, rows].transpose(0, 2, 1)
        if matches(inside, turned[:, mask]):
            how, kinds = "it is transposed", ["transposed", "block"]
    one_sided = upper.any() != lower.any()
    if one_sided:
        to, of = (a, b) if upper.any() else (b, a)
        fix = f"H[{to.span}, {of.span}] = H[{of.span}, {to.span}].T"
        where = "above" if upper.any() else "below"
        how = f"{how or 'it is wrong'}; its transpose, on the other side of the diagonal, is right"
        a = a._replace(name=f"{a.name} ({where} the diagonal)")
    if block.sum() == 1:
        kinds = ["coordinate", *(kind for kind in kinds if kind != "block")]
    if how:
        text = f"Only the block of {a.name} with {b.name} is wrong: {how}."
        evidence = f"{int(wrong.sum())} of {wrong.size} entries differ"
        for kind in kinds:
            effort = complexity(1, vagueness=0.25)
            yield Diagnosis(kind, mismatch.name, text, evidence, effort, fix)


def _range(mask: np.ndarray) -> slice:
    hit = np.flatnonzero(mask)
    return slice(int(hit[0]), int(hit[-1]) + 1)


def _part(layout: PytreeLayout, part: slice) -> _Part:
    """The name of a range of θ: of an array, or a slice."""
    mask = np.zeros(layout.size, bool)
    mask[part] = True
    return _Part(block_of(layout, mask).name, as_slice(part.start, part.stop, layout.size))


def _unconnected(mismatch: Mismatch, layout: PytreeLayout) -> Iterator[Diagnosis]:
    """Blocks on the diagonal only: the parts of θ have nothing to do with one another."""
    hand, size = mismatch.hand, layout.size
    filled = np.any(hand != 0, axis=0)
    cuts = [0, *(k for k in range(1, size) if not _crosses(filled, k)), size]
    if not 2 < len(cuts) <= max(3, size):
        return
    parts = [slice(a, b) for a, b in itertools.pairwise(cuts)]
    mask = np.zeros((size, size), bool)
    for part in parts:
        mask[part, part] = True
    # One number in every part is "only the diagonal is filled".
    if len(parts) < size and matches(mismatch, np.where(mask, mismatch.expected, 0.0)):
        named = [_part(layout, part).name for part in parts]
        what = f"that of {named[0]} with {named[1]}" if len(parts) == 2 else "those between"
        text = f"Blocks off the diagonal are zero: {what}{'' if len(parts) == 2 else ' ' + ', '.join(named)}."  # noqa: E501
        yield Diagnosis("block", "hessian", text, "all entries on the blocks of the diagonal agree")


def _crosses(filled: np.ndarray, k: int) -> bool:
    return bool(filled[:k, k:].any() or filled[k:, :k].any())


def with_gradients(mismatch: Mismatch, slopes: np.ndarray, names: UserNames) -> Iterator[Diagnosis]:
    """A Hessian with a term of the gradient too much or too little, or in its place.

    Args:
        mismatch: of a Hessian.
        slopes: the gradient at each point, (m, P).
        names: of the user.
    """
    outer = slopes[:, :, None] * slopes[:, None, :]
    diagonal = slopes[:, :, None] * np.eye(slopes.shape[1])
    whole = fit_parts(mismatch, [outer])
    if whole.exact and whole.factors[0] != 0:
        text = "The outer product of the gradient with itself stands in for the Hessian."
        yield Diagnosis("fisher", "hessian", text, f"factor {whole.factors[0]:.6g}")
    error = mismatch._replace(hand=mismatch.error, expected=np.zeros_like(mismatch.expected))
    chain = "as in the second derivative of a parameter that is transformed"
    terms = (
        ("fisher", outer, "the gradient's outer product", "as in the Hessian of a logarithm"),
        ("chain-factor", diagonal, "the gradient on the diagonal", chain),
    )
    for kind, part, what, why in terms:
        fit = fit_parts(error._replace(expected=part), [part])
        if fit.exact and fit.factors[0] != 0:
            (c,) = fit.factors
            how = "is missing" if c < 0 else "is too much"
            also = "" if abs(c) == 1 else f", with the factor {names.describe(abs(c))}"
            text = f"A term {what} {how}{also}, {why}."
            evidence = f"hand − reference = {c:.8g} of it, residual {fit.residual:.0e}"
            effort = complexity(1, factors=int(abs(c) != 1 and not names.has_name(c)))
            yield Diagnosis(kind, "hessian", text, evidence, effort)
    used = np.any(np.abs(mismatch.error) > mismatch.allowed, axis=0)
    if not np.any(used & ~np.eye(len(used), dtype=bool)) and np.diag(used).any():
        inside = np.diag(used) & True
        part = diagonal * inside[:, None]
        fit = fit_parts(error._replace(expected=part), [part])
        if fit.exact and not inside.all() and fit.factors[0] in (-1.0, 1.0):
            how = "is missing" if fit.factors[0] < 0 else "is too much"
            text = f"The gradient {how} on the diagonal, {chain}, in {int(inside.sum())} of {len(inside)} parameters."  # noqa: E501
            yield Diagnosis("chain-factor", "hessian", text, "hand − reference = ∓ gradient there")

"""Blocks: which part of a derivative is wrong, and how, each with a mistake of its own.

A block is an array of the user's pytree; in a flat θ, a run of entries that are wrong alike;
in a Hessian, what one part of θ has with another.
"""

from collections.abc import Callable, Iterator
from itertools import groupby

import numpy as np

from jax_logreg.audit import patterns, penalties
from jax_logreg.audit.layout import PytreeLayout
from jax_logreg.audit.match import (
    COMPLEX,
    LOCATED,
    NEARLY,
    SLACK,
    VAGUE,
    Diagnosis,
    Mismatch,
    complexity,
    fit_parts,
    inner_sentence,
    matches,
    rank,
)
from jax_logreg.audit.places import (
    Block,
    block_of_array,
    describe_block,
    describe_blocks_of_matrix,
    run_of,
)
from jax_logreg.audit.user_names import UserNames
from jax_logreg.audit.varying_factors import (
    Factor,
    common_factors,
    factors_of_one,
    varying_factor,
)

# Up to this many parameters a factor may be a function of any one of them; and entries are
# looked for in all other places.
_MAX_OTHERS = 100
_MAX_PLACES = 500
# A flat θ is cut into no more runs than this.
_MAX_RUNS = 4
# Kinds that say less than the place does.
_PLAIN_KINDS = ("factor", "zero", "sign")


def other_factors(mismatch: Mismatch, layout: PytreeLayout, names: UserNames) -> list[Factor]:
    """Factors that may be common to all entries of a block."""
    found = [f._replace(code=f.code.format(names.theta)) for f in common_factors(mismatch)]
    if layout.size <= _MAX_OTHERS:
        paths = [
            (layout.name(int(i)), names.theta + path + _index(shape, int(i) - part.start))
            for part, shape, path in zip(layout.slices, layout.shapes, names.paths(), strict=True)
            for i in range(part.start, part.stop)
        ]
        found += factors_of_one(mismatch.theta, paths)
    return found


def _index(shape: tuple[int, ...], flat: int) -> str:
    return f"[{', '.join(map(str, np.unravel_index(flat, shape)))}]" if shape else ""


def confined(mismatch: Mismatch, layout: PytreeLayout, names: UserNames) -> Iterator[Diagnosis]:
    """Each wrong block with a mistake of its own; the others are right."""
    if mismatch.hand.ndim == 2:
        others = other_factors(mismatch, layout, names)
        blocks = list(_wrong_blocks(mismatch, layout))
        how = [how_wrong(mismatch, block, names, others) for block in blocks]
        found = [d for d in how if d is not None]
        if found and len(found) == len(how):
            yield from _composed(mismatch, blocks, found)


def _wrong_blocks(mismatch: Mismatch, layout: PytreeLayout) -> Iterator[Block]:
    if len(layout.shapes) == 1 and len(layout.shapes[0]) == 1:
        yield from _runs(mismatch, layout)
        return
    wrong = np.any(mismatch.wrong, axis=0)
    for leaf, part in enumerate(layout.slices):
        if wrong[part].any():
            block = block_of_array(layout, leaf, wrong)
            if not block.mask.all():
                yield block


def _runs(mismatch: Mismatch, layout: PytreeLayout) -> Iterator[Block]:
    """Runs of a flat θ whose entries are wrong alike; none if they are many."""
    factors = _constant_ratios(mismatch)
    wrong = np.any(mismatch.wrong, axis=0)
    alike = [
        "" if not bad else "varying" if not np.isfinite(c) else f"{c:.6g}"
        for bad, c in zip(wrong, factors, strict=True)
    ]
    groups = [(key, list(run)) for key, run in groupby(range(layout.size), alike.__getitem__)]
    runs = [slice(run[0], run[-1] + 1) for key, run in groups if key]
    if len(runs) > _MAX_RUNS or (len(runs) == 1 and wrong.all()):
        return
    yield from (run_of(layout, run) for run in runs)


def _constant_ratios(mismatch: Mismatch) -> np.ndarray:
    """hand / expected of every entry, NaN where it is not the same at all points."""
    (c,) = mismatch.ratio(0)
    with np.errstate(all="ignore"):
        off = np.abs(mismatch.hand - c * mismatch.expected) / np.maximum(1, np.abs(c))
    fits = np.all(~(off > SLACK * mismatch.allowed), axis=0)
    return np.where(fits, c, np.nan)


def how_wrong(
    mismatch: Mismatch, block: Block, names: UserNames, others: list[Factor]
) -> Diagnosis | None:
    """The least complex mistake of one block by itself; None if it has no known one."""
    inside = mismatch.restrict(block.mask)._replace(theta=mismatch.theta[:, block.mask])
    if mismatch.vector is not None:
        inside = inside._replace(vector=mismatch.vector[:, block.mask])
    local = names.within(block.path)
    tried: tuple[Callable[[], Iterator[Diagnosis]], ...] = (
        lambda: patterns.proportional(inside, local),
        lambda: patterns.rearranged(inside, block.layout, local),
        lambda: penalties.linear_in_parameters(inside, block.layout, local),
        lambda: varying_factor(inside, local, others),
    )
    for generate in tried:
        found = [d for d in rank(generate()) if d.complexity < COMPLEX]
        if found:
            return found[0]
    return None


def _composed(
    mismatch: Mismatch, blocks: list[Block], found: list[Diagnosis]
) -> Iterator[Diagnosis]:
    """One diagnosis of all the blocks, by each of the kinds that it has."""
    by_message: dict[str, list[int]] = {}
    for i, diagnosis in enumerate(found):
        by_message.setdefault(diagnosis.message, []).append(i)
    places = [" and ".join(blocks[i].name for i in m) for m in by_message.values()]
    how = list(map(inner_sentence, by_message))
    all_wrong = np.any([block.mask for block in blocks], axis=0).all()
    text = "; ".join(f"in {place}, {what}" for place, what in zip(places, how, strict=True))
    if len(how) == 1:
        text = f"only {places[0]} {'is' if len(blocks) == 1 else 'are'} wrong: {how[0]}"
    elif not all_wrong:
        text = f"only {' and '.join(places)} are wrong: {text}"
    text = f"{text[0].upper()}{text[1:]}."
    evidence = f"{int(np.any(mismatch.wrong, axis=0).sum())} of {mismatch.wrong.shape[1]} entries differ; {found[0].evidence}"  # noqa: E501
    fix = "; ".join(d.fix for d in found) if all(d.fix for d in found) else ""
    effort = complexity(vagueness=LOCATED) + sum(
        found[members[0]].complexity for members in by_message.values()
    )
    place = "coordinate" if sum(b.mask.sum() for b in blocks) == 1 else "block"
    kinds = list(dict.fromkeys(d.kind for d in found))
    plain = all(kind in _PLAIN_KINDS for kind in kinds)
    for kind in [place, *kinds] if plain else [*kinds, place]:
        yield Diagnosis(kind, mismatch.name, text, evidence, effort, fix)


def located(mismatch: Mismatch, layout: PytreeLayout, names: UserNames) -> Iterator[Diagnosis]:
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
    # It is located only if it is known how it is off; one coordinate is nearly so.
    is_known = fit.exact or not inside.hand.any() or wrong.ndim == 2
    located = place is not None and is_known
    nearly = place is not None and kind == "coordinate" and not fit.exact and inside.hand.any()
    effort = complexity(factors=1, vagueness=NEARLY if nearly else LOCATED if located else VAGUE)
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
        block = describe_blocks_of_matrix(layout, wrong)
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

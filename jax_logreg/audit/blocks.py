"""Blocks: which part of a derivative is wrong, and how, each with a mistake of its own.

A block is an array of the user's pytree; in a flat θ, a run of entries that are wrong alike;
in a Hessian, what one part of θ has with another.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

import numpy as np

from jax_logreg.audit import patterns, penalties
from jax_logreg.audit.entry_factors import (
    Factor,
    common_factors,
    factors_of_one,
    varying_factor,
)
from jax_logreg.audit.layout import PytreeLayout
from jax_logreg.audit.match import (
    COMPLEX,
    LOCATED,
    SLACK,
    Diagnosis,
    Mismatch,
    complexity,
    rank,
)
from jax_logreg.audit.user_names import UserNames

# Up to this many parameters a factor may be a function of any one of them; and entries are
# looked for in all other places.
_MAX_OTHERS = 100
_MAX_PLACES = 500
# A flat θ is cut into no more runs than this.
_MAX_RUNS = 4
# Kinds that say less than the place does.
_PLAIN_KINDS = ("factor", "zero", "sign")


class Block(NamedTuple):
    """A part of θ.

    Attributes:
        name: in words.
        path: behind the name of θ in code.
        mask: its entries, (P,).
        layout: of the part alone.
    """

    name: str
    path: str
    mask: np.ndarray
    layout: PytreeLayout


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
    paths = UserNames(layout=layout).paths()
    parts = zip(layout.slices, layout.shapes, layout.labels, layout.axes, paths, strict=True)
    for part, shape, label, axes, path in parts:
        if not wrong[part].any():
            continue
        mask = np.zeros(layout.size, bool)
        mask[part] = True
        name, leaf = label or "θ", replace(layout, shapes=(shape,), labels=("",), axes=(axes,))
        place = patterns.describe_block(layout, np.where(mask, wrong, False))
        inside = wrong[part].reshape(shape)
        for axis in range(len(shape) if len(shape) > 1 else 0):
            hit = np.flatnonzero(inside.any(axis=tuple(a for a in range(len(shape)) if a != axis)))
            if len(hit) == 1 and place:
                index = (slice(None),) * axis + (int(hit[0]),)
                inside = np.zeros(shape, bool)
                inside[index] = True
                mask[part] = inside.ravel()
                name, path = place, f"{path}[{':, ' * axis}{hit[0]}]"
                leaf = replace(leaf, shapes=((int(inside.sum()),),), axes=((None,),))
                break
        if mask.sum() < layout.size:
            yield Block(name, path, mask, replace(leaf, flat_names=None, treedef=None))


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


def run_of(layout: PytreeLayout, run: slice) -> Block:
    """Entries of a flat θ that follow one another."""
    mask = np.zeros(layout.size, bool)
    mask[run] = True
    size = run.stop - run.start
    part = replace(
        layout, shapes=((size,),), labels=("",), axes=((None,),), flat_names=None, treedef=None
    )
    if size == 1:
        return Block(layout.name(run.start), f"[{run.start}]", mask, part)
    first, last = layout.name(run.start), layout.name(run.stop - 1)
    span = patterns.as_slice(run.start, run.stop, layout.size)
    named = f"θ[{span}]" if "θ" in first else f"{first} to {last}"
    return Block(named, f"[{span}]", mask, part)


def _constant_ratios(mismatch: Mismatch) -> np.ndarray:
    """hand / expected of every entry, NaN where it is not the same at all points."""
    unit = 1 / np.where(mismatch.allowed > 0, mismatch.allowed, np.inf)
    h, e = mismatch.hand * unit, mismatch.expected * unit
    with np.errstate(all="ignore"):
        c = np.nansum(h * e, axis=0) / np.nansum(e**2, axis=0)
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
    how = [f"{message[0].lower()}{message[1:].rstrip('.')}" for message in by_message]
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

"""Entries that one mistake explains, beside entries that are right or have another mistake.

Each model is the whole derivative with one known mistake: data changed, or a link of the chain
rule. A mistake of a single block of θ is made in some entries only, so a model counts where it
reproduces what is wrong; what is left over must be right, or have a mistake of its own.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from jax_logreg.audit.blocks import Block, how_wrong, other_factors, run_of
from jax_logreg.audit.layout import PytreeLayout
from jax_logreg.audit.match import COMPLEX, LOCATED, SLACK, Diagnosis, Mismatch, complexity
from jax_logreg.audit.mistakes import changed_data
from jax_logreg.audit.pairs import Model, inner_sentence
from jax_logreg.audit.reference import Autodiff
from jax_logreg.audit.traced import TracedFunction
from jax_logreg.audit.user_names import UserNames

# Data of more arrays, or of more numbers, are not changed; nor are those of a longer value.
_MAX_ARRAYS, _MAX_DATA, _MAX_STEPS = 20, 100_000, 300


def with_changed_data(
    mismatch: Mismatch, function: TracedFunction, names: list[str]
) -> Iterator[Model]:
    """The derivative of the value with every array changed in every way, one at a time.

    Args:
        mismatch: of the derivative.
        function: the value.
        names: of the arrays that it uses.
    """
    constants = function.constants
    sizes = [np.size(c) for c in constants]
    if len(sizes) > _MAX_ARRAYS or sum(sizes) > _MAX_DATA:
        return
    if len(function.closed.jaxpr.eqns) > _MAX_STEPS:
        return
    for place, datum in enumerate(constants):
        array = np.asarray(datum)
        if array.dtype.kind not in "fb" or not array.size:
            continue
        for kind, words, changed in changed_data(array):
            others = [*constants[:place], changed.astype(array.dtype), *constants[place + 1 :]]
            other = Autodiff(function.with_constants(others))
            numbers = other.at_rows(mismatch.name, *mismatch.call_arguments)
            text = f"It would be right with {words} {names[place]}"
            yield Model(kind, lambda text=text: text, numbers)


def in_pieces(
    mismatch: Mismatch, layout: PytreeLayout, names: UserNames, models: Iterable[Model]
) -> Iterator[Diagnosis]:
    """One model where it reproduces what is wrong; elsewhere right, or another mistake."""
    if mismatch.hand.ndim != 2:
        return
    wrong = np.any(mismatch.wrong, axis=0)
    models = [model for model in models if np.isfinite(model.numbers).all()]
    explained = [wrong & _reproduced(mismatch, model) for model in models]
    others = other_factors(mismatch, layout, names)
    for model, mask in zip(models, explained, strict=True):
        rest = wrong & ~mask
        if not mask.any():
            continue
        if not rest.any():
            yield from _alone(mismatch, layout, model, mask)
            continue
        block = _block(layout, rest)
        second = how_wrong(mismatch, block, names, others)
        if second is None:
            also = [m for m, by in zip(models, explained, strict=True) if by[rest].all()]
            if not also:
                continue
            second = Diagnosis(also[0].kind, mismatch.name, also[0].text(), "", complexity(1))
        place = _block(layout, mask).name
        text = f"Two mistakes: in {place}, {inner_sentence(model.text())}; in {block.name}, {inner_sentence(second.message)}."  # noqa: E501
        evidence = "with these the numbers are reproduced at every point"
        effort = complexity(1, vagueness=LOCATED) + second.complexity
        for kind in dict.fromkeys((model.kind, second.kind)):
            yield Diagnosis(kind, mismatch.name, text, evidence, effort)


def _alone(
    mismatch: Mismatch, layout: PytreeLayout, model: Model, mask: np.ndarray
) -> Iterator[Diagnosis]:
    """Everything that is wrong has this mistake."""
    if mask.all() or _reproduced(mismatch, model).all():
        text, effort = f"{model.text().rstrip('.')}.", complexity(1)
    else:
        text = f"Only {_block(layout, mask).name} is wrong: {inner_sentence(model.text())}."
        effort = complexity(1, vagueness=LOCATED)
    evidence = "with this the numbers are reproduced at every point"
    yield Diagnosis(model.kind, mismatch.name, text, evidence, min(effort, COMPLEX))


def _reproduced(mismatch: Mismatch, model: Model) -> np.ndarray:
    """Which entries a model reproduces at every point, (P,)."""
    with np.errstate(all="ignore"):
        off = np.abs(mismatch.hand - model.numbers)
    return np.all(off <= SLACK * mismatch.allowed, axis=0)


def _block(layout: PytreeLayout, mask: np.ndarray) -> Block:
    """Some entries of θ, by the name of their array, as a slice, or one by one."""
    places = np.flatnonzero(mask)
    for part, shape, label, axes in zip(
        layout.slices, layout.shapes, layout.labels, layout.axes, strict=True
    ):
        if label and np.array_equal(places, np.arange(part.start, part.stop)):
            leaf = replace(layout, shapes=(shape,), labels=("",), axes=(axes,), flat_names=None)
            return Block(label, "", mask, replace(leaf, treedef=None))
    if np.array_equal(places, np.arange(places[0], places[-1] + 1)):
        return run_of(layout, slice(int(places[0]), int(places[-1]) + 1))
    shape = (len(places),)
    part = replace(layout, shapes=(shape,), labels=("",), axes=((None,),), flat_names=None)
    shown = ", ".join(layout.name(int(i)) for i in places[:4])
    name = shown if len(places) <= 4 else f"{len(places)} entries ({shown}, …)"
    return Block(name, "", mask, replace(part, treedef=None))

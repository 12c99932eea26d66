"""Entries that one mistake explains, beside entries that are right or have another mistake.

Each model is the whole derivative with one known mistake: data changed, or a link of the chain
rule. A mistake of a single block of θ is made in some entries only, so a model counts where it
reproduces what is wrong; what is left over must be right, or have a mistake of its own.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
from jax.extend import core

from jax_logreg.audit.blocks import how_wrong, other_factors
from jax_logreg.audit.layout import PytreeLayout
from jax_logreg.audit.match import (
    LOCATED,
    SLACK,
    Diagnosis,
    Mismatch,
    complexity,
    inner_sentence,
    matches,
)
from jax_logreg.audit.mistakes import changed_data, is_mask
from jax_logreg.audit.pairs import Model
from jax_logreg.audit.places import block_of
from jax_logreg.audit.reference import Autodiff
from jax_logreg.audit.source_lines import source_of
from jax_logreg.audit.steps import depending_steps
from jax_logreg.audit.traced import TracedFunction
from jax_logreg.audit.user_names import UserNames

# Data of more arrays, or of more numbers, are not changed; nor are those of a longer value.
_MAX_ARRAYS, _MAX_DATA, _MAX_STEPS = 20, 100_000, 300
_COMPARISONS = {"lt", "le", "gt", "ge"}
_REPRODUCED = "with this the numbers are reproduced at every point"


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
    for name, datum in zip(names, constants, strict=True):
        array = np.asarray(datum)
        if array.dtype.kind not in "fb" or not array.size:
            continue
        for kind, words, changed in changed_data(array):
            other = Autodiff(function.with_constants(_changed(constants, array, changed)))
            numbers = other.at_rows(mismatch.name, *mismatch.call_arguments)
            text = f"It would be right with {words} {name}"
            yield Model(kind, partial(str, text), numbers)


def _changed(constants: list[Any], array: np.ndarray, changed: np.ndarray) -> list[Any]:
    """The constants with an array changed wherever it is used; so is 1 minus a mask."""

    def of(constant: Any) -> Any:
        if np.shape(constant) != array.shape:
            return constant
        if np.array_equal(constant, array):
            return changed.astype(array.dtype)
        if is_mask(array) and np.array_equal(constant, 1.0 - array):
            return (1.0 - changed).astype(constant.dtype)
        return constant

    return [of(constant) for constant in constants]


def with_conditions(mismatch: Mismatch, function: TracedFunction) -> Iterator[Model]:
    """The derivative of the value with a condition on θ that holds everywhere, or nowhere.

    So the derivative of one branch of a np.where, of a mask or of a piecewise loss, is taken for
    all rows.
    """
    jaxpr = function.closed.jaxpr
    for place, eqn, _ in depending_steps(jaxpr, lambda eqn: True):
        if eqn.primitive.name not in _COMPARISONS or len(jaxpr.eqns) > _MAX_STEPS:
            continue
        (outcome,) = eqn.outvars
        steps = [*jaxpr.eqns[:place], *jaxpr.eqns[place + 1 :]]
        changed = jaxpr.replace(eqns=steps, constvars=[*jaxpr.constvars, outcome])
        for holds, where in ((True, "everywhere"), (False, "nowhere")):
            constants = [*function.constants, np.full(outcome.aval.shape, holds)]
            closed = core.ClosedJaxpr(changed, constants)
            other = TracedFunction(closed, (function.identity, place))
            numbers = Autodiff(other).at_rows(mismatch.name, *mismatch.call_arguments)
            text = f"It would be right if a condition held {where}: a mask, a branch or a clip is forgotten{source_of(eqn)}"  # noqa: E501
            yield Model("chain-factor", partial(str, text), numbers)


def in_pieces(
    mismatch: Mismatch, layout: PytreeLayout, names: UserNames, models: Iterable[Model]
) -> Iterator[Diagnosis]:
    """One model where it reproduces what is wrong; elsewhere right, or another mistake."""
    models = [model for model in models if np.isfinite(model.numbers).all()]
    for model in models:
        if matches(mismatch, model.numbers):
            yield Diagnosis(model.kind, mismatch.name, f"{model.text()}.", _REPRODUCED)
    if mismatch.hand.ndim == 2:
        yield from _in_blocks(mismatch, layout, names, models)


def _in_blocks(
    mismatch: Mismatch, layout: PytreeLayout, names: UserNames, models: list[Model]
) -> Iterator[Diagnosis]:
    wrong = np.any(mismatch.wrong, axis=0)
    agree = [_reproduced(mismatch, model) for model in models]
    explained = [wrong & reproduced for reproduced in agree]
    others = other_factors(mismatch, layout, names)
    for model, mask, reproduced in zip(models, explained, agree, strict=True):
        rest = wrong & ~mask
        if not mismatch.hand[:, mask].any():  # zeros are no evidence for a model
            continue
        place = block_of(layout, _filled(layout, mask, reproduced)).name
        if not rest.any():
            text = f"Only {place} is wrong: {inner_sentence(model.text())}."
            effort = complexity(1, vagueness=LOCATED)
            yield Diagnosis(model.kind, mismatch.name, text, _REPRODUCED, effort)
            continue
        block = block_of(layout, rest)
        second = how_wrong(mismatch, block, names, others)
        if second is None:
            also = [m for m, by in zip(models, explained, strict=True) if by[rest].all()]
            if not also:
                continue
            second = Diagnosis(also[0].kind, mismatch.name, also[0].text(), "", complexity(1))
        text = f"Two mistakes: in {place}, {inner_sentence(model.text())}; in {block.name}, {inner_sentence(second.message)}."  # noqa: E501
        effort = complexity(1, vagueness=LOCATED + 0.25) + second.complexity
        for kind in dict.fromkeys((model.kind, second.kind)):
            yield Diagnosis(kind, mismatch.name, text, _REPRODUCED, effort)


def _reproduced(mismatch: Mismatch, model: Model) -> np.ndarray:
    """Which entries a model reproduces at every point, (P,)."""
    with np.errstate(all="ignore"):
        off = np.abs(mismatch.hand - model.numbers)
    return np.all(off <= SLACK * mismatch.allowed, axis=0)


def _filled(layout: PytreeLayout, mask: np.ndarray, reproduced: np.ndarray) -> np.ndarray:
    """A mask with the rest of its arrays, where that agrees whichever way it is computed."""
    full = mask.copy()
    for part in layout.slices if len(layout.slices) > 1 else ():
        full[part] |= mask[part].any() and reproduced[part].all()
    return full

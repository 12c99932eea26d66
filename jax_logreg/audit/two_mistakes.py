"""Two mistakes at once: one on top of the other, or each in its own part of θ.

A model is what the derivative would be with one known mistake. Against it, in place of the
reference, the hand-written numbers are explained once more; or a mistake of a single block of θ
is made in some entries only, so a model counts where it reproduces what is wrong, and what is
left over must be right, or have a mistake of its own. That both are needed is certain: neither
alone reproduced the numbers.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from jax_logreg.audit import blocks, patterns, penalties
from jax_logreg.audit.layout import PytreeLayout
from jax_logreg.audit.match import (
    COMPLEX,
    LOCATED,
    REPRODUCED,
    SLACK,
    Diagnosis,
    Mismatch,
    complexity,
    inner_sentence,
    matches,
    rank,
)
from jax_logreg.audit.models import Model
from jax_logreg.audit.places import block_of
from jax_logreg.audit.user_names import UserNames

# Above this many parameters orders of the entries are not tried a second time.
_MAX_ORDERED = 60


def by_two_mistakes(
    mismatch: Mismatch, layout: PytreeLayout, names: UserNames, models: Iterable[Model]
) -> Iterator[Diagnosis]:
    """A model's mistake, and a factor, a penalty, an order or a block beside it."""
    for model in models:
        changed = np.any(np.abs(model.numbers - mismatch.expected) > SLACK * mismatch.allowed)
        if not changed or not np.isfinite(model.numbers).all():
            continue
        second = _second(model.against(mismatch), mismatch, layout, names)
        for d in second:
            text = f"Two mistakes: {inner_sentence(model.text())}; and {inner_sentence(d.message)}."
            effort = complexity(1) + d.complexity
            for kind in dict.fromkeys((model.kind, d.kind)):
                yield Diagnosis(kind, mismatch.name, text, d.evidence, effort)


def _second(
    changed: Mismatch, original: Mismatch, layout: PytreeLayout, names: UserNames
) -> list[Diagnosis]:
    tried: list[Callable[[], Iterator[Diagnosis]]] = [
        lambda: patterns.proportional(changed, names),
        lambda: penalties.linear_in_parameters(changed, layout, names),
    ]
    if layout.size <= _MAX_ORDERED:
        tried.append(lambda: patterns.rearranged(changed, layout, names))
    # A block that the model does not put right is no reason to believe in it.
    if np.any(original.wrong, axis=0)[~np.any(changed.wrong, axis=0)].any():
        tried.append(lambda: blocks.confined(changed, layout, names))
    for generate in tried:
        found = [d for d in rank(generate()) if d.complexity < COMPLEX]
        if found:
            return found
    return []


def in_places(
    mismatch: Mismatch, layout: PytreeLayout, names: UserNames, models: Iterable[Model]
) -> Iterator[Diagnosis]:
    """One model where it reproduces what is wrong; elsewhere right, or another mistake."""
    models = [model for model in models if np.isfinite(model.numbers).all()]
    for model in models:
        if matches(mismatch, model.numbers):
            yield Diagnosis(model.kind, mismatch.name, f"{model.text()}.", REPRODUCED)
    if mismatch.hand.ndim == 2:
        yield from _in_parts(mismatch, layout, names, models)


def _in_parts(
    mismatch: Mismatch, layout: PytreeLayout, names: UserNames, models: list[Model]
) -> Iterator[Diagnosis]:
    wrong = np.any(mismatch.wrong, axis=0)
    agree = [~np.any(model.against(mismatch).wrong, axis=0) for model in models]
    explained = [wrong & reproduced for reproduced in agree]
    others = blocks.other_factors(mismatch, layout, names)
    for model, mask, reproduced in zip(models, explained, agree, strict=True):
        rest = wrong & ~mask
        if not mismatch.hand[:, mask].any():  # zeros are no evidence for a model
            continue
        place = block_of(layout, _filled(layout, mask, reproduced)).name
        if not rest.any():
            text = f"Only {place} is wrong: {inner_sentence(model.text())}."
            effort = complexity(1, vagueness=LOCATED)
            yield Diagnosis(model.kind, mismatch.name, text, REPRODUCED, effort)
            continue
        block = block_of(layout, rest)
        second = blocks.how_wrong(mismatch, block, names, others)
        if second is None:
            also = [m for m, by in zip(models, explained, strict=True) if by[rest].all()]
            if not also:
                continue
            second = Diagnosis(also[0].kind, mismatch.name, also[0].text(), "", complexity(1))
        text = f"Two mistakes: in {place}, {inner_sentence(model.text())}; in {block.name}, {inner_sentence(second.message)}."  # noqa: E501
        effort = complexity(1, vagueness=LOCATED + 0.25) + second.complexity
        for kind in dict.fromkeys((model.kind, second.kind)):
            yield Diagnosis(kind, mismatch.name, text, REPRODUCED, effort)


def _filled(layout: PytreeLayout, mask: np.ndarray, reproduced: np.ndarray) -> np.ndarray:
    """A mask with the rest of its arrays, where that agrees whichever way it is computed."""
    full = mask.copy()
    for part in layout.slices if len(layout.slices) > 1 else ():
        full[part] |= mask[part].any() and reproduced[part].all()
    return full

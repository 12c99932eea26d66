"""Two mistakes at once: one in what is computed, another in what becomes of it.

A model is what the derivative would be with one known mistake. Against it, in place of the
reference, the hand-written numbers are explained once more. That both are needed is certain:
neither alone reproduced them.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from jax_logreg.audit import blocks, patterns, penalties
from jax_logreg.audit.layout import PytreeLayout
from jax_logreg.audit.match import (
    COMPLEX,
    SLACK,
    Diagnosis,
    Mismatch,
    complexity,
    inner_sentence,
    rank,
)
from jax_logreg.audit.user_names import UserNames

# Above this many parameters orders of the entries are not tried a second time.
_MAX_ORDERED = 60


class Model(NamedTuple):
    """The derivative with one mistake.

    Attributes:
        kind: of the mistake.
        text: makes a sentence.
        numbers: (m, P).
    """

    kind: str
    text: Callable[[], str]
    numbers: np.ndarray


def by_two_mistakes(
    mismatch: Mismatch, layout: PytreeLayout, names: UserNames, models: Iterable[Model]
) -> Iterator[Diagnosis]:
    """A model's mistake, and a factor, a penalty, an order or a block beside it."""
    for model in models:
        changed = np.any(np.abs(model.numbers - mismatch.expected) > SLACK * mismatch.allowed)
        if not changed or not np.isfinite(model.numbers).all():
            continue
        second = _second(_against(mismatch, model.numbers), mismatch, layout, names)
        for d in second:
            text = f"Two mistakes: {inner_sentence(model.text())}; and {inner_sentence(d.message)}."
            effort = complexity(1) + d.complexity
            for kind in dict.fromkeys((model.kind, d.kind)):
                yield Diagnosis(kind, mismatch.name, text, d.evidence, effort)


def _against(mismatch: Mismatch, model: np.ndarray) -> Mismatch:
    with np.errstate(all="ignore"):
        wrong = ~(np.abs(mismatch.hand - model) <= SLACK * mismatch.allowed)
    return mismatch._replace(expected=model, wrong=wrong)


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

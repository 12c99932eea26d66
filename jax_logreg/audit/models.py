"""Models: the derivative with one known mistake, to set the hand-written numbers against.

The mistake is one of the value: data changed, or a condition on θ that is forgotten. Those of the
chain rule and of the catalogue make models, too.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from jax.extend import core

from jax_logreg.audit.match import SLACK, Mismatch
from jax_logreg.audit.mistakes import changes_of_data
from jax_logreg.audit.reference import Autodiff
from jax_logreg.audit.source_lines import source_of
from jax_logreg.audit.steps import depending_steps
from jax_logreg.audit.traced import TracedFunction

# Data of more numbers are not changed; nor are those of a longer value.
_MAX_DATA, _MAX_STEPS = 100_000, 300
_COMPARISONS = {"lt", "le", "gt", "ge"}


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

    def against(self, mismatch: Mismatch) -> Mismatch:
        """The hand-written numbers against the model, in place of the reference."""
        with np.errstate(all="ignore"):
            wrong = ~(np.abs(mismatch.hand - self.numbers) <= SLACK * mismatch.allowed)
        return mismatch._replace(expected=self.numbers, wrong=wrong)


def with_changed_data(
    mismatch: Mismatch, function: TracedFunction, names: list[str]
) -> Iterator[Model]:
    """The derivative of the value with every array changed in every way, one at a time.

    Args:
        mismatch: of the derivative.
        function: the value.
        names: of the arrays that it uses.
    """
    if function.num_steps > _MAX_STEPS:
        return
    for kind, words, constants in changes_of_data(function.constants, names, _MAX_DATA):
        other = Autodiff(function.with_constants(constants))
        numbers = other.at_rows(mismatch.name, *mismatch.call_arguments)
        yield Model(kind, partial(str, f"It would be right with {words}"), numbers)


def with_conditions(mismatch: Mismatch, function: TracedFunction) -> Iterator[Model]:
    """The derivative of the value with a condition on θ that holds everywhere, or nowhere.

    So the derivative of one branch of a np.where, of a mask or of a piecewise loss, is taken for
    all rows.
    """
    jaxpr = function.closed.jaxpr
    for place, eqn, _ in depending_steps(jaxpr, lambda eqn: True):
        if eqn.primitive.name not in _COMPARISONS or function.num_steps > _MAX_STEPS:
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

"""What if the data had been other? A datum transposed, shifted, left out or recoded.

JAX tells every array that a value uses, so this works for any loss: the derivative is
taken anew with one array changed, in the logits, on the way back from them, or in all
places, and held against the hand-written numbers.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.anatomy import Cut
from jax_logreg.audit.diagnosis import Diagnosis
from jax_logreg.audit.explain import rows_of
from jax_logreg.audit.penalty import Parts, asked
from jax_logreg.audit.program import run

# Larger data are not changed and tried again.
_LARGE = 1_000_000


def changed_data(parts: Parts, cut: Cut, names: list[str]) -> Iterator[Diagnosis]:
    """Try every change of every array of numbers that the value uses, by its name."""
    constants = cut.constants
    if sum(np.size(c) for c in constants) > _LARGE:
        return
    for place, datum in enumerate(constants):
        if not jnp.issubdtype(jnp.result_type(datum), jnp.floating) or not np.size(datum):
            continue
        for kind, words, changed in _changes(np.asarray(datum)):
            other = cut.with_constants([*constants[:place], changed, *constants[place + 1 :]])
            yield from _explained(parts, cut, other, kind, f"{words} {names[place]}")


def _explained(parts: Parts, cut: Cut, other: Cut, kind: str, words: str) -> Iterator[Diagnosis]:
    case = parts.case
    uses = [
        ("", other, other, other, other),
        (", in the logits", other, cut, cut, cut),
        (", on the way to the logits", other, other, cut, cut),
        (", on the way back from the logits", cut, cut, cut, other),
        (", in the loss of the logits", cut, cut, other, cut),
    ]
    for where, there, moving, loss, back in uses:
        wrong = _data_terms(there, moving, loss, back, *asked(case))
        if not np.isfinite(wrong).all() or np.array_equal(wrong, parts.data):
            continue
        fit = parts.fit(wrong)
        if fit.exact and fit.factors[0] != 0 and fit.factors[1:] in ((), (1.0,)):
            also = "" if fit.factors[0] == 1 else f", and a factor {fit.factors[0]:.6g}"
            text = f"It would be right with {words}{where}{also}."
            cost = 1.3 if fit.factors[0] == 1 else 1.9
            yield Diagnosis(kind, case.name, text, f"residual {fit.residual:.0e}", cost)
            return


def _data_terms(
    there: Cut, moving: Cut, loss: Cut, back: Cut, theta: np.ndarray, *vector: np.ndarray
) -> np.ndarray:
    """What comes through the logits where each leg sees data of its own.

    Args:
        there: whose data the logits are made of.
        moving: whose, how a vector moves them.
        loss: whose, the loss of the logits.
        back: whose, the way back.
        theta: points, in rows.
        *vector: for a Hessian, one a point.
    """
    etas = run(there, _logits, theta)
    moves = [run(moving, _moves, v) for v in vector]
    return back.pull(np.asarray(run(loss, rows_of, theta, etas, *moves)))


def _logits(cut: Cut, thetas: jax.Array) -> jax.Array:
    return jax.vmap(cut.logits)(thetas)


def _moves(cut: Cut, vectors: jax.Array) -> jax.Array:
    zero = jnp.zeros(cut.size)
    return jax.vmap(lambda v: jax.jvp(cut.logits, (zero,), (v,))[1])(vectors)


def _changes(datum: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    """(kind, words, the changed array)."""
    if datum.ndim == 2 and datum.shape[0] == datum.shape[1]:
        yield "transposed", "the transpose of", datum.T.copy()
    for axis in range(datum.ndim):
        for shift in (1, -1) if datum.shape[axis] > 1 else ():
            words = f"the entries shifted by one along axis {axis} of"
            yield "off-by-one", words, np.roll(datum, shift, axis)
    positive = datum.ndim == 1 and bool(np.all(datum >= 0))
    labels = bool(np.all((datum == 0) | (datum == 1)))
    if positive and not labels:
        yield "weights", "ones in place of", np.ones_like(datum)
        yield "weights", "the square of", datum**2
        yield "weights", "the root of", np.sqrt(datum)
    if labels:
        yield "labels", "−1 for 0 in", 2 * datum - 1
        yield "complement", "0 and 1 exchanged in", 1 - datum
    if bool(np.all(np.abs(datum) == 1)):
        yield "labels", "0 for −1 in", (datum + 1) / 2
    if datum.ndim == 1:
        yield "offset", "zeros in place of", np.zeros_like(datum)
        yield "offset", "the opposite sign of", -datum

"""Rows of the value in the wrong place: the derivative is Xᵀr with another r.

The gradient of a loss of logits is Xᵀr, with one number r for every row. Wrong ones often have an
r that is made of arrays of the loss itself: p − y, of any p in it, where another link needs a
density as well; a mean over the rows, where (n,) and (n, 1) were broadcast to (n, n).
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.linear_predictor import SplitLoss, logits_at
from jax_logreg.audit.match import Diagnosis, Mismatch, complexity, fit_parts
from jax_logreg.audit.source_lines import source_of
from jax_logreg.audit.traced import TracedFunction, run_compiled
from jax_logreg.audit.user_names import UserNames

# At most so many arrays of the value are combined; fewer rows than this are no rows.
_MAX_ARRAYS, _MAX_FACTORS, _LEAST_ROWS = 16, 3, 4
# What two parts leave of the numbers' square, before it is looked at closely.
_SCREEN = 1e-9


_LINK = "a factor of the chain rule is missing, or another"
_MEAN = "a mean over all rows in place of each, as when (n,) and (n, 1) are broadcast to (n, n)"
_DATA = "data"
_RAW = "raw scores (logits) stand where a function of them is due, such as a probability"


class _Rows(NamedTuple):
    """A number for every row at each point.

    Attributes:
        words: what it is called.
        where: it is made, in words.
        numbers: (m, n) or (m, n, K); of Xᵀr, (m, P).
        why: what its use suggests.
    """

    words: str
    where: str
    numbers: np.ndarray
    why: str = ""


def by_row_residuals(
    mismatch: Mismatch,
    function: TracedFunction,
    split: SplitLoss | None,
    penalty: np.ndarray | float,
    names: UserNames,
    data_names: list[str],
) -> Iterator[Diagnosis]:
    """A gradient that is Xᵀr, with an r of one or two arrays of the value.

    Args:
        mismatch: of a gradient.
        function: the value.
        split: the value at its logits; None if θ itself has the rows.
        penalty: the right part that is not of the rows, (m, P).
        names: of the user.
        data_names: of the arrays that the value uses.
    """
    shape = (function.argument_size,) if split is None else split.shape
    if shape[0] < _LEAST_ROWS or len(shape) > 2:
        return
    thetas = mismatch.theta
    if split is None:
        raw = _Rows(names.theta, "", thetas, _RAW)
        parts = _combined(_arrays(thetas, function, shape, data_names, raw))
    else:
        raw = _Rows("η", "", np.asarray(run_compiled(split, logits_at, thetas)), _RAW)
        rows = _combined(_arrays(thetas, function, shape, data_names, raw))
        stack = np.concatenate([part.numbers for part in rows])
        found = split.vjp_to_parameters(stack).reshape(len(rows), len(thetas), -1)
        parts = [part._replace(numbers=x) for part, x in zip(rows, found, strict=True)]
    parts = [part for part in parts if np.isfinite(part.numbers).all()]
    matrix = "" if split is None else "Xᵀ"
    rest = mismatch._replace(hand=mismatch.hand - penalty, expected=mismatch.expected - penalty)
    for chosen in _screened(rest, parts):
        fit = fit_parts(rest, [part.numbers for part in chosen])
        if not fit.exact or not all(fit.factors):
            continue
        r = _formula(chosen, fit.factors, names)
        where = "".join(dict.fromkeys(part.where for part in chosen if part.where))
        why = next((part.why for part in chosen if part.why), _LINK)
        text = f"It is {matrix}r with r = {r}{where}: {why}."
        effort = complexity(1, vagueness=0.5)
        yield Diagnosis("chain-factor", mismatch.name, text, f"residual {fit.residual:.0e}", effort)
        return


def _formula(parts: tuple[_Rows, ...], factors: tuple[float, ...], names: UserNames) -> str:
    ordered = sorted(zip(factors, parts, strict=True), key=lambda pair: -pair[0])
    common = abs(factors[0])
    alike = all(abs(abs(c) - common) <= 1e-9 * common for c in factors)
    terms = ""
    for c, part in ordered:
        size = "" if alike or abs(c) == 1 else f"{names.code(abs(c)) or f'{abs(c):.6g}'}·"
        sign = "−" if c < 0 else "+" if terms else ""
        terms += f" {sign} {size}{part.words}" if terms else f"{sign}{size}{part.words}"
    if not alike or common == 1:
        return terms
    return f"{names.code(common) or f'{common:.6g}'} · ({terms})"


def _screened(mismatch: Mismatch, parts: list[_Rows]) -> Iterator[tuple[_Rows, ...]]:
    """Single parts, then pairs, that nearly reproduce the numbers."""
    unit = mismatch.weight
    rows = np.stack([(part.numbers * unit).ravel() for part in parts])
    size = np.linalg.norm(rows, axis=1)
    parts = [part for part, length in zip(parts, size, strict=True) if length > 0]
    rows = rows[size > 0] / size[size > 0, None]
    target = (mismatch.hand * unit).ravel()
    target = target / (np.linalg.norm(target) or 1.0)
    along, angles = rows @ target, rows @ rows.T
    yield from ((parts[i],) for i in np.flatnonzero(1 - along**2 <= _SCREEN))
    with np.errstate(all="ignore"):
        apart = 1 - angles**2
        left = 1 - (along[:, None] ** 2 + along**2 - 2 * angles * np.outer(along, along)) / apart
        pairs = (left <= _SCREEN) & (apart > _SCREEN)
    yield from ((parts[i], parts[j]) for i, j in zip(*np.nonzero(np.triu(pairs, 1)), strict=True))


def _arrays(
    thetas: np.ndarray,
    function: TracedFunction,
    shape: tuple[int, ...],
    data_names: list[str],
    raw: _Rows,
) -> Iterator[_Rows]:
    """The arrays of the value that have a number for every row: data first, then steps."""
    ones = np.ones((len(thetas), *shape))
    for name, constant in zip(data_names, function.constants, strict=True):
        if np.size(constant) == np.prod(shape) and np.asarray(constant).dtype.kind in "fiub":
            yield _Rows(name, "", np.asarray(constant, float).reshape(shape) * ones, _DATA)
    yield raw
    places = _row_steps(function, shape)
    static = (("places", places),)
    found = run_compiled(function, _values_of, thetas, static=static) if places else []
    sources = [source_of(function.closed.jaxpr.eqns[place]) for place in places]
    letters = iter("pqrstuvw")
    for i, numbers in enumerate(map(np.asarray, found)):
        assigned = re.match(r", in `(\w+) \S?= ", sources[i])
        is_last = assigned and sources[i] not in sources[i + 1 :]
        words = assigned[1] if assigned and is_last else next(letters, "?")
        why = _RAW if np.allclose(numbers, raw.numbers, rtol=1e-12, atol=0) else ""
        yield _Rows(words, sources[i] if is_last else f", {words}{sources[i]}", numbers, why)


def _combined(arrays: Iterable[_Rows]) -> list[_Rows]:
    """The arrays, their products with data such as weights, and the means of all these."""
    by_bytes = {rows.numbers.tobytes(): rows for rows in arrays}
    single = list(by_bytes.values())[:_MAX_ARRAYS]
    data = [rows for rows in single if rows.why == _DATA][:_MAX_FACTORS]
    single = [rows._replace(why="" if rows.why == _DATA else rows.why) for rows in single]
    products = [
        rows._replace(words=f"{d.words}·{rows.words}", numbers=d.numbers * rows.numbers)
        for rows, d in itertools.product(single, data)
        if rows.words != d.words
    ]
    ones = np.ones_like(single[0].numbers)
    means = [
        _Rows(f"mean({x.words})", x.where, np.mean(x.numbers, axis=1, keepdims=True) * ones, _MEAN)
        for x in single
    ]
    return [*single, *products, *means, _Rows("1", "", ones)]


def _row_steps(function: TracedFunction, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Steps with a number for every row."""
    avals = [eqn.outvars[0].aval for eqn in function.closed.jaxpr.eqns]
    return tuple(
        place
        for place, aval in enumerate(avals)
        if aval.shape == shape and jnp.issubdtype(aval.dtype, jnp.floating)
    )[:_MAX_ARRAYS]


def _values_of(
    function: TracedFunction, thetas: jax.Array, places: tuple[int, ...]
) -> list[jax.Array]:
    jaxpr = function.closed.jaxpr
    outvars = [jaxpr.eqns[place].outvars[0] for place in places]
    return jax.vmap(lambda theta: function.outputs(outvars, theta))(thetas)

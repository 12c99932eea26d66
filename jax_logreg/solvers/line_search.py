r"""How far to go along a direction, in O(n) a trial: X·d was computed once.

Source: the bracketing for the weak Wolfe conditions is Lewis & Overton (2013), Math.
Program. 141; the clause for round-off follows Hager & Zhang (2005), SIAM J. Optim. 16.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.oracle import Line

# Beyond the last digit of F by this many units, a difference in F is noise.
_NOISE_UNITS = 32
_HALVINGS = 6


class Search(NamedTuple):
    """The accepted step, whether one was found, and whether F changed by noise alone."""

    step: jax.Array
    found: jax.Array
    level: jax.Array


class _Bracket(NamedTuple):
    low: jax.Array
    high: jax.Array
    step: jax.Array
    trials: jax.Array
    found: jax.Array
    level: jax.Array


def search(
    line: Line,
    value: jax.Array,
    slope: jax.Array,
    first_step: jax.Array,
    *,
    decrease: float = 1e-4,
    curvature: float = 0.9,
    max_trials: int = 60,
) -> Search:
    r"""A step t that lowers F enough and goes far enough.

    Enough: :math:`F(t) \le F(0) + c_1 t F'(0)`. Far enough: :math:`F'(t) \ge c_2 F'(0)`.
    When F can no longer resolve a decrease (both values agree to round-off), a step
    that shrinks the slope along the line is accepted in its place: without this
    Newton's method stalls just short of the optimum on a few fits in a hundred.

    Args:
        line: t ↦ (F, slope).
        value: F(0).
        slope: F′(0), negative.
        first_step: the first trial.
        decrease: c₁.
        curvature: c₂; 1 turns the second condition off (pure backtracking).
        max_trials: evaluations of the line at most.

    Returns:
        The step, zero where none was found.

    >>> bowl = lambda t: ((t - 1.0) ** 2, 2 * (t - 1.0))
    >>> search(bowl, jnp.array(1.0), jnp.array(-2.0), jnp.array(8.0)).step.item()
    1.0
    """
    noise = _NOISE_UNITS * jnp.finfo(value.dtype).eps * jnp.abs(value)

    def trial(bracket: _Bracket) -> _Bracket:
        t = bracket.step
        new_value, new_slope = line(t)
        lower = new_value <= value + decrease * t * slope
        level = jnp.abs(new_value - value) <= noise
        flatter = jnp.abs(new_slope) <= (1 - 2 * decrease) * jnp.abs(slope)
        too_far = ~(lower | (level & flatter))  # also when the value is NaN
        too_near = ~too_far & (new_slope < curvature * slope)
        low = jnp.where(too_near, t, bracket.low)
        high = jnp.where(too_far, t, bracket.high)
        # A step many powers of ten too long, off a saturated start, is not halved away.
        shrink = jnp.where(bracket.trials >= _HALVINGS, 0.01, 0.5)
        middle = jnp.where(low == 0, shrink * high, 0.5 * (low + high))
        middle = jnp.where(jnp.isfinite(high), middle, 2 * low)
        done = ~(too_far | too_near)
        return _Bracket(low, high, jnp.where(done, t, middle), bracket.trials + 1, done, level)

    def searching(bracket: _Bracket) -> jax.Array:
        return ~bracket.found & (bracket.trials < max_trials)

    dtype = value.dtype
    start = _Bracket(
        low=jnp.zeros((), dtype),
        high=jnp.full((), jnp.inf, dtype),
        step=jnp.asarray(first_step, dtype),
        trials=jnp.zeros((), int),
        found=jnp.asarray(False),
        level=jnp.asarray(False),
    )
    end = jax.lax.while_loop(searching, trial, start)
    # Out of trials with a lower point in hand: that point is still progress.
    step = jnp.where(end.found, end.step, end.low)
    return Search(step, end.found | (end.low > 0), end.level)

r"""How far to go along a direction, in O(n) a trial: X·d was computed once.

Source: the bracketing for the weak Wolfe conditions is Lewis & Overton (2013), Math.
Program. 141; the clause for round-off follows Hager & Zhang (2005), SIAM J. Optim. 16.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jax_logreg.derivatives.oracle import Line, Oracle, Point, Trial
from jax_logreg.solvers.base import unless

# Beyond the last digit of F by this many units, a difference in F is noise.
_NOISE_UNITS = 32
_HALVINGS = 6
_MOST_TRIALS = 60


class Seen(NamedTuple):
    """A trial judged: whether its step is too short, or too long, or F changed by noise
    alone."""

    too_near: jax.Array
    too_far: jax.Array
    level: jax.Array


class Conditions(NamedTuple):
    r"""What a step t must keep to.

    Enough: :math:`F(t) \le F(0) + c_1 t F'(0)`. Far enough: :math:`F'(t) \ge c_2 F'(0)`.
    When F can no longer resolve a decrease (both values agree to round-off), a step
    that shrinks the slope along the line is accepted in its place: without this
    Newton's method stalls just short of the optimum on a few fits in a hundred.

    Attributes:
        decrease: c₁.
        curvature: c₂; 1 turns the second condition off (pure backtracking).
        overshoot: c₃ in :math:`F'(t) \le -c_3 F'(0)`, a third condition for methods that
            want nearly the lowest point of the line; infinite turns it off.
    """

    decrease: float = 1e-4
    curvature: float = 0.9
    overshoot: float = float("inf")

    def judge(self, trial: Trial, step: jax.Array, value: jax.Array, slope: jax.Array) -> Seen:
        """A trial at t, by F(0) and F′(0)."""
        noise = _NOISE_UNITS * jnp.finfo(value.dtype).eps * jnp.abs(value)
        lower = trial.value <= value + self.decrease * step * slope
        level = jnp.abs(trial.value - value) <= noise
        flatter = jnp.abs(trial.slope) <= (1 - 2 * self.decrease) * jnp.abs(slope)
        too_far = ~(lower | (level & flatter))  # also when the value is NaN
        too_far |= trial.slope > -self.overshoot * slope
        return Seen(~too_far & (trial.slope < self.curvature * slope), too_far, level)


class Search(NamedTuple):
    """The accepted step with its trial, whether one was found, and whether F changed by
    noise alone."""

    step: jax.Array
    trial: Trial
    found: jax.Array
    level: jax.Array


def move(
    oracle: Oracle,
    point: Point,
    direction: jax.Array,
    first_step: ArrayLike = 1.0,
    slope: jax.Array | None = None,
    *,
    max_trials: int = _MOST_TRIALS,
    **conditions: float,
) -> tuple[Point, Search]:
    """The point that a search along a direction accepts; the rest as in ``search``.

    The slope is that of the gradient, unless a model that knows more foresees another.
    """
    line: Line = oracle.along(point, direction)
    slope = jnp.vdot(point.gradient, direction) if slope is None else slope
    first_step = jnp.asarray(first_step, point.value.dtype)
    found = search(line.at, point.value, slope, first_step, max_trials=max_trials, **conditions)
    return line.point(found.step, found.trial), found


def leap(
    oracle: Oracle, point: Point, direction: jax.Array, *, max_trials: int, **conditions: float
) -> tuple[Point, Search]:
    """θ + d where a search along d would take the whole step, else what the search accepts.

    The point is made from θ + d alone, at the price of one on the line: a run that ends there
    need not make it anew.
    """
    there, slope = oracle.at(point.theta + direction), jnp.vdot(point.gradient, direction)
    trial = Trial(there.value, jnp.vdot(there.gradient, direction))
    seen = Conditions(**conditions).judge(trial, jnp.ones_like(slope), point.value, slope)
    good = ~(seen.too_near | seen.too_far)

    whole = there, Search(jnp.ones_like(slope), trial, good, seen.level)

    def along() -> tuple[Point, Search]:
        return move(oracle, point, direction, 1.0, slope, max_trials=max_trials, **conditions)

    return unless(good, whole, along)


class _Bracket(NamedTuple):
    """Ends between which a good step lies.

    Attributes:
        ends: (3, 2), a row an end, each a step and the slope there: the lower end before
            this one, the lower end, and the upper one. In one table, for a program of many
            scalars compiles and runs at the price of as many vectors.
        step: the next trial, or the accepted one.
        trial: what was seen at the last.
        trials: how many there were.
        found: whether the last was accepted.
        level: whether F had changed there by noise alone.
    """

    ends: jax.Array
    step: jax.Array
    trial: Trial
    trials: jax.Array
    found: jax.Array
    level: jax.Array


def search(
    line: Callable[[jax.Array], Trial],
    value: jax.Array,
    slope: jax.Array,
    first_step: jax.Array,
    *,
    max_trials: int = _MOST_TRIALS,
    **conditions: float,
) -> Search:
    """A step t that lowers F enough and goes far enough.

    Args:
        line: t ↦ the trial there.
        value: F(0).
        slope: F′(0), negative.
        first_step: the first trial.
        max_trials: evaluations of the line at most.
        conditions: numbers of ``Conditions``.

    Returns:
        The step, zero where none was found.

    >>> bowl = lambda t: Trial((t - 1.0) ** 2, 2 * (t - 1.0))
    >>> search(bowl, jnp.array(1.0), jnp.array(-2.0), jnp.array(8.0)).step.item()
    1.0
    """
    wanted = Conditions(**conditions)

    def trial(bracket: _Bracket) -> _Bracket:
        t = bracket.step
        made = line(t)
        seen = wanted.judge(made, t, value, slope)
        done = ~(seen.too_far | seen.too_near)
        trials = bracket.trials + 1
        end = jnp.stack([t, made.slope])
        replaced = jnp.stack([seen.too_near, seen.too_near, seen.too_far])
        ends = jnp.where(replaced[:, None], jnp.stack([bracket.ends[1], end, end]), bracket.ends)
        # Out of trials with a lower point in hand: that point is still progress.
        following = jnp.where(trials == max_trials, ends[1, 0], _following(ends, trials))
        step = jnp.where(done | (bracket.trials == max_trials), t, following)
        return _Bracket(ends, step, made, trials, done, seen.level)

    def searching(bracket: _Bracket) -> jax.Array:
        return ~bracket.found & (bracket.trials <= max_trials)

    dtype = value.dtype
    here = jnp.stack([jnp.zeros((), dtype), jnp.asarray(slope, dtype)])
    start = _Bracket(
        ends=jnp.stack([here, here, jnp.full(2, jnp.inf, dtype)]),
        step=jnp.asarray(first_step, dtype),
        trial=_nothing_like(line, first_step),
        trials=jnp.zeros((), int),
        found=jnp.asarray(False),
        level=jnp.asarray(False),
    )
    end = jax.lax.while_loop(searching, trial, start)
    return Search(end.step, end.trial, end.found | (end.step > 0), end.level)


def _nothing_like(line: Callable[[jax.Array], Trial], step: jax.Array) -> Trial:
    """A trial of the right shapes, before the first."""
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(line, step))


def _following(ends: jax.Array, trials: jax.Array) -> jax.Array:
    """The next trial: where the slope, if it were straight, would be zero."""
    before, low, high = ((end[0], end[1]) for end in ends)
    return jnp.where(jnp.isfinite(high[0]), _inside(low, high, trials), _beyond(before, low))


_End = tuple[jax.Array, jax.Array]


def _inside(low: _End, high: _End, trials: jax.Array) -> jax.Array:
    """Between both ends."""
    (near, near_slope), (far, far_slope) = low, high
    share = -near_slope / (far_slope - near_slope)
    share = jnp.where(far_slope > 0, jnp.clip(share, 0.1, 0.9), 0.5)  # 0.5 also on NaN
    # A step many powers of ten too long, off a saturated start, is not halved away.
    share = jnp.where((near == 0) & (trials > _HALVINGS), 0.01, share)
    return near + share * (far - near)


def _beyond(before: _End, low: _End) -> jax.Array:
    """Further, up to ten times."""
    rise = (low[1] - before[1]) / (low[0] - before[0])
    reach = low[0] - low[1] / rise
    return jnp.where(rise > 0, jnp.clip(reach, 1.1 * low[0], 10 * low[0]), 2 * low[0])

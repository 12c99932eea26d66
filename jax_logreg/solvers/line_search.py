r"""Line search along a direction, in O(n) a trial: X·d is computed once.

Source: the bracketing for the weak Wolfe conditions is Lewis & Overton (2013), Math.
Program. 141; the clause for round-off follows Hager & Zhang (2005), SIAM J. Optim. 16.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jax_logreg.derivatives.oracle import Line, Oracle, Point, Trial
from jax_logreg.solvers.base import compute_unless, while_loop

# A difference in F of up to so many units of its last digit is noise.
_NOISE_UNITS = 32
_HALVINGS = 6
_MAX_TRIALS = 60


class TrialVerdict(NamedTuple):
    """Whether the step of a trial is too short, or too long, or F changed by noise alone."""

    too_short: jax.Array
    too_long: jax.Array
    within_noise: jax.Array


class Conditions(NamedTuple):
    r"""The weak Wolfe conditions on a step t, and two more.

    Sufficient decrease: :math:`F(t) \le F(0) + c_1 t F'(0)`. Curvature:
    :math:`F'(t) \ge c_2 F'(0)`.
    When F can no longer resolve a decrease (both values agree to round-off), a step
    that shrinks the slope along the line is accepted in its place: without this
    Newton's method stalls just short of the optimum on a few fits in a hundred.

    Attributes:
        decrease: c₁.
        curvature: c₂; 1 turns the second condition off (pure backtracking).
        overshoot: c₃ in :math:`F'(t) \le -c_3 F'(0)`, a third condition for methods that
            want nearly the minimum along the line; infinite turns it off.
    """

    decrease: float = 1e-4
    curvature: float = 0.9
    overshoot: float = float("inf")

    def judge(
        self, trial: Trial, step: jax.Array, value: jax.Array, slope: jax.Array
    ) -> TrialVerdict:
        """The verdict on a trial at t, given F(0) and F′(0)."""
        noise = _NOISE_UNITS * jnp.finfo(value.dtype).eps * jnp.abs(value)
        lower = trial.value <= value + self.decrease * step * slope
        within_noise = jnp.abs(trial.value - value) <= noise
        flatter = jnp.abs(trial.slope) <= (1 - 2 * self.decrease) * jnp.abs(slope)
        too_long = ~(lower | (within_noise & flatter))  # also when the value is NaN
        too_long |= trial.slope > -self.overshoot * slope
        too_short = ~too_long & (trial.slope < self.curvature * slope)
        return TrialVerdict(too_short, too_long, within_noise)


class Search(NamedTuple):
    """The accepted step with its trial, whether one was found, and whether F changed by
    noise alone."""

    step: jax.Array
    trial: Trial
    found: jax.Array
    within_noise: jax.Array


def line_search_step(
    oracle: Oracle,
    point: Point,
    direction: jax.Array,
    first_step: ArrayLike = 1.0,
    slope: jax.Array | None = None,
    *,
    max_trials: int = _MAX_TRIALS,
    **conditions: float,
) -> tuple[Point, Search]:
    """The point that a search along a direction accepts; the rest as in :func:`search`.

    The slope is that of the gradient, unless the caller's model predicts another.
    """
    line: Line = oracle.line(point, direction)
    slope = jnp.vdot(point.gradient, direction) if slope is None else slope
    first_step = jnp.asarray(first_step, point.value.dtype)
    found = search(line.at, point.value, slope, first_step, max_trials=max_trials, **conditions)
    return line.point(found.step, found.trial), found


def full_step_or_search(
    oracle: Oracle, point: Point, direction: jax.Array, *, max_trials: int, **conditions: float
) -> tuple[Point, Search]:
    """θ + d if a search along d would accept the full step, else what the search accepts.

    The point is computed from θ + d alone, at the cost of one on the line: a run that ends there
    need not compute it again.
    """
    there, slope = oracle.evaluate(point.theta + direction), jnp.vdot(point.gradient, direction)
    trial = Trial(there.value, jnp.vdot(there.gradient, direction))
    verdict = Conditions(**conditions).judge(trial, jnp.ones_like(slope), point.value, slope)
    accepted = ~(verdict.too_short | verdict.too_long)
    full = there, Search(jnp.ones_like(slope), trial, accepted, verdict.within_noise)

    def searched() -> tuple[Point, Search]:
        return line_search_step(
            oracle, point, direction, 1.0, slope, max_trials=max_trials, **conditions
        )

    return compute_unless(accepted, full, searched)


class _Bracket(NamedTuple):
    """Ends between which a good step lies.

    Attributes:
        ends: (3, 2), a row an end, each a step and the slope there: the previous lower end,
            the lower end, and the upper one. In one table, since scalars cost a program as
            much compile time and run time as vectors.
        step: the next trial, or the accepted one.
        trial: the last.
        trials: how many there were.
        found: whether the last was accepted.
        within_noise: whether F had changed there by noise alone.
    """

    ends: jax.Array
    step: jax.Array
    trial: Trial
    trials: jax.Array
    found: jax.Array
    within_noise: jax.Array


def search(
    line: Callable[[jax.Array], Trial],
    value: jax.Array,
    slope: jax.Array,
    first_step: jax.Array,
    *,
    max_trials: int = _MAX_TRIALS,
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
        verdict = wanted.judge(made, t, value, slope)
        done = ~(verdict.too_long | verdict.too_short)
        trials = bracket.trials + 1
        end = jnp.stack([t, made.slope])
        replaced = jnp.stack([verdict.too_short, verdict.too_short, verdict.too_long])
        ends = jnp.where(replaced[:, None], jnp.stack([bracket.ends[1], end, end]), bracket.ends)
        # Out of trials with a lower point in hand: that point is still progress.
        next_step = jnp.where(trials == max_trials, ends[1, 0], _next_trial(ends, trials))
        step = jnp.where(done | (bracket.trials == max_trials), t, next_step)
        return _Bracket(ends, step, made, trials, done, verdict.within_noise)

    def searching(bracket: _Bracket) -> jax.Array:
        return ~bracket.found & (bracket.trials <= max_trials)

    dtype = value.dtype
    here = jnp.stack([jnp.zeros((), dtype), jnp.asarray(slope, dtype)])
    start = _Bracket(
        ends=jnp.stack([here, here, jnp.full(2, jnp.inf, dtype)]),
        step=jnp.asarray(first_step, dtype),
        trial=_zero_trial(line, first_step),
        trials=jnp.zeros((), int),
        found=jnp.asarray(False),
        within_noise=jnp.asarray(False),
    )
    end = while_loop(searching, trial, start)
    return Search(end.step, end.trial, end.found | (end.step > 0), end.within_noise)


def _zero_trial(line: Callable[[jax.Array], Trial], step: jax.Array) -> Trial:
    """A trial of the right shapes, before the first."""
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(line, step))


def _next_trial(ends: jax.Array, trials: jax.Array) -> jax.Array:
    """The next trial step: the zero of the slope by linear interpolation."""
    before, low, high = ((end[0], end[1]) for end in ends)
    return jnp.where(
        jnp.isfinite(high[0]),
        interpolate(low, high, is_far=(low[0] == 0) & (trials > _HALVINGS)),
        _extrapolate(before, low),
    )


_End = tuple[jax.Array, jax.Array]


def interpolate(low: _End, high: _End, *, is_far: jax.Array) -> jax.Array:
    """Between both ends, each a step and the slope there; ``is_far`` after many trials."""
    (near, near_slope), (far, far_slope) = low, high
    share = -near_slope / (far_slope - near_slope)
    share = jnp.where(far_slope > 0, jnp.clip(share, 0.1, 0.9), 0.5)  # 0.5 also on NaN
    # A step many powers of ten too long, off a saturated start, is not halved away.
    share = jnp.where(is_far, 0.01, share)
    return near + share * (far - near)


def _extrapolate(before: _End, low: _End) -> jax.Array:
    """Further, up to ten times."""
    rise = (low[1] - before[1]) / (low[0] - before[0])
    reach = low[0] - low[1] / rise
    return jnp.where(rise > 0, jnp.clip(reach, 1.1 * low[0], 10 * low[0]), 2 * low[0])

"""One row from data to outcome."""

from dataclasses import dataclass, replace

import jax

from benchmarks.calibration import Rules, Tell
from benchmarks.cold import race_cold
from benchmarks.contestants import contestants_for
from benchmarks.floor import floor
from benchmarks.growth import AXES, Growth, growth
from benchmarks.harness import race
from benchmarks.machine import busy_cores, machine
from benchmarks.memory import Memory, measure_apart
from benchmarks.outcomes import Outcome
from benchmarks.problems import Problem
from benchmarks.rows import EXTRAS, ROWS, TARGETS


@dataclass(frozen=True)
class Plan:
    """How a row is to be run.

    Attributes:
        dtype: of the data, unless the row has its own.
        target: the relative suboptimality; None for that of the dtype.
        repeats: interleaved pairs.
        patience: seconds a contestant may take.
        quick: smaller, fewer contestants.
        scale: n times this.
        only: words of the contestants wanted; nothing but the race is run then.
    """

    dtype: str = "float64"
    target: float | None = None
    repeats: int = 5
    patience: float = 15.0
    quick: bool = False
    scale: float = 1.0
    only: list[str] | None = None


def run_row(name: str, plan: Plan, tell: Tell) -> Outcome:
    """Race, and whatever else the row asks for."""
    row = (ROWS | EXTRAS)[name]
    dtype = row.dtype or plan.dtype
    rules = Rules(plan.target or TARGETS[dtype], plan.repeats, plan.patience)
    tell("drawing the data")
    problem = row.problem(dtype, quick=plan.quick, scale=plan.scale)
    busy = busy_cores()
    jax.clear_caches()  # so that the first call pays for every compilation of its own
    stages: dict[str, dict[str, float]] = {}
    if name == "cold":
        once = replace(rules, repeats=1) if plan.quick else rules
        timings, stages = race_cold(problem, once, tell)
    else:
        contestants = contestants_for(problem, plan.only, quick=plan.quick)
        timings = race(problem, contestants, rules, tell)
    n, p = problem.X.shape
    outcome = Outcome(
        row=name,
        shape=(n, p, problem.num_classes),
        fits=1 if problem.resamples is None else len(problem.resamples),
        strength=problem.strength,
        dtype=dtype,
        target=rules.target,
        platform=jax.devices()[0].platform,
        machine=machine(),
        busy_cores=busy,
        timings=timings,
        stages=stages,
    )
    return outcome if plan.only or name in EXTRAS else _measure_more(outcome, problem, plan, tell)


def _measure_more(outcome: Outcome, problem: Problem, plan: Plan, tell: Tell) -> Outcome:
    """The floor, and what our fit takes in memory and at other sizes, if it works at all."""
    if outcome.row == "cold" or outcome.ours is None:
        return outcome
    tell("measuring the floor")
    measured = {**vars(outcome), "floor": floor(problem)}
    tol = outcome.ours.tol or 0.0
    # A quick run shows the two in one row only: each compiles anew.
    more = not plan.quick or outcome.row == "tall"
    if more:
        tell("measuring memory")
        measured["memory"] = _memory(outcome, plan, tol)
    if more and outcome.row in AXES:
        tell("measuring growth")
        measured["growth"] = _growth(outcome, plan, tol)
    return Outcome(**measured)


def _memory(outcome: Outcome, plan: Plan, tol: float) -> Memory:
    options = ["--dtype", outcome.dtype, "--scale", repr(plan.scale), "--tol", repr(tol)]
    return measure_apart(outcome.row, options + ["--quick"] * plan.quick)


def _growth(outcome: Outcome, plan: Plan, tol: float) -> Growth:
    n, p, _ = outcome.shape
    row, axis = ROWS[outcome.row], AXES[outcome.row]
    return growth(axis, row, (n, p), outcome.dtype, tol=tol, repeats=plan.repeats)

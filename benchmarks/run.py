"""One row of the table, from data to outcome."""

import statistics
from dataclasses import dataclass, replace

import jax
import numpy as np

from benchmarks.cold import race_cold
from benchmarks.contestants import contestants_for, jax_logreg
from benchmarks.machine import busy_cores, floor, machine
from benchmarks.memory import Memory, measure_in_child
from benchmarks.problems import EXTRAS, ROWS, TARGETS, Problem
from benchmarks.race import Log, Rules, race, time_fit
from benchmarks.results import Growth, Outcome

# Which side of which row is grown, and the fractions of it that are timed.
_AXES = {"tall": "n", "square": "p"}
_FRACTIONS = (0.25, 0.5, 1.0)


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


def run_row(name: str, plan: Plan, log: Log) -> Outcome:
    """Race, and measure what else the row asks for."""
    row = (ROWS | EXTRAS)[name]
    dtype = row.dtype or plan.dtype
    rules = Rules(plan.target or TARGETS[dtype], plan.repeats, plan.patience)
    log("drawing the data")
    problem = row.problem(dtype, quick=plan.quick, scale=plan.scale)
    busy = busy_cores()
    jax.clear_caches()  # so that the first call pays for all its compilations
    stages: dict[str, dict[str, float]] = {}
    if name == "cold":
        once = replace(rules, repeats=1) if plan.quick else rules
        timings, stages = race_cold(problem, once, log)
    else:
        contestants = contestants_for(problem, plan.only, quick=plan.quick)
        timings = race(problem, contestants, rules, log)
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
    if plan.only or name in EXTRAS or name == "cold" or outcome.ours is None:
        return outcome
    return _measure_more(outcome, outcome.ours.tol or 0.0, problem, plan, log)


def _measure_more(outcome: Outcome, tol: float, problem: Problem, plan: Plan, log: Log) -> Outcome:
    """The floor, and our fit's memory and its time at other sizes."""
    log("measuring the floor")
    outcome = replace(outcome, floor=floor(problem))
    # A quick run shows the two in one row only: each compiles again.
    if plan.quick and outcome.row != "tall":
        return outcome
    log("measuring memory")
    outcome = replace(outcome, memory=_memory(outcome, plan, tol))
    if outcome.row in _AXES:
        log("measuring growth")
        outcome = replace(outcome, growth=_growth(outcome, plan, tol))
    return outcome


def _memory(outcome: Outcome, plan: Plan, tol: float) -> Memory:
    options = ["--dtype", outcome.dtype, "--scale", repr(plan.scale), "--tol", repr(tol)]
    return measure_in_child(outcome.row, options + ["--quick"] * plan.quick)


def _growth(outcome: Outcome, plan: Plan, tol: float) -> Growth:
    """Fit a quarter, a half and the whole, in turn."""
    axis, (n, p, _) = _AXES[outcome.row], outcome.shape
    shapes = [(int(n * f), p) if axis == "n" else (n, int(p * f)) for f in _FRACTIONS]
    fits = [jax_logreg(ROWS[outcome.row].build(*shape, outcome.dtype)) for shape in shapes]
    rounds = [[time_fit(fit, tol) for fit in fits] for _ in range(plan.repeats + 1)]
    # The first round compiles.
    seconds = [statistics.median(column) for column in zip(*rounds[1:], strict=True)]
    sizes = [shape["np".index(axis)] for shape in shapes]
    exponent = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
    return Growth(axis, sizes, seconds, exponent)

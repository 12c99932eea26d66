"""One row of the table, from data to outcome."""

import statistics
from dataclasses import replace

import jax
import numpy as np

from benchmarks.cold import race_cold
from benchmarks.contestants import contestants_for, jax_logreg
from benchmarks.machine import busy_cores, floor, machine
from benchmarks.memory import measure_in_child
from benchmarks.problems import EXTRAS, ROWS, TARGETS, Problem
from benchmarks.race import Log, Rules, race, time_fit
from benchmarks.results import Growth, Outcome

# Which side of which row is grown, and the fractions of it that are timed.
_AXES = {"tall": "n", "square": "p"}
_FRACTIONS = (0.25, 0.5, 1.0)


def run_row(name: str, rules: Rules, log: Log) -> Outcome:
    """Race, and measure what else the row asks for."""
    row = (ROWS | EXTRAS)[name]
    dtype = row.dtype or rules.dtype
    rules = replace(rules, target=rules.target or TARGETS[dtype])
    log("drawing the data")
    problem = row.problem(dtype, quick=rules.quick, scale=rules.scale)
    busy = busy_cores()
    jax.clear_caches()  # so that the first call pays for all its compilations
    stages: dict[str, dict[str, float]] = {}
    if name == "cold":
        once = replace(rules, repeats=1) if rules.quick else rules
        timings, stages = race_cold(problem, once, log)
    else:
        contestants = contestants_for(problem, rules.only, quick=rules.quick)
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
    if rules.only or name in EXTRAS or name == "cold" or outcome.ours is None:
        return outcome
    return _measure_more(outcome, outcome.ours.tol or 0.0, problem, rules, log)


def _measure_more(
    outcome: Outcome, tol: float, problem: Problem, rules: Rules, log: Log
) -> Outcome:
    """The floor, and our fit's memory and its time at other sizes."""
    log("measuring the floor")
    outcome = replace(outcome, floor=floor(problem))
    # A quick run shows the two in one row only: each compiles again.
    if rules.quick and outcome.row != "tall":
        return outcome
    log("measuring memory")
    options = ["--dtype", outcome.dtype, "--scale", repr(rules.scale), "--tol", repr(tol)]
    memory = measure_in_child(outcome.row, options + ["--quick"] * rules.quick)
    outcome = replace(outcome, memory=memory)
    if outcome.row in _AXES:
        log("measuring growth")
        outcome = replace(outcome, growth=_growth(outcome, rules, tol))
    return outcome


def _growth(outcome: Outcome, rules: Rules, tol: float) -> Growth:
    """Fit a quarter, a half and the whole, in turn."""
    axis, (n, p, _) = _AXES[outcome.row], outcome.shape
    shapes = [(int(n * f), p) if axis == "n" else (n, int(p * f)) for f in _FRACTIONS]
    fits = [jax_logreg(ROWS[outcome.row].build(*shape, outcome.dtype)) for shape in shapes]
    rounds = [[time_fit(fit, tol) for fit in fits] for _ in range(rules.repeats + 1)]
    # The first round compiles.
    seconds = [statistics.median(column) for column in zip(*rounds[1:], strict=True)]
    sizes = [shape["np".index(axis)] for shape in shapes]
    exponent = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
    return Growth(axis, sizes, seconds, exponent)

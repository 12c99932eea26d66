"""The row "cold": from the start of a fresh process to the answer, import included."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import ours, rivals
from benchmarks.answers import Answer, Fit
from benchmarks.calibration import Rules, Tell, calibrate, references_for, warm_up
from benchmarks.contestants import Contestant
from benchmarks.harness import Timing
from benchmarks.memory import ROOT
from benchmarks.problems import Problem

_BINARY = frozenset({"binary"})


@dataclass
class Starter:
    """One kind of fresh process, and what its runs said.

    Attributes:
        name: for the table.
        short: for the summary.
        who: which fit of ``cold_child``.
        tol: the loosest that is accurate enough.
        environment: variables on top of ours.
        seconds: from start to answer, one a run.
        stages: what they went into.
        suboptimality: of the last answer.
    """

    name: str
    short: str
    who: str
    tol: float
    environment: dict[str, str] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)
    suboptimality: float = np.inf

    @property
    def ours(self) -> bool:
        return self.who == "jax_logreg"


def race_cold(
    problem: Problem, rules: Rules, tell: Tell
) -> tuple[list[Timing], dict[str, dict[str, float]]]:
    """Timings of fresh processes in turn, and the stages of each, by contestant."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.npz"
        np.savez(table, X=problem.X, y=problem.y)
        tell("finding tolerances")
        starters, reference = _starters(problem, rules, f"{folder}/compiled")
        tell("filling the compilation cache")
        _start(starters[1], table, problem)
        for repeat in range(rules.repeats):
            for starter in starters if repeat % 2 else starters[::-1]:
                tell(f"starting {starter.name}")
                seconds, said = _start(starter, table, problem)
                starter.seconds.append(seconds)
                starter.stages.append(said["stages"])
                answer = Answer(np.array(said["coef"]), np.array(said["intercept"]))
                starter.suboptimality = reference.suboptimality(reference.see(answer))
    timings = [_timing(starter, starters[0], rules.target) for starter in starters]
    return timings, {starter.name: _medians(starter.stages) for starter in starters}


def _starters(problem: Problem, rules: Rules, cache: str) -> tuple[list[Starter], Any]:
    """Two of ours and two of scikit-learn's, at tolerances found in this process."""
    fits: dict[str, Any] = {"jax_logreg": ours.jax_logreg}
    for solver in ("lbfgs", "newton-cholesky"):
        fits[solver] = _prepare(solver)
    entrants = [
        warm_up(problem, Contestant(who, who, fit, _BINARY, ours=who == "jax_logreg"), 10.0)
        for who, fit in fits.items()
    ]
    reference = references_for(problem, entrants, rules.target)[False]
    tol, lbfgs, cholesky = (calibrate(e, reference, rules).tol for e in entrants)
    kept = {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    starters = [
        Starter("jax_logreg", "ours", "jax_logreg", tol),
        Starter("jax_logreg, compiled before", "ours, cached", "jax_logreg", tol, kept),
        Starter("scikit-learn lbfgs", "sk lbfgs", "lbfgs", lbfgs),
        Starter("scikit-learn newton-cholesky", "sk newton-ch", "newton-cholesky", cholesky),
    ]
    return starters, reference


def _prepare(solver: str) -> Any:
    def prepare(problem: Problem) -> Fit:
        return rivals.scikit_learn(problem, solver)

    return prepare


def _start(starter: Starter, table: Path, problem: Problem) -> tuple[float, dict[str, Any]]:
    """Seconds from before the start to the answer, and what the process said."""
    command = [
        *(sys.executable, "-m", "benchmarks.cold_child", starter.who),
        *(str(table), repr(problem.strength), repr(starter.tol)),
    ]
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    began = time.time()
    child = subprocess.run(
        command,
        cwd=ROOT,
        env=environment | starter.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(child.stdout)
    return said["answered"] - began, said


def _timing(starter: Starter, yardstick: Starter, target: float) -> Timing:
    pairs = zip(starter.seconds, yardstick.seconds, strict=True)
    ratios = sorted(theirs / ours for theirs, ours in pairs)
    return Timing(
        contestant=starter.name,
        short=starter.short,
        ours=starter.ours,
        tol=starter.tol,
        suboptimality=starter.suboptimality,
        reached=starter.suboptimality <= target,
        seconds=statistics.median(starter.seconds),
        ratio=statistics.median(ratios),
        spread=(ratios[0], ratios[-1]),
    )


def _medians(stages: list[dict[str, float]]) -> dict[str, float]:
    """The median of each stage over the runs."""
    return {stage: statistics.median(run.get(stage, 0.0) for run in stages) for stage in stages[0]}

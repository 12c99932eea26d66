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

from benchmarks.contestants import Answer, contestants_for
from benchmarks.memory import ROOT
from benchmarks.problems import Problem
from benchmarks.race import Log, Rules, Timing, calibrate_all
from jax_logreg.programs.store import VARIABLE

# Contestant in the race ↦ its short name, and which fit of ``cold_child`` it is.
_METHODS = {
    "jax_logreg": ("ours", "jax_logreg"),
    "scikit-learn lbfgs": ("sk lbfgs", "lbfgs"),
    "scikit-learn newton-cholesky": ("sk newton-ch", "newton-cholesky"),
}


@dataclass
class Command:
    """One kind of fresh process, and the results of its runs."""

    timing: Timing  # with the loosest tolerance that is accurate enough
    method: str  # which fit of ``cold_child``
    environment: dict[str, str] = field(default_factory=dict)  # on top of ours
    seconds: list[float] = field(default_factory=list)  # from start to answer
    stages: list[dict[str, float]] = field(default_factory=list)  # of these seconds


def race_cold(
    problem: Problem, rules: Rules, log: Log
) -> tuple[list[Timing], dict[str, dict[str, float]]]:
    """Timings of fresh processes in turn, and the median stages of each, by contestant."""
    contestants = contestants_for(problem, list(_METHODS))
    timings, entrants = calibrate_all(problem, contestants, rules, log)
    reference = entrants[0].reference
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.npz"
        np.savez(table, X=problem.X, y=problem.y)
        commands = _commands({t.contestant: t.tol for t in timings}, f"{folder}/compiled")
        log("filling the compilation cache")
        _run(commands[1], table, problem)
        for repeat in range(rules.repeats):
            for command in commands if repeat % 2 else commands[::-1]:
                log(f"starting {command.timing.contestant}")
                seconds, report = _run(command, table, problem)
                command.seconds.append(seconds)
                command.stages.append(report["stages"])
                answer = Answer(np.array(report["coef"]), np.array(report["intercept"]))
                gap = reference.suboptimality(reference.evaluate(answer))
                command.timing.suboptimality, command.timing.reached = gap, gap <= rules.target
    for command in commands:
        command.timing.set_pairs(command.seconds, commands[0].seconds)
    medians = {
        command.timing.contestant: {
            stage: statistics.median(run.get(stage, 0.0) for run in command.stages)
            for stage in command.stages[0]
        }
        for command in commands
    }
    return [command.timing for command in commands], medians


def _commands(tolerances: dict[str, float | None], cache: str) -> list[Command]:
    """Two of ours and two of scikit-learn's."""
    commands = [
        Command(Timing(name, short, short == "ours", tol=tolerances[name]), method)
        for name, (short, method) in _METHODS.items()
    ]
    ours = Timing("jax_logreg, compiled before", "ours, cached", True, tol=tolerances["jax_logreg"])
    kept = {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return [commands[0], Command(ours, "jax_logreg", kept), *commands[1:]]


def _run(command: Command, table: Path, problem: Problem) -> tuple[float, dict[str, Any]]:
    """Seconds from before the start to the answer, and what the process printed."""
    arguments = [command.method, str(table), repr(problem.strength), repr(command.timing.tol)]
    began = time.time()
    report = run_child("benchmarks.cold_child", arguments, command.environment)
    return report["answered"] - began, report


def run_child(module: str, arguments: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """What a fresh process printed, which finds compiled only what ``environment`` names."""
    kept = ("JAX_COMPILATION_CACHE_DIR", VARIABLE)
    inherited = {k: v for k, v in os.environ.items() if k not in kept}
    command = [sys.executable, "-m", module, *arguments]
    child = subprocess.run(
        command, cwd=ROOT, env=inherited | environment, capture_output=True, text=True, check=False
    )
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{child.stderr}")
    return json.loads(child.stdout)

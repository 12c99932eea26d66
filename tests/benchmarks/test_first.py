"""First fits: every row runs, its answers agree, and each process is what the table calls it."""

import os

import numpy as np
import pytest

from benchmarks import first
from benchmarks.cold import run_child
from benchmarks.first_child import METHODS, run
from benchmarks.report import WIDTH
from jax_logreg.programs.store import VARIABLE

CASES = [case.tiny() for row in first.ROWS.values() for case in row]


@pytest.fixture
def in_this_process(monkeypatch):
    """For speed: the children's folders of programs, in order, and no worker processes."""
    folders = []

    def run_here(module, arguments, environment):
        folders.append(environment[VARIABLE])
        method, tables = arguments
        return run(method.replace("2 jobs", "1 job"), tables)

    monkeypatch.setattr(first, "run_child", run_here)
    return folders


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.methods[0])
def test_a_tiny_case_runs_and_its_answers_agree(case, in_this_process):
    reports = first.measure(case, 1)
    assert len(reports) == 2 * len(case.methods) - 1
    *ours, theirs = (np.array(runs[0]["answer"]) for runs in reports.values())
    for answer in ours:
        np.testing.assert_allclose(answer, theirs, rtol=0, atol=2e-3 * np.abs(theirs).max())
    for line in first.lines(case, reports):
        assert len(line) <= WIDTH
    assert in_this_process[0] == in_this_process[1]
    assert len(set(in_this_process)) == len(case.methods)


def test_methods_of_all_cases_exist():
    assert {method for case in CASES for method in case.methods} == set(METHODS)


def test_a_goal_that_is_missed_is_marked():
    runs = [{"wall": 2.0, "cpu": 1.0, "answer": [1.0]}]
    case = first.Case(((60, 3, 2),), ("fit", "scikit-learn"), first=3, ratio=0.5)
    first_line, second_line, other = first.lines(
        case, {"fit, first": runs, "fit, second": runs, "scikit-learn": runs}
    )
    assert "3 " in first_line
    assert "!" not in first_line + other
    assert "1!" in second_line


def test_the_second_process_finds_what_the_first_kept_and_nothing_else(monkeypatch, tmp_path):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "not this"))
    monkeypatch.setenv(VARIABLE, "off")
    tables, folder = tmp_path / "tables.npz", tmp_path / "programs"
    rng = np.random.default_rng(0)
    np.savez(tables, rng.normal(size=(60, 3)), rng.integers(0, 2, 60))
    arguments = ["fit", str(tables)]
    before = run_child("benchmarks.first_child", arguments, {VARIABLE: str(folder)})
    kept = sorted(os.listdir(folder))
    after = run_child("benchmarks.first_child", arguments, {VARIABLE: str(folder)})
    assert kept
    assert sorted(os.listdir(folder)) == kept
    assert before["answer"] == after["answer"]
    assert not (tmp_path / "not this").exists()


def test_a_child_that_fails_says_why():
    with pytest.raises(RuntimeError, match="KeyError: 'guess'"):
        run_child("benchmarks.first_child", ["guess", "absent.npz"], {})

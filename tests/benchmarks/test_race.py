"""The race is fair: one that stops early is reported, and F* is the lowest of all."""

import numpy as np
import pytest
from scipy import sparse

from benchmarks import report, results
from benchmarks.contestants import Answer, Contestant, contestants_for
from benchmarks.machine import Floor
from benchmarks.memory import Memory
from benchmarks.problems import ROWS, random, random_sparse
from benchmarks.race import Rules, race
from benchmarks.reference import Derivatives, Reference, polish
from benchmarks.results import Growth, Outcome
from jax_logreg import L2, make_objective

RULES = Rules(target=1e-9, repeats=1, patience=1.0)


@pytest.fixture
def problem():
    return random((80, 3, 2), 1e-2)


def contestant(name, fit, **options):
    return Contestant(name, name, lambda problem: fit, frozenset({"binary"}), **options)


def newton(problem):
    return lambda tol, max_steps: polish(problem, None, tol**2)


def stopped_early(problem):
    """As if the method's own tolerance did nothing."""
    answer = polish(problem, None, 1e-12)
    return lambda tol, max_steps: Answer(answer.coef * 1.001, answer.intercept)


def timings_of(problem):
    contestants = [
        contestant("ours", newton(problem), ours=True),
        contestant("early", stopped_early(problem)),
        contestant("newton", newton(problem)),
        contestant("broken", lambda tol, max_steps: 1 / 0),
    ]
    return race(problem, contestants, RULES, lambda text: None)


def outcome_of(problem):
    return Outcome(
        row="small", shape=(80, 3, 2), fits=1, strength=1e-2, dtype="float64", target=1e-9,
        platform="cpu", machine="a machine", busy_cores=0.0, timings=timings_of(problem),
        floor=Floor(1e-3, 1e10, 1e11), memory=Memory(1.5, None, 1000),
        growth=Growth("n", [20, 40, 80], [1.0, 2.0, 4.0], 1.0), stages={"ours": {"import": 0.5}},
    )  # fmt: skip


def test_a_rival_that_stops_early_falls_short_and_is_not_the_best(problem):
    outcome = outcome_of(problem)
    ours, early, other, broken = outcome.timings
    assert ours.reached
    assert other.reached
    assert other.ratio > 0
    assert not early.reached
    assert early.suboptimality > RULES.target
    assert early.ratio is None
    assert not broken.reached
    assert "ZeroDivisionError" in broken.note
    assert broken.tol is None
    assert outcome.best_rival is other
    assert "early" in report.details(outcome)


def test_the_minimum_is_the_lowest_value_seen(problem):
    reference = Reference(problem)
    best = polish(problem, None, 1e-14)
    rough = Answer(best.coef * 1.01, best.intercept)
    high = reference.evaluate(rough)
    assert reference.suboptimality(high) == 0
    low = reference.evaluate(best)
    assert reference.minimum == low < high
    assert reference.suboptimality(high) > 0
    reference.evaluate(Answer(best.coef * np.nan, best.intercept))
    assert reference.minimum == low


@pytest.mark.parametrize("kind", ["binary", "softmax", "sparse", "float32"])
def test_the_judge_agrees_with_the_package_and_with_differences(kind, x64):
    make = random_sparse if kind == "sparse" else random
    dtype = "float32" if kind == "float32" else "float64"
    problem = make((40, 5, 3 if kind == "softmax" else 2), 0.1, dtype=dtype)
    K = problem.num_classes
    theta = np.random.default_rng(0).normal(size=(6, K) if K > 2 else 6)
    direction = 1e-5 * np.cos(theta)

    def at(theta):
        return Derivatives(problem, theta)

    X = problem.X.toarray() if sparse.issparse(problem.X) else problem.X
    F = make_objective(X.astype(float), np.eye(K)[problem.y] if K > 2 else problem.y, L2(0.1))
    here, ahead, behind = at(theta), at(theta + direction), at(theta - direction)
    assert here.value == pytest.approx(float(F.value(theta.ravel())), rel=1e-13)
    slope = np.sum(here.gradient() * direction)
    assert slope == pytest.approx((ahead.value - behind.value) / 2, rel=1e-6)
    change = (ahead.gradient() - behind.gradient()) / 2
    np.testing.assert_allclose(here.hvp(direction), change, rtol=1e-6, atol=1e-15)
    unit = np.zeros_like(theta)
    unit.flat[0] = 1
    assert here.hvp(unit).flat[0] == pytest.approx(here.diagonal().flat[0])


def test_the_report_replaces_only_what_is_between_the_marks(problem, tmp_path):
    path, kept = tmp_path / "RESULTS.md", tmp_path / "results.json"
    path.write_text(
        f"before\n{report.BEGIN}\nwhat was here\n{report.END}\nafter\n", encoding="utf-8"
    )
    results.save(outcome_of(problem), kept)
    results.save(outcome_of(problem), kept)
    (again,) = results.load(kept)
    report.draw([again], tmp_path / "results.png")
    assert (tmp_path / "results.png").stat().st_size > 1000
    report.write([again], path)
    first = path.read_text(encoding="utf-8")
    report.write([again], path)
    assert path.read_text(encoding="utf-8") == first
    assert first.startswith(f"before\n{report.BEGIN}\n")
    assert first.endswith(f"{report.END}\nafter\n")
    assert "what was here" not in first
    assert all(len(line) <= report.WIDTH for line in report.summary([again]).splitlines())
    assert all(len(line) <= report.WIDTH for line in report.details(again).splitlines())


def test_a_report_without_marks_is_not_written(tmp_path):
    path = tmp_path / "RESULTS.md"
    path.write_text("all mine", encoding="utf-8")
    with pytest.raises(ValueError, match="once"):
        report.write([], path)
    assert path.read_text(encoding="utf-8") == "all mine"


def test_results_of_earlier_runs_make_a_report(tmp_path):
    path = tmp_path / "RESULTS.md"
    path.write_text(f"{report.BEGIN}{report.END}", encoding="utf-8")
    kept = results.load()
    report.write(kept, path)
    text = path.read_text(encoding="utf-8")
    assert {outcome.row for outcome in kept} <= set(ROWS)
    assert all(f"{outcome.row}: {outcome.shape[0]}" in text for outcome in kept)


@pytest.mark.parametrize("name", ["text-20", "one-hot", "raw-units", "raw-units-7"])
def test_tables_that_people_have_are_fitted_by_both_doors(name, x64):
    """The estimator's answer is that of fit, and another library takes part."""
    problem = ROWS[name].build(300, 60, "float64")
    again = ROWS[name].build(300, 60, "float64")
    assert abs(problem.X - again.X).max() == 0
    assert problem.X.shape == (300, 54 if "raw" in name else 60)
    ours = [c for c in contestants_for(problem) if c.ours]
    assert [c.name for c in ours] == ["jax_logreg", "jax_logreg estimator"]
    assert any("newton-cg" in c.name for c in contestants_for(problem))
    one, other = (c.prepare(problem)(1e-9, 0) for c in ours)
    np.testing.assert_allclose(other.coef, one.coef, rtol=1e-4, atol=1e-6)
    best = polish(problem, one, 1e-12)
    reference = Reference(problem)
    reference.evaluate(best)
    assert reference.suboptimality(reference.evaluate(one)) < 1e-9

import re

import numpy as np
import pytest

from jax_logreg.audit import texts
from jax_logreg.audit.text_entry import Sample, gradient_entry, mean_loss
from jax_logreg.audit.texts import BINARY, SOFTMAX, audit_texts, judge


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 4)), np.arange(40) % 2


@pytest.fixture(scope="module")
def verdicts(table):
    return audit_texts(*table)


def test_every_formula_comes_out_as_the_atlas_says(verdicts):
    assert [v.formula for v in verdicts] == list(BINARY)
    assert {v.formula.name: v.verdict for v in verdicts if not v.as_expected} == {}
    assert all(v.comparison.agrees == (v.verdict == "right") for v in verdicts)


def test_the_six_misprints_are_wrong_each_in_its_way(verdicts):
    wrong = {(v.formula.name[0], v.verdict) for v in verdicts if v.formula.name[0] in "①②③④⑤⑥"}
    assert {pair for pair in wrong if pair[1] != "right"} == {
        ("①", "wrong: where y = 0"),
        ("②", "wrong: values"),
        ("③", "wrong: sign"),
        ("④", "wrong: shape"),
        ("④", "wrong: values"),
        ("⑤", "wrong: claim"),
        ("⑥", "wrong: claim"),
    }


def test_softmax_formulas_run_on_three_classes(table):
    X, _ = table
    verdicts = audit_texts(X, np.arange(40) % 3, seed=1)
    assert [v.formula for v in verdicts] == list(SOFTMAX)
    assert {v.verdict for v in verdicts} == {"right"}


def test_entries_are_named_once_and_written_whole():
    for atlas in (BINARY, SOFTMAX):
        keys = [(f.where, f.name) for f in atlas]
        assert len(set(keys)) == len(keys)
        for f in atlas:
            assert len(f.name) <= 48
            assert f.latex.count("{") == f.latex.count("}")
            sides = [len(re.findall(rf"\\{side}(?![a-z])", f.latex)) for side in ("left", "right")]
            assert sides[0] == sides[1]
            assert f.domain
            assert f.where.startswith(("notebook: ", "article: "))


@pytest.mark.parametrize(
    ("spoil", "verdict"),
    [
        (lambda x: -x, "wrong: sign"),
        (lambda x: 2 * x, "wrong: ratio 2"),
        (lambda x: x[:-1], "wrong: shape"),
        (lambda x: x + 0.01 * x**2, "wrong: values"),
        (lambda x: x, "right"),
    ],
)
def test_the_verdict_follows_the_numbers(table, x64, spoil, verdict):
    sample = texts._draw(*table, seed=0)
    formula = next(f for f in BINARY if f.name == "p/(1−p) = eᶻ")
    spoiled = formula._replace(hand=lambda s: spoil(formula.hand(s)))
    assert judge(spoiled, sample).verdict == verdict


def test_a_wrong_gradient_is_diagnosed_by_the_audit_of_derivatives(table, x64):
    def forgets_half(s):
        return s.X.T @ (s.p - s.y) / len(s.X) / 2

    formula = gradient_entry("∇L/2", "", forgets_half, mean_loss, "", "here", "wrong: factor")
    verdict = judge(formula, texts._draw(*table, seed=0))
    assert verdict.as_expected
    assert verdict.as_dict()["verdict"] == "wrong: factor"
    assert verdict.as_dict()["relative"] == pytest.approx(0.5)


def test_no_row_is_saturated(table):
    sample = texts._draw(*table, seed=3)
    assert isinstance(sample, Sample)
    assert np.max(np.abs(sample.z)) == pytest.approx(3, rel=1e-5)

import numpy as np
import pytest

from jax_logreg.audit.text_formulas import FORMULAS, audit_texts, draw_quantities, judge


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 4)), np.arange(40) % 2


@pytest.fixture(scope="module")
def verdicts(table):
    return audit_texts(*table)


def test_every_formula_comes_out_as_the_table_says(verdicts):
    assert {v.formula.name: v.verdict for v in verdicts if not v.as_expected} == {}
    assert all(v.comparison.agrees == (v.verdict == "right") for v in verdicts)
    assert len(verdicts) == 65


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


def test_softmax_formulas_run_on_three_classes(table, verdicts):
    X, _ = table
    softmax = audit_texts(X, np.arange(40) % 3, seed=1)
    assert [v.formula for v in (*verdicts, *softmax)] == list(FORMULAS)
    assert {v.verdict for v in softmax} == {"right"}


def test_rows_are_named_once_and_fit_the_printed_table():
    keys = [(f.where, f.name) for f in FORMULAS]
    assert len(set(keys)) == len(keys)
    for f in FORMULAS:
        assert len(f.name) <= 48
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
    formula = next(f for f in FORMULAS if f.name == "p/(1−p) = eᶻ")
    spoiled = formula._replace(hand=lambda p: spoil(p / (1 - p)))
    assert judge(spoiled, draw_quantities(*table, seed=0)).verdict == verdict


def test_a_gradient_that_forgets_a_half(table, x64):
    gradient = next(f for f in FORMULAS if f.name == "∂L/∂w = (1/n)Xᵀ(ŷ − y)")
    wrong = gradient._replace(
        hand=lambda X, y, p: X.T @ (p - y) / len(X) / 2, expected="wrong: ratio 0.5"
    )
    verdict = judge(wrong, draw_quantities(*table, seed=0))
    assert verdict.as_expected
    assert verdict.as_dict()["verdict"] == "wrong: ratio 0.5"
    assert verdict.as_dict()["relative"] == pytest.approx(0.5)


def test_no_row_is_saturated(table):
    assert np.max(np.abs(draw_quantities(*table, seed=3)["z"])) == pytest.approx(3, rel=1e-5)

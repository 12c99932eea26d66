"""A model predicts as the fit and the estimator that it was taken from."""

import dataclasses

import jax
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from sklearn.linear_model import LogisticRegression

import jax_logreg as lr
from jax_logreg import Model
from jax_logreg.interfaces.encoding import Column, Encoding


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    return X, rng.integers(0, 3, 60)


@pytest.fixture(scope="module", params=[2, 3])
def fitted(request, data):
    X, y = data
    y = y % request.param
    with jax.enable_x64(True):
        result = lr.fit(X, y, penalty=lr.L2(0.1))
        eta = lr.logits(X, result.coef, result.intercept)
        mu, number = np.asarray(lr.probability(eta)), np.asarray(lr.predict_class(eta))
    return result, X, (mu if mu.ndim == 2 else np.stack([1 - mu, mu], axis=1)), number


FRAMES = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "arrow": pa.table,
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("K", [2, 3])
def test_the_names_of_a_frame_go_from_the_fit_to_the_model(frame, K, data):
    X, y = data
    columns = {"age": X[:, 0], "intercept": X[:, 1], "weight": X[:, 2]}
    table, y = frame(columns), y % K
    names = list(columns)
    with jax.enable_x64(True):
        result = lr.fit(table, y, penalty=lr.L2(0.1))
        many = lr.fit_many(table, y, penalty=lr.L2(np.array([0.1, 1.0])))
        plain = lr.fit(X, y, penalty=lr.L2(0.1))
    np.testing.assert_array_equal(result.coef, plain.coef)
    assert list(Model.from_result(result).feature_names) == names
    assert list(Model.from_result(result, feature_names=["a", "b", "c"]).feature_names) == [*"abc"]
    one = jax.tree.map(lambda leaf: leaf[0], many)
    assert list(Model.from_result(one).feature_names) == names
    of_class = [""] if K == 2 else ["1: ", "2: "]
    wanted = [k + name for name in [*names, "(intercept)"] for k in of_class]
    for answer, given in ((result, table), (result, X), (plain, table)):
        assert lr.infer(answer, given, y, penalty=lr.L2(0.1)).names == wanted
    assert lr.infer(plain, X, y, penalty=lr.L2(0.1)).names[-1].endswith("intercept")
    other = frame(dict(reversed(columns.items())))
    with pytest.raises(ValueError, match="was fitted with"):
        lr.infer(result, other, y, penalty=lr.L2(0.1))
    with pytest.raises(ValueError, match="another order"):
        Model.from_result(result).predict(other)
    apart = lr.diagnose_separation(table, X[:, 1] > 0)
    assert "columns age, intercept" in apart.message


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Model("a", 0.0), "coef must hold numbers, but its dtype is <U1"),
        (lambda: Model(None, 0.0), "coef must be an array, but it is None"),
        (
            lambda: Model([1.0], 0.0, feature_names=3),
            "feature_names must be a list of names, not 3",
        ),
        (lambda: Model.from_result(LogisticRegression()), r"it is a LogisticRegression.*from_est"),
        (lambda: Model.from_estimator(lr.fit([[0.0], [1.0]], [0, 1])), "Model.from_result makes"),
    ],
)
def test_what_makes_no_model_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_penalty_that_was_none_is_no_fact(fitted):
    with pytest.raises(ValueError, match="penalty must be the one given to fit, but it is 'l2'"):
        Model.from_result(fitted[0], penalty="l2")


def test_names_that_are_none_are_passed_over(data):
    X, y = data
    for columns in (range(3), ["a", "a", "b"]):
        result = lr.fit(pd.DataFrame(X, columns=list(columns)), y)
        assert Model.from_result(result).feature_names == ("x0", "x1", "x2")


def test_it_predicts_as_the_fit_does(fitted):
    result, X, mu, number = fitted
    labels = ["low", "mid", "high"][: mu.shape[1]]
    model = Model.from_result(result, classes=labels)
    np.testing.assert_allclose(model.probability(X), mu, rtol=0, atol=1e-15)
    assert model.predict(X).tolist() == [labels[k] for k in number]
    sparse = scipy.sparse.csr_array(X)
    np.testing.assert_allclose(model.probability(sparse), mu, rtol=0, atol=1e-15)


def test_the_center_keeps_the_digits_of_a_column_far_from_zero(fitted):
    result, X = fitted[:2]
    shift, unit = np.array([2.0**30, 0, -(2.0**40)]), 2.0 ** np.array([-5, 300, 9])
    coef = (np.asarray(result.coef).T / unit).T
    moved = Model(coef, result.intercept, center=shift)
    far = np.round(X * 1024) / 1024 * unit + shift  # exact: the columns lose no bit
    expected = Model.from_result(result).probability(np.round(X * 1024) / 1024)
    np.testing.assert_allclose(moved.probability(far), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_classifier_of_scikit_learn_is_a_model(data, num_classes):
    X, y = data
    labels = np.array(["a", "b", "c"])[y % num_classes]
    for fit_intercept in (True, False):
        other = LogisticRegression(fit_intercept=fit_intercept).fit(X, labels)
        model = Model.from_estimator(other)
        np.testing.assert_allclose(model.probability(X), other.predict_proba(X), atol=1e-15)
        assert model.predict(X).tolist() == other.predict(X).tolist()
        assert model.classes.dtype == labels.dtype


def test_how_the_fit_ended_is_kept(fitted):
    model = Model.from_result(fitted[0], penalty=lr.L2(0.1, factor=[1.0, 2.0, 0.0]))
    assert model.training["status"] == "CONVERGED"
    assert model.training["penalty"] == {"kind": "L2", "strength": 0.1, "factor": [1, 2, 0]}
    assert model.training["gradient_norm"] == float(fitted[0].gradient_norm)
    assert model.version == lr.__version__


def test_far_logits_are_certain_and_a_tie_goes_to_the_first():
    two, three = Model([1.0], 0.0), Model([[1.0, 2.0, 3.0]], np.zeros(3))
    assert two.probability([[1e308], [-1e308]]).tolist() == [[0, 1], [1, 0]]
    assert three.probability([[1e300]]).tolist() == [[0, 0, 1]]
    assert two.predict([[0.0]]).tolist() == three.predict([[0.0]]).tolist() == [0]
    assert Model(np.zeros(0), 1.0).predict(np.zeros((2, 0))).tolist() == [1, 1]
    assert two.probability(np.zeros((0, 1))).shape == (0, 2)


def test_a_model_cannot_be_changed_by_its_maker(data):
    coef = np.ones(3)
    model = Model(coef, 0.0)
    coef[0] = 7
    assert model.coef.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="read-only"):
        model.coef[0] = 7


NAN = float("nan")
ENCODING = Encoding((Column("sex", ("f", "m")),))
REFUSED = {
    "coef of three axes": (dict(coef=np.ones((2, 2, 2))), r"coef must be \(p,\)"),
    "one column": (dict(coef=np.ones((2, 1))), r"coef must be \(p,\)"),
    "coef not finite": (dict(coef=[1.0, NAN]), r"coef\[1\] is nan: .* converge"),
    "intercept not finite": (dict(intercept=np.inf), "intercept is inf"),
    "intercept of another shape": (dict(intercept=[0.0, 1.0]), r"intercept must be \(\)"),
    "center of another shape": (dict(center=[0.0]), r"center must be \(2,\)"),
    "labels too many": (dict(classes="abc"), "two or more labels"),
    "labels of three": (dict(classes=[1, 2, 3]), "3 labels, but coef is for 2"),
    "labels twice": (dict(classes=[1, 1.0]), "class 1 occurs twice"),
    "labels of bytes": (dict(classes=[b"no", b"yes"]), "neither text"),
    "labels of dates": (dict(classes=np.array(["2025", "2026"], "M8[ns]")), "neither text"),
    "labels of wide floats": (dict(classes=np.longdouble([0, 1])), "neither text"),
    "labels in two axes": (dict(classes=np.eye(2)), "two or more labels"),
    "labels not finite": (dict(classes=[1.0, NAN]), "class nan is not finite"),
    "names too few": (dict(feature_names=["a"]), "1 names, but coef has 2"),
    "names twice": (dict(feature_names=["a", "a"]), "'a' twice"),
    "names no text": (dict(feature_names=[1, 2]), "must be text"),
    "names one text": (dict(feature_names="ab"), "not the text 'ab'"),
    "another encoding": (dict(feature_names=["a", "b"], encoding=ENCODING), "not those of the"),
    "facts not plain": (dict(training={"a": (1,)}), "plain data"),
    "facts not finite": (dict(training={"a": NAN}), "plain data"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_model_is_refused_by_name(case):
    given, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        Model(**{"coef": [1.0, 2.0], "intercept": 0.0, **given})


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones(2), r"X must be \(n, 2\)"),
        (np.ones((1, 3)), r"X must be \(n, 2\)"),
        ([[0.0, 0.0], [0.0, NAN]], "row 1 of X"),
        ([[1e308, -1e308]], "row 0 of X"),
    ],
)
def test_rows_that_cannot_be_predicted_are_refused(X, message):
    with pytest.raises(ValueError, match=message):
        Model([10.0, 10.0], 0.0).probability(X)


def test_many_fits_and_unfitted_estimators_are_no_model(fitted):
    with pytest.raises(ValueError, match="holds 2 fits"):
        Model.from_result(dataclasses.replace(fitted[0], status_code=np.zeros(2)))
    with pytest.raises(ValueError, match="has no coef_"):
        Model.from_estimator(LogisticRegression())

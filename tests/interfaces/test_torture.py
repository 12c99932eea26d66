"""Unusual tables: each has its right answer, or an error that names what is wrong."""

import datetime
import warnings
from contextlib import nullcontext

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.model_selection import KFold, cross_val_score

import jax_logreg as lr
from jax_logreg import FitWarning, LogisticRegression

N = 60
ROWS = np.random.default_rng(11)
X = ROWS.normal(size=(N, 3))
Y = (X @ [1.0, -1.0, 0.5] + ROWS.logistic(size=N) > 0).astype(int)
Y3 = ROWS.integers(0, 3, N)
ONES = np.ones(N)


def replaced(array, index, value, dtype=None):
    array = np.array(array, dtype=dtype)
    array[index] = value
    return array


@pytest.fixture(scope="module")
def plain():
    return LogisticRegression().fit(X, Y)


@pytest.fixture(scope="module")
def free():
    return LogisticRegression(C=np.inf).fit(X, Y)


def frozen():
    table = X.copy()
    table.flags.writeable = False
    return table


class Foreign:
    """An array of a library of which NumPy knows the protocol only, as of a tensor."""

    def __init__(self, array):
        self.array, self.dtype, self.shape = array, f"foreign.{array.dtype}", array.shape

    def __array__(self):
        return self.array


class Elsewhere(Foreign):
    def __array__(self):
        raise TypeError("can't convert device type tensor to numpy")


SAME_TABLES = {
    "foreign": Foreign(X),
    "list": X.tolist(),
    "fortran": np.asfortranarray(X),
    "strided": np.repeat(X, 2, axis=0)[::2],
    "backwards": X[::-1][::-1],
    "read-only": frozen(),
    "big-endian": X.astype(">f8"),
    "long double": X.astype(np.longdouble),
    "objects": X.astype(object),
    "numbers as text": X.astype(str).astype(object),
    "mask without effect": np.ma.masked_array(X, mask=np.zeros(X.shape, bool)),
    "pandas nullable": pd.DataFrame(X, columns=list("abc")).astype("Float64"),
    "polars": pl.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2]}),
    "coo": scipy.sparse.coo_array(X),
    "lil": scipy.sparse.lil_matrix(X),
}


@pytest.mark.parametrize("table", SAME_TABLES.values(), ids=SAME_TABLES)
def test_the_same_numbers_have_the_same_answer(table, plain):
    model = LogisticRegression().fit(table, Y)
    np.testing.assert_allclose(model.coef_, plain.coef_, atol=1e-12)
    np.testing.assert_allclose(model.predict_proba(table), plain.predict_proba(X), atol=1e-12)


@pytest.mark.parametrize(
    "dtype", [np.float16, ml_dtypes.bfloat16, np.int8, np.uint64, bool], ids=lambda d: d.__name__
)
def test_small_types_are_widened(dtype):
    table = np.abs(np.round(4 * X)).astype(dtype)
    model = LogisticRegression().fit(table, Y)
    want = LogisticRegression().fit(table.astype(float), Y)
    np.testing.assert_allclose(model.coef_, want.coef_, atol=1e-12)
    is_half = dtype in (np.float16, ml_dtypes.bfloat16)
    with (
        jax.enable_x64(True),
        pytest.warns(UserWarning, match="float32") if is_half else nullcontext(),
    ):
        small = lr.fit(table, Y, penalty=lr.L2(1 / N))
    np.testing.assert_allclose(small.coef, want.coef_[0], atol=1e-4)


@pytest.mark.parametrize("exponent", [-300, -150, 100, 150, 160, 300])
def test_the_unit_of_a_column_decides_nothing(exponent, plain, free):
    unit = np.array([10.0**exponent, 1.0, 1.0])
    model = LogisticRegression(C=np.inf).fit(X * unit, Y)
    np.testing.assert_allclose(model.coef_ * unit, free.coef_, rtol=1e-9)
    np.testing.assert_allclose(model.predict_proba(X * unit), free.predict_proba(X), rtol=1e-8)
    penalised = LogisticRegression().fit(
        X * unit, Y
    )  # a penalty depends on the unit: one column vanishes, or is free
    assert penalised.status_ is lr.Status.CONVERGED
    slope = (penalised.predict_proba(X * unit)[:, 1] - Y) @ (X * unit) + penalised.coef_[0]
    np.testing.assert_allclose(slope / np.maximum(unit, 1), 0, atol=1e-7)


def test_a_column_far_from_zero(free):
    shift = np.array([1e8, 0.0, 0.0])
    model = LogisticRegression(C=np.inf).fit(X + shift, Y)
    np.testing.assert_allclose(model.coef_, free.coef_, rtol=1e-6)  # X itself has 8 digits left
    np.testing.assert_allclose(model.predict_proba(X + shift), free.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("size", [1e-308, 1e300, 1e308])
def test_equal_weights_of_any_size_are_no_weights(size, free):
    model = LogisticRegression(C=np.inf).fit(X, Y, np.full(N, size))
    np.testing.assert_allclose(model.coef_, free.coef_, rtol=1e-9)


def test_weights_over_24_decades():
    weight = 10.0 ** ROWS.uniform(-12, 12, N)
    model = LogisticRegression().fit(X, Y, weight)
    residual = weight * (model.predict_proba(X)[:, 1] - Y)
    slopes = np.append(residual @ X + model.coef_[0], residual.sum())
    size = np.append(np.abs(residual) @ np.abs(X), np.abs(residual).sum())
    assert model.status_ is lr.Status.CONVERGED
    assert np.all(np.abs(slopes) < 1e-6 * size)


def test_one_row_in_a_million():
    is_rare = np.arange(N) == 0
    weight = np.where(is_rare, 1e-6 * N, 1)
    # The rare class is right to a thousandth of its standard error, or to six digits, not only to
    # a gradient of tol.
    for tol, most in ((None, 1e-3 * np.sqrt(1e-6 * N)), (1e-12, 1e-6 * 1e-6 * N)):
        model = LogisticRegression(tol=tol).fit(X, is_rare, weight)
        assert abs(np.sum(weight * (model.predict_proba(X)[:, 1] - is_rare))) < most


def test_a_thousand_classes():
    labels = np.arange(2000) % 1000
    table = np.stack([np.cos(labels), np.sin(labels)], axis=1)
    model = LogisticRegression(C=1e-3, tol=1e-10).fit(table, labels)
    assert model.status_ is lr.Status.CONVERGED
    assert model.coef_.shape == (1000, 2)
    residual = model.predict_proba(table) - np.eye(1000)[labels]
    np.testing.assert_allclose(residual.T @ table + 1e3 * model.coef_, 0, atol=1e-6)


LABELS = {
    "0 and 1e18": Y * 1e18,
    "whole 1e18": Y * 10**18,
    "signs": 2 * Y - 1,
    "uint8": Y.astype(np.uint8),
    "booleans": Y == 1,
    "long text": np.array(["a" * 100_000, "b" * 100_000])[Y],
    "python numbers": Y.tolist(),
    "polars": pl.Series(Y),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_any_two_labels(labels, plain):
    model = LogisticRegression().fit(X, labels)
    np.testing.assert_allclose(model.coef_, plain.coef_, atol=1e-12)
    assert np.array_equal(model.predict(X) == model.classes_[1], plain.predict(X) == 1)


def test_class_weights_of_labels_that_are_digits():
    text = np.array(["1", "2"])[Y]
    weighted = LogisticRegression(class_weight={"1": 3.0}).fit(X, text)
    want = LogisticRegression(class_weight={0: 3.0}).fit(X, Y)
    np.testing.assert_allclose(weighted.coef_, want.coef_, atol=1e-12)


def test_labels_in_a_column_are_read_with_a_warning(plain):
    with pytest.warns(DataConversionWarning, match="column-vector"):
        model = LogisticRegression().fit(X, Y[:, None])
    np.testing.assert_allclose(model.coef_, plain.coef_)


def test_a_class_may_be_missing_from_a_fold():
    labels = np.repeat([0, 1, 2], N // 3)
    scores = cross_val_score(LogisticRegression(), X, labels, cv=KFold(3))
    assert np.array_equal(scores, np.zeros(3))


def test_columns_of_zeros():
    model = LogisticRegression().fit(0 * X, Y3)
    assert np.all(model.coef_ == 0)
    shares = np.bincount(Y3) / N
    np.testing.assert_allclose(model.predict_proba(X[:1])[0], shares, atol=1e-9)
    with pytest.warns(FitWarning, match="Drop such a column"):
        alone = LogisticRegression(C=np.inf).fit(0 * X, Y)
    np.testing.assert_allclose(alone.intercept_, np.log(Y.mean() / (1 - Y.mean())), atol=1e-9)


@pytest.mark.parametrize(
    ("column", "share"), [(np.full(N, 7.0), 0.0), (X[:, 0], 0.5), (np.zeros(N), 0.0)]
)
def test_constant_and_doubled_columns(column, share, free):
    with pytest.warns(FitWarning):
        model = LogisticRegression(C=np.inf).fit(np.column_stack([X, column]), Y)
    want = np.append(free.coef_[0] * [1 - share, 1, 1], free.coef_[0, 0] * share)
    np.testing.assert_allclose(model.coef_[0], want, atol=1e-8)
    assert model.diagnostics_.rank == 4


def test_more_columns_than_rows():
    wide, few = ROWS.normal(size=(8, 14)), Y[:8]
    model = LogisticRegression(tol=1e-12).fit(wide, few)
    slope = (model.predict_proba(wide)[:, 1] - few) @ wide + model.coef_[0]
    np.testing.assert_allclose(slope, 0, atol=1e-10)


@pytest.mark.parametrize("C", [5e-324, 1e-300, 1e-30, 1e30, 1e300, np.inf])
def test_the_ends_of_C(C, free):
    model = LogisticRegression(C=C).fit(X, Y)
    assert model.status_ is lr.Status.CONVERGED
    want = free.coef_ if C > 1 else np.zeros((1, 3))
    np.testing.assert_allclose(model.coef_, want, atol=1e-8)
    if C == 1e-30:  # there β = −C · the slope at zero
        slope = (Y.mean() - Y) @ X
        np.testing.assert_allclose(model.coef_[0], -C * slope, rtol=1e-6)


@pytest.mark.parametrize("labels", [Y, Y3], ids=["binary", "softmax"])
def test_huge_logits_stay_probabilities(labels):
    model = LogisticRegression().fit(X, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for table in (1e308 * np.sign(X), scipy.sparse.csr_array(1e308 * np.sign(X))):
            chances = model.predict_proba(table)
            assert np.all(np.isfinite(chances))
            np.testing.assert_allclose(chances.sum(axis=1), 1)
            assert np.array_equal(model.classes_[chances.argmax(axis=1)], model.predict(table))
    assert np.all(np.isfinite(model.predict_log_proba(1e6 * X)))


FRAME = pd.DataFrame(X, columns=list("abc"))
BAD_TABLES = {
    "NaN": (replaced(X, (3, 1), np.nan), r"X contains NaN.*row 3, column 1.*Drop"),
    "infinity": (replaced(X, (3, 1), -np.inf), r"X contains infinity.*row 3, column 1"),
    "sparse NaN": (scipy.sparse.csr_array(replaced(X, (3, 1), np.nan)), "row 3, column 1"),
    "pandas NA": (
        FRAME.astype("Float64").mask(np.arange(3 * N).reshape(N, 3) == 7),
        "NaN.*row 2, column 'b'",
    ),
    "polars null": (pl.DataFrame({"a": [None, *X[1:, 0]]}), "NaN.*row 0, column 'a'"),
    "None": (replaced(X, (4, 0), None, object), "NaN.*row 4, column 0"),
    "masked": (np.ma.masked_array(X, mask=np.eye(N, 3, -2) > 0), r"X\[2, 0\] is masked.*filled"),
    "complex": (X + 0j, "Complex data not supported"),
    "dates": (X.astype("datetime64[s]"), "X holds datetime64.*not numbers"),
    "pandas dates": (FRAME.assign(day=pd.Timestamp(0)), "column 'day' of X holds datetime"),
    "polars dates": (
        pl.DataFrame({"day": pd.date_range("2020", periods=N).to_list()}),
        "column 'day' of X holds Date",
    ),
    "text": (X.astype(str).astype(object) + "m", r"X must hold numbers, but row 0, column 0"),
    "pandas text": (FRAME.assign(site="u"), "row 0, column 'site' holds 'u'.*Encode"),
    "polars text": (
        pl.DataFrame({"a": X[:, 0], "site": ["u"] * N}),
        "row 0, column 'site' holds 'u'.*Encode",
    ),
    "categories": (FRAME.assign(site=pd.Categorical(["u"] * N)), "column 'site'.*Encode"),
    "one dimension": (X[:, 0], r"Expected 2D array.*reshape\(-1, 1\)"),
    "three dimensions": (X[:, :, None], "dim 3"),
    "no columns": (X[:, :0], r"0 feature\(s\)"),
    "no rows": (X[:0], r"0 sample\(s\)"),
    "ragged": ([[1.0, 2.0], [3.0]], "inhomogeneous"),
    "nothing": (None, "X must be an array, but it is None"),
}


DAYS = [datetime.date(2020, 1, 1) + datetime.timedelta(i) for i in range(N)]
TIMES = [datetime.datetime.combine(day, datetime.time(12)) for day in DAYS]
DURATIONS = [datetime.timedelta(i) for i in range(N)]
CLOCK = [datetime.time(i % 24) for i in range(N)]
DATES = {
    "numpy": np.array(DAYS, "datetime64[D]"),
    "numpy durations": np.array(DURATIONS, "timedelta64[s]"),
    "numpy objects": np.array([*map(np.datetime64, DAYS), None], object)[:-1],
    "python": DAYS,
    "polars date": pl.Series(DAYS),
    "polars datetime": pl.Series(TIMES),
    "polars duration": pl.Series(DURATIONS),
    "polars time": pl.Series(CLOCK),
    "pandas": pd.Series(TIMES),
    "pandas zone": pd.Series(TIMES).dt.tz_localize("UTC"),
    "pandas durations": pd.Series(DURATIONS),
    "pandas periods": pd.Series(pd.period_range("2020", periods=N)),
    "pandas objects": pd.Series(CLOCK),
    "pandas arrow": pd.Series(DAYS, dtype=pd.ArrowDtype(pa.date32())),
    "arrow date": pa.array(DAYS),
    "arrow timestamp": pa.array(TIMES),
    "arrow duration": pa.array(DURATIONS),
    "arrow time": pa.array(CLOCK),
}
DOORS = {
    "fit": lr.fit,
    "fit_many": lambda X, y: lr.fit_many(X, np.stack([y, 1 - y])),
    "diagnose_separation": lr.diagnose_separation,
    "estimator": lambda X, y: LogisticRegression().fit(X, y),
    "model": lambda X, y: lr.Model([1.0, 1.0], 0.0).logits(X),
    "picture": lambda X, y: lr.plot_decision_regions(lr.Model([1.0, 1.0], 0.0), X, y),
}


def beside_numbers(dates):
    """A table of numbers and dates, in the container of the dates."""
    columns = {"size": X[:, 0], "day": dates}
    library = type(dates).__module__.split(".")[0]
    container = {"polars": pl.DataFrame, "pandas": pd.DataFrame, "pyarrow": pa.table}
    if library in container:
        return container[library](columns)
    cells = np.empty((N, 2), object)
    cells[:, 0], cells[:, 1] = X[:, 0], list(dates)
    return cells


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("dates", DATES.values(), ids=DATES)
def test_dates_are_no_numbers_at_any_door(dates, door):
    with pytest.raises(ValueError, match="(column 'day' of X holds|X.0, 1. is).*days since"):
        DOORS[door](beside_numbers(dates), Y)


@pytest.mark.parametrize("dates", DATES.values(), ids=DATES)
def test_dates_are_neither_labels_nor_weights(dates):
    for arguments in ({"y": dates}, {"y": Y, "sample_weight": dates}):
        with pytest.raises(ValueError, match=r"(y|weight)(\[0\] is| holds).*days since"):
            lr.fit(X, **arguments)
    with pytest.raises(ValueError, match=r"y(\[0\] is| holds).*a class needs a name"):
        LogisticRegression().fit(X, dates)


@pytest.mark.parametrize(("table", "message"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_bad_table_is_refused_by_name(table, message, plain):
    rows = getattr(table, "shape", (2,))[0]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        LogisticRegression().fit(table, Y[:rows])
    assert plain.status_ is lr.Status.CONVERGED


BAD_LABELS = {
    "NaN": (replaced(Y, 2, np.nan, float), r"y\[2\] is nan.*Drop"),
    "infinity": (replaced(Y, 2, np.inf, float), r"y\[2\] is inf"),
    "None": (replaced(Y, 2, None, object), r"y\[2\] is None"),
    "pandas NA": (pd.array([None, *Y[1:]], dtype="Int64"), r"y\[0\] is"),
    "pandas text NA": (pd.Series([None, *map(str, Y[1:])], dtype="string"), r"y\[0\] is"),
    "category NaN": (pd.Categorical.from_codes([-1, *Y[1:]], ["u", "v"]), r"y\[0\] is nan"),
    "polars null": (pl.Series([None, *Y[1:].tolist()]), r"y\[0\] is"),
    "mixed": (replaced(Y, 5, "a", object), r"mixes types: y\[0\] is \d and y\[5\] is 'a'"),
    "mixed list": ([*Y[:-1].tolist(), "a"], r"y\[59\] is 'a'.*astype\(str\)"),
    "masked": (np.ma.masked_array(Y, mask=np.arange(N) == 3), r"y\[3\] is masked"),
    "one class": (0 * Y, "at least 2 classes.*only one class: 0"),
    "continuous": (X[:, 0], "Unknown label type: continuous"),
    "complex": (Y + 0j, "Complex data not supported"),
    "dates": (Y.astype("datetime64[D]"), "y holds datetime64"),
    "numbers as objects": (Y.astype(object), r"dtype object.*Give y.astype\(int\)"),
    "a column of objects": (pd.Series(Y == 1, dtype=object), r"Give y.astype\(bool\)"),
    "another device": (Elsewhere(Y), r"y is a Elsewhere that NumPy does not read.*\.cpu\(\)"),
    "too few": (Y[:-1], "inconsistent numbers of samples"),
    "two columns": (np.column_stack([Y, Y]), "1d array"),
    "sparse": (scipy.sparse.csr_array(Y[:, None]), "Sparse data was passed for y"),
    "nothing": (None, "y is None"),
}


@pytest.mark.parametrize(("labels", "message"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_bad_labels_are_refused_by_name(labels, message):
    with pytest.raises((ValueError, TypeError), match=f"(?s){message}"):
        LogisticRegression().fit(X, labels)


def test_labels_and_weights_of_another_library(plain):
    for array in (Foreign, lambda x: x.astype(x.dtype.newbyteorder(">"))):
        model = LogisticRegression().fit(array(X), array(Y), array(ONES))
        np.testing.assert_allclose(model.coef_, plain.coef_, atol=1e-12)
        assert model.score(array(X), array(Y)) == plain.score(X, Y)


BAD_WEIGHTS = {
    "another device": (Elsewhere(ONES), "sample_weight is a Elsewhere that NumPy"),
    "negative": (replaced(ONES, 4, -1), r"not be negative, but sample_weight\[4\] is -1"),
    "NaN": (replaced(ONES, 4, np.nan), r"sample_weight\[4\] is nan"),
    "all zero": (0 * ONES, "sums to zero"),
    "too few": (ONES[:3], r"shape \(60,\), but its shape is \(3,\)"),
    "a table": (np.ones((N, 2)), r"shape is \(60, 2\)"),
    "text": (["a"] * N, "sample_weight must hold numbers"),
    "complex": (ONES + 0j, "sample_weight must be real"),
    "masked": (np.ma.masked_array(ONES, mask=Y == 1), r"sample_weight\[\d+\] is masked"),
}


@pytest.mark.parametrize(("weight", "message"), BAD_WEIGHTS.values(), ids=BAD_WEIGHTS)
def test_bad_weights_are_refused_by_name(weight, message):
    with pytest.raises(ValueError, match=message):
        LogisticRegression().fit(X, Y, weight)


BAD_SETTINGS = [
    *[({"C": C}, "C must be a number greater than 0") for C in ("1", 0, -1, np.nan, None, [1])],
    *[({"tol": tol}, "tol must be a number") for tol in ("x", -1, np.nan)],
    *[({"max_iter": steps}, "max_iter must be a whole number") for steps in (1.5, -1, "9")],
    *[({"solver": name}, "solver must be 'auto'") for name in ("foo", None, 3)],
    ({"penalty": "l3"}, "penalty must be"),
    ({"l1_ratio": 2}, "l1_ratio must lie between"),
    ({"l1_ratio": "a"}, "l1_ratio must be a number"),
    ({"fit_intercept": "yes"}, "fit_intercept must be True or False"),
    ({"dtype": "int8"}, "dtype must be 'float64' or 'float32'"),
    ({"device": "abacus"}, "device must be None"),
    ({"device": "cpu:99"}, "device must be None"),
    ({"derivatives": "guessed"}, "derivatives must be"),
    ({"class_weight": "fair"}, "class_weight must be None"),
    ({"class_weight": {0: -1}}, "class_weight must hold numbers"),
    ({"class_weight": {0: "a"}}, "class_weight must hold numbers"),
    ({"class_weight": {7: 1}}, "not in class_weight"),
    ({"warm_start": 2}, "warm_start must be True or False"),
    ({"verbose": -1}, "verbose must be"),
    ({"n_jobs": "a"}, "n_jobs must be"),
    ({"random_state": "a"}, "random_state must be"),
    ({"intercept_scaling": 0}, "intercept_scaling must be"),
    ({"dual": True}, "dual=True needs"),
    ({"solver": "liblinear", "C": np.inf}, "not supported for the liblinear"),
    ({"solver": "liblinear", "l1_ratio": 0.5}, "Only 'saga'"),
]


@pytest.mark.parametrize(("settings", "message"), BAD_SETTINGS, ids=str)
def test_bad_settings_are_refused_by_name(settings, message):
    model = LogisticRegression(**settings)
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y)
    assert not hasattr(model, "coef_")


def test_predictions_of_the_wrong_table(plain):
    with pytest.raises(NotFittedError):
        LogisticRegression().predict(X)
    with pytest.raises(ValueError, match="2 features, but LogisticRegression is expecting 3"):
        plain.predict(X[:, :2])
    with pytest.raises(ValueError, match="NaN.*row 3"):
        plain.predict(replaced(X, (3, 1), np.nan))
    with pytest.raises(ValueError, match="is masked"):
        plain.predict(np.ma.masked_array(X, mask=X > 1))
    named = LogisticRegression().fit(FRAME, Y)
    with pytest.raises(ValueError, match="same order"):
        named.predict(FRAME[["c", "a", "b"]])
    with pytest.warns(UserWarning, match="valid feature names"):
        named.predict(X)


def test_the_functional_core_refuses_masks_too():
    with pytest.raises(ValueError, match=r"X\[0, 0\] is masked"):
        lr.fit(np.ma.masked_array(X, mask=np.arange(3 * N).reshape(N, 3) == 0), Y)
    with pytest.raises(ValueError, match="X holds datetime64"):
        lr.fit(X.astype("datetime64[s]"), Y)
    assert jnp.zeros(1).dtype == jnp.float32

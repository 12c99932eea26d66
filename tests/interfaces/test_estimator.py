"""The estimator: scikit-learn's own checks, its answers, and use with its tools."""

import copy
import dataclasses
import itertools
import os
import pickle
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as Reference
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import jax_logreg as lr
from jax_logreg import FitWarning, LogisticRegression
from jax_logreg.fitting.loop import _finish, _solve, _solve_regular
from jax_logreg.interfaces import estimator_fit
from jax_logreg.interfaces.sklearn_checks import encode
from jax_logreg.objective.penalties import Penalty
from tests.problems import count_programs

N = 60
ROWS = np.random.default_rng(7)
X = ROWS.normal(size=(N, 3))
Y = (X @ [1.0, -1.0, 0.5] + ROWS.logistic(size=N) > 0).astype(int)
Y3 = ROWS.integers(0, 3, N)
W = ROWS.integers(0, 3, N).astype(float)
NAMES = ["age", "dose", "weight"]


def test_scikit_learns_checks():
    results = check_estimator(LogisticRegression(), on_fail=None, on_skip=None)
    # Other array libraries are checked only if they are enabled in SciPy.
    open_ = {r["check_name"] for r in results if r["status"] != "passed"}
    others = {f"check_array_api_{what}" for what in ("input", "mixed_inputs", "same_namespace")}
    assert open_ in (set(), others)
    assert len(results) > 40


@pytest.mark.parametrize(
    ("labels", "settings"),
    [
        *itertools.product([Y, Y3], [{}, {"C": 0.01}, {"C": np.inf}]),
        *itertools.product([Y3], [{"class_weight": "balanced"}, {"class_weight": {0: 3.0}}]),
        (Y, {"fit_intercept": False}),
    ],
)
def test_answers_are_scikit_learns(labels, settings):
    ours = LogisticRegression(**settings).fit(X, labels, W)
    theirs = Reference(solver="newton-cg", tol=1e-12, max_iter=1000, **settings)
    theirs.fit(X, labels, W)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-8)
    np.testing.assert_allclose(
        ours.intercept_ - ours.intercept_.mean() * (len(ours.classes_) > 2),
        theirs.intercept_ - theirs.intercept_.mean() * (len(ours.classes_) > 2),
        atol=1e-8,
    )
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-8)
    np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=1e-7)
    assert np.array_equal(ours.predict(X), theirs.predict(X))
    assert ours.coef_.shape == theirs.coef_.shape
    assert ours.intercept_.shape == theirs.intercept_.shape
    assert ours.n_iter_.shape == theirs.n_iter_.shape


@pytest.mark.parametrize("labels", [Y, Y3], ids=["binary", "softmax"])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.4])
def test_lasso_and_elastic_net_are_scikit_learns(labels, l1_ratio):
    ours = LogisticRegression(l1_ratio=l1_ratio, C=0.5).fit(X, labels, W)
    theirs = Reference(l1_ratio=l1_ratio, C=0.5, solver="saga", tol=1e-12, max_iter=100_000)
    theirs.fit(X, labels, W)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-8)
    assert np.array_equal(ours.coef_ == 0, theirs.coef_ == 0)
    with pytest.raises(ValueError, match="no standard errors"):
        ours.summary()
    far = LogisticRegression(l1_ratio=l1_ratio, C=0.5).fit(np.add(X, [1e6, 0, 0]), labels, W)
    np.testing.assert_allclose(far.coef_, ours.coef_, atol=1e-8)


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "newton-cholesky", "sag"])
def test_a_smooth_solver_refuses_l1(solver):
    with pytest.raises(ValueError, match="supports only 'l2'.*solver='auto'"):
        LogisticRegression(l1_ratio=1, solver=solver).fit(X, Y)


@pytest.mark.parametrize(
    "solver",
    ["newton", "newton_cg", "lbfgs", "newton-cg", "newton-cholesky", "liblinear", "sag", "saga"],
)
def test_every_name_of_a_solver_reaches_the_same_minimum(solver):
    want = LogisticRegression().fit(X, Y).coef_
    got = LogisticRegression(solver=solver, dual=solver == "liblinear").fit(X, Y).coef_
    np.testing.assert_allclose(got, want, atol=1e-8)


def test_solver_objects_optax_and_autodiff():
    want = LogisticRegression().fit(X, Y).coef_
    for changed in ({"solver": lr.Newton()}, {"derivatives": "autodiff"}):
        got = LogisticRegression(**changed).fit(X, Y).coef_
        np.testing.assert_allclose(got, want, atol=1e-8)
    adam = LogisticRegression(solver=optax.adam(0.1), tol=1e-3, max_iter=2000)
    np.testing.assert_allclose(clone(adam).fit(X, Y).coef_, want, atol=1e-2)


def test_it_computes_in_double_whatever_the_setting_and_leaves_that_alone():
    before = jnp.zeros(1).dtype
    model = LogisticRegression().fit(X, Y)
    assert jnp.zeros(1).dtype == before == jnp.float32
    assert type(model.coef_) is np.ndarray
    assert model.coef_.dtype == np.float64
    assert model.diagnostics_.gradient_norm < 1e-9
    low = LogisticRegression(dtype="float32", device="cpu").fit(X, Y)
    np.testing.assert_allclose(low.coef_, model.coef_, atol=1e-4)
    assert LogisticRegression().fit(X.astype(np.float32), Y).coef_.dtype == np.float32
    placed = LogisticRegression(device="cpu:1").fit(X, Y)
    np.testing.assert_allclose(placed.coef_, model.coef_, atol=1e-12)


def test_folds_and_strengths_compile_nothing_new():
    LogisticRegression().fit(X, Y)
    before = count_programs(_solve, _solve_regular, _finish)
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0, 7.0]}, cv=3)
    scores = cross_val_score(search.fit(X, Y).best_estimator_, X[:-4, :2], Y[:-4], cv=4)
    assert count_programs(_solve, _solve_regular, _finish) == before
    assert np.all(scores > 0.4)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["no", "yes"])[Y],
        np.array(["no", "yes"], dtype=object)[Y],
        Y.astype(bool),
        2 * Y - 1,
        Y * 1e18,
        pd.Categorical.from_codes(Y, ["no", "yes"]),
        pd.Series(Y, dtype="Int64"),
        pl.Series(np.array(["no", "yes"])[Y]),
    ],
    ids=lambda labels: f"{type(labels).__name__} {getattr(labels, 'dtype', '')}",
)
def test_labels_of_any_type(labels):
    model = LogisticRegression().fit(X, labels)
    np.testing.assert_allclose(model.coef_, LogisticRegression().fit(X, Y).coef_, atol=1e-12)
    assert np.array_equal(model.classes_, np.unique(np.asarray(labels.__array__())))
    assert set(model.predict(X)) == set(np.asarray(labels).tolist())


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_frames_keep_their_names(frame):
    table = frame({name: X[:, j] for j, name in enumerate(NAMES)})
    model = LogisticRegression(C=np.inf).fit(table, Y)
    assert model.feature_names_in_.tolist() == NAMES
    np.testing.assert_allclose(model.predict_proba(table)[:, 1], model.predict_proba(table)[:, 1])
    assert all(name in model.summary() for name in NAMES)
    assert "odds ratio" in model.summary(odds_ratios=True)
    other = table[NAMES[::-1]]
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(other)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_column_may_be_called_intercept(fit_intercept):
    table = pd.DataFrame(X, columns=["age", "intercept", "(intercept)"])
    model = LogisticRegression(C=np.inf, fit_intercept=fit_intercept).fit(table, Y)
    names = [*table.columns, "((intercept))"] if fit_intercept else list(table.columns)
    assert model.infer().names == names
    assert all(name in model.summary() for name in names)


@pytest.mark.parametrize("make", [scipy.sparse.csr_array, scipy.sparse.csc_matrix])
def test_sparse_tables(make):
    thin = np.where(np.abs(X) > 0.5, X, 0.0)
    table = make(thin)
    if hasattr(table, "indptr"):
        table.indices, table.indptr = table.indices.astype(np.int64), table.indptr.astype(np.int64)
    want, got = LogisticRegression().fit(thin, Y), LogisticRegression().fit(table, Y)
    np.testing.assert_allclose(got.coef_, want.coef_, atol=1e-12)
    np.testing.assert_allclose(got.predict_log_proba(table), want.predict_log_proba(thin))
    again = got.sparsify().predict_proba(table)
    np.testing.assert_allclose(again, want.predict_proba(thin))
    np.testing.assert_allclose(got.densify().coef_, want.coef_, atol=1e-12)


def test_a_large_sparse_table_is_never_made_dense(monkeypatch):
    thin = np.where(np.abs(X) > 0.5, X, 0.0) * [1.0, 1e30, 1e-3]
    want = LogisticRegression(tol=1e-12).fit(thin, Y)
    monkeypatch.setattr(estimator_fit, "_MAX_DENSE", 0)
    got = LogisticRegression(tol=1e-12).fit(scipy.sparse.coo_array(thin), Y)
    assert got.diagnostics_.solver.startswith("LBFGS")
    np.testing.assert_allclose(got.coef_, want.coef_, rtol=1e-8)


def test_pipelines_calibration_and_pandas_output():
    table = pd.DataFrame(X, columns=NAMES).assign(site=np.array(["a", "b", "c"])[Y3])
    columns = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["site"]), remainder=StandardScaler()
    ).set_output(transform="pandas")
    model = make_pipeline(columns, LogisticRegression()).fit(table, Y)
    assert "onehotencoder__site_a" in model[-1].feature_names_in_
    calibrated = CalibratedClassifierCV(model, cv=2).fit(table, Y)
    assert calibrated.predict_proba(table).shape == (N, 2)


def test_weights_are_routed():
    with sklearn.config_context(enable_metadata_routing=True):
        asked = LogisticRegression().set_fit_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=True), asked)
        routed = pipeline.fit(X, Y, sample_weight=W)[-1].coef_
    scaled = StandardScaler().fit(X, sample_weight=W).transform(X)
    np.testing.assert_allclose(routed, LogisticRegression().fit(scaled, Y, W).coef_)


def test_copies_and_pickles():
    model = LogisticRegression(C=2.0, solver="newton")
    assert pickle.loads(pickle.dumps(model)).get_params() == model.get_params()
    model.fit(X, Y)
    other = pickle.loads(pickle.dumps(model))
    assert np.array_equal(other.predict_proba(X), model.predict_proba(X))
    assert other.status_ is lr.Status.CONVERGED
    with pytest.raises(ValueError, match="give X and y again"):
        other.summary()
    assert other.summary(X, Y) == model.summary()
    assert not hasattr(clone(model), "coef_")
    assert np.array_equal(copy.deepcopy(model).coef_, model.coef_)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_class_without_weight_has_probability_zero(dtype):
    """The others are the softmax of the rest: the limit as the class's intercept falls."""
    table, labels = load_iris(return_X_y=True)
    rows = np.r_[:53, 100:150]
    table, labels = table[rows].astype(dtype), labels[rows]
    model = LogisticRegression(warm_start=True).fit(table, labels, (labels != 1) * 1.0)
    np.testing.assert_allclose(
        model.predict_proba(table[[50]]), [[0.023385, 0, 0.976615]], atol=1e-6
    )
    assert model.coef_.shape == (3, 4)
    assert model.intercept_[1] == -np.inf
    assert np.all(np.isfinite(model.decision_function(table)))
    assert np.all(np.isfinite(model.predict_log_proba(table)))
    assert model.fit(table, labels, (labels != 1) * 1.0).n_iter_[0] <= 1
    by_class = LogisticRegression(class_weight={1: 0.0}).fit(table, labels)
    assert np.array_equal(by_class.predict_proba(table), model.predict_proba(table))
    assert by_class.infer().names[0] == "2: x0"
    again = model.set_params(dtype=dtype).fit(table, labels)  # from zero
    assert again.status_ is lr.Status.CONVERGED


@pytest.mark.parametrize("only", [0, 1])
def test_of_two_classes_one_with_all_the_weight_is_certain(only):
    model = LogisticRegression().fit(X, Y, (only == Y) * 1.0)
    assert model.predict(X[:3]).tolist() == [only] * 3
    assert np.array_equal(model.predict_proba(X), np.eye(2)[[only] * N])
    assert model.status_ is lr.Status.CONVERGED
    assert model.fit(X, 2 * Y + Y3 % 2, only == 2 * Y + Y3 % 2).predict([[0, 0, 0]]) == only
    with pytest.raises(ValueError, match="nothing to infer"):
        model.infer()


def test_a_class_without_weight_keeps_its_place_in_the_bagging():
    labels = np.where(np.arange(N) == 0, 2, Y)
    bags = BaggingClassifier(LogisticRegression(), 8, random_state=0).fit(X, labels)
    assert bags.predict_proba(X).shape == (N, 3)
    assert any(np.isinf(bag.intercept_).any() for bag in bags.estimators_)
    with pytest.raises(ValueError, match="leave no row a positive weight"):
        LogisticRegression(class_weight={0: 0.0, 1: 0.0}).fit(X, Y)


DISPATCHED = """
import jax, numpy as np, sklearn
from jax_logreg import LogisticRegression
from sklearn.model_selection import cross_val_score

rows = np.random.default_rng(0)
X, Y = rows.normal(size=(60, 3)), rows.integers(0, 3, 60)
for dtype in (np.float32, np.float64):
    for labels in (Y % 2, Y):
        want = LogisticRegression(warm_start=True).fit(X.astype(dtype), labels)
        with jax.enable_x64(True):
            table, codes, weight = map(jax.numpy.asarray, (X.astype(dtype), labels, np.ones(60)))
        with sklearn.config_context(array_api_dispatch=True):
            got = LogisticRegression(warm_start=True).fit(table, codes, weight).fit(table, codes)
            assert got.n_iter_[0] <= 1
            pairs = [(got.coef_, want.coef_), (got.intercept_, want.intercept_)]
            for what in ("decision_function", "predict_proba", "predict_log_proba", "predict"):
                pairs.append((getattr(got, what)(table), getattr(want, what)(X.astype(dtype))))
            for ours, theirs in pairs:
                assert isinstance(ours, jax.Array), type(ours)
                assert ours.dtype == theirs.dtype, (ours.dtype, theirs.dtype)
                np.testing.assert_allclose(ours, theirs, atol=2e-6)
            np.testing.assert_allclose(float(got.score(table, codes)), want.score(X, labels))
            try:
                got.predict_proba(X)
            except ValueError as error:
                assert "same namespace" in str(error)
            else:
                raise AssertionError
            assert isinstance(LogisticRegression().fit(X, labels).coef_, np.ndarray)
        np.testing.assert_allclose(got.predict(X), want.predict(X))
"""


def test_where_scikit_learn_dispatches_answers_are_arrays_of_the_library_given():
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}
    subprocess.run([sys.executable, "-c", DISPATCHED], check=True, env=environment)


class Recorder:
    """A callback of scikit-learn's protocol."""

    def __init__(self):
        self.calls = []

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None, **other):
        self.calls.append(("begin", metadata))

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None, **other):
        self.calls.append(("end", fitted_estimator.predict(X[:2]).tolist()))


def test_callbacks_of_scikit_learn_see_a_fit_begin_and_end():
    recorder = Recorder()
    model = LogisticRegression().set_callbacks(recorder).fit(X, Y, W)
    weights, end = recorder.calls[1:3]
    assert recorder.calls == ["setup", weights, end, "teardown"]
    assert weights == ("begin", {"sample_weight": W})
    assert end == ("end", model.predict(X[:2]).tolist())
    with pytest.raises(ValueError, match="only one class"):
        model.fit(X, 0 * Y)
    assert recorder.calls[-1] == "teardown"
    clone(model).fit(X, Y)
    assert model.set_callbacks().fit(X, Y).status_ is lr.Status.CONVERGED


def test_a_device_travels_with_clones_folds_and_pickles():
    device = jax.devices()[0]
    model = LogisticRegression(device=device)
    assert clone(make_pipeline(StandardScaler(), model))[-1].device is device
    np.testing.assert_allclose(cross_val_score(model, X, Y), cross_val_score(clone(model), X, Y))
    again = pickle.loads(pickle.dumps(model.fit(X, Y)))
    assert again.device == "cpu:0"
    assert np.array_equal(clone(again).fit(X, Y).coef_, model.coef_)


def test_warm_start():
    model = LogisticRegression(warm_start=True).fit(X, Y3)
    first, steps = model.coef_, model.n_iter_[0]
    assert model.fit(X, Y3).n_iter_[0] == 0 < steps
    np.testing.assert_allclose(model.coef_, first, atol=1e-12)
    assert model.fit(X[:, :2], Y3).n_iter_[0] > 0  # other columns: from zero
    binary = LogisticRegression(warm_start=True).fit(X, Y)
    assert binary.set_params(C=1.01).fit(X, Y).n_iter_[0] < LogisticRegression().fit(X, Y).n_iter_


def test_diagnostics_of_a_fit():
    model = LogisticRegression().fit(X, Y3)
    d = model.diagnostics_
    assert d.status is model.status_ is lr.Status.CONVERGED
    assert d.rank == 12
    assert d.num_steps == model.n_iter_[0] == len(model.history_.objective) - 1
    assert d.objective == model.history_.objective[-1]
    assert d.gradient_norm == model.history_.gradient_norm[-1] <= 1e-10
    assert d.newton_decrement < 1e-8
    assert "Newton" in d.solver
    eta = X @ model.coef_.T + model.intercept_
    loss = np.mean(np.log(np.exp(eta).sum(1)) - eta[np.arange(N), Y3])
    np.testing.assert_allclose(d.objective, loss + 0.5 / N * np.sum(model.coef_**2))


def test_inference_of_a_fit():
    model = LogisticRegression(C=np.inf, class_weight={0: 2.0}).fit(X, Y, W)
    result = lr.fit(X, Y, sample_weight=W * np.where(Y == 0, 2.0, 1.0))
    want = lr.infer(result, X, Y, sample_weight=W * np.where(Y == 0, 2.0, 1.0))
    got = model.infer(X, Y, W, covariance="observed")
    np.testing.assert_allclose(got.standard_error, want.standard_error, rtol=1e-6)
    assert model.infer().names == ["x0", "x1", "x2", "intercept"]
    three = LogisticRegression().fit(X, np.array(["low", "mid", "high"])[Y3])
    assert "mid: x1" in three.infer().names
    with pytest.raises(ValueError, match="other labels than the fit"):
        three.infer(X, Y3.astype(str))


def test_a_penalty_of_this_package_replaces_C():
    separated = X[:, 0] > 0
    model = clone(LogisticRegression(penalty=lr.Firth())).fit(X, separated, W + 1)
    with jax.enable_x64(True):
        want = lr.fit(X, separated.astype(float), penalty=lr.Firth(), sample_weight=W + 1)
    assert model.status_ is lr.Status.CONVERGED
    np.testing.assert_allclose(model.coef_[0], want.coef, atol=1e-6)
    assert "intercept" in model.summary()
    ridge = LogisticRegression(penalty=lr.L2(1 / N, [1.0, 1.0, 1.0])).fit(X, Y3)
    np.testing.assert_allclose(ridge.coef_, LogisticRegression().fit(X, Y3).coef_, atol=1e-8)
    free = LogisticRegression(penalty=lr.L2(1.0, [0.0, 1.0, 1.0]))
    with pytest.warns(FitWarning, match="separated.*columns 0 tell"):
        free.fit(X, separated)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Smoothed(Penalty):
    """Σ √(β² + ε²) − ε: L1 with a rounded corner. All that a new penalty has to define."""

    strength: float
    epsilon: float = 1e-2

    def value(self, coef):
        return self.strength * jnp.sum(jnp.sqrt(coef**2 + self.epsilon**2) - self.epsilon)

    def gradient(self, coef):
        return self.strength * coef / jnp.sqrt(coef**2 + self.epsilon**2)

    def curvature(self, coef):
        return self.strength * self.epsilon**2 / (coef**2 + self.epsilon**2) ** 1.5


@pytest.mark.parametrize("labels", [Y, Y3], ids=["binary", "softmax"])
def test_a_penalty_of_ones_own(labels):
    model = LogisticRegression(penalty=Smoothed(0.05)).fit(X, labels)
    assert model.status_ is lr.Status.CONVERGED
    lasso = LogisticRegression(penalty=lr.ElasticNet(0.05)).fit(X, labels)
    np.testing.assert_allclose(model.coef_, lasso.coef_, atol=0.05)


def test_a_fit_that_ran_out_of_steps_warns_with_the_remedy():
    with pytest.warns(ConvergenceWarning, match=r"Standardise the columns.*max_iter"):
        model = LogisticRegression(max_iter=1).fit(X, Y)
    assert model.status_ is lr.Status.MAX_STEPS
    assert model.n_iter_.tolist() == [1]


def test_separation_warns_with_the_columns():
    table = pd.DataFrame(X, columns=NAMES)
    with pytest.warns(FitWarning, match=r"complete.*dose.*finite C") as caught:
        model = LogisticRegression(C=np.inf).fit(table, X[:, 1] > 0)
    assert issubclass(FitWarning, ConvergenceWarning)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert np.all(np.isfinite(model.coef_))
    assert model.score(table, X[:, 1] > 0) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LogisticRegression().fit(table, X[:, 1] > 0)  # a penalty holds them


def test_dependent_columns_warn_with_the_remedy():
    double = np.column_stack([X, X[:, 0]])
    with pytest.warns(FitWarning, match="Drop such a column, or give a finite C"):
        model = LogisticRegression(C=np.inf).fit(double, Y)
    want = LogisticRegression(C=np.inf).fit(X, Y)
    np.testing.assert_allclose(model.coef_[0, 0], want.coef_[0, 0] / 2, atol=1e-8)
    np.testing.assert_allclose(model.predict_proba(double), want.predict_proba(X), atol=1e-8)
    assert model.diagnostics_.rank == 4


@pytest.mark.parametrize(
    ("settings", "warning", "text"),
    [
        ({"penalty": "l2"}, FutureWarning, "'penalty' was deprecated"),
        ({"n_jobs": 2}, FutureWarning, "'n_jobs' has no effect"),
        ({"l1_ratio": None}, FutureWarning, "'l1_ratio=None' was deprecated"),
    ],
    ids=str,
)
def test_old_words_still_work(settings, warning, text):
    with pytest.warns(warning, match=text) as caught:
        model = LogisticRegression(**settings).fit(X, Y)
    assert caught[0].filename == __file__
    np.testing.assert_allclose(model.coef_, LogisticRegression().fit(X, Y).coef_)


def test_penalty_none_is_an_infinite_C():
    with pytest.warns() as caught:
        model = LogisticRegression(penalty=None, C=3.0).fit(X, Y)
    assert {w.category for w in caught} == {FutureWarning, UserWarning}
    np.testing.assert_allclose(model.coef_, LogisticRegression(C=np.inf).fit(X, Y).coef_)


def test_progress_is_printed_on_request(capsys):
    LogisticRegression(verbose=1).fit(X, Y)
    assert "largest entry of the gradient" in capsys.readouterr().out


WITHOUT_SCIKIT_LEARN = """
import sys
import jax_logreg
assert "sklearn" not in sys.modules
assert "LogisticRegression" in dir(jax_logreg)
sys.modules["sklearn"] = None
try:
    jax_logreg.LogisticRegression
except ImportError as error:
    assert "pip install 'jax-logreg[sklearn]'" in str(error)
else:
    raise AssertionError
"""


def test_scikit_learn_is_loaded_when_first_asked_for():
    subprocess.run([sys.executable, "-c", WITHOUT_SCIKIT_LEARN], check=True)
    with pytest.raises(AttributeError, match="no attribute 'Logistic'"):
        lr.Logistic  # noqa: B018


RNG = np.random.default_rng(0)
LABELS = {
    "two": RNG.integers(0, 2, 100),
    "missing between": RNG.choice([10, 50, 20], 60),
    "far apart": RNG.choice([-5, 10**9], 60),
    "int8 over its range": RNG.integers(-100, 101, 500).astype(np.int8),
    "uint8": RNG.integers(0, 256, 900).astype(np.uint8),
    "largest": np.uint64(2**63) + RNG.integers(0, 3, 50).astype(np.uint64),
    "least": -(2**63) + RNG.integers(0, 3, 50),
    "least and largest": np.array([-(2**63), 2**63 - 1] * 5),
    "booleans": RNG.integers(0, 2, 100).astype(bool),
    "floats": RNG.integers(0, 3, 50) * 1.0,
    "text": np.array(list("abcab")),
}


@pytest.mark.parametrize("y", LABELS.values(), ids=LABELS)
def test_classes_that_are_counted_are_those_that_would_be_sorted(y):
    classes, codes = encode(y, "auto")
    expected, numbers = np.unique(y, return_inverse=True)
    assert classes.dtype == expected.dtype
    np.testing.assert_array_equal(classes, expected)
    np.testing.assert_array_equal(codes, numbers)

"""Bad input: an error that names the argument, the value and the remedy."""

from collections import deque
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import polars as pl
import pytest

import jax_logreg as lr
from jax_logreg import (
    L2,
    ElasticNet,
    Firth,
    LogisticRegression,
    Minibatch,
    Model,
    Newton,
    Optax,
    Solver,
    Status,
    diagnose_separation,
    fit,
    fit_many,
    infer,
)
from jax_logreg.derivatives.autodiff import FunctionOracle
from jax_logreg.fitting.loop import check_capabilities
from jax_logreg.fitting.validation import check_features, check_labels
from jax_logreg.solvers.gradient_descent import GradientDescent

X = np.arange(8.0).reshape(4, 2)
Y = np.array([0.0, 1.0, 0.0, 1.0])
K3 = np.eye(3)[[0, 1, 2, 0]]


def with_cell(array, index, value):
    array = np.array(array, float)
    array[index] = value
    return array


BAD = {
    "nan in X": (dict(X=with_cell(X, (2, 1), np.nan)), r"X\[2, 1\] is nan"),
    "infinity in X": (dict(X=with_cell(X, (0, 0), np.inf)), r"X\[0, 0\] is inf"),
    "nan in y": (dict(y=with_cell(Y, 3, np.nan)), r"y\[3\] is nan"),
    "nan in weights": (dict(sample_weight=with_cell(np.ones(4), 1, np.nan)), r"sample_weight\[1\]"),
    "infinite offset": (dict(offset=with_cell(Y, 0, np.inf)), r"offset\[0\] is inf"),
    "no rows": (dict(X=np.zeros((0, 2)), y=np.zeros(0)), r"X is empty.*\(0, 2\)"),
    "no columns": (dict(X=np.zeros((4, 0))), r"X is empty"),
    "vector X": (dict(X=Y), r"X must have shape \(n, p\).*\(4,\).*reshape"),
    "text X": (dict(X=np.array([["a", "b"]] * 4)), r"X must hold numbers"),
    "text y": (dict(y=np.array(["a", "b", "a", "b"])), r"y must hold numbers.*0, 1"),
    "complex X": (dict(X=jnp.asarray(X) * 1j), r"X must be real"),
    "short y": (dict(y=Y[:3]), r"y must have shape \(4,\).*\(3,\)"),
    "deep y": (dict(y=np.zeros((4, 2, 2))), r"y must have shape"),
    "signed y": (dict(y=2 * Y - 1), r"y must lie in \[0, 1\].*-1.0.*map"),
    "fractional classes": (dict(y=np.array([0, 1.5, 2, 1])), r"whole numbers.*y\[1\] is 1.5"),
    "class too large": (dict(y=np.array([0, 1, 2, 3]), num_classes=3), r"y\[3\] is 3"),
    "one num_classes": (dict(num_classes=1), r"num_classes must be at least 2"),
    "rows of y": (dict(y=K3 * 0.5), r"sum to one, but y\[0\].*Divide"),
    "columns of y": (dict(y=K3, num_classes=4), r"y must have 4 columns"),
    "one column of y": (dict(y=np.ones((4, 1))), r"at least 2 columns"),
    "labels from one": (dict(y=Y + 1), r"no row of class 0.*count from 0"),
    "too many classes": (dict(y=np.array([0, 1, 2, 1e11])), r"1e\+11, but 4 rows"),
    "a column of labels": (dict(y=Y[:, None]), r"y\.ravel\(\)"),
    "ragged": (dict(X=[[1.0], [1.0, 2.0], [3.0], [4.0]]), r"X is no rectangular table"),
    "a cell of text": (dict(X=[[1, 2], [3, "b"], [5, 6], [7, None]]), r"X must hold numbers"),
    "a gap": (dict(X=np.array([[1, 2], [3, 4], [5, None], [7, 8]], object)), r"X\[2, 1\] is nan"),
    "too large for float32": (dict(X=X * 1e150), r"float32, but X\[0, 1\] is 1e\+150.*x64"),
    "text for tol": (dict(tol="a"), r"tol must be a positive number, but it is 'a'"),
    "many tols": (dict(tol=[1e-3]), r"tol must be a scalar"),
    "fractional num_classes": (dict(num_classes=2.5), r"num_classes must be a whole number"),
    "text for a flag": (dict(fit_intercept="no"), r"fit_intercept must be True or False.*'no'"),
    "init's type": (dict(init=5), r"init must be a pair"),
    "init of no intercept": (
        dict(init=(np.zeros(2), 7.0), fit_intercept=False),
        r"init intercept must be zero",
    ),
    "a list of derivatives": (dict(derivatives=["analytic"]), r"'analytic' or 'autodiff'"),
    "one class": (dict(y=np.zeros(4)), r"no row of class 1"),
    "the other class": (dict(y=np.ones(4)), r"no row of class 0"),
    "an unseen class": (dict(y=np.array([0, 1, 3, 3])), r"no row of class 2"),
    "one class by weight": (dict(sample_weight=1 - Y), r"no row of class 1 \(with positive"),
    "weights' shape": (dict(sample_weight=np.ones(3)), r"sample_weight must have shape \(4,\)"),
    "negative weight": (dict(sample_weight=Y - 0.5), r"sample_weight\[0\] is -0.5.*zero"),
    "weights of zero": (dict(sample_weight=np.zeros(4)), r"sums to zero"),
    "offset's shape": (dict(offset=np.zeros(3)), r"offset must have shape \(4,\).*\(3,\)"),
    "penalty's type": (dict(penalty=0.1), r"penalty must be None, L2\(strength\).*0.1"),
    "negative strength": (dict(penalty=L2(-1.0)), r"strength must not be negative.*-1"),
    "infinite strength": (dict(penalty=L2(np.inf)), r"penalty strength must be finite"),
    "many strengths": (dict(penalty=L2(np.ones(2))), r"must be a scalar.*vmap"),
    "factor's shape": (dict(penalty=L2(1.0, np.ones(3))), r"factor must have shape \(2,\)"),
    "negative factor": (dict(penalty=L2(1.0, np.array([1, -1]))), r"factor must not be negative"),
    "unknown solver": (
        dict(solver="sgd"),
        r"'auto', 'newton', 'newton_cg', 'lbfgs', 'gradient_descent'.*'sgd'",
    ),
    "unknown derivatives": (dict(derivatives="manual"), r"'analytic' or 'autodiff', not 'manual'"),
    "zero tol": (dict(tol=0.0), r"tol must be a positive number, but it is 0"),
    "nan tol": (dict(tol=np.nan), r"tol must be a positive number"),
    "negative steps": (dict(max_steps=-1), r"max_steps must be a whole number.*-1"),
    "fractional steps": (dict(max_steps=1.5), r"max_steps must be a whole number.*1.5"),
    "init's shape": (dict(init=(np.zeros(3), 0.0)), r"init coef must have shape \(2,\).*\(3,\)"),
    "init's length": (dict(init=(np.zeros(2),)), r"init must be a pair"),
    "nan in init": (dict(init=(np.zeros(2), np.nan)), r"init intercept must be finite"),
}


BAD |= {
    "nan strength": (dict(penalty=L2(np.nan)), r"strength must be finite, .*nan\. Give a finite"),
    "text strength": (
        dict(penalty=L2("a")),
        r"penalty strength must be a number, but it is 'a'\.$",
    ),
    "no strength": (dict(penalty=L2(None)), r"penalty strength must be a number, but it is None"),
    "nan ratio": (dict(penalty=ElasticNet(1.0, np.nan)), r"l1_ratio must be finite.*Give a finite"),
    "text factor": (dict(penalty=L2(1.0, ["a", "b"])), r"penalty factor must be a number.*'a'"),
    "text in init": (dict(init=("a", 0.0)), r"init coef must be a number, but it is 'a'"),
    "an array of text for tol": (dict(tol=np.array("a")), r"tol must be a positive number"),
    "a word for L2": (dict(penalty="l2"), r"'l2' is L2\(strength\), .*1 / \(C \* n\)"),
    "a word for L1": (dict(penalty="l1"), r"'l1' is ElasticNet\(strength\), .*1 / \(C \* n\)"),
    "a hyphen": (dict(solver="newton-cg"), r"'newton-cg'\. Write 'newton_cg'"),
}


@pytest.mark.parametrize("door", ["fit", "fit_many, shared", "diagnose_separation", "infer"])
@pytest.mark.parametrize(
    ("word", "meaning"), [("C", r"penalty=L2.*1 / \(C \* n\)"), ("max_iter", "max_steps")]
)
def test_words_of_scikit_learn_are_refused_in_ours(door, word, meaning):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{word}'. Give {meaning}"):
        DOORS[door](X, Y, **{word: 1.0})


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_by_name(case):
    arguments, message = BAD[case]
    arguments = {"X": X, "y": Y} | arguments
    with pytest.raises(ValueError, match=message):
        fit(arguments.pop("X"), arguments.pop("y"), **arguments)


FROM_ONE = {
    "from one": (Y + 1, "no row of class 0.*Subtract 1"),
    "from two": (Y + 2, "no row of class 0.*Subtract 2"),
    "a gap": (2 * Y, r"no row of class 1.*np\.unique"),
}
DOORS = {
    "fit": fit,
    "fit_many, shared": partial(fit_many, sample_weight=np.ones((2, 4))),
    "fit_many, as many": lambda X, y, **how: fit_many(X, np.stack([y] * 4), **how),
    "infer": lambda X, y, **how: infer(fit(X, Y, penalty=L2(0.1)), X, y, **how),
    "diagnose_separation": diagnose_separation,
}


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", FROM_ONE)
def test_labels_that_skip_a_class_are_refused_at_every_door(case, door, fit_intercept):
    labels, message = FROM_ONE[case]
    with pytest.raises(ValueError, match=message):
        DOORS[door](X, labels, penalty=L2(0.1), fit_intercept=fit_intercept)
    with pytest.raises(ValueError, match=message):
        fit(X, labels, penalty=Firth(), fit_intercept=fit_intercept)


def test_a_class_that_is_asked_for_by_number_may_be_empty():
    assert fit(X, Y, num_classes=3, penalty=L2(0.1), fit_intercept=False).converged


def test_a_solver_that_lacks_what_it_needs_is_refused_before_the_loop():
    oracle = FunctionOracle(jnp.sum)
    with pytest.raises(ValueError, match="Minibatch requires 'rows'"):
        check_capabilities(oracle, Minibatch(optax.sgd(1.0), 2, jax.random.key(0)))
    with pytest.raises(ValueError, match="Newton requires 'hessian': with 10002 parameters"):
        fit(np.ones((2, 10_001)), np.array([0.0, 1.0]), solver=Newton())


def test_progress_is_refused_inside_jit():
    def train(X):
        return fit(X, Y, progress=print).coef

    with pytest.raises(ValueError, match="outside jit"):
        jax.jit(train)(X)


class Sparse:
    def toarray(self):
        raise AssertionError("it is not ours to fill the memory")


def test_sparse_input_of_an_unknown_kind_is_refused_unread():
    with pytest.raises(ValueError, match=r"X is sparse.*toarray"):
        fit(Sparse(), Y)


@pytest.mark.parametrize("step", [0, -0.1])
def test_a_step_that_climbs_is_refused(step):
    with pytest.raises(ValueError, match=r"step_size must be positive"):
        GradientDescent(step)


@pytest.mark.parametrize("size", [0, -1, 2.5])
def test_an_impossible_batch_is_refused(size):
    with pytest.raises(ValueError, match=r"batch_size must be a whole number of at least 1"):
        Minibatch(optax.sgd(1.0), size, jax.random.key(0))


@pytest.mark.parametrize(
    "arguments",
    [
        {"y": 2 * Y - 1},
        {"y": np.array([0.0, 1, 2, 1])},
        {"y": np.array([0.0, 1, 2, 1]), "num_classes": 2},
        {"sample_weight": Y - 0.5},
        {"X": with_cell(X, (0, 0), np.nan)},
        {"strength": -1.0},
    ],
)
def test_inside_jit_illegal_values_end_as_not_finite(arguments):
    num_classes = arguments.pop("num_classes", None)
    arrays = {"X": X, "y": Y, "sample_weight": np.ones(4), "strength": 0.1} | arguments

    def train(X, y, sample_weight, strength):
        penalty = L2(strength)
        return fit(X, y, sample_weight=sample_weight, penalty=penalty, num_classes=num_classes)

    result = jax.jit(train)(*arrays.values())
    assert result.status == Status.NOT_FINITE
    assert not result.converged


def test_values_that_a_traced_program_closes_over_are_checked():
    closed, labels, bad = jnp.asarray(X), jnp.asarray(Y), jnp.asarray(with_cell(X, (0, 0), np.nan))
    weights = np.ones(4)
    inside = jax.jit(lambda w: fit(closed, labels, sample_weight=w, penalty=L2(1.0)).coef)
    outside = fit(closed, labels, penalty=L2(1.0)).coef
    np.testing.assert_allclose(inside(weights), outside, rtol=1e-4)
    with pytest.raises(ValueError, match=r"X\[0, 0\] is nan"):
        jax.jit(lambda w: fit(bad, labels, sample_weight=w).coef)(weights)


def test_one_class_has_an_answer_where_no_intercept_can_run_away():
    differences = np.array([[1.0], [-2.0], [0.5]])
    assert fit(differences, np.ones(3), fit_intercept=False).converged


def test_huge_weights_do_not_overflow_their_sum():
    huge = fit(X, Y, sample_weight=np.full(4, 1e38), penalty=L2(0.1))
    np.testing.assert_allclose(huge.coef, fit(X, Y, penalty=L2(0.1)).coef, rtol=1e-5)


def test_whole_numbers_and_small_floats_become_floats_that_can_be_trained():
    assert check_features(np.ones((2, 2), int)).dtype == jnp.float32
    assert check_features(jnp.ones((2, 2), jnp.bfloat16)).dtype == jnp.float32
    with jax.enable_x64(True):
        assert check_features(np.ones((2, 2))).dtype == jnp.float64
        whole = check_features(np.array([[16777216], [16777217]]))
        assert whole.dtype == jnp.float64
        assert whole[0, 0] != whole[1, 0]


def big_endian(x):
    return np.asarray(x, ">f8")


def test_the_byte_order_of_an_array_does_not_matter(x64):
    first, weight, offset = np.array([0.5, 1.0, 0.2, 3.0]), np.array([1.0, 2, 1, 1]), X[:, 0] / 9

    def answers(order):
        """From every door, with every array in a byte order."""
        penalty = L2(order(0.1), order([1.0, 2.0]))
        how = dict(penalty=penalty, sample_weight=order(weight), offset=order(offset))
        table, labels = order(np.column_stack([first, X[:, 1]])), order(Y)
        start = order(np.zeros(2)), order(0.0)
        result = fit(table, labels, init=start, tol=order(1e-10), **how)
        many = fit_many(table, order(np.stack([Y, 1 - Y])), **how)
        inference = infer(result, table, labels, **how)
        separation = diagnose_separation(table, labels, sample_weight=order(weight))
        eta = lr.logits(table, order([1.0, 2.0]), order(0.5), order(offset))
        loss = lr.log_likelihood(eta, labels, order(weight)), lr.cross_entropy(order(first), labels)
        means = (
            lr.sigmoid(order(first)),
            lr.softmax(table),
            lr.logit(order(0.5)),
            lr.odds(order(0.5)),
        )
        objective = lr.make_objective(table, labels, penalty, sample_weight=order(weight))
        formulas = eta, loss, means, lr.predict_class(table), objective.value(np.zeros(3))
        return result.coef, many.coef, inference.standard_error, separation.coef, formulas

    jax.tree.map(np.testing.assert_array_equal, answers(big_endian), answers(np.asarray))


def test_labels_choose_the_model():
    assert check_labels(Y, 4, None, float).shape == (4,)
    assert check_labels(Y.astype(bool), 4, None, float).shape == (4,)
    assert check_labels(np.array([0, 1, 2, 1]), 4, None, float).shape == (4, 3)
    assert check_labels(Y, 4, 2, float).shape == (4, 2)
    assert check_labels(K3, 4, None, float).shape == (4, 3)


NO_ARRAYS = {
    "a lazy frame": (
        pl.DataFrame(X, schema=["a", "b"]).lazy(),
        r"a LazyFrame\. Give X\.collect\(\)",
    ),
    "a dict": ({"a": X[:, 0]}, r"a dict\. Give its columns.*DataFrame\(X\)"),
    "a set": ({1, 2}, "a set. Give an array"),
    "a generator": ((row for row in X), r"a generator\. Give list\(X\)"),
    "nothing": (None, "X must be an array, but it is None"),
    "a penalty": (L2(1.0), "X must be an array, but it is a L2"),
}
FITTED = fit(X, Y, penalty=L2(1.0))
TABLE_DOORS = {
    "fit": lambda table: fit(table, Y),
    "fit_many": lambda table: fit_many(table, Y, sample_weight=np.ones((2, 4))),
    "infer": lambda table: infer(FITTED, table, Y),
    "diagnose_separation": lambda table: diagnose_separation(table, Y),
    "the estimator": lambda table: LogisticRegression().fit(table, Y),
    "a prediction": lambda table: Model.from_result(FITTED).predict(table),
}


@pytest.mark.parametrize("door", TABLE_DOORS)
@pytest.mark.parametrize("case", NO_ARRAYS)
def test_what_is_no_array_is_refused_by_name_at_every_door(case, door):
    table, message = NO_ARRAYS[case]
    with pytest.raises(ValueError, match=message):
        TABLE_DOORS[door](table)


def test_labels_and_weights_that_are_no_arrays_are_refused_by_name():
    for door in (fit, LogisticRegression().fit):
        with pytest.raises(ValueError, match="y must be an array, but it is a dict"):
            door(X, {"y": Y})
        with pytest.raises(ValueError, match=r"sample_weight must be an array.*list\("):
            door(X, Y, sample_weight=map(float, Y))


def test_a_sequence_of_ones_own_is_read():
    assert check_features(deque(X.tolist())).shape == (4, 2)
    assert check_features(memoryview(X)).shape == (4, 2)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Named(Solver):
    name: str = "text"


class Unregistered(Solver):
    pass


BAD_SOLVERS = {
    "unregistered": (Unregistered(), "Unregistered is no registered pytree.*register_dataclass"),
    "a text field": (Named(), r"Named\.name must be a number or an array.*'text'.*static"),
    "a class": (Newton, r"it is <class .*Newton'>\. Call it"),
    "a function of Optax": (optax.adam, r"it is <function adam.*Call it"),
    "a text for a step": (GradientDescent("a"), r"GradientDescent\.step_size must be a number"),
    "many steps": (GradientDescent(np.ones(2)), r"step_size must be a scalar, not of shape \(2,\)"),
    "a number for a key": (Minibatch(optax.sgd(1.0), 2, 0), r"key must.*jax\.random\.key\(0\)"),
    "no key": (Minibatch(optax.sgd(1.0), 2, None), r"key must.*jax\.random\.key\(0\)"),
}


@pytest.mark.parametrize("case", BAD_SOLVERS)
def test_a_bad_solver_is_refused_by_name(case):
    solver, message = BAD_SOLVERS[case]
    with pytest.raises(ValueError, match=message):
        fit(X, Y, solver=solver)


def test_what_is_no_transformation_is_refused():
    for make in (Optax, lambda transform: Minibatch(transform, 2, jax.random.key(0))):
        with pytest.raises(ValueError, match=r"transform must be an Optax.*adam.*Call it"):
            make(optax.adam)
    with pytest.raises(NotImplementedError, match=r"Still defines no step\(oracle, state\)"):
        type("Still", (Solver,), {})().step(None, None)


def test_a_progress_that_is_no_function_is_refused():
    with pytest.raises(ValueError, match=r"progress must be a function.*True.*progress=print"):
        fit(X, Y, progress=True)


def test_a_solver_of_ones_own_is_accepted():
    class Still(Solver):
        def init(self, oracle, theta):
            return Newton().init(oracle, theta)

        def step(self, oracle, state):
            return state._replace(stalled=jnp.asarray(True))

    jax.tree_util.register_static(Still)
    assert fit(X, Y, solver=Still(), penalty=L2(1.0)).num_steps == 1


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16, jnp.float8_e4m3fn])
@pytest.mark.parametrize("make", [np.asarray, jnp.asarray])
def test_half_precision_is_fitted_in_float32_with_a_warning(make, dtype):
    X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 1, 0, 1])
    for run in (fit, lambda X, y: fit_many(X, y[None])):
        with pytest.warns(UserWarning, match=f"X is {np.dtype(dtype)}.*float32") as caught:
            result = run(make(X).astype(dtype), y)
        assert result.coef.dtype == np.float32
        assert caught[0].filename == __file__


@pytest.mark.parametrize("dtype", ["int8", "float32", "float64"])
def test_other_dtypes_are_fitted_without_a_word(dtype):
    fit(np.array([[0], [1], [2], [3]], dtype), np.array([0, 1, 0, 1]))

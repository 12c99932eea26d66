"""Logistic regression behind scikit-learn's interface."""

import copy
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from scipy import sparse
from scipy.special import expit, log_expit, log_softmax, softmax

from jax_logreg.fitting.result import FitResult, Status
from jax_logreg.inference.inference import Inference
from jax_logreg.interfaces.estimator_fit import (
    Training,
    fit_training,
    infer_from,
    make_training,
    separation_of,
    start_of,
    with_all_classes,
)
from jax_logreg.interfaces.estimator_options import (
    TERMS,
    Options,
    check_options,
    device_name,
    diagnostics_of,
)
from jax_logreg.programs.store import programs_on_disk

if TYPE_CHECKING:
    import optax

    from jax_logreg.objective.penalties import Penalty
    from jax_logreg.solvers.base import Solver

try:
    from sklearn.base import BaseEstimator
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model._base import LinearClassifierMixin, SparseCoefMixin
    from sklearn.utils.validation import check_is_fitted

    from jax_logreg.interfaces.sklearn_checks import (
        CallbackSupportMixin,
        check_namespace,
        check_table,
        encode,
        fit_task,
        row_weights,
        to_namespace,
        to_numpy,
    )
except ImportError as error:
    raise ImportError(
        "LogisticRegression needs scikit-learn 1.7 or newer: pip install 'jax-logreg[sklearn]'"
    ) from error

# A logit is never larger, so that the difference of two is finite.
_MAX_LOGIT = float(np.finfo(np.float64).max) / 4


class FitWarning(ConvergenceWarning):
    """The answer of an estimator's fit is not the unique minimum.

    The message says which of three it is, and what to do: no convergence, linearly dependent
    columns (NOT_UNIQUE), or separated data.

    >>> import warnings
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"]
    >>> with warnings.catch_warnings(record=True, action="always") as caught:
    ...     model = LogisticRegression(C=np.inf).fit(X, y)
    >>> caught[0].category.__name__, str(caught[0].message).split(":")[0]
    ('FitWarning', 'The data are separated (complete)')
    """


class LogisticRegression(
    CallbackSupportMixin, LinearClassifierMixin, SparseCoefMixin, BaseEstimator
):
    r"""Sigmoid regression of two classes, softmax of more, as an estimator of scikit-learn.

    .. math::
        \min_{\beta, b}\; \frac{1}{\sum_i w_i}\sum_i w_i\,\ell(y_i, x_i^\top\beta + b)
        + \frac{1}{C \sum_i w_i}\Big(\text{l1\_ratio}\,\|\beta\|_1
        + \tfrac12 (1 - \text{l1\_ratio})\,\|\beta\|_2^2\Big),

    the objective of scikit-learn's estimator of this name. Here every answer is verified:
    ``status_`` says whether it is the minimum, and a :class:`FitWarning` what to do if it is
    not. It is computed in float64, whatever JAX's own setting, and returned in NumPy arrays, or,
    where scikit-learn's ``array_api_dispatch`` is set, in those of the library of X.

    Args:
        penalty: leave it out, for ``C`` and ``l1_ratio`` to decide; or a penalty of this package,
            such as ``jax_logreg.Firth()``, on the mean loss. scikit-learn's words are deprecated.
        C: inverse strength of the penalty, in units of one row; ``np.inf`` for none.
        l1_ratio: share of L1 in the penalty, from 0 to 1.
        dual: accepted where scikit-learn does; the answer is the same.
        tol: bound on the largest absolute entry of the gradient of the above, in nats per unit
            of coefficient, in the units of the solve (see ``jax_logreg.fit``); 1e-8 if absent, in
            float32 1e-5.
        fit_intercept: whether to fit b, which is never penalised.
        intercept_scaling: accepted and without effect, since b is not penalised.
        class_weight: a dict from label to weight, or "balanced" for Σw/(K · Σw of the class).
        random_state: accepted; the only random solver is ``Minibatch``, with its own key.
        solver: as in ``jax_logreg.fit`` (``pickle`` cannot hold an Optax transformation: use
            cloudpickle, as joblib does, or ``set_params(solver="auto")``, which a fitted model
            predicts without): "auto", "newton", "newton_cg", "lbfgs",
            "gradient_descent", a solver object, an Optax transformation; also scikit-learn's
            names: "newton-cholesky" is Newton's method, "newton-cg" and "liblinear" are
            Newton-CG, "sag" is L-BFGS, and "saga", as "liblinear" with L1, is "auto". All
            reach the same minimum.
        max_iter: limit of steps; the solver's own if absent.
        verbose: 1 prints progress.
        warm_start: whether ``fit`` starts from the previous answer, if that has the same shape.
        n_jobs: accepted and without effect. That of ``cross_val_score`` and its like starts
            processes: they must not be forked once JAX runs, or they hang. joblib's default,
            "loky", does not; with ``multiprocessing`` use "spawn".
        derivatives: "analytic" (by hand) or "autodiff".
        dtype: "float64" or "float32", of the computation.
        device: a ``jax.Device``, or a platform such as "cpu" or "gpu:1"; JAX's default if absent.

    Attributes:
        classes_: the labels, (K,).
        coef_: β, (1, p) for two classes, else (K, p); in float32 if X was.
        intercept_: b, (1,) or (K,); infinite for a class whose weights are all zero, which then
            has probability 0, while the others are fitted as if it had no rows.
        n_iter_: steps taken, (1,).
        n_features_in_: p.
        feature_names_in_: names of the columns, if X had some.
        status_: a :class:`jax_logreg.Status`.
        diagnostics_: status, gradient norm, Newton decrement, rank, objective, solver.
        history_: objective and gradient norm after every step.

    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"]
    >>> model = LogisticRegression().fit(X, y)
    >>> model.predict([[0.4], [2.9]]).tolist(), model.status_.name
    (['no', 'yes'], 'CONVERGED')
    """

    classes_: np.ndarray
    coef_: Any
    intercept_: np.ndarray
    feature_names_in_: np.ndarray

    def __init__(
        self,
        penalty: "Penalty | str | None" = "deprecated",
        *,
        C: float = 1.0,
        l1_ratio: float = 0.0,
        dual: bool = False,
        tol: float | None = None,
        fit_intercept: bool = True,
        intercept_scaling: float = 1,
        class_weight: Mapping[Any, float] | str | None = None,
        random_state: "int | np.random.RandomState | None" = None,
        solver: "str | Solver | optax.GradientTransformation" = "auto",
        max_iter: int | None = None,
        verbose: int = 0,
        warm_start: bool = False,
        n_jobs: int | None = None,
        derivatives: str = "analytic",
        dtype: Any = "float64",
        device: jax.Device | str | None = None,
    ) -> None:
        self.penalty = penalty
        self.C = C
        self.l1_ratio = l1_ratio
        self.dual = dual
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.random_state = random_state
        self.solver = solver
        self.max_iter = max_iter
        self.verbose = verbose
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.derivatives = derivatives
        self.dtype = dtype
        self.device = device

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "LogisticRegression":
        """Fit to a table and its labels, which are kept for ``infer`` until pickled.

        Args:
            X: (n, p): an array, a frame, or a SciPy sparse matrix.
            y: labels of two or more classes, (n,).
            sample_weight: w, (n,), ≥ 0.

        Returns:
            This estimator, after a :class:`FitWarning` if the answer is no unique minimum.

        Raises:
            ValueError: for an illegal parameter or bad data, before anything is computed.
        """
        options = check_options(self.get_params(deep=False))
        with fit_task(self, X, y, sample_weight):
            self._fit(X, y, sample_weight, options)
        self._warn()
        return self

    def _fit(self, given: Any, y: Any, sample_weight: Any, options: Options) -> None:
        """Validate, solve and keep the answer."""
        X, y = check_table(self, given, y, reset=True)
        classes, codes = encode(y, self.solver)
        weight = row_weights(sample_weight, codes, self.class_weight, classes)
        training = make_training(X, codes, weight, len(classes), options)
        start = self._start(classes, training) if options.warm_start else None
        self._training, self.classes_ = training, classes
        self._result = fit_training(training, options, start)
        self._set_answer(with_all_classes(self._result, training), X.dtype, given)

    def _start(
        self, classes: np.ndarray, training: Training
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """The previous answer, as ``fit`` takes it; None if classes or columns have changed."""
        if not hasattr(self, "coef_") or not np.array_equal(self.classes_, classes):
            return None
        coef, intercept = self._coefficients()
        return start_of(coef.toarray() if sparse.issparse(coef) else coef, intercept, training)

    def _coefficients(self) -> tuple[Any, np.ndarray]:
        """``coef_``, dense or sparse, and ``intercept_``, in NumPy."""
        return to_numpy("coef_", self.coef_), to_numpy("intercept_", self.intercept_)

    def _set_answer(self, result: FitResult, dtype: Any, X: Any) -> None:
        """The answer, in scikit-learn's shapes, and where it dispatches in the library of X."""
        self.coef_ = to_namespace(np.atleast_2d(result.coef.T).astype(dtype), X)
        self.intercept_ = to_namespace(np.atleast_1d(result.intercept).astype(dtype), X)
        self.n_iter_ = to_namespace(np.array([result.num_steps], np.int32), X)
        self.diagnostics_ = diagnostics_of(result)
        self.status_ = self.diagnostics_.status
        self.history_ = result.history

    def _warn(self) -> None:
        """Warn, unless the answer is a unique minimum."""
        text = self.diagnostics_.warning(self.solver)
        if self.status_ == Status.SEPARATED:
            found = separation_of(self._training)
            text = found.explain(self._names(), TERMS) if found else text
        if self.status_ != Status.CONVERGED:
            warnings.warn(text, FitWarning, stacklevel=3)

    def decision_function(self, X: Any) -> np.ndarray:
        """The logits η.

        Args:
            X: (n, p), as in ``fit``.

        Returns:
            (n,), positive for ``classes_[1]``, or (n, K).

        Raises:
            ValueError: for a table of other columns, or with an entry that is no number.
        """
        return to_namespace(self._logits_of(X, "decision_function"), X)

    def _logits_of(self, X: Any, method: str) -> np.ndarray:
        """η in NumPy, (n,) or (n, K), for a method."""
        check_is_fitted(self)
        check_namespace(X, self, method)
        eta = _logits(check_table(self, X, reset=False), *self._coefficients())
        return eta.ravel() if len(self.classes_) == 2 else eta

    def predict(self, X: Any) -> Any:
        """The most probable class of every row; in a tie the first.

        Args:
            X: (n, p), as in ``fit``.

        Returns:
            Labels, (n,).
        """
        eta = self._logits_of(X, "predict")
        labels = self.classes_[np.argmax(eta, axis=1) if eta.ndim == 2 else (eta > 0).astype(int)]
        return to_namespace(labels, X) if labels.dtype.kind in "biuf" else labels

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of every class.

        Args:
            X: (n, p), as in ``fit``.

        Returns:
            (n, K), in the order of ``classes_``.
        """
        eta = self._logits_of(X, "predict_proba")
        mu = softmax(eta, axis=1) if eta.ndim == 2 else expit(np.column_stack([-eta, eta]))
        return to_namespace(mu, X)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithm of every probability, finite even where that rounds to zero.

        Args:
            X: (n, p), as in ``fit``.

        Returns:
            (n, K), in the order of ``classes_``.
        """
        eta = self._logits_of(X, "predict_log_proba")
        binary = eta.ndim == 1
        log_mu = log_expit(np.column_stack([-eta, eta])) if binary else log_softmax(eta, axis=1)
        return to_namespace(log_mu, X)

    def infer(
        self, X: Any = None, y: Any = None, sample_weight: Any = None, **how: Any
    ) -> Inference:
        """Standard errors, tests and intervals; see :func:`jax_logreg.infer`.

        Args:
            X: what was given to ``fit``; the fit's own if absent, which a pickle leaves out.
            y: likewise.
            sample_weight: likewise; read, with class weights, as frequencies.
            how: ``covariance``, ``groups``, ``reference`` of :func:`jax_logreg.infer`.

        Returns:
            Estimates with their covariance, named by the columns of X.

        Raises:
            ValueError: for data that are not those of the fit, a sparse X or an L1 penalty.
            FitError: if the fit has no answer.
        """
        check_is_fitted(self)
        training = self._training_of(X, y, sample_weight)
        return infer_from(self._result, training, self._names(), self.classes_, **how)

    def _names(self) -> list[str] | None:
        return list(self.feature_names_in_) if hasattr(self, "feature_names_in_") else None

    def _training_of(self, X: Any, y: Any, sample_weight: Any) -> Training:
        """The data of the fit, as kept or as given again."""
        if X is None and y is None and sample_weight is None:
            kept = getattr(self, "_training", None)
            if kept is None:
                raise ValueError("a pickle does not keep the data of the fit: give X and y again.")
            return kept
        X, y = check_table(self, X, y, reset=False)
        codes = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        if not np.array_equal(self.classes_[codes], y):
            raise ValueError(f"y holds other labels than the fit, whose were {self.classes_}.")
        options = check_options(self.get_params(deep=False))
        weight = row_weights(sample_weight, codes, self.class_weight, self.classes_)
        return make_training(X, codes, weight, len(self.classes_), options)

    @programs_on_disk()
    def summary(
        self,
        X: Any = None,
        y: Any = None,
        sample_weight: Any = None,
        *,
        level: float = 0.95,
        odds_ratios: bool = False,
        **how: Any,
    ) -> str:
        """The printed table of :meth:`infer`; columns carry the names that X had.

        Args:
            X: as in :meth:`infer`.
            y: likewise.
            sample_weight: likewise.
            level: of the intervals.
            odds_ratios: whether to print odds ratios and their intervals.
            how: as in :meth:`infer`.

        Returns:
            The table as text.
        """
        return self.infer(X, y, sample_weight, **how).summary(level, odds_ratios=odds_ratios)

    def __getstate__(self) -> dict[str, Any]:
        """Without the data; a device, which no pickle can hold, by its name."""
        state = super().__getstate__() | {"device": device_name(self.device)}
        return {name: value for name, value in state.items() if name != "_training"}

    def __sklearn_clone__(self) -> "LogisticRegression":
        return BaseEstimator.__sklearn_clone__(copy.copy(self)).set_params(device=self.device)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        tags.classifier_tags.multi_class = self.solver != "liblinear"
        return tags


def _logits(X: Any, coef: Any, intercept: np.ndarray) -> np.ndarray:
    """η = Xβᵀ + b, (n, K), by NumPy: nothing compiles, and no entry is infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        largest = np.finfo(intercept.dtype).max / 4
        intercept = np.clip(intercept, -largest, largest)  # infinite for a class without weight
        eta = X @ coef.T
        eta = (eta.toarray() if sparse.issparse(eta) else eta) + intercept
        overflow = ~np.all(np.isfinite(eta), axis=1)
        if np.any(overflow):  # repeat those rows in units of their largest entry
            rows = (X[overflow].toarray() if sparse.issparse(X) else X[overflow]).astype(float)
            coef = (coef.toarray() if sparse.issparse(coef) else coef).astype(float)
            size = np.max(np.abs(rows), axis=1, keepdims=True)
            eta = eta.astype(float)
            eta[overflow] = (rows / size) @ coef.T * size + intercept
            eta[overflow] = np.clip(eta[overflow], -_MAX_LOGIT, _MAX_LOGIT)
    return eta

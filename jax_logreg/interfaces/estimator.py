"""Logistic regression behind scikit-learn's interface: the one file that needs scikit-learn."""

import warnings
from typing import Any

import numpy as np
from scipy import sparse

from jax_logreg.fitting.result import FitResult, Status
from jax_logreg.inference.inference import Inference
from jax_logreg.interfaces.estimator_fit import Training, fit_table, start_from, training_of
from jax_logreg.interfaces.estimator_inference import infer_from, separation_message
from jax_logreg.interfaces.estimator_messages import RankWarning, complaint, diagnostics_of
from jax_logreg.interfaces.estimator_settings import Settings, check_settings
from jax_logreg.interfaces.predictions import log_probabilities, logits, probabilities
from jax_logreg.interfaces.row_weights import row_weights
from jax_logreg.interfaces.unfit_data import check_classes, check_finite, check_table, check_target

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "LogisticRegression needs scikit-learn 1.6 or newer: pip install 'jax-logreg[sklearn]'"
    ) from error

_FLOATS = [np.float64, np.float32]


class SeparationWarning(ConvergenceWarning):
    """The classes can be told apart without a mistake: no finite coefficients are the best."""


class LogisticRegression(ClassifierMixin, BaseEstimator):
    r"""Sigmoid regression of two classes, softmax of more, as an estimator of scikit-learn.

    .. math::
        \min_{\beta, b}\; \frac{1}{\sum_i w_i}\sum_i w_i\,\ell(y_i, x_i^\top\beta + b)
        + \frac{1}{C \sum_i w_i}\Big(\text{l1\_ratio}\,\|\beta\|_1
        + \tfrac12 (1 - \text{l1\_ratio})\,\|\beta\|_2^2\Big),

    the minimum that scikit-learn's estimator of this name seeks. Here every answer is
    verified: ``status_`` says whether it is the minimum, and a warning what to do where it is
    not. It is computed in float64, whatever JAX's own setting, and comes back in NumPy.

    Args:
        penalty: scikit-learn's old word for ``l1_ratio`` and ``C``; leave it out.
        C: inverse strength of the penalty, in units of one row; ``np.inf`` for none.
        l1_ratio: share of L1 in the penalty, from 0 to 1.
        dual: accepted where scikit-learn does; the answer is the same.
        tol: bound on the largest absolute entry of the gradient of the above, in nats per unit
            of coefficient (of a column's own unit where that lies beyond 1e-3 … 1e3). If
            absent, 2e-10 times the share of the rarest class; in float32 1e-5.
        fit_intercept: whether to fit b, which is never penalised.
        intercept_scaling: accepted and without effect, since b is not penalised.
        class_weight: a dict from label to weight, or "balanced" for Σw/(K · Σw of the class).
        random_state: accepted; no solver here draws at random but ``Minibatch``, by its seed.
        solver: as in ``jax_logreg.fit``: "auto", "newton", "newton_cg", "lbfgs",
            "gradient_descent", a solver object, an Optax transformation; also scikit-learn's
            names: "newton-cholesky" is Newton's method, "newton-cg" and "liblinear" are
            Newton-CG, "sag" is L-BFGS, and "saga", as "liblinear" with L1, is "auto". All
            reach the same minimum.
        max_iter: limit of steps; the solver's own if absent.
        verbose: 1 prints progress.
        warm_start: whether ``fit`` starts from the last answer, if its shape is that of the new.
        n_jobs: accepted and without effect.
        derivatives: "analytic" (by hand) or "autodiff".
        dtype: "float64" or "float32", what to compute in.
        device: a ``jax.Device``, or a platform such as "cpu" or "gpu:1"; JAX's default if absent.

    Attributes:
        classes_: the labels, (K,).
        coef_: β, (1, p) for two classes, else (K, p); in float32 if X was.
        intercept_: b, (1,) or (K,).
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
        penalty: Any = "deprecated",
        *,
        C: float = 1.0,
        l1_ratio: float = 0.0,
        dual: bool = False,
        tol: float | None = None,
        fit_intercept: bool = True,
        intercept_scaling: float = 1,
        class_weight: Any = None,
        random_state: Any = None,
        solver: Any = "auto",
        max_iter: int | None = None,
        verbose: int = 0,
        warm_start: bool = False,
        n_jobs: int | None = None,
        derivatives: str = "analytic",
        dtype: Any = "float64",
        device: Any = None,
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

        Raises:
            ValueError: for a bad parameter or bad data, before anything is computed.
        """
        settings = check_settings(self.get_params(deep=False))
        X, y = self._checked(X, y, reset=True)
        check_classification_targets(y)
        classes, codes = np.unique(y, return_inverse=True)
        check_classes(classes, self.solver)
        weight = row_weights(sample_weight, codes, self.class_weight, classes)
        training = training_of(X, codes, weight, classes, settings)
        start = None
        if settings.warm_start and hasattr(self, "coef_"):
            start = start_from(self.classes_, self.coef_, self.intercept_, classes, X.shape[1])
        self._result = fit_table(training, settings, start)
        self._training, self.classes_ = training, classes
        self._keep(self._result, X.dtype)
        self._warn(settings)
        return self

    def _keep(self, result: FitResult, dtype: Any) -> None:
        """The answer, in the shapes of scikit-learn."""
        self.coef_ = np.atleast_2d(result.coef.T).astype(dtype)
        self.intercept_ = np.atleast_1d(result.intercept).astype(dtype)
        self.n_iter_ = np.array([result.num_steps], np.int32)
        self.status_ = Status(int(result.status))
        self.diagnostics_ = diagnostics_of(result)
        self.history_ = result.history

    def _warn(self, settings: Settings) -> None:
        """Tell what stands between this and a unique minimum."""
        status, message = self.status_, self.diagnostics_.message
        if status == Status.CONVERGED:
            return
        if status == Status.NOT_UNIQUE:
            warnings.warn(message, RankWarning, stacklevel=3)
        elif status == Status.SEPARATED:
            told = separation_message(self._training, settings.fit_intercept, self._names())
            warnings.warn(told or message, SeparationWarning, stacklevel=3)
        else:
            text = complaint(self.solver, self.diagnostics_)
            warnings.warn(text, ConvergenceWarning, stacklevel=3)

    def decision_function(self, X: Any) -> np.ndarray:
        """The logits η: (n,), positive for ``classes_[1]``, or (n, K)."""
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        eta = logits(X, self.coef_, self.intercept_)
        return eta.ravel() if len(self.classes_) == 2 else eta

    def _checked(self, X: Any, *target: Any, reset: bool) -> Any:
        """X, or X and y, as arrays of finite floats."""
        check_table(X)
        valid = validate_data(
            self,
            X,
            *map(check_target, target),
            reset=reset,
            accept_sparse="csr",
            dtype=_FLOATS,
            ensure_all_finite=False,
        )
        check_finite(valid[0] if target else valid, self._names())
        return valid

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of every row, (n,)."""
        eta = self.decision_function(X)
        return self.classes_[(eta > 0).astype(int) if eta.ndim == 1 else eta.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of every class, (n, K), in the order of ``classes_``."""
        return probabilities(self.decision_function(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithm of every probability, (n, K), finite also where that is round-off."""
        return log_probabilities(self.decision_function(X))

    def infer(
        self, X: Any = None, y: Any = None, sample_weight: Any = None, **how: Any
    ) -> Inference:
        """Standard errors, tests and intervals; see :func:`jax_logreg.infer`.

        Args:
            X: what was given to ``fit``; the fit's own if absent, which a pickle leaves out.
            y: likewise.
            sample_weight: likewise; read, with class weights, as frequencies.
            how: ``covariance``, ``groups``, ``reference`` of :func:`jax_logreg.infer`.
        """
        check_is_fitted(self)
        training = self._training_of(X, y, sample_weight)
        names = self._names()
        return infer_from(self._result, training, self.fit_intercept, names, self.classes_, **how)

    def _names(self) -> list[str] | None:
        return list(self.feature_names_in_) if hasattr(self, "feature_names_in_") else None

    def _training_of(self, X: Any, y: Any, sample_weight: Any) -> Training:
        """The data of the fit, as kept or as given again."""
        if X is None and y is None and sample_weight is None:
            kept = getattr(self, "_training", None)
            if kept is None:
                raise ValueError("a pickle does not keep the data of the fit: give X and y again.")
            return kept
        X, y = self._checked(X, y, reset=False)
        codes = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        if not np.array_equal(self.classes_[codes], y):
            raise ValueError(f"y holds other labels than the fit, whose were {self.classes_}.")
        settings = check_settings(self.get_params(deep=False))
        weight = row_weights(sample_weight, codes, self.class_weight, self.classes_)
        return training_of(X, codes, weight, self.classes_, settings)

    def summary(
        self,
        X: Any = None,
        y: Any = None,
        sample_weight: Any = None,
        *,
        level: float = 0.95,
        **how: Any,
    ) -> str:
        """The printed table of :meth:`infer`; columns carry the names that X had.

        Args:
            X: as in :meth:`infer`.
            y: likewise.
            sample_weight: likewise.
            level: of the intervals.
            how: as in :meth:`infer`.
        """
        return self.infer(X, y, sample_weight, **how).summary(level=level)

    def sparsify(self) -> "LogisticRegression":
        """Keep ``coef_`` as a sparse matrix from now on."""
        check_is_fitted(self)
        self.coef_ = sparse.csr_matrix(self.coef_)
        return self

    def densify(self) -> "LogisticRegression":
        """Keep ``coef_`` as an array again."""
        check_is_fitted(self)
        self.coef_ = self.coef_.toarray() if sparse.issparse(self.coef_) else self.coef_
        return self

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_training"}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_class = self.solver != "liblinear"
        return tags

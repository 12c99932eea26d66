"""A fitted model as a thing of its own: what a prediction needs, and nothing of the data."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import special

from jax_logreg.fitting.result import FitResult, Status
from jax_logreg.interfaces.encoding import Encoding
from jax_logreg.interfaces.labels import as_labels
from jax_logreg.interfaces.version import __version__


@dataclass(frozen=True, eq=False)
class Model:
    r"""Coefficients with the names that belong to them: :math:`\eta = (X - c)\beta + b`.

    The numbers are copies in NumPy that cannot be written to; nothing depends on JAX's
    precision setting.

    Attributes:
        coef: β, (p,) for two classes or (p, K), in log-odds per unit of the feature,
            float32 or float64.
        intercept: b, () or (K,): the log-odds at the center.
        classes: K labels, (K,), of any plain type; 0 … K−1 if absent. With coef (p,) the
            second is the one that β speaks for.
        feature_names: p names; x0, x1, … if absent.
        center: c, (p,), in the unit of the feature; zeros if absent. Kept apart from the
            intercept because folding it in loses the digits of a column far from zero.
        encoding: how the columns of a file become the features; None where they are them.
        training: how the model came about, in plain data (text, numbers, lists, dicts).
        version: of the package that made it.

    Raises:
        ValueError: naming what does not fit.

    >>> model = Model([2.0, -1.0], 0.5, classes=["no", "yes"], feature_names=["age", "dose"])
    >>> model.predict([[1.0, 0.0], [0.0, 3.0]])
    array(['yes', 'no'], dtype='<U3')
    """

    coef: Any
    intercept: Any
    classes: Any = None
    feature_names: Any = None
    center: Any = None
    encoding: Encoding | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    version: str = __version__

    def __post_init__(self) -> None:
        coef = _floats("coef", self.coef)
        if coef.ndim not in (1, 2) or (coef.ndim == 2 and coef.shape[1] < 2):
            raise ValueError(f"coef must be (p,), or (p, K) for K classes, not {coef.shape}.")
        p, K = len(coef), coef.shape[1] if coef.ndim == 2 else 2
        center = np.zeros(p, coef.dtype) if self.center is None else self.center
        classes = as_labels(np.arange(K) if self.classes is None else self.classes)
        if len(classes) != K:
            raise ValueError(f"classes has {len(classes)} labels, but coef is for {K} classes.")
        classes.setflags(write=False)
        self._set("coef", coef)
        self._set("intercept", _floats("intercept", self.intercept, coef.shape[1:]))
        self._set("center", _floats("center", center, (p,)))
        self._set("classes", classes)
        self._set("feature_names", _names(self.feature_names, self.encoding, p))
        self._set("training", _plain_data(self.training))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @classmethod
    def from_result(
        cls,
        result: FitResult,
        *,
        classes: Any = None,
        feature_names: Sequence[str] | None = None,
        center: Any = None,
        encoding: Encoding | None = None,
        penalty: Any = None,
        training: Mapping[str, Any] | None = None,
    ) -> "Model":
        """The model that a fit found; how the fit ended is kept with it.

        Args:
            result: of ``fit``; one fit, not many.
            classes: the label of every class number; 0 … K−1 if absent.
            feature_names: p names; x0, x1, … if absent.
            center: what was subtracted from the columns before the fit, (p,).
            encoding: how the columns of a file became the features.
            penalty: as given to ``fit``, to be kept in words.
            training: more facts to keep.

        Raises:
            ValueError: for many fits at once, or numbers that are not finite.

        >>> import jax_logreg as lr
        >>> result = lr.fit([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1], penalty=lr.L2(0.1))
        >>> model = Model.from_result(result, feature_names=["dose"], penalty=lr.L2(0.1))
        >>> model.training["status"], model.training["penalty"]
        ('CONVERGED', {'kind': 'L2', 'strength': 0.1})
        """
        if np.ndim(result.status):
            raise ValueError(
                f"result holds {np.size(result.status)} fits, and a model is one: take "
                "jax.tree.map(lambda a: a[i], result)."
            )
        facts = {
            "status": Status(int(result.status)).name,
            "solver": result.solver,
            "steps": int(result.num_steps),
            "objective": _finite(result.objective),
            "gradient_norm": _finite(result.gradient_norm),
            "newton_decrement": _finite(result.newton_decrement),
            "rank": int(result.rank),
            "penalty": None if penalty is None else _penalty_as_plain(penalty),
        }
        return cls(
            result.coef,
            result.intercept,
            classes=classes,
            feature_names=feature_names,
            center=center,
            encoding=encoding,
            training={**facts, **(training or {})},
        )

    @classmethod
    def from_estimator(cls, estimator: Any) -> "Model":
        """The model in a fitted classifier that has scikit-learn's attributes.

        Args:
            estimator: with coef_ (1, p) or (K, p), intercept_, classes_, and where it
                knows them feature_names_in_.

        Raises:
            ValueError: for an estimator that is not fitted, or not linear.
        """
        missing = [a for a in ("coef_", "intercept_", "classes_") if not hasattr(estimator, a)]
        if missing:
            raise ValueError(f"estimator has no {missing[0]}: fit a linear classifier first.")
        coef, intercept = np.asarray(estimator.coef_), np.asarray(estimator.intercept_)
        two = len(coef) == 1
        return cls(
            coef[0] if two else coef.T,
            np.broadcast_to(intercept, len(coef))[0] if two else intercept,
            classes=estimator.classes_,
            feature_names=getattr(estimator, "feature_names_in_", None),
            training={"solver": type(estimator).__name__},
        )

    @property
    def intercept_at_zero(self) -> np.ndarray:
        """The log-odds where every feature is zero, () or (K,): b − cβ."""
        return np.asarray(self.intercept - self.center @ self.coef)

    def logits(self, X: Any) -> np.ndarray:
        """η of every row, (n,) or (n, K), in float64.

        Args:
            X: features, (n, p), dense or a SciPy matrix.

        Raises:
            ValueError: for another number of columns, or a number that is not finite.
        """
        sparse = hasattr(X, "tocsr")
        X = X if sparse else np.asarray(X, np.float64)
        p = len(self.coef)
        if X.ndim != 2 or X.shape[1] != p:
            raise ValueError(f"X must be (n, {p}), one column a feature, not {tuple(X.shape)}.")
        with np.errstate(all="ignore"):
            coef = self.coef.astype(np.float64)
            center, intercept = self.center.astype(np.float64), self.intercept
            eta = X @ coef - center @ coef if sparse else (X - center) @ coef
            eta = np.asarray(eta + intercept)
        bad = np.flatnonzero(~np.isfinite(eta).all(axis=tuple(range(1, eta.ndim))))
        if len(bad):
            raise ValueError(
                f"row {bad[0]} of X has no finite logit: it holds a gap or a huge number."
            )
        return eta

    def probability(self, X: Any) -> np.ndarray:
        """The probability of every class, (n, K), columns in the order of ``classes``.

        Args:
            X: features, (n, p), dense or a SciPy matrix.

        Raises:
            ValueError: as :meth:`logits` does.

        >>> Model([1.0], 0.0).probability([[0.0], [1e4]]).tolist()
        [[0.5, 0.5], [0.0, 1.0]]
        """
        eta = self.logits(X)
        if eta.ndim == 1:
            return special.expit(np.stack([-eta, eta], axis=1))
        return special.softmax(eta, axis=1)

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of every row, (n,), as its label; the first where they tie."""
        eta = self.logits(X)
        number = (eta > 0).astype(int) if eta.ndim == 1 else np.argmax(eta, axis=1)
        return self.classes[number]


def _floats(name: str, values: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """A copy in float32 or float64, whole, finite and read-only."""
    array = np.asarray(values)
    if array.dtype != np.float32 and array.dtype != np.float64:
        array = array.astype(np.float64)
    array = np.array(array, array.dtype.newbyteorder("="), order="C")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} must be {shape}, not {array.shape}.")
    if not np.all(np.isfinite(array)):
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(
            f"{name}{list(place) if place else ''} is {array[place]}: a model needs finite "
            "numbers. Did the fit converge?"
        )
    array.setflags(write=False)
    return array


def _names(names: Any, encoding: Encoding | None, p: int) -> tuple[str, ...]:
    if encoding is not None:
        if names is not None and list(names) != encoding.feature_names:
            raise ValueError("feature_names are not those of the encoding: give one of them.")
        names = encoding.feature_names
    if isinstance(names, str):
        raise ValueError(f"feature_names must be a list of names, not the text {names!r}.")
    names = [f"x{j}" for j in range(p)] if names is None else list(names)
    if not all(isinstance(name, str) for name in names):
        raise ValueError("feature_names must be text.")
    names = [str(name) for name in names]
    if len(names) != p:
        raise ValueError(f"feature_names has {len(names)} names, but coef has {p} features.")
    if len(set(names)) < p:
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"feature_names has {twice!r} twice. Rename one.")
    return tuple(names)


def _plain_data(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of facts that JSON gives back as they are."""
    try:
        copy = json.loads(json.dumps(dict(facts), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"training must be plain data: {error}.") from error
    if copy != dict(facts):
        raise ValueError("training must be plain data: text for names, lists for tuples.")
    return copy


def _finite(number: Any) -> float | None:
    return float(number) if np.isfinite(number) else None


def _penalty_as_plain(penalty: Any) -> dict[str, Any]:
    fields = {f.name: getattr(penalty, f.name) for f in dataclasses.fields(penalty)}
    given = {name: np.asarray(x).tolist() for name, x in fields.items() if x is not None}
    return {"kind": type(penalty).__name__, **given}

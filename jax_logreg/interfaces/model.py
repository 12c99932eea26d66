"""A fitted model: everything that a prediction needs, without the data."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from scipy import special

from jax_logreg.fitting.result import FitResult
from jax_logreg.fitting.validation import as_numpy, column_names, refuse_dates
from jax_logreg.interfaces.encoding import Encoding
from jax_logreg.interfaces.exports import onnx_graph, stablehlo_program
from jax_logreg.interfaces.files import atomic_write, open_output, printable
from jax_logreg.interfaces.model_format import (
    class_labels,
    floats_from_json,
    read_text,
    sealed_json,
    verified_document,
)
from jax_logreg.interfaces.version import __version__


@dataclass(frozen=True, eq=False)
class Model:
    r"""Coefficients and the names that belong to them: :math:`\eta = (X - c)\beta + b`.

    Arrays are read-only NumPy copies; nothing depends on JAX's precision setting.

    Attributes:
        coef: β, (p,) for two classes or (p, K), in log-odds per unit of the feature,
            float32 or float64.
        intercept: b, () or (K,): the log-odds at the center.
        classes: K different labels, (K,): text, whole numbers, finite floats or truth values;
            0 … K−1 if absent. With coef (p,), β raises the log-odds of the second class.
        feature_names: p names; x0, x1, … if absent.
        center: c, (p,), in the unit of the feature; zeros if absent. Kept apart from the
            intercept because folding it in loses the digits of a column far from zero.
        encoding: how the columns of a file become features; None if they are the features.
        training: facts about the fit in plain data (text, numbers, lists, dicts).
        version: of the package that made the model.

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
        coef = _read_only_floats("coef", self.coef)
        if coef.ndim not in (1, 2) or (coef.ndim == 2 and coef.shape[1] < 2):
            raise ValueError(f"coef must be (p,), or (p, K) for K classes, not {coef.shape}.")
        p, K = len(coef), coef.shape[1] if coef.ndim == 2 else 2
        center = np.zeros(p, coef.dtype) if self.center is None else self.center
        classes = class_labels(list(range(K)) if self.classes is None else self.classes)
        if len(classes) != K:
            raise ValueError(f"classes has {len(classes)} labels, but coef is for {K} classes.")
        checked = {
            "coef": coef,
            "intercept": _read_only_floats("intercept", self.intercept, coef.shape[1:]),
            "center": _read_only_floats("center", center, (p,)),
            "classes": classes,
            "feature_names": _feature_names(self.feature_names, self.encoding, p),
            "training": _plain_data(self.training),
        }
        for name, value in checked.items():
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
        """The model of one fit, with facts about how the fit ended.

        Args:
            result: of ``fit``.
            classes: the label of every class number; 0 … K−1 if absent.
            feature_names: p names; those of the data frame that was fitted, or x0, x1, …, if
                absent.
            center: what was subtracted from the columns before the fit, (p,).
            encoding: how the columns of a file became the features.
            penalty: as given to ``fit``, to be recorded.
            training: more facts to record.

        Returns:
            The model.

        Raises:
            ValueError: for many fits at once, or numbers that are not finite.

        >>> import jax_logreg as lr
        >>> result = lr.fit([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1], penalty=lr.L2(0.1))
        >>> model = Model.from_result(result, feature_names=["dose"], penalty=lr.L2(0.1))
        >>> model.training["status"], model.training["penalty"]
        ('CONVERGED', {'kind': 'L2', 'strength': 0.1})
        """
        if not isinstance(result, FitResult):
            raise ValueError(
                f"result must be what fit returned, but it is a {type(result).__name__}. Of an "
                "estimator Model.from_estimator makes a model."
            )
        if penalty is not None and not dataclasses.is_dataclass(penalty):
            raise ValueError(f"penalty must be the one given to fit, but it is {penalty!r}.")
        if np.ndim(result.status):
            raise ValueError(
                f"result holds {np.size(result.status)} fits, and a model is one: take "
                "jax.tree.map(lambda a: a[i], result)."
            )
        if feature_names is None and encoding is None:
            feature_names = result.feature_names
        numbers = ("objective", "gradient_norm", "newton_decrement")
        facts = {
            "status": result.status.name,
            "solver": result.solver,
            "steps": int(result.num_steps),
            **{name: _finite(getattr(result, name)) for name in numbers},
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
        """The model in a fitted linear classifier with scikit-learn's attributes.

        Args:
            estimator: with coef_ (1, p) or (K, p), intercept_, classes_, and perhaps
                feature_names_in_.

        Returns:
            The model.

        Raises:
            ValueError: for an estimator that is not fitted, or not linear.

        >>> from types import SimpleNamespace
        >>> fitted = SimpleNamespace(coef_=[[1.0]], intercept_=[0.0], classes_=["no", "yes"])
        >>> Model.from_estimator(fitted).predict([[3.0]]).tolist()
        ['yes']
        """
        missing = [a for a in ("coef_", "intercept_", "classes_") if not hasattr(estimator, a)]
        if missing:
            raise ValueError(
                f"estimator has no {missing[0]}: fit a linear classifier first. Of what fit "
                "returns Model.from_result makes a model."
            )
        coef, intercept = np.asarray(estimator.coef_), np.asarray(estimator.intercept_)
        binary = len(coef) == 1
        return cls(
            coef[0] if binary else coef.T,
            np.broadcast_to(intercept, len(coef))[0] if binary else intercept,
            classes=estimator.classes_,
            feature_names=getattr(estimator, "feature_names_in_", None),
            training={"solver": type(estimator).__name__},
        )

    @property
    def class_names(self) -> list[str]:
        """The labels as text, for headings and files."""
        return [str(label) for label in self.classes.tolist()]

    @property
    def intercept_at_zero(self) -> np.ndarray:
        """The log-odds where every feature is zero, () or (K,): b − cβ."""
        return np.asarray(self.intercept - self.center @ self.coef)

    def logits(self, X: Any) -> np.ndarray:
        r"""The log-odds of every row, :math:`\eta = (X - c)\beta + b`, in float64.

        Args:
            X: features, (n, p), dense or a SciPy matrix.

        Returns:
            η, (n,) or (n, K).

        Raises:
            ValueError: for another number of columns, or a logit that is not finite.

        >>> Model([2.0], 1.0).logits([[0.5]])
        array([2.])
        """
        sparse = hasattr(X, "tocsr")
        if not sparse:
            refuse_dates("X", X)
            self._check_order(column_names(X))
            X = as_numpy("X", as_numpy("X", X), lambda x: np.asarray(x, np.float64))
        p = len(self.coef)
        if X.ndim != 2 or X.shape[1] != p:
            raise ValueError(f"X must be (n, {p}), one column per feature, not {tuple(X.shape)}.")
        with np.errstate(all="ignore"):
            coef = self.coef.astype(np.float64)
            center, intercept = self.center.astype(np.float64), self.intercept
            eta = X @ coef - center @ coef if sparse else (X - center) @ coef
            eta = np.asarray(eta + intercept)
        bad = np.flatnonzero(~np.isfinite(eta).all(axis=tuple(range(1, eta.ndim))))
        if len(bad):
            raise ValueError(
                f"row {bad[0]} of X has no finite logit: it has a missing or a huge value."
            )
        return eta

    def _check_order(self, names: tuple[str, ...] | None) -> None:
        """Refuse a frame with the model's columns in another order."""
        if names and names != self.feature_names and set(names) == set(self.feature_names):
            raise ValueError(
                f"X has the columns {list(names)}, in another order than the model's: give "
                "X[list(model.feature_names)]."
            )

    def probability(self, X: Any) -> np.ndarray:
        """The probability of every class for every row.

        Args:
            X: features, (n, p), dense or a SciPy matrix.

        Returns:
            Probabilities, (n, K), columns in the order of ``classes``.

        Raises:
            ValueError: as :meth:`logits`.

        >>> Model([1.0], 0.0).probability([[0.0], [1e4]]).tolist()
        [[0.5, 0.5], [0.0, 1.0]]
        """
        eta = self.logits(X)
        if eta.ndim == 1:
            return special.expit(np.stack([-eta, eta], axis=1))
        return special.softmax(eta, axis=1)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of every row; in a tie the first.

        Args:
            X: features, (n, p), dense or a SciPy matrix.

        Returns:
            Labels, (n,).

        Raises:
            ValueError: as :meth:`logits`.

        >>> Model([1.0], 0.0, classes=[False, True]).predict([[0.0], [1.0]]).tolist()
        [False, True]
        """
        eta = self.logits(X)
        number = (eta > 0).astype(int) if eta.ndim == 1 else np.argmax(eta, axis=1)
        return self.classes[number]

    def save(self, path: str | Path) -> None:
        """Write the model to a file, whole or not at all; an existing file is replaced.

        Args:
            path: of the file, with any ending.

        Raises:
            OSError: if the file cannot be written; what was there is unchanged.
            ValueError: if ``path`` is a folder or a device.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Model([0.1], 2.0).save(f"{folder}/my.model")
        ...     print(Model.load(f"{folder}/my.model").coef)
        [0.1]
        """
        with atomic_write(path) as stream:
            stream.write(f"{self.to_json()}\n".encode("ascii"))

    @classmethod
    def load(cls, path: str | Path) -> "Model":
        """Read a model that :meth:`save` wrote. Nothing in the file is executed.

        Args:
            path: of the file.

        Returns:
            The model, equal in every bit to the one that was saved.

        Raises:
            ValueError: naming the file, if it is damaged, cut short, not a model, or of another
                version of the format.
            OSError: if it cannot be read.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Model([0.1], 2.0, classes=["no", "yes"]).save(f"{folder}/my.model")
        ...     Model.load(f"{folder}/my.model").predict([[1.0]]).tolist()
        ['yes']
        """
        try:
            return cls.from_json(read_text(path))
        except ValueError as error:
            raise ValueError(printable(f"{path}: {error}")) from error

    def to_json(self) -> str:
        """The model as readable JSON text, which :meth:`from_json` turns back exactly.

        Returns:
            The text, in ASCII.

        >>> print(Model([0.1], 2.0, feature_names=["age"]).to_json())  # doctest: +ELLIPSIS
        {
          "format": "jax_logreg model",
          "format_version": 2,
          ...
          "intercept": 2.0,
          "coef": {
            "age": 0.1
          },
          ...
          "sha256": "..."
        }
        """
        arrays = {"intercept": self.intercept, "coef": self.coef, "center": self.center}
        document = {
            "version": self.version,
            "classes": self.classes.tolist(),
            "dtype": {name: array.dtype.name for name, array in arrays.items()},
            "intercept": self.intercept.tolist(),
            "coef": dict(zip(self.feature_names, self.coef.tolist(), strict=True)),
            "center": dict(zip(self.feature_names, self.center.tolist(), strict=True)),
            "encoding": None if self.encoding is None else self.encoding.as_dict(),
            "training": self.training,
        }
        return sealed_json(document)

    @classmethod
    def from_json(cls, text: str) -> "Model":
        """The model in a text of :meth:`to_json`.

        Args:
            text: the JSON.

        Returns:
            The model, equal in every bit.

        Raises:
            ValueError: saying what is wrong with the text.

        >>> Model.from_json(Model([0.1], 2.0).to_json()).coef.tolist()
        [0.1]
        """
        document = verified_document(text)
        match document:
            case {
                "version": str(version),
                "classes": [*classes],
                "dtype": dict(dtypes),
                "intercept": intercept,
                "coef": dict(coef),
                "center": dict(center),
                "encoding": encoding,
                "training": dict(training),
            } if len(document) == 8:
                b = floats_from_json("intercept", intercept, dtypes)
                beta = floats_from_json("coef", list(coef.values()), dtypes)
            case _:
                raise ValueError("this model lacks a key, or has one too many or of another type.")
        if list(center) != list(coef):
            raise ValueError("coef and center do not name the same features.")
        return cls(
            beta if coef else beta.reshape(0, *b.shape),
            b,
            classes=classes,
            feature_names=list(coef),
            center=floats_from_json("center", list(center.values()), dtypes),
            encoding=None if encoding is None else Encoding.from_dict(encoding),
            training=training,
            version=version,
        )

    def export_stablehlo(self, out: str | Path | BinaryIO, dtype: str | None = None) -> None:
        """Write the probabilities as a StableHLO program, for any number of rows.

        ``jax.export.deserialize(program).call(X)`` maps features (n, p) of the dtype to
        probabilities (n, K), columns in the order of ``classes``; a float64 program is called
        under ``jax.enable_x64(True)``. It runs on CPU, GPU and TPU.

        Args:
            out: path of the file, or a binary stream. Where the model has an encoding, the
                program takes encoded features.
            dtype: "float32" or "float64"; that of the coefficients if absent.

        Raises:
            ValueError: for another dtype, or if flatbuffers is not installed.
            OSError: if the file cannot be written.

        >>> import io
        >>> from jax import export
        >>> program = io.BytesIO()
        >>> Model(np.float32([1.0]), np.float32(0.0)).export_stablehlo(program)
        >>> export.deserialize(bytearray(program.getvalue())).call(np.float32([[0.0]])).tolist()
        [[0.5, 0.5]]
        """
        arrays = self.center, self.coef, self.intercept
        with open_output(out) as stream:
            stream.write(stablehlo_program(*arrays, dtype or self.coef.dtype.name))

    def export_onnx(self, out: str | Path | BinaryIO, dtype: str | None = None) -> None:
        """Write the probabilities as an ONNX graph, for any number of rows.

        The input ``X`` is (n, p), the output ``probability`` (n, K), columns in the order of
        the labels in the graph's property ``classes``; ``feature_names`` is a property too.

        Args:
            out: path of the file, or a binary stream. Where the model has an encoding, the
                graph takes encoded features.
            dtype: "float32" or "float64"; that of the coefficients if absent.

        Raises:
            ValueError: for another dtype, or if onnx is not installed.
            OSError: if the file cannot be written.

        >>> import io
        >>> graph = io.BytesIO()
        >>> Model([1.0], 0.0).export_onnx(graph)
        >>> b"probability" in graph.getvalue()
        True
        """
        names = {"classes": self.class_names, "feature_names": self.feature_names}
        graph = onnx_graph(
            *(self.center, self.coef, self.intercept),
            dtype or self.coef.dtype.name,
            version=self.version,
            properties={key: json.dumps(texts) for key, texts in names.items()},
        )
        with open_output(out) as stream:
            stream.write(graph)


def _read_only_floats(name: str, values: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """A copy in float32 or float64, finite and read-only."""
    array = as_numpy(name, values)
    if array.dtype.kind not in "buif":
        raise ValueError(f"{name} must hold numbers, but its dtype is {array.dtype}.")
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


def _feature_names(names: Any, encoding: Encoding | None, p: int) -> tuple[str, ...]:
    if encoding is not None:
        if names is not None and list(names) != encoding.feature_names:
            raise ValueError("feature_names are not those of the encoding: give one of them.")
        names = encoding.feature_names
    if isinstance(names, str) or not isinstance(names, Iterable | None):
        what = f"the text {names!r}" if isinstance(names, str) else repr(names)
        raise ValueError(f"feature_names must be a list of names, not {what}.")
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
    """A copy of facts that JSON gives back unchanged."""
    try:
        copy = json.loads(json.dumps(dict(facts), allow_nan=False))
        unchanged = copy == dict(facts)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"training must be plain data: {error}.") from error
    if not unchanged:
        raise ValueError("training must be plain data: text for names, lists for tuples.")
    return copy


def _finite(number: Any) -> float | None:
    return float(number) if np.isfinite(number) else None


def _penalty_as_plain(penalty: Any) -> dict[str, Any]:
    fields = {f.name: getattr(penalty, f.name) for f in dataclasses.fields(penalty)}
    given = {name: np.asarray(x).tolist() for name, x in fields.items() if x is not None}
    return {"kind": type(penalty).__name__, **given}

"""What a user's function returned, read as an array.

A wrong form must not hide the numbers: an answer with as many entries as are due is read up to
reshaping, and the comparison decides in which order it is meant.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.findings import ERROR, NOTE, WARNING, Finding, UnusableOutput
from jax_logreg.audit.layout import PytreeLayout, leaves_by_path
from jax_logreg.audit.readings import Arrays, Reading, Shape, readings

# What the audit calls a Hessian of which only the diagonal is given.
DIAGONAL = "hessian diagonal"


@dataclass
class Reader:
    """Reads what one function returns.

    Attributes:
        name: "value" or the name of a derivative.
        layout: of θ.
        out_shape: of the value; for the value itself () where it must be a number, None for any.
        reading: of an answer in another form; None for the likeliest.
        remarks: what was noticed, once each.
        form: what is wrong with the form, such as "has shape (3, 1) where (3,) is expected".
        tolerated: whether that form is accepted if its numbers are right.
        arrays: the last answer in another form.
        is_of_jax: whether the last answer was an array of JAX's.
    """

    name: str
    layout: PytreeLayout
    out_shape: Shape | None = ()
    reading: Reading | None = None
    remarks: dict[Finding, None] = field(default_factory=dict)
    form: str = ""
    tolerated: bool = False
    arrays: Arrays = ()
    is_of_jax: bool = False

    def read(self, raw: Any) -> np.ndarray:
        """The value in its shape; (P,) of gradient and hvp; (M, P); (P, P), or (P,) of a diagonal.

        Raises:
            UnusableOutput: where there are no numbers to compare.
        """
        self.is_of_jax = isinstance(raw, jax.Array)
        if self.name == "value":
            return self._value(raw)
        if self.name in ("hessian", DIAGONAL):
            return self._hessian(raw)
        flat = self._joined(raw, self._rows)
        return flat if self.name == "jacobian" else flat.reshape(self.layout.size)

    def readings(self) -> Iterator[Reading]:
        """Ways to read the last answer in another form, the likeliest first."""
        layout, shapes = self.layout, [a.shape for a in self.arrays]
        if self.name == "hessian":
            leaf = layout.shapes[0] if len(layout.shapes) == 1 else (layout.size,)
            return readings(shapes, (), [(*leaf, *leaf)], layout.labels)
        return readings(shapes, self._rows, layout.shapes, layout.labels)

    def remark(self, kind: str, severity: str, text: str) -> None:
        """Note something about this function."""
        self.remarks[Finding(kind, severity, self.name, f"{self.name} {text}")] = None

    def unusable(self, kind: str, text: str, arrays: Arrays = ()) -> UnusableOutput:
        """The exception for an answer without numbers to compare."""
        finding = Finding(kind, ERROR, self.name, f"{self.name} {text}")
        return UnusableOutput(finding, list(arrays))

    @property
    def _rows(self) -> Shape:
        return (self.out_shape or ()) if self.name == "jacobian" else ()

    def _value(self, raw: Any) -> np.ndarray:
        if isinstance(raw, tuple | list) and len(raw) == 2:
            self._refuse_value_and_gradient(raw)
        if isinstance(raw, tuple | list):
            raw = _as_table(raw, raw)
        if isinstance(raw, tuple | list | Mapping):
            due = "an array" if self.out_shape is None else "a number"
            raise self.unusable("shape", f"returns {_type_of(raw)} where {due} is expected.")
        array = self._to_array(raw)
        if array.dtype.itemsize < 8:
            self.remark("dtype", NOTE, f"returns {array.dtype}, fewer digits than it was given.")
        if self.out_shape is None or array.ndim == 0 or array.size != 1:
            return array
        self._note_one_number("the value", array.shape)
        return array.reshape(())

    def _note_one_number(self, who: str, shape: Shape) -> None:
        text = f"{who} has shape {shape}; its one number is taken."
        self.remarks[Finding("shape", NOTE, self.name, text)] = None

    def _refuse_value_and_gradient(self, raw: Sequence[Any]) -> None:
        number, gradient = raw
        fits = self.layout.parameters_of(gradient) is not None or np.ndim(gradient) > 0
        if isinstance(number, Mapping) or np.size(number) != 1 or not fits:
            return
        text = f"returns {_type_of(raw)} (number, array): if that is (value, gradient), give the function as value_and_grad=."  # noqa: E501
        raise self.unusable("shape", text)

    def _joined(self, raw: Any, rows: Shape) -> np.ndarray:
        """Arrays of shape rows + (shape of the leaf of θ), joined along θ: (number of rows, P)."""
        size, count = self.layout.size, int(np.prod(rows, dtype=int))
        due = [(*rows, *shape) for shape in self.layout.shapes]
        container, tolerated, arrays = self._arrays(raw, due)
        found = [a.shape for a in arrays]
        if found == due and not container:
            return np.concatenate([a.reshape(count, -1) for a in arrays], axis=1)
        flat_shapes: list[list[Shape]] = [[(*rows, size)]]
        if rows:
            flat_shapes.append([(count, size)])
            flat_shapes += [[(size,)]] if count == 1 else []
        expected = " and ".join(map(str, due))
        shapes = " and ".join(map(str, found)) + _foreign(raw)
        form = container or f"has shape {shapes} where {expected} is expected"
        tolerated = (tolerated and found == due) or (found in flat_shapes and not container)
        return self._reshaped(form, tolerated, arrays, count * size).reshape(count, size)

    def _reshaped(self, form: str, tolerated: bool, arrays: Arrays, entries: int) -> np.ndarray:
        """The numbers of arrays in another form, flat."""
        total = sum(a.size for a in arrays)
        self.form, self.tolerated, self.arrays = form, tolerated, arrays
        if self.reading is None and total != entries:
            raise self.unusable("shape", f"{form}{self._hint(total)}.", arrays)
        if entries == 1 and not tolerated:
            self._note_one_number(f"the {self.name}", arrays[0].shape)
            self.form, self.arrays = "", ()
            return arrays[0].reshape(1)
        reading = self.reading or next(self.readings())
        return reading.read(arrays)

    def _hint(self, total: int) -> str:
        """What an answer of another size may be."""
        size = self.layout.size
        hints = {
            size**2: "that is the size of a Hessian",
            size - 1: "one entry is missing, that of an intercept?",
            1: "one number for all the parameters",
        }
        is_vector = self.name in ("gradient", "hvp") and size > 1
        return f" ({hints[total]})" if is_vector and total in hints else ""

    def _arrays(self, raw: Any, due: list[Shape]) -> tuple[str, bool, list[np.ndarray]]:
        """What is wrong with the container, whether that is tolerated, and the arrays in it."""
        layout = self.layout
        if raw is None or isinstance(raw, str | bytes) or _is_array(raw):
            return "", False, [self._to_array(raw)]
        leaves = layout.parameters_of(raw)
        if leaves is None and isinstance(raw, tuple | list):
            self._refuse_pairs(raw, due)
            is_vector = len(due) == 1 or all(np.ndim(item) == 0 for item in raw if _is_array(item))
            table = _as_table(raw, None) if is_vector else None
            leaves = None if table is None else [table]
        if leaves is not None:
            missing = [k for k, leaf in zip(layout.labels, leaves, strict=False) if leaf is None]
            if missing:
                raise self.unusable("shape", f"gives nothing (None) for {', '.join(missing)}.")
            return "", False, [self._to_array(leaf) for leaf in leaves]
        found = leaves_by_path(raw)
        if not found or list(found) == [""]:
            return "", False, [self._to_array(raw)]
        arrays = [self._to_array(leaf) for leaf in found.values()]
        keys = f" with {', '.join(map(str, raw))}" if isinstance(raw, Mapping) else ""
        form = f"returns {_type_of(raw)}{keys} where {self._structure(due)} is expected"
        return form, not isinstance(raw, Mapping), arrays

    def _structure(self, due: list[Shape]) -> str:
        if self.layout.labels == ("",):
            return f"an array of shape {due[0]}"
        named = (f"{k} {shape}" for k, shape in zip(self.layout.labels, due, strict=True))
        return f"the structure of the point ({', '.join(named)})"

    def _refuse_pairs(self, raw: Sequence[Any], due: list[Shape]) -> None:
        """(value, gradient) or (gradient, hessian) where one of them is due."""
        if len(raw) != 2 or len(due) != 1 or not _is_array(raw[1]) or np.ndim(raw[1]) == 0:
            return
        if np.size(raw[0]) == 1 and np.size(raw[1]) == self.layout.size > 1:
            text = f"returns {_type_of(raw)} (number, array): if that is (value, gradient), give the function as value_and_grad=."  # noqa: E501
            raise self.unusable("shape", text)
        if np.shape(raw[0]) == due[0] and due[0][:1] != (2,):
            text = f"returns {_type_of(raw)} of two arrays: if these are gradient and Hessian, give gradient=lambda *a: f(*a)[0] and hessian=lambda *a: f(*a)[1]."  # noqa: E501
            raise self.unusable("shape", text)

    def _hessian(self, raw: Any) -> np.ndarray:
        size, shapes = self.layout.size, self.layout.shapes
        if isinstance(raw, tuple | list):
            raw = _as_table(raw, raw)
        if raw is None or isinstance(raw, str | bytes) or _is_array(raw):
            array = self._to_array(raw)
        else:
            return self._nested_hessian(raw)
        nested = (*shapes[0], *shapes[0]) if len(shapes) == 1 else (size, size)
        if array.shape in ((size, size), nested):
            return array.reshape(size, size)
        if array.size == size > 1:
            return array.reshape(size)
        form = f"has shape {array.shape}{_foreign(raw)} where {(size, size)} is expected"
        return self._reshaped(form, False, [array], size**2).reshape(size, size)

    def _nested_hessian(self, raw: Any) -> np.ndarray:
        """The nested structure of ``jax.hessian``, blocks, or a diagonal in θ's structure."""
        layout, size = self.layout, self.layout.size
        leaves = layout.parameters_of(raw)
        if leaves is not None and [np.shape(leaf) for leaf in leaves] == list(layout.shapes):
            return np.concatenate([self._to_array(leaf).ravel() for leaf in leaves])
        rows = layout.rows_of(raw)
        if rows is None:
            text = f"returns {_type_of(raw)}, not a ({size}, {size}) matrix or the nested structure of jax.hessian."  # noqa: E501
            raise self.unusable("shape", text)
        parts = [self._row(row, shape) for row, shape in zip(rows, layout.shapes, strict=True)]
        self.form, self.arrays = "", ()
        return np.concatenate(parts)

    def _row(self, row: Any, shape: Shape) -> np.ndarray:
        """One row of blocks, each (m, n) or of the shapes of both leaves."""
        leaves = self.layout.parameters_of(row)
        blocks = leaves if leaves is not None else row if isinstance(row, list | tuple) else [row]
        count = int(np.prod(shape, dtype=int))
        due = [count * int(np.prod(s, dtype=int)) for s in self.layout.shapes]
        arrays = [self._to_array(block) for block in blocks]
        if [a.size for a in arrays] != due:
            found = " and ".join(str(a.shape) for a in arrays)
            expected = " and ".join(str((*shape, *s)) for s in self.layout.shapes)
            text = f"has blocks of shape {found} where {expected} is expected."
            raise self.unusable("shape", text)
        return np.concatenate([a.reshape(count, -1) for a in arrays], axis=1)

    def _to_array(self, raw: Any) -> np.ndarray:
        """Real numbers in an array, whatever holds them."""
        if raw is None:
            raise self.unusable("shape", "returns nothing (None): is its return statement missing?")
        try:
            array = self._dense(raw)
        except Exception as error:  # whatever a foreign type makes of the conversion
            text = f"returns {_type_of(raw)}, which is no array of numbers ({first_line(error)})."
            raise self.unusable("shape", text) from None
        if jnp.issubdtype(array.dtype, jnp.floating):
            return array.astype(np.float64) if array.dtype == np.longdouble else array
        kind = array.dtype.kind
        if kind in "iu" or (kind == "b" and self.name != "value"):
            if self.name == "value":
                self.remark("dtype", NOTE, f"returns a whole number ({type(raw).__name__}).")
            elif hasattr(raw, "dtype"):
                self.remark("dtype", WARNING, f"returns {array.dtype}, whole numbers only.")
            return array.astype(np.float64)
        if kind == "c":
            return self._real_part(array)
        if kind == "O":
            return self._from_objects(raw, array)
        what = f"an array of {array.dtype}" if array.ndim else _type_of(raw)
        raise self.unusable("shape", f"returns {what} where numbers are expected.")

    def _dense(self, raw: Any) -> np.ndarray:
        if isinstance(raw, np.ma.MaskedArray):
            masked = int(np.ma.count_masked(raw))
            if not masked:
                return np.asarray(raw.data)
            text = f"returns a masked array: {masked} masked entries count as missing (NaN)."
            self.remark("masked", WARNING, text)
            return np.asarray(np.ma.filled(raw.astype(np.float64), np.nan))
        if _is_operator(raw):
            text = "is a linear operator: its products with unit vectors are compared."
            self.remark("operator", NOTE, text)
            return np.stack([np.ravel(raw.matvec(e)) for e in np.eye(raw.shape[1])], axis=1)
        for method in ("toarray", "todense"):  # sparse arrays of SciPy, of JAX
            if hasattr(raw, method):
                return np.asarray(getattr(raw, method)())
        return np.asarray(raw)

    def _from_objects(self, raw: Any, array: np.ndarray) -> np.ndarray:
        if callable(raw):
            text = f"returns {_type_of(raw)}, not numbers: is a call missing, f(θ) for f?"
            raise self.unusable("shape", text)
        if hasattr(raw, "__next__"):
            text = f"returns {_type_of(raw)}, which holds no numbers yet: make it an array."
            raise self.unusable("shape", text)
        try:
            numbers = array.astype(np.float64)
            self.remark("dtype", NOTE, "returns Python objects (dtype object).")
            return numbers
        except (TypeError, ValueError):
            text = f"returns {_type_of(raw)} of objects that are no numbers."
            raise self.unusable("shape", text) from None

    def _real_part(self, array: np.ndarray) -> np.ndarray:
        if np.any(array.imag):
            text = f"returns {array.dtype}, with imaginary parts, where real numbers are expected."
            raise self.unusable("dtype", text)
        text = f"returns {array.dtype}: its imaginary part is 0, its real part is taken."
        self.remark("dtype", NOTE if self.name == "value" else ERROR, text)
        return array.real.copy()


def _is_array(raw: Any) -> bool:
    """Whether it is one array or number; sparse matrices and linear operators too."""
    if isinstance(raw, int | float | complex):
        return True
    return hasattr(raw, "shape") and not isinstance(raw, tuple | list | Mapping)


def _foreign(raw: Any) -> str:
    """The type of a matrix that is no array."""
    is_matrix = isinstance(raw, np.matrix) or hasattr(raw, "toarray")
    return f" ({_type_of(raw)})" if is_matrix else ""


def _is_operator(raw: Any) -> bool:
    return hasattr(raw, "matvec") and hasattr(raw, "shape") and not hasattr(raw, "toarray")


def _as_table(raw: Sequence[Any], otherwise: Any) -> Any:
    """A list of numbers, or of rows of numbers, as an array."""
    try:
        table = np.asarray(raw)
    except (TypeError, ValueError):  # rows of different lengths
        return otherwise
    return table if table.dtype.kind in "fiu" and table.size else otherwise


def _type_of(raw: Any) -> str:
    name = type(raw).__name__
    article = "an" if name[:1].lower() in tuple("aeio") else "a"
    return "nothing (None)" if raw is None else f"{article} {name}"


def first_line(error: Exception) -> str:
    """The error in one line."""
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else ""
    return f"{type(error).__name__}: {text[:160]}" if text else f"{type(error).__name__}."

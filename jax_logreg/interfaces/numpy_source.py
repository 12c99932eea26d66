"""NumPy's .npy and .npz as sources of columns."""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from jax_logreg.interfaces.npy_array import (
    ARCHIVE_ERRORS,
    NUMBERS,
    TEXTS,
    Archive,
    Claim,
    check_matrix,
    read_claim,
    wrong_claim,
)
from jax_logreg.interfaces.sources import (
    CHUNK_CELLS,
    MISSING,
    Chunk,
    Texts,
    check_columns,
    check_size,
    not_finite,
    number_texts,
    plain,
)

# The array of labels in an .npz, and what its column is called.
LABELS = "y"


class NumpySource:
    """Columns of a matrix, and perhaps a column of labels: see :class:`Source`.

    Args:
        name: of the file, as errors call it.
        X: numbers, (n, p).
        names: of X's columns; x0, x1, … if None.
        y: labels, (n,): the column y.

    Raises:
        ValueError: for names that are not p, or not all different.
    """

    unit = "row"

    def __init__(
        self, name: str, X: np.ndarray, names: list[str] | None, y: np.ndarray | None = None
    ) -> None:
        p = X.shape[1]
        names = [f"x{index}" for index in range(p)] if names is None else names
        if len(names) != p:
            raise ValueError(
                f"{name} has {p} columns without names, but {len(names)} features are needed: "
                "give those, in the order in which the model was trained."
            )
        self.name = name
        self.num_rows: int | None = len(X)
        self.columns = names if y is None else [*names, LABELS]
        check_columns(name, self.columns)
        self._X, self._y = X, y
        self._place = {column: index for index, column in enumerate(names)}

    def text_columns(self, names: list[str]) -> list[str]:
        """See :class:`Source`."""
        return [name for name in names if name not in self._place]

    def chunks(self, numeric: list[str], text: list[str]) -> Iterator[Chunk]:
        """See :class:`Source`."""
        rows = max(1, CHUNK_CELLS // self._X.shape[1])
        wanted = [self._place[name] for name in numeric]
        for start in range(0, len(self._X), rows):
            here = slice(start, min(start + rows, len(self._X)))
            places = range(start + 1, here.stop + 1)
            numbers = self._finite(self._X[here][:, wanted], numeric, places)
            texts = [self._texts(name, here, places) for name in text]
            yield Chunk(numbers, texts, places, here.stop / len(self._X))

    def _finite(self, values: np.ndarray, names: list[str], places: Sequence[int]) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = np.asarray(values, float)
        bad = np.argwhere(np.isinf(numbers))
        if len(bad):
            row, column = bad[0].tolist()
            raise not_finite(self, places[row], names[column], str(values[row, column]))
        return numbers

    def _texts(self, name: str, here: slice, places: Sequence[int]) -> Texts:
        values = self._X[here, self._place[name]] if name in self._place else self._labels(here)
        if values.dtype.kind in NUMBERS:
            return number_texts(self._finite(values[:, None], [name], places)[:, 0])
        distinct, codes = np.unique(np.char.strip(values), return_inverse=True)
        texts = [str(value) for value in distinct]
        missing = np.array([text.lower() in MISSING for text in texts])
        return Texts(np.where(missing[codes], -1, codes), texts)

    def _labels(self, here: slice) -> np.ndarray:
        assert self._y is not None, "only a column that is there is asked for"
        return self._y[here]


def open_npy(path: Path, names: list[str] | None) -> NumpySource:
    """A .npy file: one matrix of numbers, read from disk as it is needed.

    Args:
        path: the file.
        names: of its columns, in order; x0, x1, … if None.

    Raises:
        ValueError: if it holds anything else, or its header lies.
        OSError: if it cannot be read.
    """
    name = plain(str(path))
    with path.open("rb") as stream:
        claim = read_claim(stream, name, path.stat().st_size)
    check_matrix(claim, name)
    X: np.ndarray = np.memmap(
        path, claim.dtype, "r", claim.offset, claim.shape, "F" if claim.fortran else "C"
    )
    return NumpySource(name, X, names)


def open_npz(path: Path, names: list[str] | None, max_bytes: int) -> NumpySource:
    """A .npz file of arrays X (n, p), y (n,) and perhaps feature_names (p,).

    Args:
        path: the file.
        names: of X's columns where it has no feature_names; x0, x1, … if None.
        max_bytes: bound on what is unpacked.

    Raises:
        ValueError: if it holds anything else, or a header lies.
        OSError: if it cannot be read.
    """
    name = plain(str(path))
    with path.open("rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                return _unpacked(Archive(archive, name), names, max_bytes)
        except ARCHIVE_ERRORS as error:
            raise ValueError(
                f"{name} is no .npz file that can be read: {plain(str(error))}. Save it again."
            ) from error


def _unpacked(archive: Archive, names: list[str] | None, max_bytes: int) -> NumpySource:
    if "X" not in archive:
        raise ValueError(f"{archive.name} holds no array X. It needs X (n, p) and y (n,).")
    present = [key for key in ("X", LABELS, "feature_names") if key in archive]
    check_size(archive.name, sum(map(archive.size, present)), max_bytes)
    X = archive.array("X", check_matrix)
    n, p = X.shape

    def check_labels(claim: Claim, what: str) -> None:
        if claim.shape != (n,):
            raise wrong_claim(claim, what, f"one label for each of X's {n} rows, ({n},)")

    def check_names(claim: Claim, what: str) -> None:
        if claim.shape != (p,) or claim.dtype.kind not in TEXTS:
            raise wrong_claim(claim, what, f"one text for each of X's {p} columns, ({p},)")

    if "feature_names" in archive:
        names = [str(text).strip() for text in archive.array("feature_names", check_names)]
    y = archive.array(LABELS, check_labels) if LABELS in archive else None
    return NumpySource(archive.name, X, names, y)

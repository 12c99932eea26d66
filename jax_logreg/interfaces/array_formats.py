"""Formats that hold arrays: Parquet and Arrow IPC by pyarrow, .npy and .npz by NumPy, and
svmlight, also called libsvm, by scikit-learn.

svmlight has lines of "label index:value …". It stands apart from the others: its rows are
sparse, and only all of them together tell how many columns there are.
"""

import io
import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from scipy.sparse import csr_array, vstack

from jax_logreg.interfaces.files import printable, quoted
from jax_logreg.interfaces.table_source import (
    MOST_COLUMNS,
    NUMBER,
    TEXT,
    Batch,
    ReadProgress,
    Request,
    Source,
    batch_rows,
    check_size,
    end_of_lines,
    is_compressed,
    require_pyarrow,
    shares,
    text_blocks,
    translated_errors,
)


def read_parquet(path: Path, request: Request) -> Source:
    """A Parquet file of numbers, booleans and text."""
    name = printable(str(path))
    pyarrow = require_pyarrow(name)

    def opened(text: Sequence[str] = ()) -> Any:
        # Repeated text stays a dictionary, so that a few bytes cannot become gigabytes.
        return pyarrow.parquet.ParquetFile(path, read_dictionary=list(text), pre_buffer=False)

    with path.open("rb"), translated_errors(name, "Parquet file"), opened() as file:
        schema, meta = file.schema_arrow, file.metadata
        sizes = [meta.row_group(index).total_byte_size for index in range(meta.num_row_groups)]
    check_size(f"a row group of {name}", max(sizes, default=0), request.max_bytes)

    def batches(names: list[str]) -> Iterator[tuple[Any, float]]:
        done = 0
        with opened([c for c in names if _kind(schema.field(c).type) == TEXT]) as file:
            rows = batch_rows(len(names))
            for batch in file.iter_batches(rows, columns=names, use_threads=False):
                done += batch.num_rows
                yield batch, done / meta.num_rows
        if done != meta.num_rows:
            raise ValueError(f"it claims {meta.num_rows} rows, but has {done}.")

    source = _arrow_source(name, "Parquet file", schema, batches, request)
    return source._replace(num_rows=meta.num_rows)


def read_ipc(path: Path, request: Request) -> Source:
    """An Arrow IPC file (Feather) or stream of numbers, booleans and text."""
    name = printable(str(path))
    pyarrow = require_pyarrow(name)

    def opened() -> Any:
        with path.open("rb") as stream:
            is_file = stream.read(6) == b"ARROW1"
        source = pyarrow.memory_map(str(path))
        return pyarrow.ipc.open_file(source) if is_file else pyarrow.ipc.open_stream(source)

    with path.open("rb"), translated_errors(name, "Arrow file"), opened() as file:
        schema = file.schema
        num_rows = file.count_rows() if hasattr(file, "count_rows") else None  # not of a stream

    def batches(names: list[str]) -> Iterator[tuple[Any, float]]:
        with opened() as file:
            count = getattr(file, "num_record_batches", None)
            found = iter(file) if count is None else map(file.get_batch, range(count))
            for index, batch in enumerate(found, 1):
                batch.validate(full=True)  # Arrow believes offsets, which a file may invent
                yield batch, index / count if count else 1.0

    source = _arrow_source(name, "Arrow file", schema, batches, request)
    return source._replace(num_rows=num_rows)


def _arrow_source(
    name: str,
    what: str,
    schema: Any,
    batches: Callable[[list[str]], Iterator[tuple[Any, float]]],
    request: Request,
) -> Source:
    """A source of Arrow's record batches, whatever Arrow raises translated."""
    with translated_errors(name, what):
        names = schema.names  # which need not be UTF-8
    columns = [column.strip() for column in names]
    own_name = dict(zip(columns, names, strict=True))

    def read(numeric: list[str], categorical: list[str]) -> Iterator[Batch]:
        found = batches([own_name[column] for column in (*numeric, *categorical)])
        while True:
            with translated_errors(name, what):
                batch, fraction_read = next(found, (None, 1.0))
            if batch is None:
                return
            check_size(f"a batch of {name}", batch.nbytes, request.max_bytes)
            cells = dict(zip(batch.schema.names, batch.columns, strict=True))
            numbers, others = (
                [cells[own_name[column]] for column in names] for names in (numeric, categorical)
            )
            yield Batch(batch.num_rows, numbers, others, fraction_read)

    kind_of = {arrow_type: _kind(arrow_type) for arrow_type in set(schema.types)}
    kinds = {c: kind_of[kind] for c, kind in zip(columns, schema.types, strict=True)}
    return Source(name, columns, read, kinds)


def _kind(arrow_type: Any) -> str:
    """NUMBER, TEXT, or the type's own name."""
    types = require_pyarrow(str(arrow_type)).types
    values = arrow_type.value_type if types.is_dictionary(arrow_type) else arrow_type
    if str(values) in ("string", "large_string", "string_view"):
        return TEXT
    is_number = any(
        test(values)
        for test in (
            types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_null
        )
    )  # fmt: skip
    return NUMBER if is_number else str(arrow_type)


class ParquetOutput:
    """Writes columns to a stream as Parquet, one row group per call."""

    def __init__(self, stream: BinaryIO, like: dict[str, np.ndarray]) -> None:
        """Begin a file.

        Args:
            stream: where to write.
            like: name ↦ values of the type that the column is to have.

        Raises:
            ValueError: if the values have no one type that Parquet knows.
        """
        self._arrow = require_pyarrow("Parquet")
        try:
            table = self._arrow.table({name: x.tolist() for name, x in like.items()})
        except (self._arrow.ArrowException, OverflowError) as error:
            raise ValueError(f"Parquet cannot hold these classes ({error}): use CSV.") from error
        self._schema = table.schema
        self._writer = self._arrow.parquet.ParquetWriter(stream, self._schema)

    def write(self, columns: dict[str, np.ndarray]) -> None:
        """Add rows: name ↦ values, the names as they were at the beginning."""
        values = {name: x.tolist() for name, x in columns.items()}
        self._writer.write_table(self._arrow.table(values, schema=self._schema))

    def close(self) -> None:
        """Write the end of the file."""
        self._writer.close()


# NumPy: npy, npz ----------------------------------------------------------------------------


def read_npy(path: Path, request: Request) -> Source:
    """A .npy file: one matrix of numbers, read from disk as it is needed."""
    name = printable(str(path))
    with path.open("rb"), translated_errors(name, "NumPy array"):
        X = np.lib.format.open_memmap(path, mode="r")
        size = X.offset + X.nbytes
    _check_matrix(X, name)
    if size != path.stat().st_size:
        raise ValueError(
            f"{name} claims {size} bytes, but has {path.stat().st_size}. It is damaged: save it "
            "again."
        )
    return _numpy_source(name, X, request.names, is_unnamed=True)


def read_npz(path: Path, request: Request) -> Source:
    """A .npz file of arrays X (n, p), y (n,) and perhaps feature_names (p,)."""
    name = printable(str(path))
    with path.open("rb"):
        with translated_errors(name, ".npz file"):
            archive = zipfile.ZipFile(path)
        with archive:
            members = {member.filename: member for member in archive.infolist()}
            keys = [key for key in ("X", "y", "feature_names") if f"{key}.npy" in members]
            if "X" not in keys:
                raise ValueError(f"{name} holds no array X. It needs X (n, p) and y (n,).")
            total = sum(members[f"{key}.npy"].file_size for key in keys)
            check_size(name, total, request.max_bytes)

            def array(key: str, what: str, kinds: str, shape: tuple[int, ...] | None) -> np.ndarray:
                with translated_errors(f"array {key} of {name}", what):
                    return _unpacked(archive, members[f"{key}.npy"], kinds, shape)

            X = array("X", "matrix of numbers", "biuf", None)
            _check_matrix(X, f"array X of {name}")
            n, p = X.shape
            y = (
                array("y", f"list of labels for X's {n} rows", "biufU", (n,))
                if "y" in keys
                else None
            )
            names = request.names
            if "feature_names" in keys:
                texts = array("feature_names", f"list of names for X's {p} columns", "U", (p,))
                names = [text.strip() for text in texts.tolist()]
    return _numpy_source(name, X, names, y)._replace(num_bytes=total)


def _unpacked(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, kinds: str, wanted: tuple[int, ...] | None
) -> np.ndarray:
    """An array, once its header claims what is wanted, and as many bytes as the archive has."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        shape, _, dtype = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version](stream)
        size, there = math.prod(shape) * max(1, dtype.itemsize), member.file_size - stream.tell()
    if dtype.kind not in kinds or shape != (wanted or shape):
        raise ValueError(f"it is of shape {shape} and {dtype}.")
    if min(shape, default=0) < 0 or size != there:
        raise ValueError(f"it claims shape {shape} of {dtype}, {size} bytes, but {there} follow.")
    with archive.open(member) as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
        stream.read(1)  # at the end the checksum is compared
    if dtype.kind == "U":  # NumPy does not look at the code points that it reads, Python would fail
        points = array.view(np.dtype("u4").newbyteorder(dtype.byteorder))
        if np.any((points > 0x10FFFF) | ((points >= 0xD800) & (points <= 0xDFFF))):
            raise ValueError("it holds what is no text.")
    return array


def _check_matrix(X: np.ndarray, what: str) -> None:
    if X.ndim != 2 or 0 in X.shape or X.dtype.kind not in "biuf":
        raise ValueError(
            f"{what} is of shape {X.shape} and {X.dtype}. It must be a matrix (n, p) of numbers "
            "with rows and columns."
        )


def _numpy_source(
    name: str,
    X: np.ndarray,
    names: list[str] | None,
    y: np.ndarray | None = None,
    is_unnamed: bool = False,
) -> Source:
    p = X.shape[1]
    names = [f"x{index}" for index in range(p)] if names is None else names
    if len(names) != p:
        raise ValueError(
            f"{name} has {p} columns without names, but {len(names)} features are needed: "
            "give those, in the order in which the model was trained."
        )
    labels = {} if y is None else {"y": y}
    columns = [*names, *labels]
    place = {column: index for index, column in enumerate(names)}
    kinds = dict.fromkeys(columns, NUMBER)
    if y is not None and y.dtype.kind == "U":
        kinds["y"] = TEXT

    def read(numeric: list[str], categorical: list[str]) -> Iterator[Batch]:
        wanted, rows = [place[column] for column in numeric], batch_rows(p)
        for begin in range(0, len(X), rows):
            here = slice(begin, min(begin + rows, len(X)))
            numbers = np.asarray(X[here])[:, wanted]
            others = [labels[c][here] if c in labels else X[here, place[c]] for c in categorical]
            yield Batch(len(numbers), numbers, others, here.stop / len(X))

    target = None if is_unnamed else "y"
    return Source(name, columns, read, kinds, labels=target, is_unnamed=is_unnamed, num_rows=len(X))


# scikit-learn: svmlight ----------------------------------------------------------------------

# Bytes that are parsed at a time, and the bound on a line.
_BLOCK_BYTES = 2**23
# Of one entry in memory: value and column, and both again while blocks are joined.
_ENTRY_BYTES = 32


def read_svmlight(
    name: str, paths: list[Path], max_bytes: int, progress: ReadProgress
) -> tuple[csr_array, np.ndarray, int]:
    """The rows of some files, for training.

    Args:
        name: of the table, as errors call it.
        paths: the files, perhaps compressed.
        max_bytes: bound on the entries in memory.
        progress: called with the fraction that has been read.

    Returns:
        X, (n, p); labels, (n,); and what indices count from: 0 where an index 0 occurs, else 1.

    Raises:
        ValueError: naming the line, or that scikit-learn is missing.
        OSError: if a file cannot be read.
    """
    parts, labels, num_entries = [], [], 0
    slack = math.inf if any(map(is_compressed, paths)) else 2.0
    for X, y, fraction_read in _blocks(paths):
        parts.append(X)
        labels.append(y)
        num_entries += X.nnz
        check_size(name, _ENTRY_BYTES * num_entries, max_bytes, fraction_read, slack)
        progress(fraction_read)
    if not sum(map(len, labels)):
        raise ValueError(f"{name} holds no rows.")
    if not num_entries:
        raise ValueError(f"{name} holds labels only: no line has an index:value.")
    width = max(part.shape[1] for part in parts)
    for part in parts:
        part.resize((part.shape[0], width))
    X = csr_array(vstack(parts, "csr"))
    base = min(1, int(X.indices.min()))
    X = csr_array((X.data, X.indices - base, X.indptr), (X.shape[0], width - base))
    return X, np.concatenate(labels), base


def svmlight_columns(
    paths: list[Path], indices: list[int], progress: ReadProgress
) -> Iterator[csr_array]:
    """Some columns of the rows of some files, block by block; the labels are ignored.

    Args:
        paths: the files, perhaps compressed.
        indices: of the columns, as the files count them.
        progress: called with the fraction that has been read.

    Raises:
        ValueError: naming the line, also where an index is none of these.
        OSError: if a file cannot be read.
    """

    def check(X: csr_array) -> None:
        unknown = np.setdiff1d(X.indices, indices)
        if len(unknown):
            raise ValueError(f"the index {unknown[0]} is no feature of the model.")

    for X, _, fraction_read in _blocks(paths, check):
        X.resize((X.shape[0], max(indices) + 1))
        progress(fraction_read)
        yield X[:, indices]


def _blocks(
    paths: list[Path], check: Callable[[csr_array], None] = lambda X: None
) -> Iterator[tuple[csr_array, np.ndarray, float]]:
    """Rows, their labels, and the fraction of the files that has been read."""
    for path, before, share in shares(paths):
        line, name = 1, printable(str(path))
        parse = _parser(name, check)
        for text, fraction_read in text_blocks(path, end_of_lines, _BLOCK_BYTES):
            try:
                X, labels = parse(text)
            except Exception as error:  # of many kinds; none of them says where
                raise _fault(parse, text, line, name) from error
            line += text.count(b"\n")
            yield X, labels, before + share * fraction_read


def _parser(name: str, check: Callable[[csr_array], None]) -> Callable[[bytes], Any]:
    try:
        from sklearn.datasets import load_svmlight_file
    except ImportError as error:
        raise ValueError(
            f"{name} needs scikit-learn: pip install 'jax-logreg[sklearn]'."
        ) from error

    def parse(text: bytes) -> tuple[csr_array, np.ndarray]:
        text = b"\n".join(line.split(b"#", 1)[0] for line in text.split(b"\n"))
        if b"_" in text:  # which Python takes in a number
            raise ValueError("it holds '_', which is no part of a number.")
        X, labels = load_svmlight_file(io.BytesIO(text), zero_based=True)
        if not (np.all(np.isfinite(X.data)) and np.all(np.isfinite(labels))):
            raise ValueError("it holds a value that is not a finite number.")
        if np.any(np.abs(labels) >= 2**53):
            raise ValueError("its label is rounded from 2⁵³ on: number the classes from 0.")
        if X.shape[1] > MOST_COLUMNS + 1:
            raise ValueError(f"it has an index beyond the {MOST_COLUMNS} that are supported.")
        check(X)
        return csr_array(X), labels

    return parse


def _fault(parse: Callable[[bytes], Any], text: bytes, first: int, name: str) -> ValueError:
    """What is wrong with the first line that cannot be parsed by itself."""
    for number, line in enumerate(text.split(b"\n"), first):
        try:
            parse(line)
        except Exception as error:
            reason = printable(" ".join(str(error).split())[:200])
            shown = quoted(line.decode(errors="replace").strip())
            return ValueError(f"line {number} of {name}, {shown}, is not svmlight: {reason}")
    return ValueError(f"{name} is no svmlight file that can be read.")

"""Parquet, read and written some rows at a time. The one file that imports pyarrow."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jax_logreg.interfaces.sources import (
    CHUNK_CELLS,
    MISSING,
    Chunk,
    Texts,
    check_columns,
    check_size,
    not_finite,
    not_numbers,
    number_texts,
    plain,
    shown,
)

try:
    import pyarrow as pa
    from pyarrow import parquet, types

    HAS_PYARROW = True
except ImportError:
    HAS_PYARROW = False


def require_pyarrow(name: str) -> None:
    """Say how to get pyarrow where it is missing.

    Args:
        name: of the file that needs it.

    Raises:
        ValueError: naming the command.
    """
    if not HAS_PYARROW:
        raise ValueError(f"{name} needs pyarrow: pip install 'jax-logreg[parquet]'.")


class ParquetSource:
    """One Parquet file of numbers, booleans and text: see :class:`Source`.

    Args:
        path: the file.
        max_bytes: bound on a row group, unpacked, as the file claims.

    Raises:
        ValueError: if it is no such file, or pyarrow is missing.
        OSError: if it cannot be read.
    """

    unit = "row"

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.name = plain(str(path))
        self._path = path
        require_pyarrow(self.name)
        with self._opened() as file:
            metadata, schema = file.metadata, file.schema_arrow
            groups = [metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)]
        check_size(f"a row group of {self.name}", max(groups, default=0), max_bytes)
        self.columns = [name.strip() for name in schema.names]
        check_columns(self.name, self.columns)
        self.num_rows: int | None = metadata.num_rows
        self._names = dict(zip(self.columns, schema.names, strict=True))
        self._types = dict(zip(self.columns, schema.types, strict=True))

    def text_columns(self, names: list[str]) -> list[str]:
        """See :class:`Source`."""
        return [name for name in names if _is_text(self._types[name])]

    def chunks(self, numeric: list[str], text: list[str]) -> Iterator[Chunk]:
        """See :class:`Source`."""
        for name in numeric + text:
            self._check_type(name, as_number=name in numeric)
        begin = 0
        for batch in self._batches(numeric + text):
            places = range(begin + 1, begin + batch.num_rows + 1)
            numbers = np.empty((batch.num_rows, len(numeric)))
            for index, name in enumerate(numeric):
                numbers[:, index] = self._numbers(batch, name, places)
            texts = [self._texts(batch, name, places) for name in text]
            begin += batch.num_rows
            yield Chunk(numbers, texts, places, begin / max(1, self.num_rows or 0))
        if begin != self.num_rows:
            raise ValueError(
                f"{self.name} claims {self.num_rows} rows, but has {begin}. Save it again."
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Whatever pyarrow raises becomes an error that names the file."""
        try:
            yield
        except Exception as error:  # of many kinds, some from deep within C++
            reason = plain(" ".join(str(error).split())[:200])
            raise ValueError(
                f"{self.name} is no Parquet file that can be read: {reason}"
            ) from error

    def _opened(self, text: Sequence[str] = ()) -> Any:
        with self._path.open("rb"):
            pass  # a file that may not be read is an OSError of its own
        with self._translated():
            return parquet.ParquetFile(self._path, read_dictionary=list(text), pre_buffer=False)

    def _batches(self, columns: list[str]) -> Iterator[Any]:
        names = [self._names[name] for name in columns]
        # Repeated text stays a dictionary, so that a few bytes cannot become gigabytes.
        text = [self._names[name] for name in self.text_columns(columns)]
        rows = max(1, CHUNK_CELLS // len(columns))
        with self._opened(text) as file:
            with self._translated():
                batches = file.iter_batches(rows, columns=names, use_threads=False)
            while True:
                with self._translated():
                    batch = next(batches, None)
                if batch is None:
                    return
                yield batch

    def _check_type(self, name: str, as_number: bool) -> None:
        kind = self._types[name]
        if _is_text(kind):
            if as_number:
                raise not_numbers(self, name, f"is of type {kind}")
        elif not _is_number(kind):
            raise ValueError(
                f"column {shown(name)} of {self.name} is of type {kind}, which is neither "
                f"number nor text. Convert it, or leave it out with --drop {shown(name)}."
            )

    def _numbers(self, batch: Any, name: str, places: Sequence[int]) -> np.ndarray:
        with self._translated():
            column = batch.column(self._names[name])
            if types.is_dictionary(column.type):
                column = column.dictionary_decode()
            numbers = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        bad = np.flatnonzero(np.isinf(numbers))
        if len(bad):
            raise not_finite(self, places[bad[0]], name, str(numbers[bad[0]]))
        return numbers

    def _texts(self, batch: Any, name: str, places: Sequence[int]) -> Texts:
        if types.is_boolean(self._types[name]):
            return _boolean_texts(self._numbers(batch, name, places))
        if not _is_text(self._types[name]):
            return number_texts(self._numbers(batch, name, places))
        with self._translated():
            column = batch.column(self._names[name])
            if not types.is_dictionary(column.type):
                column = column.dictionary_encode()
            codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(int)
            used, places_of = np.unique(codes, return_inverse=True)
            present = [code for code in used.tolist() if code >= 0]
            found = column.dictionary.take(pa.array(present, pa.int64())).to_pylist()
        values = [text.strip() if text is not None else "" for text in found]
        missing = np.array([text.lower() in MISSING for text in values], bool)
        of_used = np.where(missing, -1, np.arange(len(values)))
        if len(present) < len(used):
            of_used = np.concatenate([[-1], of_used])
        return Texts(of_used[places_of], values)


def _boolean_texts(numbers: np.ndarray) -> Texts:
    codes = np.where(np.isnan(numbers), -1, np.nan_to_num(numbers)).astype(int)
    return Texts(codes, ["False", "True"])


def _value_type(kind: Any) -> Any:
    return kind.value_type if types.is_dictionary(kind) else kind


def _is_text(kind: Any) -> bool:
    kind = _value_type(kind)
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _is_number(kind: Any) -> bool:
    kind = _value_type(kind)
    return any(
        test(kind)
        for test in (
            types.is_integer, types.is_floating, types.is_decimal,
            types.is_boolean, types.is_null,
        )
    )  # fmt: skip


class ParquetOutput:
    """Writes columns to a stream as Parquet, a row group a call."""

    def __init__(self, stream: BinaryIO, like: dict[str, np.ndarray]) -> None:
        """Begin a file.

        Args:
            stream: where to write.
            like: name ↦ values of the type that the column is to have.

        Raises:
            ValueError: where the values have no one type that Parquet knows.
        """
        try:
            self._schema = pa.table({name: x.tolist() for name, x in like.items()}).schema
        except (pa.ArrowException, OverflowError) as error:
            raise ValueError(f"Parquet cannot hold these classes ({error}): use CSV.") from error
        self._writer = parquet.ParquetWriter(stream, self._schema)

    def write(self, columns: dict[str, np.ndarray]) -> None:
        """Add rows: name ↦ values, the names as they were at the beginning."""
        values = {name: x.tolist() for name, x in columns.items()}
        self._writer.write_table(pa.table(values, schema=self._schema))

    def close(self) -> None:
        """Write the end of the file."""
        self._writer.close()

"""Parquet, some rows at a time. The one file that imports pyarrow."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

try:
    import pyarrow
    from pyarrow import parquet

    HAS_PYARROW = True
except ImportError:
    HAS_PYARROW = False


def require_pyarrow() -> None:
    """Say how to get pyarrow where it is missing.

    Raises:
        ValueError: naming the command.
    """
    if not HAS_PYARROW:
        raise ValueError("Parquet needs pyarrow: pip install 'jax-logreg[parquet]', or use CSV.")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    require_pyarrow()
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path.name} is no Parquet file that can be read: {error}") from error


def column_names(path: Path) -> list[str]:
    """Of a file, without reading its rows."""
    with _opened(path) as file:
        return list(file.schema_arrow.names)


def read_columns(path: Path, names: list[str], size: int) -> Iterator[dict[str, np.ndarray]]:
    """Some rows at a time, a column an array of Python objects, None where there is a null."""
    with _opened(path) as file:
        for batch in file.iter_batches(batch_size=size, columns=names):
            found = {name: np.array(batch.column(name).to_pylist(), object) for name in names}
            yield found or {"": np.empty(batch.num_rows, object)}


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
        require_pyarrow()
        try:
            self._schema = pyarrow.table({name: x.tolist() for name, x in like.items()}).schema
        except (pyarrow.ArrowException, OverflowError) as error:
            raise ValueError(f"Parquet cannot hold these classes ({error}): use CSV.") from error
        self._writer = parquet.ParquetWriter(stream, self._schema)

    def write(self, columns: dict[str, np.ndarray]) -> None:
        """Add rows: name ↦ values, the names as they were at the beginning."""
        values = {name: x.tolist() for name, x in columns.items()}
        self._writer.write_table(pyarrow.table(values, schema=self._schema))

    def close(self) -> None:
        """Write the end of the file."""
        self._writer.close()

"""Small files of every format, for the tests and the fuzzers of the readers."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def npz(**arrays):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def parquet(rows_in_group=2, **columns):
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream, row_group_size=rows_in_group)
    return stream.getvalue()


def arrow(compression=None, **columns):
    """An Arrow IPC file, which is Feather's second version."""
    table, stream = pa.table(columns), io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(stream, table.schema, options=options) as writer:
        writer.write_table(table)
    return stream.getvalue()


def arrow_stream(**columns):
    table, stream = pa.table(columns), io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


def put(folder, suffix, content):
    path = folder / f"table{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path

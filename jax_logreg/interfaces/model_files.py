r"""Model files: one file, whole or refused; loading one runs nothing that is in it.

Magic · format version · length of the header · header (JSON) · arrays · SHA-256.

The checksum is over every byte before it, so there is no byte that can change or go
missing unseen. That is why this is a container of its own: a zip (npz) has names, times
and directories that no checksum covers, and safetensors has no checksum. The magic comes
first and the checksum last in every version, so that a damaged file is never mistaken
for a newer one. Numbers are little-endian; arrays follow one another in the order of the
header, in C order, without gaps.
"""

import hashlib
import json
import math
import os
import stat
import struct
from pathlib import Path
from typing import Any

import numpy as np

from jax_logreg.interfaces.atomic_file import replacing
from jax_logreg.interfaces.encoding import Encoding
from jax_logreg.interfaces.json_text import strict_json
from jax_logreg.interfaces.labels import labels_as_plain, labels_from_plain
from jax_logreg.interfaces.model import Model
from jax_logreg.interfaces.sources import plain

# As PNG's: a first byte that is no text, line ends that a careless copy would change.
MAGIC = b"\x89jax_logreg\r\n\x1a\n"
VERSION = 1
_PREFIX = struct.Struct(f"<{len(MAGIC)}sIQ")
_DIGEST = hashlib.sha256().digest_size
_DTYPES = ("<f4", "<f8")
_ARRAYS = ("coef", "intercept", "center")


def save(model: Model, path: str | Path) -> None:
    """Write a model to a file, whole or not at all; what was there before is replaced.

    Args:
        model: see :class:`Model`, ``Model.from_result`` and ``Model.from_estimator``.
        path: of the file, with any ending.

    Raises:
        TypeError: for anything but a model.
        OSError: if the file cannot be written; what was there is as it was.
        ValueError: if ``path`` is a folder or a device.
    """
    if not isinstance(model, Model):
        raise TypeError(
            f"save wants a Model, not {type(model).__name__}: give it "
            "Model.from_result(result) or Model.from_estimator(estimator)."
        )
    arrays = {name: _little_endian(getattr(model, name)) for name in _ARRAYS}
    header = _header(model, arrays)
    parts = [_PREFIX.pack(MAGIC, VERSION, len(header)), header]
    digest = hashlib.sha256()
    with replacing(path) as stream:
        for part in (*parts, *map(np.ndarray.tobytes, arrays.values())):
            digest.update(part)
            stream.write(part)
        stream.write(digest.digest())


def load(path: str | Path) -> Model:
    """Read a model that :func:`save` wrote; a link is followed.

    Args:
        path: of the file.

    Returns:
        The model, equal to the bit to the one that was saved.

    Raises:
        ValueError: naming the file, if it is damaged, cut short, no model, or of a newer
            version.
        OSError: if it cannot be read.
    """
    try:
        return _model(_contents(path))
    except ValueError as error:
        raise ValueError(plain(f"{path}: {error}")) from error


def _little_endian(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, array.dtype.newbyteorder("<"))


def _header(model: Model, arrays: dict[str, np.ndarray]) -> bytes:
    document = {
        "version": model.version,
        "classes": labels_as_plain(model.classes),
        "feature_names": model.feature_names,
        "encoding": None if model.encoding is None else model.encoding.as_dict(),
        "training": model.training,
        "arrays": {name: [a.dtype.str, list(a.shape)] for name, a in arrays.items()},
    }
    return json.dumps(document, allow_nan=False).encode("ascii")


def _contents(path: str | Path) -> bytes:
    """Every byte of a model file but the checksum, which agrees."""
    # Opening a pipe that nobody writes to would wait for ever.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("this is no regular file, so no model can be read from it.")
        start = stream.read(len(MAGIC))
        if start != MAGIC:
            raise ValueError("this is no model file, or its first bytes are damaged.")
        try:
            contents = start + stream.read()
        except MemoryError:
            raise ValueError("this file does not fit in memory.") from None
    body, digest = contents[:-_DIGEST], contents[-_DIGEST:]
    if len(body) < _PREFIX.size or hashlib.sha256(body).digest() != digest:
        raise ValueError(
            "the file is damaged or cut short: its checksum does not agree. Take another copy."
        )
    return body


def _model(contents: bytes) -> Model:
    _, version, length = _PREFIX.unpack_from(contents)
    if version != VERSION:
        raise ValueError(
            f"the file has format {version}, and {VERSION} is the newest known here: "
            "upgrade jax_logreg (pip install -U jax-logreg)."
        )
    arrays_at = _PREFIX.size + length
    if arrays_at > len(contents):
        raise ValueError(f"the header claims {length} bytes, and the file is shorter.")
    match strict_json(contents[_PREFIX.size : arrays_at]):
        case {
            "version": str(made_by),
            "classes": classes,
            "feature_names": [*names],
            "encoding": encoding,
            "training": dict(training),
            "arrays": dict(layout),
        } as header if len(header) == 6:
            arrays = _read_arrays(layout, contents, arrays_at)
        case _:
            raise ValueError("the header is not that of a model.")
    return Model(
        **arrays,
        classes=labels_from_plain(classes),
        feature_names=names,
        encoding=None if encoding is None else Encoding.from_dict(encoding),
        training=training,
        version=made_by,
    )


def _read_arrays(layout: dict[str, Any], contents: bytes, at: int) -> dict[str, np.ndarray]:
    """The arrays, whose sizes together must be those of the bytes that are there."""
    if tuple(layout) != _ARRAYS:
        raise ValueError(f"the arrays of a model are {', '.join(_ARRAYS)}.")
    arrays = {}
    for name, entry in layout.items():
        dtype, shape = _dtype_and_shape(name, entry)
        count = math.prod(shape)
        end = at + count * dtype.itemsize
        if end > len(contents):
            raise ValueError(f"{name} claims {count} numbers, and the file is shorter.")
        arrays[name] = np.frombuffer(contents, dtype, count, at).reshape(shape)
        at = end
    if at != len(contents):
        raise ValueError(f"there are {len(contents) - at} bytes that belong to no array.")
    return arrays


def _dtype_and_shape(name: str, entry: Any) -> tuple[np.dtype, tuple[int, ...]]:
    match entry:
        case [str(dtype), [*shape]] if (
            dtype in _DTYPES
            and len(shape) <= 2
            and all(type(size) is int and size >= 0 for size in shape)
        ):
            return np.dtype(dtype), tuple(shape)
    raise ValueError(f"{name} has no dtype and shape that a model can have.")

"""Files and JSON: written whole or not at all, read strictly, and quoted in one line."""

import contextlib
import json
import math
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

# Text from files, made fit for an error message of one line.
_LONGEST_CELL = 40
_MOST_NAMES = 20

_KINDS_OF_FILE = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def printable(text: str) -> str:
    r"""Text as it is if it is printable, else with escapes.

    >>> printable("age"), printable("a\nb")
    ('age', "'a\\nb'")
    """
    return text if text.isprintable() else repr(text)


def quoted(cell: str) -> str:
    """A cell in quotes, truncated if it is long.

    >>> quoted("abc"), quoted("x" * 100)
    ("'abc'", "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…'")
    """
    return repr(cell if len(cell) <= _LONGEST_CELL else f"{cell[:_LONGEST_CELL]}…")


def comma_list(names: Sequence[str]) -> str:
    """The first 20 names of a list, separated by commas.

    >>> comma_list(["a", "b"])
    'a, b'
    """
    more = len(names) - _MOST_NAMES
    first = ", ".join(printable(name[: 2 * _LONGEST_CELL]) for name in names[:_MOST_NAMES])
    return f"{first}, … ({more} more)" if more > 0 else first


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """A binary stream that becomes the file at ``path`` when the block ends without an error.

    The bytes go to a temporary file in the same folder, which then takes the file's place in
    one step (``os.replace``). After an error or Ctrl-C, what was at ``path`` is unchanged.
    A new file has the permissions of the umask, a replaced one keeps its own. A symbolic link
    is followed.

    Args:
        path: of the file.

    Raises:
        OSError: naming ``path``, if it cannot be written.
        ValueError: if ``path`` is a folder or a device.
    """
    target = Path(os.path.realpath(path))
    mode = _permissions(target)
    # A short name, because the target's may be as long as the system allows.
    temporary = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with open(temporary, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if mode is not None:
            temporary.chmod(mode)
        temporary.replace(target)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def open_output(out: str | Path | BinaryIO) -> AbstractContextManager[BinaryIO]:
    """A binary stream itself, or for a path the file as :func:`atomic_write` writes it."""
    return atomic_write(out) if isinstance(out, str | Path) else contextlib.nullcontext(out)


def check_can_write(path: str | Path) -> None:
    """Refuse a path that cannot be written, before any work is done.

    Raises:
        OSError: if the path cannot be examined.
        ValueError: if there is no such folder, it cannot be written to, or ``path`` is a
            folder or a device.
    """
    target = Path(os.path.realpath(path))
    _permissions(target)
    if not target.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {str(target.parent)!r}. Create it first.")
    if not os.access(target.parent, os.W_OK):
        raise ValueError(f"{path}: the folder {str(target.parent)!r} cannot be written to.")


def _permissions(target: Path) -> int | None:
    """Permission bits of the file that will be replaced; None if there is none."""
    try:
        return stat.S_IMODE(regular_file(target).stat().st_mode)
    except FileNotFoundError:
        return None


def regular_file(path: str | Path) -> Path:
    """The path of an existing file that can be read to its end; a link is followed.

    Reading a pipe that nobody writes to would wait without end.

    Raises:
        ValueError: for a folder, a pipe or a device.
        OSError: if there is no such file.
    """
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:  # a NUL in the path
        raise ValueError(f"{str(path)!r} is not a path: {error}.") from error
    if not stat.S_ISREG(mode):
        kind = _KINDS_OF_FILE.get(stat.S_IFMT(mode), "something else")
        raise ValueError(f"{printable(str(path))} is {kind}. Name a regular file.")
    return Path(path)


def as_json(document: Any) -> str:
    r"""One JSON object on one line, in ASCII. JSON has no NaN and no infinity: null replaces them.

    >>> as_json({"x": np.array([1.0, np.nan]), "n": np.int64(2), "π": (True, None)})
    '{"x": [1.0, null], "n": 2, "\\u03c0": [true, null]}'
    """
    return json.dumps(_finite_or_null(document), allow_nan=False)


def _finite_or_null(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite_or_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite_or_null(item) for item in value]
    return value


def strict_json(text: str | bytes) -> Any:
    """Parse JSON that has one meaning only.

    Args:
        text: JSON, UTF-8 if bytes.

    Raises:
        ValueError: for a repeated key, NaN, an infinity, a number beyond float64, nesting too
            deep to read, or text that is not JSON.

    >>> strict_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ValueError: the key 'a' occurs twice
    """
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_constant=_finite_float,
            parse_float=_finite_float,
        )
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} occurs twice")
        found[key] = value
    return found


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite float64")
    return value

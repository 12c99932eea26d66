"""Files that are whole or not there: written beside their place, then moved into it."""

import contextlib
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """A stream whose bytes become the file when the block ends without an error.

    Until then, and after an error or Ctrl-C, what was at ``path`` is as it was. The file
    has the permissions of one newly made, or of the one that it replaces. A link is
    followed: what it points to is replaced.

    Args:
        path: where the file is to be.

    Raises:
        OSError: naming ``path``, if it cannot be written.
        ValueError: if there is something else than a file.
    """
    target = Path(os.path.realpath(path))
    mode = _mode_of(target, path)
    # A name of its own length: the target's may be as long as the system allows.
    part = target.parent / f".{secrets.token_hex(8)}.part"
    try:
        with _naming(path, part):
            with _new_file(part) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            if mode is not None:
                part.chmod(mode)
            part.replace(target)
        _sync_folder(target.parent)
    finally:
        part.unlink(missing_ok=True)


def opened_output(out: str) -> AbstractContextManager[BinaryIO]:
    """The standard output for "-", and otherwise a file as :func:`replacing` writes it."""
    return contextlib.nullcontext(sys.stdout.buffer) if out == "-" else replacing(out)


def check_can_write(path: str | Path) -> None:
    """Refuse a path that no file can be written to, before any work.

    Raises:
        OSError: if there is no such folder, or it cannot be written to.
        ValueError: if there is something else than a file.
    """
    target = Path(os.path.realpath(path))
    _mode_of(target, path)
    if not target.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {str(target.parent)!r}. Create it first.")
    if not os.access(target.parent, os.W_OK):
        raise ValueError(f"{path}: the folder {str(target.parent)!r} cannot be written to.")


def _mode_of(target: Path, path: str | Path) -> int | None:
    """The permissions of the file that is there."""
    try:
        found = target.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "no regular file"
        raise ValueError(f"{path} is {kind}: name a file.")
    return stat.S_IMODE(found.st_mode)


def _new_file(part: Path) -> BinaryIO:
    # The system takes the user's umask off these permissions.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(part, flags, 0o666), "wb")


def _sync_folder(folder: Path) -> None:
    """Make the new name last through a power cut, where the system can be asked to."""
    with contextlib.suppress(OSError):  # the file itself is whole and in its place
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _naming(path: str | Path, part: Path) -> Iterator[None]:
    """Errors of the system speak of the file asked for, not of the one beside it."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(part), part):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error

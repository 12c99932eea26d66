"""NumPy's array format, read so that a header is believed only where the bytes bear it out.

Nothing is unpickled, and nothing is allocated before the claim has been checked.
"""

import math
import zipfile
import zlib
from collections.abc import Callable
from typing import IO, NamedTuple

import numpy as np

NUMBERS, TEXTS = "biuf", "U"

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# What NumPy itself writes; either unpacks in small pieces.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

# What a damaged archive raises, as it is opened or read.
ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError)


class Claim(NamedTuple):
    """What an array's header says, and where its data begin."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    offset: int


# Refuses a claim: (the claim, what the array is called)
Check = Callable[[Claim, str], None]


def read_claim(stream: IO[bytes], what: str, size: int) -> Claim:
    """The header of an array, its claim held against the file's size.

    Args:
        stream: at its beginning.
        what: the array is called.
        size: of the stream, in bytes.

    Raises:
        ValueError: if it is no array of numbers or text, or the sizes differ.
    """
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran, dtype = _HEADERS[version](stream)
    except Exception as error:  # of many kinds: the header is parsed as Python
        raise ValueError(
            f"{what} is no array that NumPy saved: its header cannot be read. "
            "Save it with numpy.save or numpy.savez; a pickle is never loaded."
        ) from error
    if dtype.kind not in NUMBERS + TEXTS:
        raise ValueError(
            f"{what} holds {dtype}, not numbers. Save an array of numbers; pickled objects "
            "and records are not read."
        )
    claim = Claim(shape, fortran, dtype, stream.tell())
    num_bytes, there = math.prod(shape) * dtype.itemsize, size - claim.offset
    if min(shape, default=0) < 0 or num_bytes != there:
        raise ValueError(
            f"{what} claims shape {shape} of {dtype}, {num_bytes} bytes, but {there} bytes "
            "follow. The file is damaged: save it again."
        )
    return claim


def check_matrix(claim: Claim, what: str) -> None:
    """Refuse what is no matrix of numbers.

    Raises:
        ValueError: naming the shape and dtype.
    """
    if len(claim.shape) != 2 or 0 in claim.shape or claim.dtype.kind not in NUMBERS:
        raise wrong_claim(claim, what, "a matrix (n, p) of numbers with rows and columns")


def wrong_claim(claim: Claim, what: str, wanted: str) -> ValueError:
    """The error for an array of another shape or dtype than is wanted."""
    return ValueError(f"{what} is of shape {claim.shape} and {claim.dtype}. It must be {wanted}.")


class Archive:
    """The arrays of an open .npz file.

    Args:
        archive: the file.
        name: of the file, as errors call it.

    Raises:
        ValueError: if two members have one name.
    """

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self.name = name
        self._archive = archive
        self._members = {member.filename: member for member in archive.infolist()}
        if len(self._members) < len(archive.infolist()):
            raise ValueError(f"{name} holds two members of one name. Save it again.")

    def __contains__(self, key: str) -> bool:
        return f"{key}.npy" in self._members

    def size(self, key: str) -> int:
        """Bytes of an array that is there, unpacked, as the archive claims."""
        return self._members[f"{key}.npy"].file_size

    def array(self, key: str, check: Check) -> np.ndarray:
        """An array that is there, once its claim has passed the check.

        Raises:
            ValueError: naming the array.
            ARCHIVE_ERRORS: if the archive is damaged.
        """
        what, member = f"array {key} of {self.name}", self._members[f"{key}.npy"]
        if member.flag_bits & 1 or member.compress_type not in _METHODS:
            raise ValueError(f"{what} is encrypted or packed in a way that NumPy does not write.")
        with self._archive.open(member) as stream:
            claim = read_claim(stream, what, member.file_size)
            check(claim, what)
            data = stream.read()
        if len(data) != member.file_size - claim.offset:
            raise ValueError(f"{what} is cut short. Save it again.")
        if claim.dtype.kind in TEXTS:
            _check_text(data, claim.dtype, what)
        flat = np.ndarray(math.prod(claim.shape), claim.dtype, data)
        return flat.reshape(claim.shape, order="F" if claim.fortran else "C")


def _check_text(data: bytes, dtype: np.dtype, what: str) -> None:
    """NumPy keeps text as code points and does not look at them; Python would choke."""
    points = np.frombuffer(data, np.dtype("u4").newbyteorder(dtype.byteorder))
    if np.any((points > 0x10FFFF) | ((points >= 0xD800) & (points <= 0xDFFF))):
        raise ValueError(f"{what} holds what is no text. The file is damaged: save it again.")

"""What the fuzzers feed the readers, and what must hold of whatever comes out."""

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from jax_logreg.interfaces.encoding import Column, Encoding
from jax_logreg.interfaces.model import Model
from jax_logreg.interfaces.tables import densified, read_features, read_table
from tests.table_files import arrow, npy, npz, parquet

MAX_BYTES = 2**22

MATRIX = np.array([[1.5, -2.0, 0.0], [3.0, 4e-9, 1.0], [5.0, 6.25, 0.0], [7.0, 0.0, 1.0]])
_TEXT = np.array(["a", "b", "b", "a"])


class Edit(NamedTuple):
    """One change to a file: what, where (as a share of its length), with what."""

    kind: int
    where: float
    payload: bytes


# Fragments that mean something to one of the formats.
TOKENS = (
    b"\0", b'"', b'""', b",", b";", b"\n", b"\r", b"\r\n", b"\t", b"\xef\xbb\xbf", b"\xff\xfe",
    b"NA", b"nan", b"inf", b"1e400", b"-1", b"1_0", "１".encode(), b"0x1", b"9" * 25, b":", b"#",
    b"qid:1", b"0:1", b"1000000000000", b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"\x93NUMPY",
    b"\x01\x00", b"(", b"True", b"|O", b">f8", b"<U1", b"<U0", b"<c16", b"(-1,", b"999999999999",
    b"PAR1", b"\xff\xff\xff\xff", b"\x80\x80\x80\x80\x08", b"\x15\x00", b"\x19\x1c", b"\x7f",
)  # fmt: skip


def _flip(content: bytes, at: int, payload: bytes) -> bytes:
    if not content:
        return payload
    at = min(at, len(content) - 1)
    byte = content[at] ^ (payload[0] if payload else 1)
    return content[:at] + bytes([byte]) + content[at + 1 :]


_EDITS: tuple[Callable[[bytes, int, bytes], bytes], ...] = (
    _flip,
    lambda content, at, payload: content[:at] + payload + content[at:],
    lambda content, at, payload: content[:at] + payload + content[at + len(payload) :],
    lambda content, at, payload: content[:at] + content[at + 1 + len(payload) :],
    lambda content, at, payload: content[:at],
    lambda content, at, payload: content[:at] + content[at : at + 40] * 2 + content[at + 40 :],
)
NUM_KINDS = len(_EDITS)


def edited(content: bytes, edits: Sequence[Edit]) -> bytes:
    """A file with changes made one after the other."""
    for kind, where, payload in edits:
        content = _EDITS[kind % NUM_KINDS](content, int(where * len(content)), payload)
    return content


def use_table(path: Path, options: dict) -> None:
    """Read a table, which must be consistent.

    Raises:
        ValueError: if it is refused.
    """
    table = densified(read_table(path, **options, max_bytes=MAX_BYTES), MAX_BYTES)
    n, p = table.X.shape
    assert n > 0
    assert (p, n) == (len(table.feature_names), len(table.y))
    assert table.X.dtype == np.float64
    assert np.all(np.isfinite(table.X))
    assert set(table.y.tolist()) == set(range(len(table.class_names)))
    assert len(set(table.class_names)) == len(table.class_names) > 1
    assert Encoding.from_dict(table.encoding.as_dict()) == table.encoding
    if path.suffix != ".npy" and table.num_dropped == 0:  # whose target is one column more
        again = np.concatenate(list(read_features(path, table.encoding).chunks))
        np.testing.assert_array_equal(again, table.X)


def use_model(path: Path, options: dict) -> None:
    """Load a model file; the model must predict, and come back to the bit when it is saved."""
    model = Model.load(path)
    predicts(model)
    model.save(path)
    again = Model.load(path)
    assert again.coef.tobytes() == model.coef.tobytes()
    assert repr(again.classes.tolist()) == repr(model.classes.tolist())


def predicts(model: Model) -> None:
    with contextlib.suppress(ValueError):  # a logit may overflow
        assert len(model.predict(np.zeros((1, len(model.coef))))) == 1


class Reader(NamedTuple):
    """A format: valid files, the options to read them by, and what is done with a file.

    A file with a checksum is opened before a change is made to what it holds, and sealed
    afterwards, so that changes get behind the checksum.
    """

    suffix: str
    seeds: tuple[bytes, ...]
    options: tuple[dict, ...] = ({},)
    use: Callable[[Path, dict], None] = use_table
    opened: Callable[[bytes], bytes] = bytes
    sealed: Callable[[bytes], bytes] = bytes

    def change(self, content: bytes, edits: Sequence[Edit]) -> bytes:
        """A file with every other change made within, and the rest without."""
        inside = edited(self.opened(content), edits[::2])
        return edited(self.sealed(inside), edits[1::2])


# Between the arrays of an .npz, which is zipped afresh so that its checksums agree.
_SEAM = b"\n--\n"
_ARRAYS = ("X.npy", "y.npy", "feature_names.npy")


def _unzipped(content: bytes) -> bytes:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        return _SEAM.join(archive.read(name) for name in _ARRAYS if name in archive.namelist())


def _zipped(content: bytes) -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, member in zip(_ARRAYS, content.split(_SEAM), strict=False):
            archive.writestr(name, member)
    return stream.getvalue()


def _without_checksum(content: bytes) -> bytes:
    document = json.loads(content)
    del document["sha256"]
    return json.dumps(document).encode()


def _with_checksum(content: bytes) -> bytes:
    """The changed document with a checksum that agrees, where it is still one."""
    try:
        document = json.loads(content)
        canonical = json.dumps(document, separators=(",", ":"), allow_nan=False)
        checksum = hashlib.sha256(canonical.encode()).hexdigest()
        return json.dumps({**document, "sha256": checksum}).encode()
    except (ValueError, TypeError):
        return content


_ENCODING = Encoding((Column("age", fill=0.5), Column("sex", ("f", "m"))))
_MODELS = (
    Model([0.5], 1.0, classes=["no", "yes"]),
    Model(np.float32([[1, 2, 3]]), np.zeros(3), classes=[1, 2.5, "a"], training={"a": [None]}),
    Model([0.5, 2.0], 1.0, classes=[False, True], encoding=_ENCODING),
)

_CSV = (
    b"u,v,y\n1.5,-2,a\n3,4e-9,b\n5,6.25,b\n7,0,a\n",
    b'\xef\xbb\xbf"u";"v";y\r\n"1";NA;"a ""x"""\r\n3;4;b\r\n\r\n;6;b\r\n',
    "u\tv\tgrün\ty\n1\t2\tä\tb\n3\t4\tö\ta\n5\t6\tä\ta\n".encode(),
)
_SVMLIGHT = (b"1 1:1.5 2:-2\n-1 2:4e-9 # two\n+1 qid:3 1:5\n", b"0 0:1\n1\n2 0:1 7:1e5\n")
_ANY = {"target": "y", "categorical": "auto", "missing": "drop"}

READERS = {
    "csv": Reader(
        ".csv", _CSV, (_ANY, {"target": "y"}, {"target": "y", "missing": "mean"},
                       {"target": "y", "categorical": "auto", "missing": "mean"}),
    ),
    "npy": Reader(
        ".npy", (npy(MATRIX), npy(np.asfortranarray(MATRIX.astype(">f4"))), npy(MATRIX > 1)),
        ({"target": "-1"}, {"target": "0", "missing": "mean"}),
    ),
    "npz": Reader(
        ".npz",
        (npz(X=MATRIX, y=_TEXT), npz(X=MATRIX.astype("i2"), y=MATRIX[:, 2]),
         npz(X=MATRIX, y=_TEXT.astype(">U3"), feature_names=np.array(["u", "v", "w"]))),
        ({}, {"missing": "drop", "categorical": "auto"}),
        opened=_unzipped,
        sealed=_zipped,
    ),
    "parquet": Reader(
        ".parquet",
        (parquet(u=MATRIX[:, 0], v=[1, None, 3, 4], y=_TEXT),
         parquet(9, u=MATRIX[:, 0], v=_TEXT, y=MATRIX[:, 2] > 0)),
        (_ANY, {"target": "y"}),
    ),
    "arrow": Reader(
        ".arrow",
        (arrow(u=MATRIX[:, 0], v=[1, None, 3, 4], y=_TEXT),
         arrow("lz4", u=MATRIX[:, 0], v=pa.array(_TEXT).dictionary_encode(), y=MATRIX[:, 2] > 0)),
        (_ANY, {"target": "y"}),
    ),
    "svmlight": Reader(".svmlight", _SVMLIGHT),
    "model": Reader(
        ".model", tuple(model.to_json().encode() for model in _MODELS), use=use_model,
        opened=_without_checksum, sealed=_with_checksum,
    ),
}  # fmt: skip


def check(reader: Reader, content: bytes, options: dict, folder: Path) -> bool:
    """Use a file; whether it was taken.

    Raises:
        AssertionError: if what it holds is not consistent, or the error does not name it.
        Exception: whatever else the reader lets through.
    """
    path = folder / f"fuzzed{reader.suffix}"
    path.write_bytes(content)
    try:
        reader.use(path, options)
    except (ValueError, OSError) as error:
        refusal = str(error)
    else:
        return True
    assert path.name in refusal, f"no file is named: {refusal!r}"
    assert refusal.isprintable(), f"not one printable line: {refusal!r}"
    return False

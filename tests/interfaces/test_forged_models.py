"""Model files that lie, their checksum agreeing: each is refused by name."""

import contextlib
import hashlib
import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jax_logreg as lr
from jax_logreg.interfaces import model_files


@pytest.fixture
def sealed(tmp_path):
    """A model file with parts of one's own, and the checksum that agrees with them."""

    def write(header=b"{}", arrays=b"", version=1, claim=None, magic=model_files.MAGIC):
        header = header if isinstance(header, bytes) else json.dumps(header).encode()
        claim = len(header) if claim is None else claim
        body = magic + struct.pack("<IQ", version, claim) + header + arrays
        path = tmp_path / "forged.model"
        path.write_bytes(body + hashlib.sha256(body).digest())
        return path

    return write


def header(**changes):
    arrays = {"coef": ["<f8", [1]], "intercept": ["<f8", []], "center": ["<f8", [1]]}
    labels = {"dtype": "<i8", "values": [0, 1]}
    rest = dict(version="0.1.0", classes=labels, feature_names=["a"], encoding=None, training={})
    return {**rest, "arrays": arrays, **changes}


def layout(**changes):
    return header(arrays={**header()["arrays"], **changes})


def labels(dtype, *values):
    return header(classes={"dtype": dtype, "values": list(values)})


def test_the_forger_can_also_write_what_is_right(sealed):
    assert lr.load(sealed(header(), bytes(24))).predict([[1.0]]).tolist() == [0]


TEXT = json.dumps(header()).encode()
FORGED = {
    "a newer version": (dict(version=2), "format 2, and 1 is the newest known here: upgrade"),
    "an endless header": (dict(claim=2**63), "claims 9223372036854775808 bytes"),
    "no header": (dict(header=b""), "forged"),
    "deep JSON": (dict(header=b"[" * 100_000), "nested too deep"),
    "deep objects": (dict(header=b'{"a":' * 100_000), "nested too deep"),
    "keys twice": (dict(header=TEXT[:-1] + b', "version": "2"}'), "'version' is there twice"),
    "NaN": (dict(header=TEXT.replace(b"[0, 1]", b"[NaN, 1]")), "NaN is no number"),
    "1e999": (dict(header=TEXT.replace(b"[0, 1]", b"[1e999, 1]")), "beyond every float64"),
    "a number of 5000 digits": (dict(header=TEXT.replace(b"[0, 1]", b"[" + b"9" * 5000)), "limit"),
    "not UTF-8": (dict(header=b'{"\xff": 1}'), "decode"),
    "a list": (dict(header=[1]), "not that of a model"),
    "a key too many": (dict(header=header(more=1)), "not that of a model"),
    "names no text": (dict(header=header(feature_names=[1])), "must be text"),
    "arrays missing": (dict(header=header(arrays={})), "arrays of a model are"),
    "a bomb": (dict(header=layout(coef=["<f8", [2**40, 2**20]])), "the file is shorter"),
    "a long number": (dict(header=layout(coef=["<f8", [10**400]])), "the file is shorter"),
    "minus one": (dict(header=layout(coef=["<f8", [-1]])), "dtype and shape"),
    "a size of true": (dict(header=layout(coef=["<f8", [True]])), "dtype and shape"),
    "objects": (dict(header=layout(coef=["|O", [1]])), "dtype and shape"),
    "many axes": (dict(header=layout(coef=["<f8", [1] * 99])), "dtype and shape"),
    "arrays too long": (dict(header=header(), arrays=bytes(32)), "8 bytes that belong to no"),
    "nothing times many": (
        dict(header=layout(coef=["<f8", [0, 2**62]]), arrays=bytes(16)),
        "too big",
    ),
    "not finite": (dict(header=header(), arrays=b"\xff" * 24), r"coef\[0\] is nan"),
    "wide labels": (dict(header=labels("<U999999999", "a", "b")), "cannot have dtype"),
    "labels of objects": (dict(header=labels("|V8", 0, 1)), "cannot have dtype"),
    "labels of no type": (dict(header=labels("<i3", 0, 1)), "cannot have dtype"),
    "labels too large": (dict(header=labels("<i8", 0, 2**70)), "do not fit"),
    "labels rounded": (dict(header=labels("<i8", 0, 1.5)), "do not fit"),
    "labels twice": (dict(header=labels("object", 1, True)), "there twice"),
    "labels of lists": (dict(header=labels("object", [1], [2])), "neither text"),
    "labels of null": (dict(header=labels("object", None, 1)), "neither text"),
    "labels of lists in a row": (dict(header=labels("<i8", [1, 2], [3, 4])), "sequence"),
    "bad digits": (dict(header=labels("|S1", {"bytes": "zz"}, 1)), "non-hexadecimal"),
    "no labels": (dict(header=header(classes=5)), "classes are not"),
    "what a terminal would obey": (
        dict(header=header(encoding={"columns": [{"\x1b[2J": 1}]})),
        r"\\x1b\[2J",
    ),
    "bad encoding": (dict(header=header(encoding={"columns": 5})), "no encoding"),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_file_that_lies_is_refused_by_name(case, sealed):
    parts, message = FORGED[case]
    given = {"arrays": bytes(24), **parts}
    with pytest.raises(ValueError, match=message) as refusal:
        lr.load(sealed(**given))
    assert "forged.model" in str(refusal.value)


HEADERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
PLACES = st.sampled_from(sorted(header()))


@settings(max_examples=100, derandomize=True, deadline=None, database=None)
@given(PLACES, HEADERS, st.binary(max_size=40))
def test_anything_in_a_header_is_an_error_or_a_model(tmp_path_factory, place, value, arrays):
    parts = json.dumps(header(**{place: value})).encode()
    body = model_files.MAGIC + struct.pack("<IQ", 1, len(parts)) + parts + arrays
    path = tmp_path_factory.getbasetemp() / "any.model"
    path.write_bytes(body + hashlib.sha256(body).digest())
    with contextlib.suppress(ValueError):
        assert lr.load(path).coef.shape == (1,)

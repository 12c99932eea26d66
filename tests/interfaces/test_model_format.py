"""A model file gives back every bit, or an error that names it."""

import json
import os
import pickle
import resource

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jax_logreg import Model
from jax_logreg.interfaces.encoding import Column, Encoding

FLOAT64 = np.array([-0.0, 5e-324, 1.7976931348623157e308])
FLOAT32 = np.float32([[-0.0, 1e-45, 0.1], [3.4e38, -1.0, 2.0]])
ENCODING = Encoding((Column("age", fill=0.1), Column("sex", ("f", "m", "x"))))

LABELS = {
    "text": ["no", "ja", "да"],
    "wide text": np.array(["a", "b", "c"], "<U9"),
    "text of NumPy 2": np.array(["a", "b", "a longer one"], np.dtypes.StringDType()),
    "lone surrogates, NUL": ["\udce9", "b\0", ""],
    "small numbers": np.int8([-1, 0, 1]),
    "int64": [-(2**63), 0, 2**63 - 1],
    "uint64": [0, 1, 2**64 - 1],
    "both ends": [-1, 0, 2**63],
    "numbers without end": [2**70, 0, -(2**70)],
    "big-endian": np.array([1, 2, 300], ">i4"),
    "fractions": [0.1, -0.0, 5e-324],
    "halves": np.float16([0.1, 1, 2]),
    "objects": np.array(["a", 1, 2.5], object),
    "mixed": [True, "True", 2],
    "one long text": ["a" * 2**20, *map(str, range(31))],
}


def assert_same(model, other):
    for name in ("coef", "intercept", "center", "classes"):
        mine, its = getattr(model, name), getattr(other, name)
        assert mine.dtype == its.dtype
        assert mine.shape == its.shape
        assert repr(mine.tolist()) == repr(its.tolist())
    for name in ("coef", "intercept", "center"):
        assert getattr(model, name).tobytes() == getattr(other, name).tobytes()
    for name in ("feature_names", "encoding", "training", "version"):
        assert getattr(model, name) == getattr(other, name)


def labelled(labels):
    K = len(labels)
    return Model(np.zeros((2, K)), np.zeros(K), classes=labels)


MODELS = {
    "two classes": Model(FLOAT64, -0.0, center=FLOAT64[::-1], classes=[False, True]),
    "float32": Model(FLOAT32, np.float32([0.1, 0, -0.0]), feature_names=["ä", "b\n\0"]),
    "encoded": Model(FLOAT64, 0.1, encoding=ENCODING, training={"note": [1, None, {"a": True}]}),
    "no features": Model(np.zeros(0), 1e-310, version="0.0.9"),
    "no features, three classes": Model(np.zeros((0, 3)), [0.5, -0.0, 1e-310]),
    **{f"labels: {name}": labelled(labels) for name, labels in LABELS.items()},
}


@pytest.mark.parametrize("case", MODELS)
def test_every_bit_comes_back(case, tmp_path):
    path = tmp_path / "model"
    MODELS[case].save(path)
    assert_same(MODELS[case], Model.load(path))
    assert_same(MODELS[case], Model.from_json(MODELS[case].to_json()))
    assert os.listdir(tmp_path) == ["model"]


def test_the_file_does_not_depend_on_the_precision_setting(tmp_path):
    rows = [[0.1], [1 / 3]]
    with jax.enable_x64(True):
        model = Model(jnp.array([0.1]), jnp.array(1 / 3))
        assert model.coef.dtype == np.float64
        model.save(tmp_path / "on")
    with jax.enable_x64(False):
        model.save(tmp_path / "off")
        assert_same(model, Model.load(tmp_path / "on"))
        off = Model.load(tmp_path / "on").probability(rows)
    assert (tmp_path / "on").read_bytes() == (tmp_path / "off").read_bytes()
    with jax.enable_x64(True):
        assert Model.load(tmp_path / "off").probability(rows).tobytes() == off.tobytes()


SMALL = Model([0.5], 1.0, classes=["no", "yes"], training={"tol": 1e-300})


def refusal_of(path):
    try:
        assert_same(Model.load(path), SMALL)
    except ValueError as error:
        return str(error)
    return "none"


def test_every_truncation_is_refused_and_every_flipped_bit_is_refused_or_means_the_same(tmp_path):
    """Only a space for another, or e for E in a number, may change: the model is the same."""
    path = tmp_path / "small.model"
    SMALL.save(path)
    whole = path.read_bytes()
    harmless = 0
    with path.open("r+b", buffering=0) as file:
        for place in range(len(whole)):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([whole[place] ^ 1 << bit]), place)
                refusal = refusal_of(path)
                assert "small.model: " in refusal or refusal == "none"
                harmless += refusal == "none"
            os.pwrite(file.fileno(), whole[place : place + 1], place)
        assert refusal_of(path) == "none"
        assert harmless <= 1
        for length in reversed(range(len(whole) - 1)):  # the last byte is the end of the line
            file.truncate(length)
            assert "small.model: " in refusal_of(path)
    for contents in (whole + b"\0", whole + whole, b"\0" + whole):
        path.write_bytes(contents)
        assert "small.model: " in refusal_of(path)


def test_spaces_may_change_but_not_the_order_of_features():
    model = Model([1.0, 2.0], 0.0, feature_names=["age", "dose"])
    document = json.loads(model.to_json())
    assert_same(Model.from_json(json.dumps(document)), model)
    document["coef"] = dict(reversed(document["coef"].items()))
    document["center"] = dict(reversed(document["center"].items()))
    with pytest.raises(ValueError, match="checksum does not agree"):
        Model.from_json(json.dumps(document))


@pytest.mark.parametrize(
    "old", [b"\x89jax_logreg\r\n\x1a\n\0\0", b'{"format": "jax_logreg model, JSON"}']
)
def test_a_file_of_0_1_0_is_refused_with_the_version_that_reads_it(old, tmp_path):
    path = tmp_path / "old.model"
    path.write_bytes(old)
    with pytest.raises(ValueError, match=r"old\.model: .*jax_logreg 0\.1\.0"):
        Model.load(path)


class Trap:
    def __reduce__(self):
        return os.abort, ()


def test_files_of_other_kinds_under_our_name_run_nothing(tmp_path):
    path = tmp_path / "other.model"
    np.savez(tmp_path / "other.npz", coef=np.ones(3))
    others = [
        pickle.dumps(Trap()), (tmp_path / "other.npz").read_bytes(), b"", b"{}",
        b"{}" + pickle.dumps(Trap()), b"a,b\n1,2\n", b"\xef\xbb\xbf{}", "{}".encode("utf-16"),
    ]  # fmt: skip
    for contents in others:
        path.write_bytes(contents)
        with pytest.raises(ValueError, match=r"other\.model: "):
            Model.load(path)


@settings(max_examples=40, derandomize=True, deadline=None, database=None)
@given(
    st.lists(
        st.text(max_size=3) | st.integers() | st.booleans()
        | st.floats(allow_nan=False, allow_infinity=False),
        min_size=2, max_size=5, unique=True,
    ),
    st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip
def test_any_labels_and_numbers_come_back(tmp_path_factory, classes, number):
    coef = np.full((2, len(classes)), number)
    model = Model(coef, np.zeros(len(classes)), classes=classes)
    path = tmp_path_factory.getbasetemp() / "labels.model"
    model.save(path)
    assert_same(model, Model.load(path))
    assert_same(model, Model.from_json(model.to_json()))
    assert repr(model.classes.tolist()) == repr(classes)


def test_what_was_there_stays_when_saving_fails(tmp_path, monkeypatch):
    path = tmp_path / "model"
    SMALL.save(path)
    before = path.read_bytes()
    large = Model(np.ones(20_000), 0.0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # as a full disk is
    try:
        with pytest.raises(OSError, match="model'") as refusal:
            large.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert ".part" not in str(refusal.value)

    def interrupt(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        large.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model"]


def test_permissions_and_links_are_kept(tmp_path):
    path, link = tmp_path / "model", tmp_path / "current"
    mask = os.umask(0o027)
    try:
        SMALL.save(path)
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o640
    path.chmod(0o604)
    link.symlink_to(path)
    Model([0.25], 1.0).save(link)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o604
    assert Model.load(link).coef.tolist() == [0.25]
    SMALL.save(tmp_path / ("n" * 255))  # the longest name there can be


def test_folders_pipes_and_loops_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, message in (("", "folder"), ("pipe", "regular file"), ("loop", "loop")):
        path = tmp_path / name
        for use in (Model.load, SMALL.save):
            with pytest.raises((ValueError, OSError), match=message):
                use(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Model.load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no/such"):
        SMALL.save(tmp_path / "no/such")
    with pytest.raises(ValueError, match="null byte"):
        Model.load("a\0b")
    assert sorted(os.listdir(tmp_path)) == ["loop", "pipe"]

"""Model files that lie, their checksum agreeing: each is refused by name."""

import contextlib
import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jax_logreg import Model


def sealed(document):
    """A document of one's own as text, with the checksum that agrees."""
    canonical = json.dumps(document, separators=(",", ":"), allow_nan=False)
    checksum = hashlib.sha256(canonical.encode()).hexdigest()
    return json.dumps({**document, "sha256": checksum})


def document(**changes):
    right = json.loads(Model([0.5], 1.0, feature_names=["age"]).to_json())
    del right["sha256"]
    return {**right, **changes}


def test_the_forger_can_also_write_what_is_right():
    assert Model.from_json(sealed(document())).predict([[1.0]]).tolist() == [1]


FORGED = {
    "a newer version": (dict(format_version=3), "format 3, and this version reads format 2: upg"),
    "no version": (dict(format_version=None), "format None"),
    "another format": (dict(format="x"), "its format is not"),
    "a key too many": (dict(more=1), "one too many"),
    "no labels": (dict(classes=5), "another type"),
    "a version that is no text": (dict(version=1), "another type"),
    "a list for a dict": (dict(coef=[1.0]), "another type"),
    "facts that are no dict": (dict(training=[1]), "another type"),
    "other features": (dict(center={"dose": 0.0}), "same features"),
    "more features": (dict(coef={"age": 0.5, "dose": 1.0}), "same features"),
    "no dtype": (dict(dtype={}), "dtype of intercept"),
    "a dtype of objects": (dict(dtype={"intercept": "O"}), "dtype of intercept"),
    "a dtype that is a list": (dict(dtype={"intercept": ["float64"]}), "dtype of intercept"),
    "digits lost": (
        dict(dtype=dict.fromkeys(["intercept", "coef", "center"], "float32"), coef={"age": 0.1}),
        "other than floats of float32",
    ),
    "beyond float32": (
        dict(dtype=dict.fromkeys(["intercept", "coef", "center"], "float32"), intercept=1e300),
        "other than floats of float32",
    ),
    "numbers in text": (dict(coef={"age": "0.5"}), "other than floats"),
    "whole numbers": (dict(coef={"age": 1}), "other than floats"),
    "truth values": (dict(intercept=True), "other than floats"),
    "null": (dict(intercept=None), "other than floats|must hold numbers"),
    "objects": (dict(intercept={}), "must hold numbers"),
    "ragged": (dict(coef={"age": [0.1, [0.2]]}), "must hold numbers"),
    "a long number": (dict(intercept=10**400), "must hold numbers"),
    "many axes": (dict(coef={"age": [[[[0.1]]]]}), "coef must be"),
    "one column": (dict(coef={"age": [0.1]}), "coef must be"),
    "labels twice": (dict(classes=[1, True]), "occurs twice"),
    "labels of lists": (dict(classes=[[1], [2]]), "neither text"),
    "labels of null": (dict(classes=[None, 1]), "neither text"),
    "labels too many": (dict(classes=[1, 2, 3]), "3 labels"),
    "bad encoding": (dict(encoding={"columns": 5}), "no encoding"),
    "what a terminal would obey": (dict(encoding={"columns": [{"\x1b[2J": 1}]}), r"\\x1b\[2J"),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_file_that_lies_is_refused_by_name(case, tmp_path):
    changes, message = FORGED[case]
    path = tmp_path / "forged.model"
    path.write_text(sealed(document(**changes)))
    with pytest.raises(ValueError, match=message) as refusal:
        Model.load(path)
    assert "forged.model" in str(refusal.value)


TEXT = sealed(document())
NO_MODEL = {
    "nothing": ("", "not a model"),
    "no JSON": ("{", "not a model"),
    "a list": ("[1]", "its format is not"),
    "deep JSON": ('{"a":' + "[" * 100_000, "nested too deep"),
    "deep objects": ('{"a":' * 100_000, "nested too deep"),
    "keys twice": (TEXT[:-1] + ', "version": "2"}', "'version' occurs twice"),
    "NaN": (TEXT.replace("[0, 1]", "[NaN, 1]"), "NaN is not a finite"),
    "1e999": (TEXT.replace("[0, 1]", "[1e999, 1]"), "1e999 is not a finite"),
    "a number of 5000 digits": (TEXT.replace("[0, 1]", "[" + "9" * 5000), "limit"),
    "no checksum": (json.dumps(document()), "checksum does not agree"),
    "another checksum": (TEXT.replace('"sha256": "', '"sha256": "0'), "checksum does not agree"),
    "a changed number": (TEXT.replace("0.5", "0.25"), "checksum does not agree"),
    "a changed label": (TEXT.replace("[0, 1]", "[1, 0]"), "checksum does not agree"),
}


@pytest.mark.parametrize("case", NO_MODEL)
def test_text_that_is_no_model_is_refused(case):
    text, message = NO_MODEL[case]
    with pytest.raises(ValueError, match=message):
        Model.from_json(text)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)  # fmt: skip
PLACES = st.sampled_from(sorted(document()))


@settings(max_examples=100, derandomize=True, deadline=None, database=None)
@given(PLACES, ANYTHING)
def test_anything_in_a_document_is_an_error_or_a_model(place, value):
    with contextlib.suppress(ValueError):
        assert Model.from_json(sealed(document(**{place: value}))).coef.shape == (1,)

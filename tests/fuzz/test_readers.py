"""A bounded, seeded run of what ``python -m tests.fuzz`` does for as long as one likes."""

import csv
import io
import math
import operator
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jax_logreg.interfaces.encoding import MISSING, BadCellError, as_numbers
from jax_logreg.interfaces.tables import read_table
from tests.fuzz.targets import NUM_KINDS, READERS, TOKENS, Edit, check

# The same files in every run, and no database between runs.
bounded = settings(derandomize=True, deadline=None, database=None, max_examples=400)

edits = st.lists(
    st.builds(
        Edit,
        st.integers(0, NUM_KINDS - 1),
        st.floats(0, 1),
        st.sampled_from(TOKENS) | st.binary(max_size=4),
    ),
    max_size=4,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("name", READERS)
def test_a_changed_file_is_read_or_an_error_names_it(name, folder):
    reader = READERS[name]
    taken = set()

    @bounded
    @given(st.sampled_from(reader.seeds), edits, st.sampled_from(reader.options))
    def run(seed, changes, options):
        taken.add(check(reader, reader.change(seed, changes), options, folder))

    run()
    assert taken == {True, False}  # the changes neither break all files nor none


finite = st.floats(allow_nan=False, allow_infinity=False)
label = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=9
)


@bounded
@given(
    arrays.arrays(float, st.tuples(st.integers(2, 5), st.integers(1, 4)), elements=finite),
    label,
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
@example(np.array([[-0.0], [5e-324]]), 'a"\r\n,b', csv.QUOTE_MINIMAL, ",", "\n")
def test_a_written_csv_reads_back_to_the_bit(folder, X, text, quoting, delimiter, end):
    names = [f"column {index}" for index in range(X.shape[1])]
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, quoting=quoting, lineterminator=end)
    labels = [text.strip() + "!", "other!"]
    writer.writerow([*names, "label"])
    writer.writerows([*map(repr, row), labels[i % 2]] for i, row in enumerate(X.tolist()))
    path = folder / "written.csv"
    path.write_text(stream.getvalue(), encoding="utf-8", newline="")
    if len(set(labels)) == 2:
        table = read_table(path, "label", delimiter=delimiter)
        np.testing.assert_array_equal(table.X.view(int), X.view(int))
        assert [table.class_names[k] for k in table.y[:2]] == labels


NUMBER = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"
cells = st.text("0123456789+-.eE_ \txinfatyNAn?/１\u00a0", max_size=8) | finite.map(repr)


@bounded
@given(st.lists(cells, min_size=1, max_size=3))
@example(["1_0"])
@example(["１"])
@example(["1e400"])
@example(["0x1"])
@example([" 1.\x1c"])
def test_arrow_takes_for_a_number_what_the_specification_does(column):
    """Missing or a finite number of ASCII digits, blanks around it; all else is refused."""
    texts = [cell.strip() for cell in column]
    is_missing = [text.lower() in MISSING for text in texts]
    are_numbers = [re.fullmatch(NUMBER, text) and math.isfinite(float(text)) for text in texts]
    try:
        found = as_numbers(pa.array(column))
    except BadCellError:
        assert not all(map(operator.or_, is_missing, map(bool, are_numbers)))
    else:
        expected = [
            math.nan if gap else float(text) for gap, text in zip(is_missing, texts, strict=True)
        ]
        np.testing.assert_array_equal(found, expected)

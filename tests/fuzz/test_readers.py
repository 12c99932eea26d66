"""A bounded, seeded run of what ``python -m tests.fuzz`` does for as long as one likes."""

import csv
import io
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jax_logreg.interfaces.csv_cells import BadCellError, parse_numbers, parse_plain
from jax_logreg.interfaces.readers import read_table
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


cells = st.text("0123456789+-.eE_ \txinfatyNAn?/１\u00a0", max_size=8) | finite.map(repr)


@bounded
@given(st.lists(cells, min_size=1, max_size=3))
@example(["1_0"])
@example(["１"])
@example(["1e400"])
@example(["0x1"])
@example([" 1.\x1c"])
def test_the_fast_parser_takes_nothing_that_the_careful_one_does_not(column):
    fast = parse_plain([f"{cell},0\n" for cell in column], ",", 2, [0], [])
    try:
        careful = parse_numbers(column)
    except BadCellError:
        careful = np.array([math.nan])
    if fast is not None:
        np.testing.assert_array_equal(fast[0][:, 0], careful)

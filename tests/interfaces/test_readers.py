"""Files of every format, whole and broken: a table, or an error that names the place."""

import bz2
import gzip
import sys
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from jax_logreg.interfaces import table_files, table_source
from jax_logreg.interfaces.encoding import Encoding
from jax_logreg.interfaces.table_source import Batch, Source
from jax_logreg.interfaces.tables import densified, load_embedded, read_features, read_table
from tests.table_files import arrow, arrow_stream, npy, npz, parquet, put


@pytest.mark.parametrize(
    ("name", "shape", "counts"),
    [("breast-cancer", (569, 30), [357, 212]), ("iris", (150, 4), [50, 50, 50])],
)
def test_the_embedded_sets(name, shape, counts):
    table = load_embedded(name)
    assert table.name == name
    assert table.X.shape == shape
    np.testing.assert_array_equal(np.bincount(table.y), counts)
    assert len(table.feature_names) == shape[1]


def test_the_embedded_sets_are_scikit_learns():
    from sklearn.datasets import load_breast_cancer, load_iris

    np.testing.assert_array_equal(load_embedded("iris").X, load_iris().data)
    theirs = load_breast_cancer()
    np.testing.assert_array_equal(load_embedded("breast-cancer").X, theirs.data)
    np.testing.assert_array_equal(load_embedded("breast-cancer").y, 1 - theirs.target)


def test_an_unknown_embedded_set():
    with pytest.raises(ValueError, match=r"breast-cancer, iris.*'titanic'"):
        load_embedded("titanic")


# Files of every format --------------------------------------------------------------------


MATRIX = np.array([[1.5, 2.0, 0.0], [3.0, -4.0, 1.0], [5.0, 6e10, 0.0]])
X, Y = MATRIX[:, :2], [0, 1, 0]
ROWS = "1.5,2,0\n3,-4,1\n5,6e10,0\n"
TEXTS = np.array(["no", "yes", "no"])

CSV = f"u,v,w\n{ROWS}".encode()

# what it is: (suffix, content, target, names of features, classes)
SAME = {
    "csv": (".csv", f"u,v,w\n{ROWS}", "w", "uv", ["0", "1"]),
    "byte order mark": (".csv", f"\ufeffu,v,w\n{ROWS}", "w", "uv", ["0", "1"]),
    "CRLF": (".csv", f"u,v,w\n{ROWS}".replace("\n", "\r\n"), "w", "uv", ["0", "1"]),
    "lone CR": (".csv", f"u,v,w\n{ROWS}".replace("\n", "\r"), "w", "uv", ["0", "1"]),
    "no last line end": (".csv", f"u,v,w\n{ROWS}"[:-1], "w", "uv", ["0", "1"]),
    "semicolons": (".csv", f"u,v,w\n{ROWS}".replace(",", ";"), "w", "uv", ["0", "1"]),
    "tabs": (".tsv", f"u,v,w\n{ROWS}".replace(",", "\t"), "w", "uv", ["0", "1"]),
    "bars": (".txt", f"u,v,w\n{ROWS}".replace(",", "|"), "w", "uv", ["0", "1"]),
    "quotes": (
        ".csv", '"u","v, ""x""",w\n"1.5","2",no\n3,-4,"yes"\n5,6e10,no\n', "w",
        ["u", 'v, "x"'], ["no", "yes"],
    ),
    "spaces and blank lines": (
        ".CSV", " u ,v, w\n\n 1.5, +2 ,no\n\n3.,-4e0,yes\n5,.6E11,no\n\n", "w", "uv", ["no", "yes"]
    ),
    "label first": (".csv", "w,u,v\nno,1.5,2\nyes,3,-4\nno,5,6e10\n", "w", "uv", ["no", "yes"]),
    "npy": (".npy", npy(MATRIX), "-1", ["x0", "x1"], ["0", "1"]),
    "npy, target by name": (".npy", npy(MATRIX), "x2", ["x0", "x1"], ["0", "1"]),
    "npy, Fortran and big-endian": (
        ".npy", npy(np.asfortranarray(MATRIX.astype(">f8"))), "2", ["x0", "x1"], ["0", "1"]
    ),
    "npz": (".npz", npz(X=X, y=MATRIX[:, 2].astype(int)), None, ["x0", "x1"], ["0", "1"]),
    "npz, text and names": (
        ".npz", npz(X=X, y=TEXTS, feature_names=np.array(["u", "v"])), None, "uv", ["no", "yes"]
    ),
    "npz, booleans": (".npz", npz(X=X, y=MATRIX[:, 2] > 0), "y", ["x0", "x1"], ["0", "1"]),
    "parquet": (
        ".parquet", parquet(u=X[:, 0], w=TEXTS, v=X[:, 1]), "w", "uv", ["no", "yes"]
    ),
    "parquet, booleans": (
        ".parquet", parquet(u=X[:, 0], v=X[:, 1], w=MATRIX[:, 2] > 0), "w", "uv",
        ["False", "True"],
    ),
    "parquet, decimals": (
        ".parquet", parquet(u=X[:, 0], v=pa.array(X[:, 1].astype(int)).cast(pa.decimal128(38, 1)),
        w=pa.array(TEXTS).dictionary_encode()), "w", "uv", ["no", "yes"],
    ),
    "gzip": (".csv.gz", gzip.compress(CSV), "w", "uv", ["0", "1"]),
    "bzip2": (".TXT.BZ2", bz2.compress(CSV), "w", "uv", ["0", "1"]),
    "zstandard": (".tsv.zst", pa.compress(CSV, "zstd", asbytes=True), "w", "uv", ["0", "1"]),
    "Feather": (".feather", arrow("lz4", u=X[:, 0], w=TEXTS, v=X[:, 1]), "w", "uv", ["no", "yes"]),
    "Arrow, dictionaries": (
        ".arrow", arrow(**{" u ": pa.array(X[:, 0]).dictionary_encode()}, v=X[:, 1],
        w=pa.array(TEXTS).dictionary_encode()), "w", "uv", ["no", "yes"],
    ),
    "Arrow stream": (".ipc", arrow_stream(u=X[:, 0], v=X[:, 1], w=Y), "w", "uv", ["0", "1"]),
    "svmlight, gzip": (
        ".svm.gz", gzip.compress(b"0 1:1.5 2:2\n1 1:3 2:-4\n0 1:5 2:6e10"), None, ["x1", "x2"],
        ["0", "1"],
    ),
    "svmlight": (
        ".svmlight", "# all\n0 1:1.5 2:2\n\n+1 qid:7 1:3 2:-4 # one\n0 1:5 2:6e10\n", None,
        ["x1", "x2"], ["0", "1"],
    ),
    "svmlight from 0": (".libsvm", "0 0:1.5 1:2\n1 0:3 1:-4\n0 0:5 1:6e10", None, ["x0", "x1"],
        ["0", "1"]),
}  # fmt: skip


@pytest.mark.parametrize("case", SAME)
def test_one_table_in_every_format(case, tmp_path):
    suffix, content, target, names, classes = SAME[case]
    path = put(tmp_path, suffix, content)
    table = densified(read_table(path, target), 2**20)
    np.testing.assert_array_equal(table.X, X)
    assert table.X.dtype == np.float64
    np.testing.assert_array_equal(table.y, Y)
    assert table.feature_names == list(names)
    assert table.class_names == classes
    assert table.name == path.name
    assert Encoding.from_dict(table.encoding.as_dict()) == table.encoding


def test_the_embedded_sets_need_neither_pyarrow_nor_scikit_learn(monkeypatch):
    for library in ("pyarrow", "sklearn"):
        monkeypatch.setitem(sys.modules, library, None)
    assert load_embedded("iris").X.shape == (150, 4)


@pytest.mark.parametrize("labels", [[2**53, 2**53 + 1, -(2**63)], [10**18, 10**18 + 1, 3 * 10**18]])
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".arrow", ".npy", ".npz"])
def test_integers_beyond_float64_stay_distinct_classes(suffix, labels, tmp_path):
    order = [str(label) for label in sorted(labels)]
    labels = np.array(labels)[[0, 1, 0, 2]]
    columns = {"x": np.arange(4.0), "y": labels}
    content = {
        ".csv": lambda: "x,y\n" + "".join(f"{i},{label}\n" for i, label in enumerate(labels)),
        ".parquet": lambda: parquet(**columns),
        ".arrow": lambda: arrow(**columns),
        ".npy": lambda: npy(np.column_stack([np.arange(4), labels])),
        ".npz": lambda: npz(X=np.arange(4.0)[:, None], y=labels),
    }[suffix]()
    target = {".npy": "-1", ".npz": None}.get(suffix, "y")
    table = read_table(put(tmp_path, suffix, content), target)
    assert table.class_names == order
    assert [table.class_names[k] for k in table.y] == [str(label) for label in labels]


def test_a_new_format_is_one_function_in_one_table(tmp_path, monkeypatch):
    def read_lines(path, request):
        rows = np.array([line.split() for line in path.read_text().splitlines()], "U9")
        place = {"size": 0, "colour": 1, "y": 2}

        def read(numeric, categorical):
            numbers, others = (
                [pa.array(rows[:, place[name]]) for name in names]
                for names in (numeric, categorical)
            )
            yield Batch(len(rows), numbers, others, 1.0)

        return Source(str(path), list(place), read)

    monkeypatch.setitem(table_files.READERS, ".words", read_lines)
    path = put(tmp_path, ".words", "1 red no\n? blue yes\n3 red no\n")
    table = read_table(path, "y", missing="mean", categorical="auto")
    assert table.feature_names == ["size", "colour=red"]
    assert table.X.tolist() == [[1, 1], [2, 0], [3, 1]]
    assert (
        np.concatenate([*read_features(path, table.encoding).chunks]).tolist() == table.X.tolist()
    )
    with pytest.raises(ValueError, match="row 2, column 'colour' of .*words holds 'blue'"):
        read_table(put(tmp_path, ".words", "1 3 no\n2 blue yes\n"), "y")


# Several files ----------------------------------------------------------------------------


@pytest.fixture
def parts(tmp_path):
    (tmp_path / "parts").mkdir()
    for name, text in (("b.csv", "y,x\nno,3\n\nyes,4\n"), ("a.csv", "x,y\n1,no\n2,yes\n")):
        (tmp_path / "parts" / name).write_text(text)
    for name in ("_SUCCESS", ".a.csv.crc", "notes.md"):
        (tmp_path / "parts" / name).write_text("no table")
    return tmp_path / "parts"


def test_a_folder_and_a_pattern_are_one_table_in_order_of_names(parts):
    (parts / "c.tsv.gz").write_bytes(gzip.compress(b"x\ty\n5\tno\n"))
    for path, expected in ((parts, [1, 2, 3, 4, 5]), (parts / "[ab].c*", [1, 2, 3, 4])):
        shares = []
        table = read_table(path, "y", progress=shares.append)
        assert table.X[:, 0].tolist() == expected
        assert table.name == path.name
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        chunks = read_features(str(path), table.encoding).chunks
        assert np.concatenate(list(chunks))[:, 0].tolist() == expected


def test_svmlight_in_several_files(tmp_path):
    for name, text in (("a.svm", "1 1:1\n"), ("b.svm", "0 3:2\n")):
        (tmp_path / name).write_text(text)
    assert read_table(tmp_path).X.toarray().tolist() == [[1, 0, 0], [0, 0, 2]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.csv", "x,y\n1,no\nold,no\n", r"line 3, column 'x' of .*c\.csv holds 'old'"),
        ("c.csv", "x,y\n1,no\n\n,no\n", r"'x' 1 \(first in line 4 of .*c\.csv\)"),
        ("c.csv", "x,z,y\n1,2,no\n", r"c\.csv and .*a\.csv differ in the columns z"),
        ("c.parquet", parquet(x=[1], y=["no"]), "files of several formats"),
        ("c.svm", "1 1:1", "files of several formats"),
    ],
)
def test_one_of_several_files_is_named(parts, name, content, message):
    (parts / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        read_table(parts, "y")


def test_a_pattern_without_files(parts):
    with pytest.raises(FileNotFoundError, match=r"\*\.parquet"):
        read_table(parts / "*.parquet", "y")
    (parts / "[x].csv").write_text("x,y\n8,no\n9,yes\n")
    assert read_table(parts / "[x].csv", "y").X.tolist() == [[8.0], [9.0]]


def test_a_compressed_file_that_is_cut_short(tmp_path):
    for suffix, content in ((".csv.gz", gzip.compress(CSV)), (".csv.bz2", bz2.compress(CSV)),
        (".csv.zst", pa.compress(CSV, "zstd", asbytes=True)), (".svm.gz", gzip.compress(CSV)),
    ):  # fmt: skip
        for broken in (content[:-9], b"not " + content):
            with pytest.raises(ValueError, match=rf"table{suffix} is no .*that can be read"):
                read_table(put(tmp_path, suffix, broken), None if "svm" in suffix else "w")


def test_decimals_of_38_digits_stay_distinct_classes(tmp_path):
    labels = [Decimal(f"1.{'0' * 35}{last}") for last in (1, 2)] + [Decimal("1.5")]
    path = put(tmp_path, ".parquet", parquet(x=[1, 2, 3], y=labels))
    assert read_table(path, "y").class_names == [*map(str, labels[:2]), "1.5"]


def test_integers_beyond_float64_are_no_labels_of_svmlight(tmp_path):
    path = put(tmp_path, ".svm", f"{10**18} 1:1\n{10**18 + 1} 1:2\n{3 * 10**18} 1:3\n")
    with pytest.raises(ValueError, match="line 1 of .*table.svm.*its label is rounded"):
        read_table(path)


def test_svmlight_stays_sparse(tmp_path):
    path = put(tmp_path, ".svm", "1 3:2 90000:1\n2\n1 3:-1\n")
    table = read_table(path)
    assert table.X.shape == (3, 90_000)
    assert table.X.nnz == 3
    with pytest.raises(ValueError, match="table.svm, made dense, takes 0.00201 GiB.*max_bytes"):
        densified(table, 2**20)


def test_numeric_classes_sort_as_numbers(tmp_path):
    assert read_table(put(tmp_path, ".csv", "x,y\n1,10\n2,9\n3,10\n"), "y").class_names == [
        "9", "10"
    ]  # fmt: skip


def test_a_link_is_followed_and_a_capital_suffix_is_one(tmp_path):
    put(tmp_path, ".CSV", "x,y\n1,a\n2,b\n")
    (tmp_path / "link.csv").symlink_to("table.CSV")
    assert read_table(tmp_path / "link.csv", "y").X.tolist() == [[1.0], [2.0]]


# Gaps and categories ----------------------------------------------------------------------

GAPS = "age,sex,dose,y\n1,f,?,a\n,m,3,b\n3,f,NULL,b\n8,m,5,a\n"


def test_gaps_are_refused_with_a_count_per_column(tmp_path):
    path = put(tmp_path, ".csv", GAPS)
    words = r"2 columns: 'age' 1 \(first in line 3\), 'dose' 2 \(first in line 2\).*--missing drop"
    with pytest.raises(ValueError, match=words):
        read_table(path, "y", categorical=["sex"])


def test_rows_with_gaps_are_dropped_and_counted(tmp_path):
    text = GAPS + "9,f,1,N/A\n9,,1,a\n7,f,2,b\n"
    table = read_table(put(tmp_path, ".csv", text), "y", categorical="auto", missing="drop")
    np.testing.assert_array_equal(table.X, [[8, 1, 5], [7, 0, 2]])
    assert table.num_dropped == 5
    assert table.class_names == ["a", "b"]


def test_gaps_are_filled_with_means_that_the_encoding_keeps(tmp_path):
    path = put(tmp_path, ".csv", GAPS)
    table = read_table(path, "y", categorical="sex", missing="mean")
    np.testing.assert_array_equal(table.X, [[1, 0, 4], [4, 1, 3], [3, 0, 4], [8, 1, 5]])
    assert table.feature_names == ["age", "sex=m", "dose"]
    new = put(tmp_path, ".new.csv", "dose,other,sex,age\n,1,m,2\n0,2,f,nan\n")
    (features,) = read_features(new, table.encoding).chunks
    np.testing.assert_array_equal(features, [[2, 1, 4], [4, 0, 0]])


def test_a_mean_of_huge_and_of_tiny_numbers(tmp_path):
    text = "u,v,y\n1.7e308,5e-324,a\n1.7e308,5e-324,b\n,,b\n"
    table = read_table(put(tmp_path, ".csv", text), "y", missing="mean")
    np.testing.assert_array_equal(table.X, [[1.7e308, 5e-324]] * 3)


def test_categories_by_size_or_by_code_point_the_first_being_the_reference(tmp_path):
    text = "zone,kind,y\n10,b,0\n9,B,1\n100,a,1\n"
    table = read_table(put(tmp_path, ".csv", text), "y", categorical=["zone", "kind"])
    assert table.feature_names == ["zone=10", "zone=100", "kind=a", "kind=b"]
    np.testing.assert_array_equal(table.X, [[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 1, 0]])


def test_text_that_comes_late_is_found_by_auto(tmp_path):
    lines = ["u,v,y", *(f"{i},{i},{'ab'[i % 2]}" for i in range(300_000)), '"late",1,a', "4,2,b"]
    path = put(tmp_path, ".csv", "\n".join(lines))
    with pytest.raises(ValueError, match=r"column 'u' of .* more than 50 .*line 300002 .*'late'"):
        read_table(path, "y", categorical="auto")
    with pytest.raises(ValueError, match=r"line 300002, column 'u' .* holds 'late'"):
        read_table(path, "y")


def test_the_target_has_no_mean(tmp_path):
    path = put(tmp_path, ".csv", "x,y\n1,a\n,b\n3,\n")
    with pytest.raises(ValueError, match=r"1 column: 'y' 1 \(first in line 4\).*no mean"):
        read_table(path, "y", missing="mean")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([f"{i},57" for i in range(400)], "column 'x' .*'0,57', which is no category.*--decimal ,"),
        (["1,5", "2,5", "1"] * 5, "column 'x' .*'1,5'.*--decimal ,"),
        (["66,644.57", "1,000.25", "3"] * 5, "'66,644.57'.*without thousands"),
        (["12 %", "7.5%", "3"] * 5, "'12 %'.*without signs.*one-hot encode it all the same"),
        (["$1,000", "$5"] * 5, r"'\$1,000'.*without signs"),
        (["−5", "3"] * 5, "'−5'.*minus as -"),
        (["2024-02-29", "2024-03-01"] * 5, "'2024-02-29'.*days since a fixed date"),
        ([f"id{i}" for i in range(60)], "more than 50 different.*--drop 'x'.*--max-categories"),
    ],
)
def test_auto_refuses_numbers_dates_and_identifiers_in_disguise(cells, message, tmp_path):
    columns = {"x": cells, "y": ["ab"[i % 2] for i in range(len(cells))]}
    text = "x;y\n" + "\n".join(map(";".join, zip(*columns.values(), strict=True)))
    for suffix, content in ((".csv", text), (".parquet", parquet(**columns))):
        path = put(tmp_path, suffix, content)
        with pytest.raises(ValueError, match=message):
            read_table(path, "y", categorical="auto")
        if len(set(cells)) <= 60:  # whoever names the column means it
            named = read_table(
                path, "y", categorical=["x"], delimiter=";" if text is content else None
            )
            assert named.X.shape[1] == len(set(cells)) - 1
    text = "x;y\n" + "\n".join(f"level {cell};{'ab'[i % 2]}" for i, cell in enumerate(cells))
    path = put(tmp_path, ".csv", text)
    wide = read_table(path, "y", categorical="auto", max_categories=400, delimiter=";")
    assert wide.X.shape[1] == len(set(cells)) - 1


def test_auto_beside_a_named_column(tmp_path):
    path = put(tmp_path, ".csv", "zone,kind,age,y\n1,a,3,n\n2,b,4,m\n")
    table = read_table(path, "y", categorical=["auto", "zone"])
    assert table.feature_names == ["zone=2", "kind=b", "age"]


def test_a_decimal_comma(tmp_path):
    text = 'x;z;y\n1,5;-,25e1;a\n 66644,57 ;2;"1.5"\nNA;3;a\n'
    table = read_table(put(tmp_path, ".csv", text), "y", decimal=",", missing="mean")
    np.testing.assert_array_equal(table.X, [[1.5, -2.5], [66644.57, 2], [33323.035, 3]])
    assert table.class_names == ["1.5", "a"]
    new = put(tmp_path, ".csv", "z;x\n0,5;1\n")
    (features,) = read_features(new, table.encoding, decimal=",").chunks
    assert features.tolist() == [[1, 0.5]]
    for cell, message in (("1.5", "'1.5'.*It has a point"), ("1.000,5", "'1.000,5'.*thousands")):
        with pytest.raises(ValueError, match=f"line 2, column 'x' .*{message}"):
            read_table(put(tmp_path, ".csv", f"x;y\n{cell};a\n1;b\n"), "y", decimal=",")


def test_the_words_that_are_missing(tmp_path):
    text = "country,x,y\nNA,-99.0,a\nDE,n.a.,b\n,2,c\n"
    path = put(tmp_path, ".csv", text)
    countries = {"missing": "drop", "categorical": "auto", "na": ["-99", "N.A."]}
    table = read_table(path, "y", **countries | {"drop": ["x"]})
    assert table.feature_names == ["country=NA"]
    assert table.class_names == ["a", "b"]
    filled = read_table(path, "y", missing="mean", drop=["country"], na=["-99", "N.A."])
    assert filled.X.tolist() == [[2.0]] * 3
    new = put(tmp_path, ".csv", "x\n-99\nN.a.\n7\n")
    encoding = Encoding.from_dict(filled.encoding.as_dict())
    (features,) = read_features(new, encoding).chunks
    assert features.tolist() == [[2.0], [2.0], [7.0]]
    with pytest.raises(ValueError, match="line 2, column 'x' .*'NaN'"):
        read_table(put(tmp_path, ".csv", "x,y\nNaN,a\n1,b\n"), "y", na="")


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".npy", ".npz"])
def test_a_number_that_is_missing(suffix, tmp_path):
    numbers = np.array([[-99.0, 0], [2, 1], [4, -99]])
    content = {
        ".parquet": lambda: parquet(x=numbers[:, 0], y=numbers[:, 1]),
        ".arrow": lambda: arrow(x=numbers[:, 0], y=numbers[:, 1].astype(int)),
        ".npy": lambda: npy(numbers),
        ".npz": lambda: npz(X=numbers[:, :1], y=numbers[:, 1]),
    }[suffix]()
    target = {".npy": -1, ".npz": None}.get(suffix, "y")
    with pytest.raises(ValueError, match="missing values in 2 columns"):
        read_table(put(tmp_path, suffix, content), target, na="-99.0")


def test_a_column_of_row_numbers_is_dropped_by_its_missing_name(tmp_path):
    path = put(tmp_path, ".csv", ",x,,y\n0,1.5,7,a\n1,2.5,8,b\n")
    table = read_table(path, "y", drop="")
    assert table.X.tolist() == [[1.5], [2.5]]
    features = read_features(put(tmp_path, ".csv", ",x\n0,1\n"), table.encoding)
    assert features.unused == [""]
    assert [chunk.tolist() for chunk in features.chunks] == [[[1]]]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".arrow", ".npy"])
def test_a_table_too_large_is_refused_before_it_is_read(suffix, tmp_path, monkeypatch):
    monkeypatch.setattr(table_source, "batch_rows", lambda num_columns: 64)
    columns = {"x": np.arange(1000, 6000.0), "y": np.arange(5000) % 2}
    content = {
        ".csv": lambda: "x,y\n" + "".join(f"{i}.0,{i % 2}\n" for i in range(1000, 6000)),
        ".parquet": lambda: parquet(400, **columns),
        ".arrow": lambda: arrow(**columns),
        ".npy": lambda: npy(np.column_stack([*columns.values()])),
    }[suffix]()
    read, target = [], {".npy": -1}.get(suffix, "y")
    options = {"max_bytes": 10_000, "progress": read.append}
    if suffix != ".npy":  # the look for text refuses it too
        with pytest.raises(ValueError, match=r"takes (about )?3\.7\d?e-05 GiB"):
            read_table(put(tmp_path, suffix, content), target, categorical="auto", **options)
    assert not read
    with pytest.raises(ValueError, match=r"takes (about )?3\.7\d?e-05 GiB"):
        read_table(put(tmp_path, suffix, content), target, **options)
    assert len(read) == (suffix == ".csv")


# Features for a model ---------------------------------------------------------------------


@pytest.fixture
def encoding(tmp_path):
    text = "age,sex,y\n1,f,a\n2,m,b\n"
    return read_table(put(tmp_path, ".csv", text), "y", categorical=["sex"]).encoding


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sex\nf\n", "lacks 1 of the model's 2 columns: age"),
        ("sex,age\nf,\n", "line 2, column 'age' .* is missing.*--missing mean"),
        ("sex,age\n,1\n", "line 2, column 'sex' .* is missing"),
        ("sex;age\nf;1\nx;2\n", r"line 3, column 'sex' .* holds 'x', a category.*knows f, m"),
        ("sex,age\nf,old\n", "line 2, column 'age' .* holds 'old'"),
    ],
)
def test_rows_that_a_model_cannot_take(encoding, text, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        list(read_features(put(tmp_path, ".csv", text), encoding).chunks)


def test_features_come_in_chunks_of_the_same_numbers(tmp_path):
    values = np.random.default_rng(0).normal(size=(70_000, 5))
    text = "\n".join(["a,b,c,d,e", *(",".join(map(repr, row)) for row in values.tolist())])
    path = put(tmp_path, ".csv", text)
    chunks = list(read_features(path, Encoding.of_numbers(list("edcba"))).chunks)
    assert len(chunks) > 1
    np.testing.assert_array_equal(np.concatenate(chunks), values[:, ::-1])


def test_arrays_without_names_are_taken_in_order(tmp_path):
    names = Encoding.of_numbers(["u", "v"])
    for suffix, content in ((".npy", npy(X)), (".npz", npz(X=X))):
        (features,) = read_features(put(tmp_path, suffix, content), names).chunks
        np.testing.assert_array_equal(features, X)
    with pytest.raises(ValueError, match="has 3 columns without names, but 2 features"):
        read_features(put(tmp_path, ".npy", npy(MATRIX)), names)


def test_svmlight_for_a_model(tmp_path):
    path = put(tmp_path, ".svm", "0 3:7\n0\n0 1:2\n")
    (features,) = read_features(path, Encoding.of_numbers(["x1", "x2", "x3"])).chunks
    np.testing.assert_array_equal(features, [[0, 0, 7], [0, 0, 0], [2, 0, 0]])
    with pytest.raises(ValueError, match="line 1 of .*table.svm, .* the index 3 is no feature"):
        list(read_features(path, Encoding.of_numbers(["x1", "x2"])).chunks)
    with pytest.raises(ValueError, match="table.svm has features by number.*'age'"):
        read_features(path, Encoding.of_numbers(["age"]))


@pytest.mark.parametrize(
    "document",
    [
        None, [], {}, {"columns": 3}, {"columns": [3]}, {"columns": [{"name": "a"}]},
        {"columns": [{"name": 3, "categories": None, "fill": None}]},
        {"columns": [{"name": "a", "categories": [], "fill": None}]},
        {"columns": [{"name": "a", "categories": ["b", "b"], "fill": None}]},
        {"columns": [{"name": "a", "categories": None, "fill": "1"}]},
        {"columns": [{"name": "a", "categories": None, "fill": 1e999}]},
        {"columns": [{"name": "a", "categories": None, "fill": None}] * 2},
    ],
)  # fmt: skip
def test_a_broken_encoding_is_refused(document):
    with pytest.raises(ValueError, match="this is no encoding of columns"):
        Encoding.from_dict(document)


@pytest.mark.parametrize("name", ["gone.csv", "*.csv"])
def test_a_link_to_nothing_is_no_such_file(name, tmp_path):
    (tmp_path / "gone.csv").symlink_to(tmp_path / "nothing.csv")
    with pytest.raises(FileNotFoundError, match="gone.csv"):
        read_table(tmp_path / name, "y")

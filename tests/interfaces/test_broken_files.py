"""Whatever is in a file: an error that names it, its place and a remedy, and nothing else."""

import io
import os
import pickle
import sys
import zipfile

import numpy as np
import pyarrow as pa
import pytest

from jax_logreg.interfaces import array_formats, table_source
from jax_logreg.interfaces.cli import main
from jax_logreg.interfaces.tables import read_table
from tests.table_files import arrow, npy, npz, parquet, put

MATRIX = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
LABELS = np.array([0, 1, 0])

CSV = {
    "empty": ("", "is empty: it needs a header"),
    "blank": ("\n\r\n", "is empty"),
    "only a byte order mark": ("\ufeff", "is empty"),
    "header only": ("x,y\n", "holds no rows"),
    "header without a line end": ("x,y", "holds no rows"),
    "no such target": ("x,z\n1,2\n", r"target 'y' is not a column of .*x, z"),
    "no header": ("1,a\n2,b\n", r"target 'y' is not a column of .*1, a"),
    "text": ("x,y\n1,a\n\nabc,b\n", r"line 4, column 'x' of .* holds 'abc'.*--categorical 'x'"),
    "text in line 3": ("x,y\n1,a\nabc,b\n", r"line 3, column 'x' of .* holds 'abc'"),
    "decimal comma": ("x;y\n1;a\n1,5;b\n", r"line 3, column 'x'.*'1,5'.*--decimal , reads it"),
    "a comma in 1000": ('x,y\n"1,000",a\n', r"'1,000'.*decimal comma.*separates thousands"),
    "thousands": ('x,y\n"1,000,000",a\n', r"line 2, column 'x'.*'1,000,000'.*thousands"),
    "thousands and decimals": ('x,y\n"66,644.57",a\n', r"'66,644.57'.*without thousands"),
    "thousands by points": ("x;y\n66.644,57;a\n", r"'66.644,57'.*without thousands.*decimal"),
    "thousands by blanks": ("x;y\n1 000;a\n", r"'1 000'.*without thousands"),
    "a date": ("x,y\n2024-02-29,a\n", r"'2024-02-29'.*days since a fixed date"),
    "a date of the day first": ("x,y\n29.02.2024 12:00,a\n", r"'29.02.2024.*days since"),
    "a date in words": ("x,y\n29 Feb 2024,a\n", r"'29 Feb 2024'.*days since"),
    "a date with its weekday": ("x,y\n\"Thu, 29 Feb 2024\",a\n", r"'Thu, 29 Feb.*days since"),
    "a time of the afternoon": ("x,y\n1:30 PM,a\n", r"'1:30 PM'.*as a number"),
    "a time": ("x,y\n12:30,a\n", r"'12:30'.*as a number"),
    "underscore": ("x,y\n1_000,a\n", r"line 2, column 'x'.*'1_000'"),
    "hexadecimal": ("x,y\n0x10,a\n", r"line 2, column 'x'.*'0x10'"),
    "full-width digits": ("x,y\n１２,a\n", r"line 2, column 'x'.*'１２'"),
    "infinity": ("x,y\n-Infinity,a\n1,b\n", r"line 2, column 'x'.*'-Infinity'.*not a finite"),
    "too large": ("x,y\n1,a\n1e400,b\n", r"line 3, column 'x'.*'1e400'.*not a finite number"),
    "too large, quoted": ('x,y\n"1e400",b\n', r"line 2, column 'x'.*'1e400'"),
    "gap": ("x,y\n1,a\n,b\n", r"1 column: 'x' 1 \(first in line 3\).*--missing mean"),
    "nan": ("x,y\nnan,a\n1,b\n", r"'x' 1 \(first in line 2\)"),
    "nothing but gaps": ("x,y\nNA,a\n?,b\n", r"'x' 2 \(first in line 2\)"),
    "no label": ("x,y\n1,a\n2,\n", r"'y' 1 \(first in line 3\).*--missing drop.*has no mean\. If"),
    "a word that may be a value": ("x,y\n1,a\nNA,b\n", r"'x' 1.*If a word such as NA.*--na ''"),
    "row too long": ("x,y\n1,a\n1,b,c\n", r"line 3 .* has 3 cells, but the header has 2"),
    "row too short": ("x,y\n1,a\n1\n", r"line 3 .* has 1 cells, but the header has 2"),
    "every row too short": ("y,x\n1\n2\n", r"line 2 .* has 1 cells, but the header has 2"),
    "every row too long": ("x,y\n1,a,\n1,b,\n", r"line 2 .* has 3 cells, but the header has 2"),
    "after a cell of two lines": ('x,y\n1,"a\nb"\nz,c\n', r"line 4, column 'x'.*'z'"),
    "one class": ("x,y\n1,a\n2,a\n", "one class only, 'a'"),
    "a number in two ways": ("x,y\n1,1\n2,1.0\n", "'1' and '1.0', one number written in two"),
    "no features": ("y\na\nb\n", "no column left besides the target 'y'"),
    "twice": ("x,x,y\n1,2,a\n1,2,b\n", "two columns named 'x'"),
    "no name": (",x,y\n1,2,a\n", "column 1 of .* has no name in the header.*--drop ''"),
    "pandas' no name": ("x,Unnamed: 0,y\n1,2,a\n", "column 2 of .* no name.*--drop 'Unnamed: 0'"),
    "quote never closed": ('x,y\n1,"a\n2,b\n', "line 2 .* is no CSV: unexpected end of data"),
    "quote amid a cell": ('x,y\n1,"a"b\n2,b\n', "line 2 .* is no CSV"),
    "header's quote": ('x,"y\n1,a\n', "line 1 .* is no CSV"),
    "huge cell": (f'x,y\n1,"{"a" * 140_000}"\n', "holds a text of 140000 characters"),
    "long label": (f"x,y\n1,{'a' * 2000}\n2,b\n", r"target 'y'.*2000 characters, 'a{40}…'"),
    "NUL": ("x,y\n1,a\n2,\0\n", "line 3 .* holds a NUL byte"),
    "UTF-16": ("x,y\n1,a\n".encode("utf-16"), "line 1 .* holds a NUL byte"),
    "UTF-16 unmarked": ("x,y\n1,a\n".encode("utf-16-be"), "line 1 .* holds a NUL byte"),
    "Latin-1": (b"x,y\n1,a\n2,caf\xe9\n", "line 3 .* not UTF-8: it holds the byte 0xe9"),
    "a zip": (npz(X=MATRIX), "line 1 .* (NUL|not UTF-8)"),
    "a measurement": (
        "x,y\n" + "".join(f"{i},{i}.5\n" for i in range(200)), "200 different values in 200 rows"
    ),
    "measurements that repeat": (
        "x,y\n" + "".join(f"{i},{i % 30}.5\n" for i in range(900)), "30 .* 900 rows.*continuous"
    ),
    "whole measurements": (
        "x,y\n" + "".join(f"{i},{i % 145}\n" for i in range(442)), "145 .* 442 rows.*continuous"
    ),
    "measurements with commas": (
        "x;y\n" + "".join(f"{i};{i % 145},57\n" for i in range(442)), "'0,57'.*--decimal ,"
    ),
    "too many classes": (
        "x,y\n" + "".join(f"{i},l{i}\n" for i in range(1001)), "more than 1000 different values"
    ),
    "control characters": ("x\x1b[1m,z\n1,2\n", r"Its columns: 'x\\x1b\[1m', z"),
}  # fmt: skip


def claiming(shape, data=b"", descr="<f8"):
    """A .npy file whose header says what it likes."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117)
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.encode() + b"\n" + data


OBJECTS = npy(np.array([[{}, 1], [2, 3]], object), allow_pickle=True)

NPY = {
    "empty": (b"", "no NumPy array that can be read"),
    "a pickle": (pickle.dumps(MATRIX), "no NumPy array that can be read"),
    "an npz": (npz(X=MATRIX), "no NumPy array that can be read"),
    "objects": (OBJECTS, "no NumPy array that can be read: .*Python objects"),
    "records": (npy(np.zeros(3, "i4,f8")), r"must be a matrix \(n, p\) of numbers"),
    "complex": (npy(MATRIX * 1j), "and complex128. It must be a matrix"),
    "dates": (npy(np.zeros((2, 2), "M8[s]")), "must be a matrix .* of numbers"),
    "text": (npy(np.array([["a", "b"]])), r"must be a matrix \(n, p\) of numbers"),
    "a vector": (npy(MATRIX[0]), r"of shape \(2,\) and float64. It must be a matrix"),
    "a cube": (npy(MATRIX[None]), r"of shape \(1, 3, 2\)"),
    "no rows": (npy(MATRIX[:0]), r"of shape \(0, 2\)"),
    "cut short": (npy(MATRIX)[:-1], "no NumPy array that can be read: .*length"),
    "cut in the header": (npy(MATRIX)[:40], "no NumPy array that can be read: .*header"),
    "something after": (npy(MATRIX) + b"0", "claims 176 bytes, but has 177"),
    "claims 10^12 rows": (claiming((10**12, 8)), "no NumPy array that can be read: .*length"),
    "claims rows of nothing": (claiming((10**12, 0)), r"of shape \(1000000000000, 0\)"),
    "claims fewer than none": (
        claiming((-1, -6), b"0" * 48),
        "no NumPy array that can be read: negative",
    ),
    "claims void": (claiming((10**12, 2), descr="|V0"), "a matrix .* of numbers"),
    "claims empty text": (claiming((10**12, 2), descr="<U0"), "a matrix .* of numbers"),
    "header that is code": (claiming("__import__('os')"), "no NumPy array .*malformed"),
    "infinite": (npy(np.array([[1, 0], [-np.inf, 1]])), "row 2, column 'x0' .* holds '-inf'"),
    "NaN": (npy(np.array([[1, 0], [np.nan, 1]])), r"'x0' 1 \(first in row 2\)"),
}


def zipped(**members):
    """An archive of the members as they stand."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)
    return stream.getvalue()


NPZ = {
    "empty": (b"", "no .npz file that can be read"),
    "an npy": (npy(MATRIX), "no .npz file that can be read"),
    "no X": (npz(y=LABELS), r"holds no array X"),
    "no y": (npz(X=MATRIX), "target 'y' is not a column"),
    "X of another place": (zipped(**{"..__..__X_npy": npy(MATRIX)}), "holds no array X"),
    "objects": (
        npz(X=MATRIX, y=np.array([{}, 1, 2], object)),
        "array y of .* is no list of labels .*object",
    ),
    "a pickle": (
        zipped(X_npy=pickle.dumps(MATRIX)),
        "array X of .* is no matrix of numbers that can be read",
    ),
    "labels too few": (
        npz(X=MATRIX, y=LABELS[:2]),
        r"array y of .* is no list of labels for X's 3 rows .*: it is of shape",
    ),
    "labels one-hot": (npz(X=MATRIX, y=MATRIX), r"no list of labels for X's 3 rows"),
    "labels infinite": (npz(X=MATRIX, y=np.array([0, np.inf, 1])),
        "row 2, column 'y' .* holds 'inf'"),
    "names too few": (
        npz(X=MATRIX, y=LABELS, feature_names=["u"]),
        "is no list of names for X's 2 columns",
    ),
    "names that are numbers": (
        npz(X=MATRIX, y=LABELS, feature_names=[1, 2]),
        "is no list of names for X's 2 columns",
    ),
    "names twice": (npz(X=MATRIX, y=LABELS, feature_names=["u", "u"]), "two columns named 'u'"),
    "a name like the labels'": (
        npz(X=MATRIX, y=LABELS, feature_names=["u", "y"]), "two columns named 'y'"
    ),
    "text that is none": (
        zipped(X_npy=npy(MATRIX), y_npy=claiming((3,), b"\xff" * 12, "<U1")),
        "array y of .* is no list of labels",
    ),
    "text that is none, the other way round": (
        zipped(X_npy=npy(MATRIX), y_npy=claiming((3,), b"\x00\x13\0a" * 3, ">U1")),
        "array y of .* holds what is no text",
    ),
    "half a pair": (
        zipped(X_npy=npy(MATRIX), y_npy=claiming((3,), b"\x00\xd8\0\0" * 3, "<U1")),
        "array y of .* is no list of labels",
    ),
    "claims 10^12 rows": (zipped(X_npy=claiming((10**12, 8))), "array X .* claims shape"),
    "claims labels of nothing": (
        zipped(X_npy=npy(MATRIX), y_npy=claiming((10**12,), descr="<U0")),
        "array y of .* no list of labels",
    ),
    "a bomb": (npz(X=np.zeros((2**11, 2**10)), y=np.zeros(3)), "takes 0.0156 GiB.*--max-gib"),
    "cut short": (npz(X=MATRIX, y=LABELS)[:-30], "no .npz file that can be read"),
    "a bit flipped": (
        npz(X=MATRIX, y=LABELS)[:100] + b"!!" + npz(X=MATRIX, y=LABELS)[102:],
        "array X of .* is no matrix of numbers that can be read",
    ),
}  # fmt: skip

GOOD = {"x": [1.0, 2.0, 4.0], "y": ["a", "b", "a"]}

# Where the texts of y begin and end, as an Arrow file has them.
OFFSETS = b"".join(end.to_bytes(4, "little") for end in (0, 1, 2, 3))

PARQUET = {
    "empty": (b"", "no Parquet file that can be read"),
    "cut short": (parquet(**GOOD)[:-10], "no Parquet file that can be read"),
    "text": (
        parquet(x=["1", "2", "3"], y=GOOD["y"]),
        "column 'x' .* of type text, not numbers.*--categorical",
    ),
    "pandas' index": (
        parquet(x=[1], y=["a"], __index_level_0__=[0]),
        "no name.*--drop '__index_level_0__'",
    ),
    "nested": (parquet(x=[[1], [2], [3]], y=GOOD["y"]), "column 'x' of .*type list.*--drop 'x'"),
    "dates": (
        parquet(x=pa.array([1, 2, 3], pa.timestamp("s")), y=GOOD["y"]),
        "type timestamp.*--drop",
    ),
    "infinite": (parquet(x=[1, np.inf, 2], y=GOOD["y"]), "row 2, column 'x' .* holds 'inf'"),
    "null": (parquet(x=[1, 2, None], y=["a", None, "b"]), r"'x' 1 \(first in row 3\), 'y' 1"),
    "no rows": (parquet(x=pa.array([], "f8"), y=pa.array([], "str")), "holds no rows"),
    "no columns": (parquet(), "target 'y' is not a column"),
    "no such target": (parquet(x=GOOD["x"]), "target 'y' is not a column of .*: x"),
    "a bomb": (
        parquet(2**21, x=np.zeros(2**21), y=pa.array(["a"]).dictionary_encode().take([0] * 2**21)),
        "takes 0.0156 GiB in memory.*--max-gib",
    ),
}

ARROW = {
    "empty": (b"", "no Arrow file that can be read"),
    "cut short": (arrow(**GOOD)[:-30], "no Arrow file that can be read"),
    "Parquet": (parquet(**GOOD), "no Arrow file that can be read"),
    "text": (arrow(x=["1", "2", "3"], y=GOOD["y"]), "column 'x' .* of type text, not numbers"),
    "nested": (arrow(x=[[1], [2], [3]], y=GOOD["y"]), "column 'x' of .*type list.*--drop 'x'"),
    "infinite": (arrow(x=[1, np.inf, 2], y=GOOD["y"]), "row 2, column 'x' .* holds 'inf'"),
    "null": (arrow(x=[1, 2, None], y=["a", None, "b"]), r"'x' 1 \(first in row 3\), 'y' 1"),
    "an invented offset": (
        arrow(**GOOD).replace(OFFSETS, OFFSETS.replace(b"\x02", b"\x7f")), "no Arrow file .*ffset"
    ),
    "a name that is no text": (
        arrow(name=[1], y=["a"]).replace(b"name", b"n\x89me"), "no Arrow file .*utf-8"
    ),
    "no rows": (arrow(x=pa.array([], "f8"), y=pa.array([], "str")), "holds no rows"),
    "a bomb": (
        arrow("zstd", x=np.zeros(2**20), y=["a"] * 2**20), "a batch of .* takes .*--max-gib"
    ),
}  # fmt: skip

SVMLIGHT = {
    "empty": ("", "holds no rows"),
    "comments only": ("# a\n\n", "holds no rows"),
    "labels only": ("1\n0\n", "holds labels only"),
    "one class": ("1 1:2\n1 2:1\n", "one class only, '1'"),
    "no colon": ("1 1:2\n0 3\n", "line 2 of .*, '0 3', is not svmlight"),
    "negative index": ("1 -1:2\n", "line 1 of .*, '1 -1:2', is not svmlight"),
    "full-width index": ("1 １:2\n", "line 1 of .*, '1 １:2', is not svmlight"),
    "twice": (
        "1 1:2\n0 3:1 3:1\n",
        "line 2 of .*, '0 3:1 3:1', is not svmlight: .*sorted and unique",
    ),
    "unsorted": ("1 3:2 1:1\n", "line 1 of .*, '1 3:2 1:1', is not svmlight: .*sorted and unique"),
    "huge index": ("1 1000000000000:1\n", "line 1 of .* is not svmlight: value too large"),
    "longer than a number": (f"1 {'9' * 30}:1\n", "line 1 of .* is not svmlight: .*too large"),
    "infinite": ("1 1:2\n0 1:inf\n", "line 2 of .*, '0 1:inf', .*not a finite number"),
    "too large": ("1 1:1e400\n", "line 1 of .*, '1 1:1e400', .*not a finite number"),
    "nan": ("1 1:nan\n", "line 1 of .*, '1 1:nan', .*not a finite number"),
    "no value": ("1 1:\n", "line 1 of .*, '1 1:', is not svmlight"),
    "several labels": ("1,2 1:1\n", "line 1 of .*, '1,2 1:1', is not svmlight"),
    "no label": ("1:1 2:1\n", "line 1 of .*, '1:1 2:1', is not svmlight"),
    "NUL": ("1 1:1\n0 1:\0\n", "line 2 of .* is not svmlight"),
    "underscore": ("1 1:1\n0 1:1_0\n", "line 2 of .* holds '_'"),
    "beyond the last index": ("1 1000001:1\n", "line 1 of .* an index beyond the 1000000"),
    "an infinite label": ("1 1:1\n1e400 1:1\n", "line 2 of .*not a finite number"),
    "measurements": ("\n".join(f"{i}.5 1:1" for i in range(150)), "150 different values"),
}

SUFFIX_OF = {
    ".csv": CSV,
    ".npy": NPY,
    ".npz": NPZ,
    ".parquet": PARQUET,
    ".feather": ARROW,
    ".svm": SVMLIGHT,
}
TARGET = {".csv": "y", ".npy": "-1", ".parquet": "y", ".feather": "y"}


@pytest.mark.parametrize(
    ("suffix", "case"), [(suffix, case) for suffix, cases in SUFFIX_OF.items() for case in cases]
)
def test_a_broken_file_is_refused_by_name_and_place(suffix, case, tmp_path):
    content, message = SUFFIX_OF[suffix][case]
    path = put(tmp_path, suffix, content)
    with pytest.raises(ValueError, match=message) as caught:
        read_table(path, TARGET.get(suffix), max_bytes=2**23)
    assert path.name in str(caught.value)
    assert str(caught.value).isprintable()


def test_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "empty.csv").mkdir()
    (tmp_path / "null.csv").symlink_to("/dev/null")
    for name, kind in (("pipe", "a pipe"), ("null", "a device")):
        with pytest.raises(ValueError, match=rf"{name}\.csv is {kind}\. Name a regular file"):
            read_table(tmp_path / f"{name}.csv", "y")
    with pytest.raises(ValueError, match=r"empty\.csv is a folder without a table in it"):
        read_table(tmp_path / "empty.csv", "y")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    for name in ("loop.csv", "nowhere.csv", "table.csv/x.csv"):
        with pytest.raises(OSError, match=name):
            read_table(put(tmp_path, ".csv", "").parent / name, "y")
    with pytest.raises(ValueError, match="is not a path"):
        read_table("a\0.csv", "y")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(tmp_path):
    for suffix in SUFFIX_OF:
        path = put(tmp_path, suffix, "")
        path.chmod(0)
        with pytest.raises(PermissionError, match=path.name):
            read_table(path, TARGET.get(suffix))


def test_an_unknown_format_names_the_known_ones(tmp_path):
    for name in ("table.xlsx", "table.csv.xz", "table.npy.gz", "table"):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(ValueError, match=rf"{name} is of no known format.*\.csv.*\.svm;"):
            read_table(tmp_path / name, "y")


ARGUMENTS = {
    "policy": ({"missing": "guess"}, "missing must be one of refuse, drop, mean, not 'guess'"),
    "drop": ({"drop": ["z"]}, "dropped column 'z' is not a column"),
    "categorical": ({"categorical": ["z"]}, "categorical column 'z' is not a column"),
    "target dropped": ({"drop": ["y"]}, "column 'y' of .* asked for in two ways"),
    "target categorical": ({"categorical": ["y"]}, "column 'y' of .* asked for in two ways"),
    "both": ({"categorical": ["x"], "drop": ["x"]}, "column 'x' of .* asked for in two ways"),
    "nothing left": ({"drop": ["x", "x_1"]}, "no column left"),
    "delimiter": ({"delimiter": ",,"}, "delimiter must be one character"),
    "decimal": ({"decimal": ";"}, "decimal must be '.' or ',', but it is ';'"),
    "a number for na": ({"na": -99}, "na must be text, such as '-99'.* not -99"),
    "numbers to drop": ({"drop": [0]}, r"drop must be names of columns.* not \[0\]"),
    "None to drop": ({"drop": None}, "drop must be names of columns.* not None"),
    "text for a size": ({"max_bytes": "4 GiB"}, "max_bytes must be a positive number.*'4 GiB'"),
    "no categories": ({"max_categories": 0}, "max_categories must be a positive number.* 0"),
    "a number for a delimiter": ({"delimiter": 5}, "delimiter must be one character.* 5"),
    "target by number": ({"target": -1}, "target must be the name of a column.* -1.*: x, x_1, y"),
    "another delimiter": ({"delimiter": ";"}, "target 'y' is not a column"),
    "size": ({"max_bytes": 1}, "takes .* GiB in memory"),
    "colliding names": ({"categorical": ["x"]}, "two columns named 'x=1'"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments_are_refused_by_name(case, tmp_path):
    options, message = ARGUMENTS[case]
    header = "x,x=1,y" if case == "colliding names" else "x,x_1,y"
    path = put(tmp_path, ".csv", f"{header}\n1,2,a\n0,3,b\n")
    with pytest.raises(ValueError, match=message):
        read_table(path, **({"target": "y"} | options))


@pytest.mark.parametrize("table", [pa.table({"x": [1], "y": [0]}), {"x": [1]}, io.StringIO("x,y")])
def test_a_table_in_memory_needs_no_reader(table):
    kind = type(table).__name__
    with pytest.raises(ValueError, match=f"path must name a file, but it is of type {kind}.*fit"):
        read_table(table, "y")


def test_a_target_where_there_is_none_to_name(tmp_path):
    with pytest.raises(ValueError, match="table.svm is svmlight: its labels stand first"):
        read_table(put(tmp_path, ".svm", "1 1:1\n"), "y")
    with pytest.raises(ValueError, match=r"table.npy needs a target \(--target NAME\)"):
        read_table(put(tmp_path, ".npy", npy(MATRIX)))
    with pytest.raises(ValueError, match="index of a column of .*table.npy, from 0 to 1.*'2'"):
        read_table(put(tmp_path, ".npy", npy(MATRIX)), "2")
    with pytest.raises(ValueError, match="delimiter is for CSV files"):
        read_table(put(tmp_path, ".npy", npy(MATRIX)), "1", delimiter=",")
    with pytest.raises(ValueError, match="decimal is for CSV files"):
        read_table(put(tmp_path, ".npy", npy(MATRIX)), "1", decimal=",")
    for target in (2, 1.0, -3):
        with pytest.raises(ValueError, match=rf"from 0 to 1, but it is {target}"):
            read_table(put(tmp_path, ".npy", npy(MATRIX)), target)


def test_gaps_that_leave_nothing(tmp_path):
    path = put(tmp_path, ".csv", "u,x,y\n1,,a\n2,,b\n")
    with pytest.raises(ValueError, match="every row of .* has a missing value.*--drop"):
        read_table(path, "y", missing="drop")
    with pytest.raises(ValueError, match="no value at all in the columns x.*--drop 'x'"):
        read_table(path, "y", missing="mean")


def test_a_row_that_runs_on_for_ever_is_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(table_source, "LONGEST_LINE", 1000)
    monkeypatch.setattr(table_source, "batch_rows", lambda num_columns: 60)
    monkeypatch.setattr(array_formats, "_BLOCK_BYTES", 1000)
    with pytest.raises(ValueError, match="line 2 of .* has more than 1000 characters"):
        read_table(put(tmp_path, ".csv", "x,y\n" + "1," * 1000), "y")
    long = 'x,y\n1,"' + "aaaaaaaaa\n" * 300 + '"\n'
    with pytest.raises(ValueError, match="holds a row of more than .* bytes"):
        read_table(put(tmp_path, ".csv", long), "y")
    with pytest.raises(ValueError, match="holds a row of more than .* bytes"):
        read_table(put(tmp_path, ".svm", "1 1:1" + "0" * 3000 + "\n"))


MISSING_LIBRARY = {
    ".csv": ("pyarrow", "x,y\n1,a\n2,b\n", "tables"),
    ".parquet": ("pyarrow", parquet(**GOOD), "tables"),
    ".feather": ("pyarrow", arrow(**GOOD), "tables"),
    ".svm": ("sklearn.datasets", "1 1:2\n0 1:3\n", "sklearn"),
}


@pytest.mark.parametrize("suffix", MISSING_LIBRARY)
def test_a_missing_library_is_named_with_its_extra(suffix, tmp_path, monkeypatch):
    library, content, extra = MISSING_LIBRARY[suffix]
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ValueError, match=rf"pip install 'jax-logreg\[{extra}\]'") as caught:
        read_table(put(tmp_path, suffix, content), TARGET.get(suffix))
    assert f"table{suffix} needs " in str(caught.value)


def test_the_command_line_says_it_in_one_line(tmp_path, capsys):
    for suffix, target in ((".csv", "y"), (".npy", "0"), (".parquet", "y")):
        path = put(tmp_path, suffix, b"\xff\xfe\x00\x01" * 10)
        assert main(["fit", str(path), "--target", target, "--json"]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        assert path.name in printed.err

import numpy as np
import pytest

from jax_logreg.interfaces.readers import load_embedded, read_csv


@pytest.mark.parametrize(
    ("name", "shape", "counts"),
    [("breast-cancer", (569, 30), [357, 212]), ("iris", (150, 4), [50, 50, 50])],
)
def test_the_embedded_sets(name, shape, counts):
    table = load_embedded(name)
    assert table.X.shape == shape
    np.testing.assert_array_equal(np.bincount(table.y), counts)
    assert len(table.feature_names) == shape[1]


def test_the_embedded_sets_are_scikit_learns():
    from sklearn.datasets import load_breast_cancer, load_iris

    np.testing.assert_array_equal(load_embedded("iris").X, load_iris().data)
    theirs = load_breast_cancer()
    np.testing.assert_array_equal(load_embedded("breast-cancer").X, theirs.data)
    np.testing.assert_array_equal(load_embedded("breast-cancer").y, 1 - theirs.target)


def write(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_of_ones_own(tmp_path):
    text = "\ufeffage, group ,dose\n30,b, 1.5\n40,a,2e1\n\n50,b,-3\n"
    table = read_csv(write(tmp_path, text), "group")
    np.testing.assert_array_equal(table.X, [[30, 1.5], [40, 20], [50, -3]])
    assert table.feature_names == ["age", "dose"]
    assert table.class_names == ["a", "b"]
    np.testing.assert_array_equal(table.y, [1, 0, 1])


def test_numeric_classes_sort_as_numbers(tmp_path):
    text = "x,y\n1,10\n2,9\n3,10\n"
    assert read_csv(write(tmp_path, text), "y").class_names == ["9", "10"]


BAD = {
    "empty": ("", "y", "holds no rows"),
    "header only": ("x,y\n", "y", "holds no rows"),
    "unknown target": ("x,y\n1,2\n", "z", r"'z' is not a column.*x, y"),
    "text cell": ("x,y\n1,a\nabc,b\n", "y", r"row 2, column 'x'.*'abc', which is not a finite"),
    "gap": ("x,y\n1,a\n,b\n", "y", r"row 2, column 'x'.*is empty.*impute"),
    "nan": ("x,y\nnan,a\n1,b\n", "y", r"row 1, column 'x'.*'nan'"),
    "infinity": ("x,y\ninf,a\n1,b\n", "y", r"row 1, column 'x'.*'inf'"),
    "ragged": ("x,y\n1,a\n1,b,c\n", "y", r"row 2.*3 cells, but the header has 2"),
    "no label": ("x,y\n1,a\n2,\n", "y", r"row 2, column 'y'.*is empty"),
    "one class": ("x,y\n1,a\n2,a\n", "y", r"one class only, 'a'"),
    "no features": ("y\na\nb\n", "y", r"no column besides"),
    "twice": ("x,x,y\n1,2,a\n1,2,b\n", "y", r"two columns named 'x'"),
    "a measurement": (
        "x,y\n" + "".join(f"{i},{i}.5\n" for i in range(200)), "y", r"200 different values"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_by_place(case, tmp_path):
    text, target, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        read_csv(write(tmp_path, text), target)


def test_an_unknown_embedded_set():
    with pytest.raises(ValueError, match=r"breast-cancer, iris.*'titanic'"):
        load_embedded("titanic")

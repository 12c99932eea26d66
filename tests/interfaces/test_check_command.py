import json
import math
import sys

import numpy as np
import pytest

from jax_logreg.interfaces import commands, plot_style, plots, report
from jax_logreg.interfaces.cli import main
from jax_logreg.interfaces.formula_audits import check_own_formulas

GOOD = """\
from jax import hessian
from jax.numpy import *
import numpy

X = numpy.arange(6.0).reshape(3, 2) / 5
print("a word of the file's own")

at, names, args = numpy.ones(2), ["age", "dose"], (X,)

def value(w, X):
    return sum(log1p(exp(X @ w)))

def gradient(w, X):
    return X.T @ (1 / (1 + exp(-X @ w)))
"""
WRONG = """
at_cubes = (array([1.0, 2.0]), 3.0)
value_cubes = lambda t: sum(t[0] ** 3) + t[1] ** 3
def gradient_cubes(t):
    return 3 * t[0] ** 2, 6 * t[1] ** 2
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def to_file(text):
        (tmp_path / "mine.py").write_text(text, encoding="utf-8")
        return "mine.py"

    return to_file


@pytest.fixture(scope="module")
def own_tables():
    return check_own_formulas(0, lambda *what: None)


def test_a_right_file_ends_with_zero_and_its_prints_stay_out_of_the_report(write, capsys):
    before = list(sys.path), set(sys.modules)
    assert main(["check", write(GOOD)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("value (mine.py, line 10)\n")
    assert "gradient: right" in printed.out
    assert "the file's own" in printed.err
    assert list(sys.path) == before[0]
    assert not [name for name in set(sys.modules) - before[1] if "mine" in name]


def test_groups_names_json_and_picture_of_a_wrong_file(write, tmp_path, capsys):
    arguments = ["check", write(GOOD + WRONG), "--json", "--seed", "3", "--plot", "a.png"]
    assert main(arguments) == 1
    printed = capsys.readouterr()
    report = json.loads(printed.out, parse_constant=lambda word: pytest.fail(word))
    assert (report["ok"], report["seed"]) == (False, 3)
    assert {name: group["ok"] for name, group in report["groups"].items()} == {
        "value": True, "value_cubes": False,
    }  # fmt: skip
    assert report["groups"]["value"]["checks"][0]["worst"][0]["name"] in ("age", "dose")
    wrong = report["groups"]["value_cubes"]
    assert wrong["checks"][0]["num_wrong"] == 1
    assert math.isfinite(wrong["differences"]["best_error"])
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "wrote a.png" in printed.err


BAD = {
    "no file": (None, "nowhere.py"),
    "empty": ("", "mine.py defines no value"),
    "no value": ("at = 1.0\ndef gradient(t): return t", "line 2: gradient has no value"),
    "no derivative": ("at = 1.0\ndef value(t): return t", "line 2: value has no derivative"),
    "no point": (
        "def value_a(t): return t\ndef hvp_a(t, v): return v",
        "line 1: value_a has no point; define at_a",
    ),
    "no such module": ("\n\nimport no_such_module_at_all", "mine.py, line 3: ModuleNotFoundError"),
    "raises": ("def f():\n    return 1 / 0\nf()", "mine.py, line 2: ZeroDivisionError"),
    "no python": ("at = 1\nvalue = (", "mine.py, line 2: SyntaxError"),
    "ends itself": ("import sys\nsys.exit(0)", "mine.py, line 2: SystemExit"),
    "point of words": (
        "at = 'x'\ndef value(t): return t\ndef gradient(t): return t",
        "mine.py, line 2: at= must",
    ),
    "args is an array": (
        "import numpy as np\nat = np.ones(2)\nargs = np.ones(2)\n"
        "def value(t, x): return t @ x\ndef gradient(t, x): return x",
        "line 4: args= must be a tuple",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_cannot_be_used_ends_with_two_and_one_line(case, write, capsys):
    text, message = BAD[case]
    assert main(["check", "nowhere.py" if text is None else write(text)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_own_formulas_are_printed_in_eighty_columns(own_tables, monkeypatch, capsys):
    monkeypatch.setattr(commands, "check_own_formulas", lambda *_: own_tables)
    assert main(["check"]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    for words in ("breast-cancer", "iris", "article: Softmax", "wrong: shape", "all agree"):
        assert words in printed
    assert "0 not as expected" in printed
    assert "(!)" not in printed


def test_own_formulas_as_json(own_tables, monkeypatch, capsys):
    monkeypatch.setattr(commands, "check_own_formulas", lambda *_: own_tables)
    assert main(["check", "--json"]) == 0
    report = json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(word))
    assert [table["data"] for table in report["tables"]] == ["breast-cancer", "iris"]
    texts = [entry for table in report["tables"] for entry in table["texts"]]
    assert all(entry["name"] and entry["domain"] for entry in texts)
    shapeless = next(entry for entry in texts if entry["verdict"] == "wrong: shape")
    assert shapeless["relative"] is None
    for table in report["tables"]:
        assert all(c["agrees"] for audit in table["derivatives"].values() for c in audit)


@pytest.mark.parametrize("planted", ["verdict", "derivative"])
def test_anything_unexpected_fails(own_tables, monkeypatch, capsys, planted):
    table, iris = own_tables
    if planted == "verdict":
        texts = [table.texts[0]._replace(verdict="wrong: sign"), *table.texts[1:]]
        spoiled = table._replace(texts=texts)
    else:
        first, *rest = table.audits["float32"]
        audits = table.audits | {"float32": [first._replace(agrees=False), *rest]}
        spoiled = table._replace(audits=audits)
    monkeypatch.setattr(commands, "check_own_formulas", lambda *_: [spoiled, iris])
    assert main(["check"]) == 1
    printed = capsys.readouterr().out
    expected = "wrong: sign, expected right" if planted == "verdict" else "differ: dσ/dz"
    assert expected in printed


def test_help_tells_the_convention_and_that_the_file_is_run(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    for words in ("examples:", "THE FILE IS RUN", "hvp(theta, v, *args)", "exit status"):
        assert words in printed


def test_missing_extras_are_named(write, monkeypatch, capsys):
    monkeypatch.setattr(report, "HAS_RICH", False)
    assert main(["check"]) == 2
    assert "pip install 'jax-logreg[cli]'" in capsys.readouterr().err
    monkeypatch.setattr(plot_style, "HAS_MATPLOTLIB", False)
    assert main(["check", write(GOOD), "--plot", "x.png"]) == 2
    assert "pip install 'jax-logreg[plot]'" in capsys.readouterr().err


def test_a_picture_without_differences_and_with_numbers_missing(tmp_path):
    from jax_logreg import check_derivatives

    jacobian = check_derivatives(
        lambda t: t**2, jacobian=lambda t: np.diag([2 * t[0], np.nan]), at=np.ones(2)
    )
    nothing = check_derivatives(lambda t: t @ t, gradient=lambda t: None, at=np.ones(2))
    figure = plots.plot_reports({"jacobian": jacobian, "nothing": nothing})
    plot_style.save_figure(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000

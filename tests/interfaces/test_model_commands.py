"""The commands that take a saved model: predict, info, export."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import jax
import numpy as np
import onnx
import pyarrow
import pytest
from jax import export
from onnx.reference import ReferenceEvaluator
from pyarrow import parquet

import jax_logreg as lr
from jax_logreg import Model
from jax_logreg.interfaces import cli, files, table_source
from jax_logreg.interfaces.cli import main
from jax_logreg.interfaces.encoding import Column, Encoding

TWO = Model([0.5, -2.0], 0.1, classes=["no", "jä"], feature_names=["age", "dose"], center=[50, 0.0])
ENCODING = Encoding((Column("age", fill=40.0), Column("sex", ("f", "m"))))
KINDS = Model(
    [[0.1, 0.0, -0.1], [1.0, -1.0, 0.5]], [0.0, 0.5, 1.0], classes=[1, 2, 3], encoding=ENCODING
)
ROWS = np.array([[50.0, 0.1], [61.5, 2.0], [1e-3, -7.25]])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    TWO.save("two.model")
    KINDS.save("kinds.model")
    # Other columns, and the model's in another order.
    lines = [f"{dose!r}, {age!r},p{i}" for i, (age, dose) in enumerate(ROWS.tolist())]
    (tmp_path / "rows.csv").write_text("\n".join(["dose, age ,id", *lines]), encoding="utf-8-sig")
    (tmp_path / "kinds.csv").write_text("sex,age\nm,30\nf,\n")
    return tmp_path


def predict(*arguments):
    return main(["predict", *arguments])


def test_csv_has_every_digit_and_the_input_columns_are_matched_by_name(folder, capfdbinary):
    assert predict("two.model", "rows.csv", "--out", "out.csv") == 0
    text = (folder / "out.csv").read_bytes()
    lines = list(csv.DictReader(io.StringIO(text.decode())))
    assert list(lines[0]) == ["predicted", "probability_no", "probability_jä"]
    assert [line["predicted"] for line in lines] == TWO.predict(ROWS).tolist()
    found = [[float(line["probability_no"]), float(line["probability_jä"])] for line in lines]
    assert found == TWO.probability(ROWS).tolist()
    printed = capfdbinary.readouterr()
    assert printed.out == b""
    assert printed.err == b"not used, of rows.csv: id\n"
    assert predict("two.model", "rows.csv", "--out", "-") == 0
    assert capfdbinary.readouterr().out == text


def test_parquet_in_and_out_with_categories_and_a_gap(folder):
    table = pyarrow.table({"sex": ["m", "f"], "age": [30.0, None]})
    parquet.write_table(table, "kinds.parquet")
    X = np.array([[30.0, 1.0], [40.0, 0.0]])
    for source in ("kinds.csv", "kinds.parquet"):
        assert predict("kinds.model", source, "--out", "out.parquet") == 0
        found = parquet.read_table("out.parquet").to_pydict()
        assert found.pop("predicted") == KINDS.predict(X).tolist()
        assert np.transpose(list(found.values())).tolist() == KINDS.probability(X).tolist()
    parquet.write_table(table.slice(0, 0), "none.parquet")
    assert predict("kinds.model", "none.parquet", "--out", "out.parquet") == 0
    assert parquet.read_table("out.parquet").schema.field("predicted").type == pyarrow.int64()


def test_rows_are_predicted_in_chunks(folder, monkeypatch):
    monkeypatch.setattr(table_source, "batch_rows", lambda num_columns: 2)
    assert predict("two.model", "rows.csv", "--out", "out.csv") == 0
    found = [
        float(line.split(",")[1])
        for line in (folder / "out.csv").read_text("utf-8").splitlines()[1:]
    ]
    np.testing.assert_allclose(found, TWO.probability(ROWS)[:, 0], rtol=1e-15)
    with open("rows.csv", "a") as file:
        file.write("\n1,oops,p3")
    os.remove("out.csv")
    assert predict("two.model", "rows.csv", "--out", "out.csv") == 2
    assert not [name for name in os.listdir() if "out" in name or "part" in name]


def test_only_a_header_gives_only_a_header(folder):
    (folder / "none.csv").write_text("age,dose\n")
    assert predict("two.model", "none.csv", "--out", "out.csv") == 0
    assert (folder / "out.csv").read_text("utf-8") == "predicted,probability_no,probability_jä\n"


BAD = {
    "a column is missing": ("age,x\n1,2", "lacks 1 of the model's 2 columns: dose. Its columns"),
    "an empty file": ("", "is empty"),
    "a column twice": ("age,dose,age\n1,2,3", "two columns named 'age'"),
    "ragged": ("age,dose\n1,2\n1", "line 3 of bad.csv has 1 cell"),
    "text": ("age,dose\n1,2\n1,two", "line 3, column 'dose' of bad.csv holds 'two'"),
    "too large": ("age,dose\n1e400,2", "line 2, column 'age' of bad.csv holds '1e400'"),
    "a gap": ("age,dose\n1,", "line 2, column 'dose' of bad.csv is missing"),
    "a huge cell": ("age,dose\n1," + "2" * 200_000, "line 2"),
    "not UTF-8": (b"age,dose\n1,\xff", "line 2 of bad.csv is not UTF-8"),
    "a logit beyond": ("age,dose\n1e308,-1e308", "row 0 of X has no finite logit"),
}


@pytest.mark.parametrize("case", BAD)
def test_files_that_do_not_fit_are_refused_in_one_line(case, folder, capsys):
    contents, message = BAD[case]
    contents = contents if isinstance(contents, bytes) else contents.encode()
    (folder / "bad.csv").write_bytes(contents)
    (folder / "out.csv").write_text("as before")
    assert predict("two.model", "bad.csv", "--out", "out.csv") == 2
    printed = capsys.readouterr().err.splitlines()[-1]
    assert printed.startswith("jax-logreg: error: ")
    assert message in printed
    assert (folder / "out.csv").read_text() == "as before"


REFUSED = {
    "a category of its own": (
        ("kinds.model", "bad.csv"),
        "holds 'x', a category",
    ),
    "no such file": (("two.model", "nowhere.csv"), "nowhere.csv"),
    "no such model": (("nowhere.model", "rows.csv"), "nowhere.model"),
    "no model": (("rows.csv", "rows.csv"), "rows.csv: this is not a model file"),
    "no Parquet": (("two.model", "bad.parquet"), "bad.parquet is no Parquet file"),
    "another ending": (("two.model", "rows.csv", "--out", "x.txt"), "must end in .csv"),
    "itself": (("two.model", "rows.csv", "--out", "rows.csv"), "is rows.csv itself"),
    "no folder": (("two.model", "rows.csv", "--out", "no/x.csv"), "no folder 'no'"),
    "a folder": (("two.model", "rows.csv", "--out", "folder.csv"), "is a folder"),
    "mixed classes": (("mixed.model", "rows.csv", "--out", "x.parquet"), "use CSV"),
    "the same in words": (("same.model", "rows.csv"), "two of the model's classes read the same"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_by_name(case, folder, capsys):
    arguments, message = REFUSED[case]
    (folder / "bad.csv").write_text("sex,age\nx,1\n")
    (folder / "bad.parquet").write_text("sex,age\nx,1\n")
    (folder / "folder.csv").mkdir()
    Model([1.0, 2.0], 0.0, feature_names=["age", "dose"], classes=[1, "a"]).save("mixed.model")
    Model([1.0, 2.0], 0.0, feature_names=["age", "dose"], classes=[1, "1"]).save("same.model")
    arguments = arguments if "--out" in arguments else [*arguments, "--out", "new.csv"]
    assert predict(*arguments) == 2
    assert message in capsys.readouterr().err.replace(f"{folder}/", "")
    assert not [name for name in os.listdir() if name in ("new.csv", "x.parquet")]
    assert not [name for name in os.listdir() if name.endswith(".part")]


def test_an_interrupt_leaves_what_was_there(folder, monkeypatch, capsys):
    def interrupted(self, X):
        raise KeyboardInterrupt

    (folder / "out.csv").write_text("as before")
    monkeypatch.setattr(Model, "probability", interrupted)
    assert predict("two.model", "rows.csv", "--out", "out.csv") == 130
    assert "interrupted" in capsys.readouterr().err
    assert (folder / "out.csv").read_text() == "as before"
    assert not [name for name in os.listdir() if name.endswith(".part")]


def test_a_termination_signal_leaves_no_partial_file(tmp_path):
    with pytest.raises(SystemExit) as stop, files.atomic_write(tmp_path / "out"):
        cli._exit_on_signal(signal.SIGTERM, None)
    assert stop.value.code == 128 + signal.SIGTERM
    assert os.listdir(tmp_path) == []


def test_an_interrupt_lost_in_the_garbage_collector_is_repeated(monkeypatch):
    again = threading.Event()
    monkeypatch.setattr(signal, "raise_signal", lambda number: again.set())
    cli._repeat_interrupt(SimpleNamespace(exc_type=KeyboardInterrupt))
    assert again.wait(60)


def test_a_pipe_that_closes_early_ends_the_command_quietly(folder):
    """The pipe is closed before the first row comes: Python's own words would be a traceback."""
    (folder / "many.csv").write_text("age,dose\n" + "1,2\n" * 2_000)
    command = [sys.executable, "-m", "jax_logreg", "predict", "two.model", "many.csv", "--out", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        run.stdout.close()
        assert run.stderr.read() == b""
    assert run.returncode == 0


def test_a_model_of_a_failed_fit_comes_with_a_warning(folder, capsys):
    Model([1.0], 0.0, feature_names=["age"], training={"status": "MAX_STEPS"}).save("odd.model")
    assert predict("odd.model", "rows.csv", "--out", "-") == 0
    assert "its fit ended MAX_STEPS" in capsys.readouterr().err


def test_info_shows_the_model_in_eighty_columns(folder, capsys):
    assert main(["info", "kinds.model"]) == 0
    printed = capsys.readouterr().out
    for words in ("softmax model of 2 features", "classes: 1, 2, 3", "sex=m", "(intercept)"):
        assert words in printed
    assert max(map(len, printed.splitlines())) <= 80
    assert main(["info", "two.model"]) == 0
    assert "-24.9000" in capsys.readouterr().out  # at zero: 0.1 − 50 · 0.5
    assert main(["info", "two.model", "--json"]) == 0
    assert Model.from_json(capsys.readouterr().out).coef.tolist() == [0.5, -2.0]
    assert main(["info", "rows.csv"]) == 2


@pytest.mark.parametrize("name", ["two", "kinds"])
def test_exports_predict_as_the_model_does(name, folder):
    model = {"two": TWO, "kinds": KINDS}[name]
    for kind in ("stablehlo", "onnx", "json"):
        assert main(["export", f"{name}.model", "--to", kind, "--out", f"out.{kind}"]) == 0
    expected = model.probability(ROWS)
    with jax.enable_x64(True):
        program = export.deserialize(bytearray((folder / "out.stablehlo").read_bytes()))
        found = np.asarray(program.call(ROWS))
    assert set(program.platforms) >= {"cpu", "cuda"}
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    graph = onnx.load("out.onnx")
    given = {prop.key: json.loads(prop.value) for prop in graph.metadata_props}
    assert given["feature_names"] == list(model.feature_names)
    assert given["classes"] == [str(label) for label in model.classes.tolist()]
    np.testing.assert_allclose(
        ReferenceEvaluator(graph).run(None, {"X": ROWS})[0], expected, rtol=1e-14
    )
    assert Model.from_json((folder / "out.json").read_text()).coef.tolist() == model.coef.tolist()


def test_exports_in_float32_and_what_they_need(monkeypatch):
    program = io.BytesIO()
    TWO.export_stablehlo(program, "float32")
    found = export.deserialize(bytearray(program.getvalue())).call(ROWS.astype(np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, TWO.probability(ROWS), rtol=1e-5)
    with pytest.raises(ValueError, match="dtype must be one of"):
        TWO.export_onnx(io.BytesIO(), "float16")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ValueError, match=r"pip install 'jax-logreg\[export\]'"):
        TWO.export_onnx("x.onnx")


@pytest.mark.parametrize("command", ["predict", "info", "export"])
def test_help_fits_eighty_columns_and_has_examples(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "examples:" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"jax-logreg {lr.__version__}\n"


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *given: False)
    with pytest.raises(ValueError, match="cannot be written to"):
        files.check_can_write(tmp_path / "x")

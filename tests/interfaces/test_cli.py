import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import jax_logreg as lr
from jax_logreg import Model
from jax_logreg.fitting.column_scaling import standardize
from jax_logreg.interfaces import plot_style, report
from jax_logreg.interfaces.cli import enable_compilation_cache, main
from jax_logreg.interfaces.tables import read_table


@pytest.fixture(scope="module")
def small_csv(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("cli") / "small.csv"
    rows = [f"{a:.3f},{b:.3f},{'yes' if c > 0 else 'no'}" for a, b, c in rng.normal(size=(40, 3))]
    path.write_text("\n".join(["first,second,answer", *rows]))
    return str(path)


def test_the_main_job_in_a_process_of_its_own():
    """What the README's first command types: no argument, and everything is printed."""
    environment = {**os.environ, "COLUMNS": "200", "PYTHONWARNINGS": "error"}
    run = subprocess.run(
        [sys.executable, "-m", "jax_logreg", "fit"],
        capture_output=True, text=True, env=environment, encoding="utf-8",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert max(map(len, run.stdout.splitlines())) <= 80
    for words in (
        "569 rows, 30 features", "L2 strength 0.01", "gradient descent", "Optax Adam",
        "Optax L-BFGS", "Newton", "worst_concavity", "all agree", "float32", "converged",
    ):  # fmt: skip
        assert words in run.stdout
    assert "DIFFER" not in run.stdout


def test_iris_without_a_penalty_says_why_there_is_no_answer(capsys):
    assert main(["fit", "--data", "iris", "--l2", "0", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert {t["status"] for t in report["trainings"]} == {"SEPARATED"}
    assert all("add a penalty (--l2 0.01)" in t["message"] for t in report["trainings"])
    assert all("columns sepal_length, " in t["message"] for t in report["trainings"])


def test_json_is_whole_and_agrees_with_itself(small_csv, tmp_path, capsys):
    saved = str(tmp_path / "my.model")
    command = ["fit", small_csv, "--target", "answer", "--json", "--tol", "1e-7", "--save", saved]
    assert main(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["data"]["classes"] == ["no", "yes"]
    assert report["settings"]["l2"] == 0.01
    assert all(c["agrees"] for dtype in ("float64", "float32") for c in report["audit"][dtype])
    for training in report["trainings"]:
        assert training["converged"]
        assert len(training["history"]["objective"]) == training["num_steps"] + 1
        assert training["gradient_norm"] <= 1e-7
        np.testing.assert_allclose(training["coef"], report["trainings"][-1]["coef"], atol=1e-4)
    best = next(t for t in report["trainings"] if t["solver"] == report["best"])
    model, X = Model.load(saved), read_table(small_csv, "answer").X
    logits = standardize(X)[0] @ best["coef"] + best["intercept"]
    np.testing.assert_allclose(model.logits(X), logits, rtol=0, atol=1e-14)
    assert model.classes.tolist() == ["no", "yes"]
    assert model.feature_names == ("first", "second")
    assert model.training["solver"] == report["best"]


def test_the_options_reach_the_training(small_csv, capsys):
    arguments = "--derivatives autodiff --dtype float32 --no-intercept --no-standardize --l2 0.1"
    assert main(["fit", small_csv, "--target", "answer", "--json", *arguments.split()]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["settings"]["derivatives"] == "autodiff"
    assert report["data"]["scale"] == [1, 1]
    assert all(t["intercept"] == 0 for t in report["trainings"])


def test_the_plot_is_drawn_and_the_step_limit_is_reported(small_csv, tmp_path, capsys):
    plot = tmp_path / "training.png"
    arguments = ["fit", small_csv, "--target", "answer", "--plot", str(plot)]
    assert main([*arguments, "--max-steps", "2", "--save", str(tmp_path / "model")]) == 1
    assert plot.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr()
    assert "max_steps" in printed.out
    assert "The step limit was reached" in printed.out
    assert "no model saved" in printed.err
    assert not (tmp_path / "model").exists()


def test_names_in_brackets_and_many_classes_are_printed_whole(tmp_path, capsys):
    rng = np.random.default_rng(0)
    path = tmp_path / "table.csv"
    rows = [f"{a:.3f},5.0,c{i % 7}" for i, a in enumerate(rng.normal(size=70))]
    path.write_text("\n".join(["length [/mm],[b]weight,kind", *rows]))
    assert main(["fit", str(path), "--target", "kind"]) == 0
    printed = capsys.readouterr().out
    assert "length [/mm]" in printed
    assert "[b]weight" in printed
    assert all(f"c{k}" in printed for k in range(7))
    assert "0.0000" in printed  # a constant column gets no coefficient
    assert max(map(len, printed.splitlines())) <= 80


def test_standardizing_survives_constants_and_huge_numbers():
    X = np.column_stack([np.full(9, 0.1), np.arange(9) * 1e160, np.arange(9.0)])
    scaled, center, scale = standardize(X)
    np.testing.assert_array_equal(scaled[:, 0], 0)
    np.testing.assert_allclose(scaled[:, 1], scaled[:, 2], rtol=1e-14)
    np.testing.assert_allclose(center, [0.1, 4e160, 4], rtol=1e-15)
    np.testing.assert_allclose(scale, [1, np.arange(9).std() * 1e160, np.arange(9).std()])


BAD = {
    "no such file": (["nowhere.csv", "--target", "y"], "nowhere.csv"),
    "target of nothing": (["--target", "y"], "--target goes with a file"),
    "categories of nothing": (["--categorical", "auto"], "--categorical goes with a file"),
    "both": (["x.csv", "--data", "iris"], "not both"),
    "plot's ending": (["--plot", "x.txt"], "must end in .png"),
    "model's folder": (["--save", "no/such/model"], "no folder"),
    "plot's folder": (["--plot", "no/such/x.png"], "no folder"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_status_two_and_one_line(case, capsys):
    arguments, message = BAD[case]
    assert main(["fit", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_a_file_without_a_target_and_a_bad_delimiter(small_csv, capsys):
    for more in (["--json"], ["--json", "--target", "answer", "--delimiter", "ab"]):
        assert main(["fit", small_csv, *more]) == 2
    printed = capsys.readouterr().err
    assert "small.csv needs a target (--target NAME)" in printed
    assert "delimiter must be one character such as ',', ';' or a tab, but it is 'ab'" in printed


def test_gaps_categories_and_identifiers(tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows = [f"{i}\t{x:.2f}\t{'fm'[i % 2]}\t{'yes' if y > 0 else 'no'}"
            for i, (x, y) in enumerate(rng.normal(size=(40, 2)))]  # fmt: skip
    path = tmp_path / "table.tsv"
    path.write_text("\n".join(["id\tx\tsex\ty", *rows, "40\t\tf\tyes"]))
    command = ["fit", str(path), "--target", "y", "--json", "--max-steps", "2"]
    options = ["--drop", "id", "--categorical", "auto", "--delimiter", "tab", "--missing", "drop"]
    assert main([*command, "--missing", "mean"]) == 2
    assert "--categorical 'sex' would one-hot encode it" in capsys.readouterr().err
    main([*command, *options])
    printed = capsys.readouterr()
    data = json.loads(printed.out)["data"]
    assert data["features"] == ["x", "sex=m"]
    assert data["encoding"][1] == {"name": "sex", "categories": ["f", "m"], "fill": None}
    assert data["dropped_rows"] == 1
    assert "left out 1 rows with missing values" in printed.err
    assert "sex: 2 categories, reference f" in printed.err


def test_a_table_of_another_country(tmp_path, capsys):
    rows = [f"{i};{i},5;{['DE', 'FR', 'NA'][i % 3]};{'yn'[i % 7 > 3]}" for i in range(40)]
    path, saved = tmp_path / "table.csv", tmp_path / "my.model"
    path.write_text("\n".join([";income;country;y", *rows]))
    command = ["fit", str(path), "--target", "y", "--categorical", "auto", "--json"]
    assert main(command) == 2
    assert "--drop '' leaves it out" in capsys.readouterr().err
    command += ["--drop", "", "--save", str(saved)]
    assert main(command) == 2
    assert "'0,5', which is no category. It has a decimal comma: --decimal ," in (
        capsys.readouterr().err
    )
    assert main([*command, "--decimal", ",", "--na", "", "--tol", "1e-6"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert data["features"] == ["income", "country=FR", "country=NA"]
    assert main(["predict", str(saved), str(path), "--decimal", ",", "--out", "-"]) == 0
    assert main(["fit", "--na", "-99"]) == 2
    assert "--na goes with a file" in capsys.readouterr().err


def test_output_that_is_no_utf_8_loses_signs_and_no_result(tmp_path):
    """As in a pipe of Windows, and in cron."""
    model, rows = tmp_path / "größe.model", tmp_path / "rows.csv"
    Model([1.0, 2.0], 0.0, classes=["nein", "ja"], feature_names=["größe", "σ"]).save(model)
    rows.write_text("größe,σ\n1,2\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}

    def output(*command):
        run = subprocess.run(
            [sys.executable, "-m", "jax_logreg", *command], capture_output=True, env=environment
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    assert "gr??e" in output("info", model).decode("ascii")
    document = json.loads(output("info", model, "--json").decode("ascii"))
    assert document["coef"] == {"größe": 1.0, "σ": 2.0}
    assert output("predict", model, rows, "--out", "-").startswith(b"predicted,probability_nein")


@pytest.mark.parametrize(
    "option", [["--l2", "-1"], ["--l2", "nan"], ["--tol", "0"], ["--max-steps", "1.5"]]
)
def test_bad_numbers_are_refused_by_name(option, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", *option])
    assert stop.value.code == 2
    assert f"argument {option[0]}: must be a" in capsys.readouterr().err


def test_help_fits_eighty_columns_and_has_examples(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    printed = capsys.readouterr().out
    assert "examples:" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_missing_extras_are_named(monkeypatch, capsys):
    monkeypatch.setattr(report, "HAS_RICH", False)
    assert main(["fit"]) == 2
    assert "pip install 'jax-logreg[cli]'" in capsys.readouterr().err
    monkeypatch.setattr(plot_style, "HAS_MATPLOTLIB", False)
    assert main(["fit", "--json", "--plot", "x.png"]) == 2
    assert "pip install 'jax-logreg[plot]'" in capsys.readouterr().err


def test_inference_is_printed_and_drawn(small_csv, tmp_path, capsys):
    plot = tmp_path / "inference.png"
    command = ["fit", small_csv, "--target", "answer", "--inference-plot", str(plot)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    for words in (
        "std. error",
        "McFadden",
        "log-odds of yes per unit of the column, no penalty",
        "training",
        "intercept",
    ):
        assert words in printed
    assert plot.stat().st_size > 10_000


def test_inference_says_why_there_is_none(capsys):
    assert main(["fit", "--data", "iris", "--inference", "--json", "--tol", "1e-4"]) == 0
    inference = json.loads(capsys.readouterr().out)["inference"]
    assert "of each class against setosa" in inference["terms"]
    assert "separated" in inference["message"]
    assert "add a penalty (--inference-l2 0.01)" in inference["message"]


@pytest.mark.parametrize("intercept", [[], ["--no-intercept"]])
@pytest.mark.parametrize(("strength", "words"), [("0", "no penalty"), ("0.1", "L2 strength 0.1")])
def test_inference_is_of_a_fit_of_its_own_in_the_columns_units(
    strength, words, intercept, small_csv, capsys
):
    """Whatever the strength that the solvers are given."""
    command = ["fit", small_csv, "--target", "answer", "--json", "--l2", "3", *intercept]
    assert main([*command, "--inference", "--inference-l2", strength]) == 0
    found = json.loads(capsys.readouterr().out)["inference"]
    assert found["terms"].startswith("log-odds of yes per unit of the column, ")
    assert words in found["terms"]
    table, with_intercept = read_table(small_csv, "answer"), not intercept
    X = table.X if with_intercept else table.X - table.X.mean(axis=0)
    penalty = lr.L2(float(strength), factor=table.X.var(axis=0))
    with jax.enable_x64(True):
        options = {"penalty": penalty, "fit_intercept": with_intercept}
        want = lr.infer(lr.fit(X, table.y, **options), X, table.y, **options)
    for name in ("estimate", "standard_error"):
        numbers = [row[name] for row in found["parameters"]]
        np.testing.assert_allclose(numbers, getattr(want, name), rtol=1e-8)


@pytest.mark.parametrize("unit", [1e9, 1e6])
def test_inference_of_columns_in_any_unit_and_far_from_zero(unit, tmp_path, capsys):
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(80, 2)), rng.integers(0, 3, 80)
    path = tmp_path / "units.csv"
    rows = zip(3e12 + unit * X[:, 0], 1e-9 * X[:, 1], y, strict=True)
    path.write_text("u,v,y\n" + "\n".join(f"{u:.17g},{v:.17g},c{k}" for u, v, k in rows))
    assert main(["fit", str(path), "--target", "y", "--json", "--inference"]) == 0
    found = json.loads(capsys.readouterr().out)["inference"]
    assert found["terms"].endswith("no penalty")
    with jax.enable_x64(True):
        want = lr.infer(lr.fit(X, y), X, y)
    for name in ("estimate", "standard_error"):
        numbers = np.array([row[name] for row in found["parameters"]])
        ours = numbers[:4] * np.repeat([unit, 1e-9], 2)
        np.testing.assert_allclose(ours, getattr(want, name)[:4], rtol=1e-6)


def test_sixty_columns_break_no_number(small_csv, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["fit", small_csv, "--target", "answer", "--inference", "--tol", "1e-4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    assert not any("…" in line for line in lines)
    for part, count in (("steps", 4), ("training", 4), ("std. error", 3), ("97.5 %", 3)):
        first = next(i for i, line in enumerate(lines) if part in line)
        rows = [line.split() for line in lines[first:] if line.strip()][2 : 2 + count]
        numbers = [cell for row in rows for cell in row if cell[-1].isdigit()]
        assert len([float(cell) for cell in numbers]) >= 2 * count
    audit = next(i for i, line in enumerate(lines) if "verdict" in line)
    assert all(line.endswith(("agree", "row", "∇F", "line", "value")) for line in map(
        str.rstrip, lines[audit + 2 : audit + 10]))  # fmt: skip


def test_help_and_mistakes_do_not_load_jax():
    code = (
        "import sys, pytest; from jax_logreg.interfaces.cli import main\n"
        "for words in (['--help'], ['fit', '--help'], ['fit', '--l2', '-1'], ['nothing']):\n"
        "    with pytest.raises(SystemExit): main(words)\n"
        "assert not {'jax', 'numpy'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_compilation_cache_is_the_users_choice(monkeypatch):
    monkeypatch.setattr(os, "environ", {"XDG_CACHE_HOME": "/caches"})
    enable_compilation_cache()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == os.path.join("/caches", "jax_logreg")
    monkeypatch.setattr(os, "environ", {"JAX_COMPILATION_CACHE_DIR": "/mine"})
    enable_compilation_cache()
    assert os.environ == {"JAX_COMPILATION_CACHE_DIR": "/mine"}


def test_a_pipe_that_closes_early_loses_no_file(small_csv, tmp_path):
    command = [sys.executable, "-m", "jax_logreg", "fit", small_csv, "--target", "answer", "--json"]
    with subprocess.Popen(
        [*command, "--save", tmp_path / "model"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        run.stdout.close()
        assert run.stderr.read().startswith(b"wrote ")
    assert run.returncode == 0
    assert Model.load(tmp_path / "model").feature_names == ("first", "second")

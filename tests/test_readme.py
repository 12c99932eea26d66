"""The README's Python runs as it stands, and what its tables name exists."""

import doctest
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.sparse

import jax_logreg as lr
from tests.problems import make_problem

TEXT = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
TOUR = re.findall(r"```pycon\n(.*?)```", TEXT, re.DOTALL)
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def names(tmp_path):
    problem = make_problem("sigmoid", "float32")
    table = tmp_path / "my.csv"
    table.write_text("age,sex,outcome\n50,f,no\n,m,yes\n61,f,yes\n")
    X, y = problem.X, problem.y
    result, smaller = lr.fit(X, y), lr.fit(X[:, :2], y)
    return {
        "X": X, "y": y, "w": problem.sample_weight, "theta": jnp.ones(4), "jax": jax,
        "lr": lr, "optax": optax, "f": np.ones(3), "o": problem.offset, "strengths": np.ones(2),
        "schedule": 0.1,
        "counts": np.ones((2, 24)), "S": scipy.sparse.csr_array(X), "K": 2, "result": result,
        "inference": lr.infer(result, X, y), "smaller": lr.infer(smaller, X[:, :2], y),
        "groups": np.arange(24) % 6, "more_columns": X[:, :1] ** 2, "X_new": X[:3],
        "model": lr.Model.from_result(result), "path": tmp_path / "my.model",
        "table": table, "other": result, "R": np.eye(4)[:1], "r": np.zeros(1),
        "probability": np.linspace(0, 1, 24), "label": np.arange(24) % 2,
    }  # fmt: skip


def test_the_tour_and_the_blocks_run_as_they_stand(tmp_path, monkeypatch):
    """In order, as someone who pastes all of it; the first lines turn float64 on for good."""
    monkeypatch.chdir(tmp_path)
    assert len(TOUR) == 10
    before = jax.config.jax_enable_x64
    tour = doctest.DocTestParser().get_doctest("\n".join(TOUR), {}, "tour", "README.md", 0)
    try:
        result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(
            tour, clear_globs=False
        )
        for block in BLOCKS:
            exec(block, tour.globs)
    finally:
        jax.config.update("jax_enable_x64", before)
    assert result.failed == 0
    assert tour.globs["report"].diagnosis.kind == "penalty-missing"


def test_the_recipes_run(names):
    """Each cell `…` of the table 'to … write' is an expression, or keywords of fit."""
    rows = re.findall(r"^\| (?!to …|status)[a-z][^|]*\| (`.*) \|$", TEXT, re.MULTILINE)
    cells = [cell for row in rows for cell in re.findall(r"`([^`]+)`", row)]
    assert len(cells) > 12
    for cell in cells:
        if re.match(r"\w+=", cell):
            eval(f"dict({cell})", names)
        elif "(" in cell:
            eval(cell, names)


def test_every_status_is_in_the_table():
    assert all(f"`{status.name}`" in TEXT for status in lr.Status)


def test_every_public_name_is_documented():
    assert all(getattr(lr, name).__doc__ for name in dir(lr) if name[0] != "_")

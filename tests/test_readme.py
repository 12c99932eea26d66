"""The README's Python runs as it stands, and what its tables name exists."""

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
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def names(tmp_path):
    problem = make_problem("sigmoid", "float32")
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
        "probability": np.linspace(0, 1, 24), "label": np.arange(24) % 2,
    }  # fmt: skip


def test_the_blocks_run_as_they_stand():
    assert len(BLOCKS) == 5
    pasted = {}
    for block in BLOCKS:
        exec(block, pasted)
    assert pasted["result"].converged
    assert pasted["report"].diagnosis.kind == "penalty-missing"


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

"""The examples of the README and the guides, and what their tables name."""

import doctest
import importlib
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

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "docs/index.md", *sorted((ROOT / "docs/guides").glob("*.md"))]
EXAMPLES = {
    page: re.findall(r"```pycon\n(.*?)```", page.read_text("utf-8"), re.DOTALL) for page in PAGES
}
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


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
        "groups": np.arange(24) % 6, "Z": X[:, :1] ** 2, "X_new": X[:3],
        "model": lr.Model.from_result(result), "path": tmp_path / "my.model",
        "table": table, "other": result, "R": np.eye(4)[:1], "r": np.zeros(1),
        "probability": np.linspace(0, 1, 24), "label": np.arange(24) % 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    "page", [page for page in PAGES if EXAMPLES[page]], ids=lambda page: page.stem
)
def test_the_examples_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    """As someone who pastes all of it; most pages begin by turning float64 on."""
    monkeypatch.chdir(tmp_path)
    before = jax.config.jax_enable_x64
    test = doctest.DocTestParser().get_doctest(
        "\n".join(EXAMPLES[page]), {}, page.name, str(page), 0
    )
    try:
        result = doctest.DocTestRunner(optionflags=OPTIONS).run(test)
    finally:
        jax.config.update("jax_enable_x64", before)
    assert result.attempted
    assert not result.failed


def test_the_recipes_run(names):
    """Each cell `…` of the table 'to … write' is an expression, or keywords of fit."""
    text = (ROOT / "docs/guides/recipes.md").read_text("utf-8")
    rows = re.findall(r"^\| [a-z][^|]*\| (`.*) \|$", text, re.MULTILINE)
    cells = [cell for row in rows for cell in re.findall(r"`([^`]+)`", row)]
    assert len(cells) > 30
    for cell in cells:
        if re.match(r"\w+=", cell):
            eval(f"dict({cell})", names)
        elif "(" in cell:
            eval(cell, names)


def test_every_status_is_explained():
    text = (ROOT / "docs/guides/fit.md").read_text("utf-8")
    assert all(f"| `{status.name}` |" in text for status in lr.Status)


def test_the_reference_has_every_public_name_and_no_other():
    """Types of results are there under the module that defines them."""
    pages = "\n".join(page.read_text("utf-8") for page in (ROOT / "docs/reference").glob("*.rst"))
    documented = re.findall(r"^\.\. auto(?:function|class|exception):: (\S+)$", pages, re.MULTILINE)
    stub = (ROOT / "jax_logreg/__init__.pyi").read_text("utf-8")
    public = set(re.findall(r"\bas (\w+)", stub)) - {"__version__"}
    assert public == {name for name in documented if "." not in name}
    for name in documented:
        module, _, attribute = name.rpartition(".")
        assert not module or hasattr(importlib.import_module(module), attribute), name


def test_every_public_name_has_a_docstring():
    assert all(getattr(lr, name).__doc__ for name in dir(lr) if name[0] != "_")

"""What ``jax-logreg info`` prints of a model, in 80 columns."""

import contextlib

from jax_logreg.interfaces.coefficient_table import coefficient_tables
from jax_logreg.interfaces.console import WIDTH
from jax_logreg.interfaces.files import as_json
from jax_logreg.interfaces.model import Model

with contextlib.suppress(ImportError):  # require_rich says so before anything is printed
    from rich.console import Console


def print_model(name: str, model: Model) -> None:
    """Classes, how the fit ended, and the coefficients with the columns that they are of."""
    console = Console(width=WIDTH, highlight=False, markup=False)
    classes = model.class_names
    kind = "sigmoid" if model.coef.ndim == 1 else "softmax"
    console.print(f"{name}: a {kind} model of {len(model.coef)} features", style="bold")
    console.print(f"classes: {', '.join(classes)}")
    console.print(f"made with jax_logreg {model.version}, {model.coef.dtype.name}")
    for fact, value in model.training.items():
        text = value if isinstance(value, str) else as_json(value)
        console.print(f"{fact.replace('_', ' ')}: {text}")
    console.print()
    headings = classes if model.coef.ndim == 2 else [f"of {classes[1]}"]
    coef = model.coef.reshape(len(model.coef), len(headings))
    intercept = model.intercept_at_zero.reshape(len(headings))
    names = list(model.feature_names)
    title = "Coefficients, log-odds per unit of the column"
    for table in coefficient_tables(title, names, headings, coef, intercept):
        console.print(table)

"""The command line's reports, in up to 80 columns or as JSON. The one file that imports rich."""

from __future__ import annotations

import math
import shutil
import textwrap
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from jax_logreg.fitting.result import Status
from jax_logreg.interfaces.files import as_json

if TYPE_CHECKING:  # printing loads nothing of what it prints
    from jax_logreg.audit.proof import Comparison
    from jax_logreg.audit.text_formulas import TextVerdict
    from jax_logreg.inference.inference import Inference
    from jax_logreg.interfaces.comparison import SolverComparison, SolverRun
    from jax_logreg.interfaces.formula_audits import OnProgress, OwnCheck
    from jax_logreg.interfaces.model import Model

try:
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.status import Status as Spinner
    from rich.table import Table
    from rich.text import Text

    HAS_RICH = True
except ImportError:
    HAS_RICH = False

# Columns at most, and what a table and its first column are not squeezed below.
_WIDTH, _MIN_WIDTH, _NARROWEST = 80, 40, 12
_BAR_WIDTH = 30
# A table of coefficients shows the largest of this many features; headings are broken at this
# width.
_MOST_FEATURES, _HEADING_WIDTH = 40, 12
# Names of formulas have at most 48 characters; two more indent them below their heading.
_FORMULA_WIDTH = 50


def require_rich() -> None:
    """Refuse to print tables without rich.

    Raises:
        ValueError: with the command that installs it, and the way without.
    """
    if not HAS_RICH:
        raise ValueError("tables need rich: pip install 'jax-logreg[cli]', or use --json.")


def _width() -> int:
    """Columns of the terminal, at most 80."""
    columns = shutil.get_terminal_size((_WIDTH, 24)).columns
    return max(_MIN_WIDTH, min(_WIDTH, columns))


def _console() -> Console:
    return Console(width=_width(), highlight=False, markup=False)


def wrapped(text: str) -> str:
    """Lines broken between words where the terminal has fewer columns: never inside a number."""
    width, lines = _width(), []
    for line in text.split("\n"):
        indent = line[: len(line) - len(line.lstrip())]
        lines += textwrap.wrap(
            line, width, subsequent_indent=f"{indent}  ", break_long_words=False,
            break_on_hyphens=False, drop_whitespace=len(line) > width,
        ) or [""]  # fmt: skip
    return "\n".join(lines)


class _Rows(list[tuple[Sequence[str], str]]):
    """The rows of a table: cells, and the style of the row."""

    def add(self, *cells: str, style: str = "") -> None:
        """Add a row, which may be short."""
        self.append((cells, style))


def _print_table(
    console: Console,
    headings: Sequence[str],
    rows: _Rows,
    *,
    title: str = "",
    texts: Sequence[str] = (),
) -> None:
    """Print a table, in several parts where it is too wide: numbers are never broken.

    Args:
        console: where to.
        headings: of the columns; the first column is text, which may be broken into lines, and
            begins every part.
        rows: their cells.
        title: above the table.
        texts: those of the other headings whose columns are aligned to the left.
    """
    filled = [(*cells, *[""] * (len(headings) - len(cells))) for cells, _ in rows]
    columns = list(zip(headings, *filled, strict=True))
    width = [max(cell_len(x) for cell in cells for x in cell.split("\n")) for cells in columns]
    if title:
        console.print(title, style="italic")
    for part in _parts(width, console.width - 2):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
        rest = console.width - 2 - sum(width[column] + 1 for column in part)
        table.add_column(headings[0], width=min(width[0], rest), overflow="fold")
        for column in part:
            justify: Any = "left" if headings[column] in texts else "right"
            table.add_column(headings[column], justify=justify, width=width[column], no_wrap=True)
        for cells, (_, style) in zip(filled, rows, strict=True):
            table.add_row(cells[0], *(cells[column] for column in part), style=style)
        console.print(table)


def _parts(width: list[int], room: int) -> list[list[int]]:
    """The columns of each part of a table, besides the first: as few parts as fit, of like size.

    Args:
        width: of every column; one character stands between two.
        room: for a part.
    """
    others = list(range(1, len(width)))
    for count in range(1, len(others)):
        least = min(width[0], _NARROWEST if count == 1 else room // 3)
        parts = [
            others[len(others) * i // count : len(others) * (i + 1) // count] for i in range(count)
        ]
        if all(least + sum(width[column] + 1 for column in part) <= room for part in parts):
            return parts
    return [[column] for column in others]


class StatusLine:
    """A line on the error stream that shows what is going on; silent in a pipe."""

    def __init__(self) -> None:
        self._spinner: Any = None
        if HAS_RICH:
            console = Console(stderr=True, markup=False)
            if console.is_terminal:
                self._spinner = Spinner("starting", console=console)

    def shown(self) -> AbstractContextManager[Any]:
        """A context in which the line is visible."""
        return self._spinner or nullcontext()

    def _update(self, text: str) -> None:
        if self._spinner is not None:
            self._spinner.update(Text(text))

    def for_fits(self) -> OnProgress:
        """The function to call with (activity, steps, loss, gradient norm)."""

        def show(activity: str, steps: int = 0, loss: float = 0.0, norm: float = math.nan) -> None:
            numbers = f": step {steps}, loss {loss:.6g}, gradient norm {norm:.1e}"
            self._update(activity if math.isnan(norm) else activity + numbers)

        return show

    def for_file(self, activity: str) -> Callable[[float], None]:
        """The function to call with the fraction that is done, from 0 to 1."""

        def show(fraction: float) -> None:
            done = round(_BAR_WIDTH * fraction)
            self._update(f"{activity} {'━' * done}{'─' * (_BAR_WIDTH - done)} {fraction:4.0%}")

        return show


def print_comparison(comparison: SolverComparison) -> None:
    """Print the comparison of solvers, the coefficients, the inference and the audit."""
    console = _console()
    _print_heading(console, comparison)
    _print_runs(console, comparison.runs)
    _print_messages(console, comparison)
    _print_best_coefficients(console, comparison)
    if comparison.inference is not None:
        _print_inference(console, comparison.inference, comparison.inference_terms)
    num_rows = len(comparison.table.y)
    _print_audits(console, comparison.audits, f"{comparison.audit_rows} of {num_rows} rows")


def _print_heading(console: Console, comparison: SolverComparison) -> None:
    table, settings = comparison.table, comparison.settings
    n, p = table.X.shape
    columns = "standardized" if settings.standardize else "as given"
    model = "softmax" if len(table.class_names) > 2 else "sigmoid"
    console.print(f"{table.name}: {n} rows, {p} features ({columns})", style="bold")
    console.print(f"classes: {', '.join(table.class_names)} ({model} model)")
    console.print(
        f"L2 strength {settings.l2:g} on the mean loss, {settings.derivatives} derivatives, "
        f"{settings.dtype}, {comparison.device}\n",
        soft_wrap=False,
    )


def _print_runs(console: Console, runs: list[SolverRun]) -> None:
    headings = ["solver", "status", "steps", "loss", "gradient", "training\naccuracy", "compile"]
    rows = _Rows()
    for run in runs:
        rows.add(
            run.solver,
            run.status.name.lower(),
            str(int(run.result.num_steps)),
            _loss(float(run.result.objective)),
            f"{float(run.result.gradient_norm):.1e}",
            f"{100 * run.training_accuracy:.1f} %",
            f"{run.compile_seconds:.2f} s",
            _seconds(run.run_seconds),
        )
    _print_table(console, [*headings, "run"], rows, texts=["status"])


def _loss(loss: float) -> str:
    return f"{loss:.6f}" if loss < 10 else f"{loss:.2e}"


def _seconds(seconds: float) -> str:
    return f"{1e3 * seconds:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _print_messages(console: Console, comparison: SolverComparison) -> None:
    """Why fits did not converge, each reason once."""
    solvers: dict[str, list[str]] = {}
    for run in comparison.runs:
        if run.status != Status.CONVERGED:
            solvers.setdefault(comparison.message(run), []).append(run.solver)
    for message, names in solvers.items():
        console.print(f"{', '.join(names)}: {message}\n", style="yellow")


def _print_best_coefficients(console: Console, comparison: SolverComparison) -> None:
    run, table, settings = comparison.best_run, comparison.table, comparison.settings
    note = "" if run.result.converged else f" ({run.status.name.lower()}: no answer)"
    unit = "standard deviation" if settings.standardize else "unit"
    _print_coefficients(
        console,
        f"Coefficients of {run.solver}, log-odds per {unit}{note}",
        table.feature_names,
        table.class_names,
        np.asarray(run.result.coef),
        np.asarray(run.result.intercept) if comparison.settings.fit_intercept else None,
    )


def _print_coefficients(
    console: Console,
    title: str,
    feature_names: list[str],
    class_names: list[str],
    coef: np.ndarray,
    intercept: np.ndarray | None,
) -> None:
    """Print the largest coefficients of every class.

    Args:
        console: where to.
        title: above the table.
        feature_names: p names.
        class_names: K names.
        coef: (p,) for two classes or (p, K).
        intercept: () or (K,); None to leave it out.
    """
    headings = class_names if coef.ndim == 2 else [f"of {class_names[1]}"]
    coef = coef.reshape(len(coef), len(headings))
    size = np.abs(coef).max(axis=1, initial=0.0)
    shown = np.sort(np.argsort(-size, kind="stable")[:_MOST_FEATURES])
    rows = _Rows()
    for j in shown:
        rows.add(feature_names[j], *map(_coefficient, coef[j]))
    if len(shown) < len(coef):
        rows.add(f"… and {len(coef) - len(shown)} smaller ones (--json has all)")
    if intercept is not None:
        rows.add("(intercept)", *map(_coefficient, np.atleast_1d(intercept)))
    _print_table(console, ["feature", *map(_folded, headings)], rows, title=title)


def _folded(name: str) -> str:
    """The name of a class, in lines that make no column wide."""
    return "\n".join(textwrap.wrap(name, _HEADING_WIDTH)) or " "


def _coefficient(number: float) -> str:
    """Four decimals, or four digits where decimals would show zeros only.

    >>> _coefficient(0.12345), _coefficient(0.0), _coefficient(1e-7), _coefficient(123456.7)
    ('0.1235', '0.0000', '1.000e-07', '1.235e+05')
    """
    return f"{number:.4f}" if number == 0 or 1e-3 <= abs(number) < 1e5 else f"{number:.3e}"


def _print_inference(console: Console, inference: Inference | str, terms: str) -> None:
    if isinstance(inference, str):
        console.print(f"No standard errors ({terms}): {inference}\n", style="yellow")
        return
    console.print(f"Inference: {terms}", style="italic")
    if console.width >= _WIDTH:
        console.print(f"{inference.summary()}\n")
        return
    for name, number in inference.statistics().items():
        console.print(f"{name.replace('_', ' ') + ':':22} {number:12.10g}")
    rows = _Rows()
    for record in inference.as_dict():
        name, *numbers = record.values()
        rows.add(name, *map(_coefficient, numbers))
    headings = ["", "estimate", "std. error", "z", "P > |z|", "2.5 %", "97.5 %"]
    _print_table(console, headings, rows)


def _print_audits(console: Console, audits: dict[str, list[Comparison]], rows: str) -> None:
    """Print the audit of derivatives and its verdict; ``rows`` says of which rows."""
    headings, lines = ["derivative"], _Rows()
    for dtype in audits:
        headings += [f"{dtype}\nabsolute", f"{dtype}\nrelative"]
    for row in zip(*audits.values(), strict=True):
        cells = [f"{x:.1e}" for c in row for x in (c.absolute, c.relative)]
        lines.add(row[0].name, *cells, "agree" if all(c.agrees for c in row) else "DIFFER")
    title = "Derivatives by hand against autodiff, largest difference"
    _print_table(console, [*headings, "verdict"], lines, title=title, texts=["verdict"])
    failed = [c.name for audit in audits.values() for c in audit if not c.agrees]
    bounds = ", ".join(f"{audit[0].bound:.1e} in {d}" for d, audit in audits.items())
    verdict = f"differ: {', '.join(failed)}" if failed else "all agree"
    console.print(
        f"{verdict} (at a random point, {rows}; relative to the largest entry, bound {bounds})",
        style="red" if failed else "green",
    )


def comparison_as_json(comparison: SolverComparison) -> str:
    """The whole comparison as one JSON object."""
    table, inference = comparison.table, comparison.inference
    document = {
        "data": {
            "name": table.name,
            "rows": len(table.y),
            "features": table.feature_names,
            "classes": table.class_names,
            "encoding": table.encoding.as_dict()["columns"],
            "dropped_rows": table.num_dropped,
            "scale": comparison.scale,
        },
        "settings": vars(comparison.settings),
        "device": comparison.device,
        "trainings": [_run_as_dict(run, comparison.message(run)) for run in comparison.runs],
        "best": comparison.best_run.solver,
        **({} if inference is None else {"inference": _inference_as_dict(comparison)}),
        "audit": {
            "rows": comparison.audit_rows,
            **{dtype: [c._asdict() for c in audit] for dtype, audit in comparison.audits.items()},
        },
        "sound": comparison.sound,
    }
    return as_json(document)


def _inference_as_dict(comparison: SolverComparison) -> dict[str, Any]:
    inference, terms = comparison.inference, {"terms": comparison.inference_terms}
    if inference is None or isinstance(inference, str):
        return {**terms, "message": inference}
    return {**terms, "parameters": inference.as_dict(), "statistics": inference.statistics()}


def _run_as_dict(run: SolverRun, message: str) -> dict[str, Any]:
    result, points = run.result, int(run.result.num_steps) + 1
    numbers = ("num_steps", "objective", "gradient_norm", "newton_decrement", "rank")
    return {
        "solver": run.solver,
        "status": run.status.name,
        "message": message,
        "converged": bool(result.converged),
        **{name: getattr(result, name) for name in numbers},
        "training_accuracy": run.training_accuracy,
        "compile_seconds": run.compile_seconds,
        "run_seconds": run.run_seconds,
        "coef": result.coef,
        "intercept": result.intercept,
        "history": {name: x[:points] for name, x in result.history._asdict().items()},
    }


def print_model(name: str, model: Model) -> None:
    """Print a model's classes, how its fit ended, and its coefficients per unit of the column."""
    console = _console()
    kind = "sigmoid" if model.coef.ndim == 1 else "softmax"
    console.print(f"{name}: a {kind} model of {len(model.coef)} features", style="bold")
    console.print(f"classes: {', '.join(model.class_names)}")
    console.print(f"made with jax_logreg {model.version}, {model.coef.dtype.name}")
    for fact, value in model.training.items():
        text = value if isinstance(value, str) else as_json(value)
        console.print(f"{fact.replace('_', ' ')}: {text}")
    console.print()
    _print_coefficients(
        console,
        "Coefficients, log-odds per unit of the column",
        list(model.feature_names),
        model.class_names,
        model.coef,
        model.intercept_at_zero,
    )


def print_own_check(checks: list[OwnCheck]) -> None:
    """Print the texts' formulas by heading and this project's derivatives, for each data set."""
    console = _console()
    for check in checks:
        rows, features = check.shape
        console.print(
            f"{check.name}: {rows} rows, {features} features, {check.num_classes} classes",
            style="bold",
        )
        _print_texts(console, check.texts)
        _print_audits(console, check.audits, f"{rows} of {rows} rows")
        console.print()
    _print_summary(console, [verdict for check in checks for verdict in check.texts])


def _print_texts(console: Console, verdicts: list[TextVerdict]) -> None:
    rows = _Rows()
    for where, group in groupby(verdicts, key=lambda verdict: verdict.formula.where):
        text, heading = where.split(": ", 1)
        most = _FORMULA_WIDTH - len(text) - 2
        heading = heading if len(heading) <= most else f"{heading[: most - 1]}…"
        rows.add(f"{text}: {heading}", style="bold")
        for verdict in group:
            rows.add(*_cells(verdict), style=_style(verdict))
    headings = ["formula, as the text has it", "relative", "verdict"]
    _print_table(console, headings, rows, texts=["verdict"])


def _cells(verdict: TextVerdict) -> tuple[str, str, str]:
    relative = verdict.comparison.relative
    shown = "–" if math.isnan(relative) else "∞" if math.isinf(relative) else f"{relative:.1e}"
    mark = "" if verdict.as_expected else " (!)"
    return f"  {verdict.formula.name}", shown, f"{verdict.verdict}{mark}"


def _style(verdict: TextVerdict) -> str:
    if not verdict.as_expected:
        return "red"
    return "" if verdict.verdict == "right" else "yellow"


def _print_summary(console: Console, verdicts: list[TextVerdict]) -> None:
    right = sum(v.as_expected and v.verdict == "right" for v in verdicts)
    unexpected = [v for v in verdicts if not v.as_expected]
    misprints = len(verdicts) - right - len(unexpected)
    console.print(
        f"{len(verdicts)} formulas of the texts: {right} right, {misprints} wrong as expected, "
        f"{len(unexpected)} not as expected",
        style="red" if unexpected else "green",
    )
    for v in unexpected:
        console.print(f"  {v.formula.name}: {v.verdict}, expected {v.formula.expected}")

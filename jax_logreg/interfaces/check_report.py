"""The check of this project's own formulas, printed in 80 columns."""

import math
from itertools import groupby

from jax_logreg.audit.text_formulas import TextVerdict
from jax_logreg.interfaces.console import WIDTH, print_audits
from jax_logreg.interfaces.self_check import OwnCheck

try:
    from rich import box
    from rich.console import Console
    from rich.table import Table
except ImportError:
    pass  # require_rich says so before anything is printed

# Names have at most 48 characters; two more set them below their heading.
_NAME, _NUMBER = 50, 8


def print_own_check(checks: list[OwnCheck]) -> None:
    """Print the texts' formulas by heading and this project's derivatives, for each data set."""
    console = Console(width=WIDTH, highlight=False, markup=False)
    for check in checks:
        rows, features = check.shape
        console.print(
            f"{check.name}: {rows} rows, {features} features, {check.num_classes} classes",
            style="bold",
        )
        console.print(_texts_table(check.texts))
        print_audits(console, check.audits, f"{rows} of {rows} rows")
        console.print()
    _print_summary(console, [verdict for check in checks for verdict in check.texts])


def _texts_table(verdicts: list[TextVerdict]) -> "Table":
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    table.add_column("formula, as the text has it", width=_NAME, no_wrap=True)
    table.add_column("relative", justify="right", width=_NUMBER)
    table.add_column("verdict", no_wrap=True)
    for where, group in groupby(verdicts, key=lambda verdict: verdict.formula.where):
        text, heading = where.split(": ", 1)
        table.add_row(f"{text}: {_cut(heading, _NAME - len(text) - 2)}", style="bold")
        for verdict in group:
            table.add_row(*_cells(verdict), style=_style(verdict))
    return table


def _cells(verdict: TextVerdict) -> tuple[str, str, str]:
    relative = verdict.comparison.relative
    shown = "–" if math.isnan(relative) else "∞" if math.isinf(relative) else f"{relative:.1e}"
    mark = "" if verdict.as_expected else " (!)"
    return f"  {verdict.formula.name}", shown, f"{verdict.verdict}{mark}"


def _style(verdict: TextVerdict) -> str:
    if not verdict.as_expected:
        return "red"
    return "" if verdict.verdict == "right" else "yellow"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _print_summary(console: "Console", verdicts: list[TextVerdict]) -> None:
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

"""Coefficients as tables of 80 columns."""

import numpy as np

try:
    from rich import box
    from rich.table import Table
except ImportError:
    pass  # require_rich says so before anything is printed

# Beyond this many features a table shows the largest.
_SHOWN_FEATURES = 40
_CLASSES_A_TABLE = 5


def coefficient_tables(
    title: str,
    feature_names: list[str],
    headings: list[str],
    coef: np.ndarray,
    intercept: np.ndarray | None,
) -> list["Table"]:
    """One table, or several side by side in thought where the classes are many.

    Args:
        title: above each.
        feature_names: p names.
        headings: one a column of coef.
        coef: (p, C).
        intercept: (C,); None to leave it out.
    """
    parts = [slice(c, c + _CLASSES_A_TABLE) for c in range(0, len(headings), _CLASSES_A_TABLE)]
    size = np.abs(coef).max(axis=1, initial=0.0)
    shown = np.sort(np.argsort(-size, kind="stable")[:_SHOWN_FEATURES])
    tables = []
    for part in parts:
        table = _empty(title, headings[part])
        for j in shown:
            table.add_row(feature_names[j], *map(_text, coef[j, part]))
        if len(shown) < len(coef):
            table.add_row(f"… and {len(coef) - len(shown)} smaller ones (--json has all)")
        if intercept is not None:
            table.add_row("(intercept)", *map(_text, intercept[part]))
        tables.append(table)
    return tables


def _empty(title: str, headings: list[str]) -> "Table":
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, padding=0, title_justify="left", title=title,
        min_width=60,
    )  # fmt: skip
    table.add_column("feature", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    return table


def _text(number: float) -> str:
    """Four decimals, or four digits where those would say nothing.

    >>> _text(0.12345), _text(0.0), _text(1e-7), _text(123456.7)
    ('0.1235', '0.0000', '1.000e-07', '1.235e+05')
    """
    return f"{number:.4f}" if number == 0 or 1e-3 <= abs(number) < 1e5 else f"{number:.3e}"

"""The printed table of an inference, from plain records."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 80
_NAME = 22
_MOST_NOTES = 5


def summarise(
    parameters: Sequence[Mapping[str, Any]],
    statistics: Mapping[str, float],
    kind: str,
    level: float,
    dependent: Sequence[Sequence[str]],
) -> str:
    """At most 80 columns wide; a name that is too long is cut in the middle."""
    rule, double = "-" * WIDTH, "=" * WIDTH
    ends = [f"{100 * share:.4g} %" for share in ((1 - level) / 2, (1 + level) / 2)]
    head = (
        f"{'':{_NAME}} {'estimate':>10} {'std. error':>10} {'z':>8} {'P > |z|':>8} "
        f"{ends[0]:>8} {ends[1]:>8}"
    )
    lines = [double, *_statistics(statistics, kind), rule, head, rule]
    lines += [_line(parameter) for parameter in parameters]
    lines.append(double)
    if any(parameter["z"] != parameter["z"] for parameter in parameters):
        lines += _why_nan(dependent)
    return "\n".join(lines)


def _why_nan(dependent: Sequence[Sequence[str]]) -> list[str]:
    notes = ["nan: the data do not tell this parameter, for columns of X depend on one another."]
    for names in dependent[:_MOST_NOTES]:
        notes.append(
            f"{', '.join(names[:-1])} and {names[-1]} depend on one another."
            if len(names) > 1
            else f"{names[0]} is zero in every row that counts."
        )
    if len(dependent) > _MOST_NOTES:
        notes.append(f"… and {len(dependent) - _MOST_NOTES} more such sets.")
    return [line for note in notes for line in textwrap.wrap(note, WIDTH)]


def _statistics(statistics: Mapping[str, float], kind: str) -> list[str]:
    s = statistics
    cells = [
        ("observations", f"{s['num_observations']:.12g}"),
        ("log-likelihood", f"{s['log_likelihood']:.4f}"),
        ("degrees of freedom", f"{s['degrees_of_freedom']:.4g}"),
        ("without features", f"{s['null_log_likelihood']:.4f}"),
        ("McFadden's R²", f"{s['mcfadden_r2']:.4f}"),
        ("AIC", f"{s['aic']:.4f}"),
        ("standard errors", kind.removesuffix(" covariance")),
        ("BIC", f"{s['bic']:.4f}"),
    ]
    halves = [f"{name + ':':20}{value:>18}" for name, value in cells]
    return [f"{left}    {right}" for left, right in zip(halves[::2], halves[1::2], strict=True)]


def _line(parameter: Mapping[str, Any]) -> str:
    p = parameter["p_value"]
    shown = "< 0.0001" if p < 1e-4 else f"{p:.4f}"
    return (
        f"{_fit(parameter['name']):{_NAME}} {_number(parameter['estimate'], 10)} "
        f"{_number(parameter['standard_error'], 10)} {_number(parameter['z'], 8)} {shown:>8} "
        f"{_number(parameter['low'], 8)} {_number(parameter['high'], 8)}"
    )


def _fit(name: str) -> str:
    if len(name) <= _NAME:
        return name
    half = (_NAME - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def _number(x: float, width: int) -> str:
    """Four decimals where there is room, else as many digits as fit."""
    for text in (f"{x:.4f}", *(f"{x:.{digits}g}" for digits in range(width, 0, -1))):
        if len(text) <= width and (float(text) != 0 or x == 0):
            return f"{text:>{width}}"
    return f"{x:.0e}".rjust(width)

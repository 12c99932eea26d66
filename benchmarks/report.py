"""RESULTS.md: what was kept goes between two marks, and the rest of the file stays."""

import textwrap
from itertools import groupby
from pathlib import Path

from benchmarks.outcomes import Outcome
from benchmarks.tables import details, summary

RESULTS = Path(__file__).parent / "RESULTS.md"
BEGIN = "<!-- begin: written by python -m benchmarks -->"
END = "<!-- end: written by python -m benchmarks -->"

_HOW = """\
Every contestant runs at the loosest power of ten of its own tolerance that reaches the
target, a relative suboptimality (F − F*) / F* judged by one objective in NumPy for all; F*
is the lowest value seen, a tight run polished by Newton's method among them. Then it is
timed warm, in one process, in turn with ours, the order changing, each after a rest of a
tenth of a second: threads that spin on after a call would slow who comes next. A turn is the
median of the fits in a row that a quarter of a second holds: right after a rest a fit takes up
to 15 ms more here, for Linux lets the threads of a program that slept share a core at first.
`× ours` is the median over these pairs, `first` the seconds of the very first call with all
that it compiles. Each library has the data in its own arrays before the clock starts. Read the
ratios and their spread, not the milliseconds.

```sh
python -m benchmarks
```

![Ratios to the best rival, and growth with n and p](results.png)"""


def write(outcomes: list[Outcome], path: Path = RESULTS) -> None:
    """Replace what lies between the marks.

    Raises:
        ValueError: where a mark is missing: nothing is written then.
    """
    text = path.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{path.name} must hold each of {BEGIN} and {END} once")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    path.write_text(f"{before}{BEGIN}\n\n{markdown(outcomes)}\n\n{END}{after}", encoding="utf-8")


def markdown(outcomes: list[Outcome]) -> str:
    """The method, then a section for each machine and precision."""
    sections = [_HOW]
    for (machine, dtype), group in groupby(outcomes, key=lambda o: (o.machine, o.dtype)):
        sections.append(_section(machine, dtype, list(group)))
    return "\n\n".join(sections)


def _section(machine: str, dtype: str, outcomes: list[Outcome]) -> str:
    tables = "\n\n".join(_fenced(details(outcome)) for outcome in outcomes)
    return f"## {dtype}\n\n{textwrap.fill(machine, 90)}\n\n{_fenced(summary(outcomes))}\n\n{tables}"


def _fenced(text: str) -> str:
    return f"```text\n{text}\n```"

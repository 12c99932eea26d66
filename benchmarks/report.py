"""The report: tables of at most 80 columns, RESULTS.md, and its picture."""

import textwrap
from itertools import groupby
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.machine import QUIET
from benchmarks.problems import ROWS
from benchmarks.race import Timing
from benchmarks.results import Outcome

RESULTS = Path(__file__).parent / "RESULTS.md"
PICTURE = RESULTS.with_name("results.png")
BEGIN = "<!-- begin: written by python -m benchmarks -->"
END = "<!-- end: written by python -m benchmarks -->"

WIDTH = 80
_SUMMARY_HEAD = (
    f"{'':13} {'n×p×K':10} {'ours ms':>7} {'best rival':12} {'its ms':>7} {'ratio':>5} "
    f"{'met':>3} {'floor':>5} {'gap':>5} {'peak':>4}"
)
_SUMMARY_FOOT = """\
ratio: our time by the best rival's; floor: our time by four reads of X and one
XᵀDX; gap: (F − F*) / F* that we reached; peak: memory of our first fit beyond
what was in place before, compiling included, in bytes of the data"""


def summary(outcomes: list[Outcome]) -> str:
    """One line a row, and one for each goal that is missed."""
    lines = [_SUMMARY_HEAD, *map(_summary_line, outcomes), _SUMMARY_FOOT]
    if busy := [o.row for o in outcomes if (o.busy_cores or 0) > QUIET]:
        lines += _wrap(
            f"measured while others were computing, which flatters us: {', '.join(busy)}"
        )
    for outcome in outcomes:
        if missed := outcome.misses():
            limit = ROWS[outcome.row].limit
            lines += _wrap(f"{outcome.row} misses: {'; '.join(missed)}. Limited by: {limit}")
    return "\n".join(lines)


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ")


def _summary_line(outcome: Outcome) -> str:
    ours, best = outcome.ours, outcome.best_rival
    shape = "×".join(map(_compact, outcome.shape))
    met = "no" if outcome.misses() else "yes" if outcome.ratio and outcome.row in ROWS else "-"
    peak = outcome.memory.first if outcome.memory else None
    gap = _power(ours.suboptimality if ours else None)
    return (
        f"{outcome.row:13} {shape:10} {_milliseconds(ours):>7} {best.short if best else '-':12} "
        f"{_milliseconds(best):>7} {_digits(outcome.ratio):>5} {met:>3} "
        f"{_digits(outcome.floors):>5} {gap:>5} {_digits(peak):>4}"
    )


def details(outcome: Outcome) -> str:
    """One line a contestant, and what else was measured."""
    n, p, K = outcome.shape
    many = f", {outcome.fits} fits" if outcome.fits > 1 else ""
    head = (
        f"{outcome.row}: {n} × {p}, K = {K}{many}, strength {outcome.strength:g}, "
        f"{outcome.dtype}, target {outcome.target:g}"
    )
    columns = f"{'':30} {'ms':>8} {'× ours':>6} {'spread':>11} {'tol':>6} {'gap':>6}  {'first':>5}"
    contestants = [_contestant_line(timing, outcome.ours) for timing in outcome.timings]
    return "\n".join([head, columns, *contestants, *_legend(outcome.timings), *_extras(outcome)])


def _contestant_line(timing: Timing, ours: Timing | None) -> str:
    name = timing.contestant + (" †" if timing.penalises_intercept else "")
    if timing.note and timing.tol is None:
        return textwrap.shorten(f"{name:30} {timing.note}", WIDTH, placeholder=" …")
    ratio = timing.ratio
    if ratio is None and ours and ours.seconds and timing.seconds:
        ratio = timing.seconds / ours.seconds
    spread = "-".join(map(_digits, timing.spread)) if timing.spread else "-"
    tol = _power(timing.tol) + ("" if timing.settled else "~")
    return (
        f"{name:30} {_milliseconds(timing):>8} {_digits(ratio):>6} {spread:>11} {tol:>6} "
        f"{_power(timing.suboptimality):>6}{' ' if timing.reached else '!'} "
        f"{_digits(timing.first_seconds):>5}"
    )


def _legend(timings: list[Timing]) -> list[str]:
    """What the marks in the table mean, if there are any."""
    lines = []
    if any(not t.reached and t.seconds for t in timings):
        lines += [
            "!  fell short of the target at every tolerance tried in the time allowed; the",
            "   time is that of one fit",
        ]
    if not all(t.settled for t in timings):
        lines.append("~  the time allowed ended before a looser tolerance was ruled out")
    if any(t.penalises_intercept for t in timings):
        lines.append("†  penalises the intercept: judged by the minimum of that problem")
    return lines


def _extras(outcome: Outcome) -> list[str]:
    busy = outcome.busy_cores
    lines = [] if busy is None else [f"others kept {busy:.1f} cores busy just before"]
    if floor := outcome.floor:
        lines.append(
            f"floor {1e3 * floor.seconds:.3g} ms: reads at {floor.bandwidth / 1e9:.3g} GB/s, "
            f"products at {floor.product_rate / 1e9:.3g} Gflop/s"
        )
    if memory := outcome.memory:
        warm = "" if memory.warm is None else f", of a warm one {memory.warm:.2g} times"
        lines.append(
            f"peak memory of the first fit {memory.first:.3g} times the "
            f"{memory.data / 1e6:.3g} MB of data{warm}"
        )
    if growth := outcome.growth:
        sizes = ", ".join(map(_compact, growth.sizes))
        seconds = ", ".join(f"{1e3 * second:.3g}" for second in growth.seconds)
        power = f"{growth.axis}^{growth.exponent:.2f}"
        lines.append(f"{growth.axis} = {sizes}: {seconds} ms; time grows as {power}")
    for contestant, stages in outcome.stages.items():
        parts = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in stages.items())
        lines.append(f"{contestant}, s: {parts}")
    return [part for line in lines for part in _wrap(line)]


def _milliseconds(timing: Timing | None) -> str:
    if timing is None or timing.seconds is None:
        return "-"
    return f"{1e3 * timing.seconds:{'.1f' if timing.seconds < 100 else '.0f'}}"


def _power(x: float | None) -> str:
    """One digit and a power of ten."""
    return "-" if x is None else f"{x:.0e}"


def _digits(x: float | None) -> str:
    """About three digits, in little space."""
    if x is None:
        return "-"
    return f"{x:.2f}" if x < 10 else f"{x:.1f}" if x < 100 else f"{x:.0f}"


def _compact(count: int) -> str:
    """1000000 as 1e6, 784 unchanged."""
    exponent = len(str(count)) - len(str(count).rstrip("0"))
    return f"{count // 10**exponent}e{exponent}" if exponent > 2 else str(count)


def write(outcomes: list[Outcome], path: Path = RESULTS) -> None:
    """Replace what lies between the marks by a section for each machine and precision.

    Raises:
        ValueError: if a mark is missing: nothing is written then.
    """
    text = path.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{path.name} must hold each of {BEGIN} and {END} once")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    parts = [f"{before}{BEGIN}"]
    for (machine, dtype), group in groupby(outcomes, key=lambda o: (o.machine, o.dtype)):
        rows = list(group)
        parts += [f"## {dtype}", textwrap.fill(machine, 90)]
        parts += [f"```text\n{table}\n```" for table in (summary(rows), *map(details, rows))]
    path.write_text("\n\n".join([*parts, f"{END}{after}"]), encoding="utf-8")


def draw(outcomes: list[Outcome], path: Path = PICTURE) -> None:
    figure = Figure(figsize=(9, 4), layout="constrained")
    ratios, growth = figure.subplots(1, 2)
    _draw_ratios(ratios, [outcome for outcome in outcomes if outcome.ratio])
    _draw_growth(growth, outcomes)
    figure.savefig(path, dpi=120)


def _draw_ratios(axes: Axes, outcomes: list[Outcome]) -> None:
    """A bar a row, and a mark at its goal."""
    names = [_label(outcome) for outcome in outcomes]
    goals = [ROWS[outcome.row].ratio_goal for outcome in outcomes]
    ratios = [outcome.ratio or 0.0 for outcome in outcomes]
    colours = ["C0" if r <= g else "C1" for r, g in zip(ratios, goals, strict=True)]
    axes.barh(names, ratios, color=colours)
    axes.plot(goals, names, "k|", markersize=12, label="goal")
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set(xscale="log", xlabel="our time / best rival's time")
    axes.invert_yaxis()
    axes.legend(loc="best")


def _draw_growth(axes: Axes, outcomes: list[Outcome]) -> None:
    """Seconds against the fraction of the whole, so that n and p have one axis."""
    for outcome in outcomes:
        if growth := outcome.growth:
            fractions = [size / growth.sizes[-1] for size in growth.sizes]
            label = f"{_label(outcome)}: {growth.axis}^{growth.exponent:.2f}"
            axes.plot(fractions, growth.seconds, "o-", label=label)
    axes.set(xscale="log", yscale="log", xlabel="fraction of n or p", ylabel="seconds")
    axes.set_xticks([0.25, 0.5, 1], labels=["¼", "½", "1"], minor=False)
    axes.set_xticks([], minor=True)
    if axes.lines:
        axes.legend(loc="best")


def _label(outcome: Outcome) -> str:
    """The row, with its precision and platform unless they are float64 and cpu."""
    parts = (outcome.row, outcome.dtype, outcome.platform)
    return " ".join(part for part in parts if part not in ("float64", "cpu"))

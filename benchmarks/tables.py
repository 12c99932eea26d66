"""What was measured, as text of at most 80 columns."""

import textwrap

from benchmarks.harness import Timing
from benchmarks.machine import QUIET
from benchmarks.outcomes import Outcome
from benchmarks.rows import ROWS, limit

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
    disturbed = [o.row for o in outcomes if (o.busy_cores or 0) > QUIET]
    if disturbed:
        text = f"measured while others were computing, which flatters us: {', '.join(disturbed)}"
        lines += textwrap.wrap(text, WIDTH, subsequent_indent="  ")
    for outcome in outcomes:
        if missed := outcome.misses():
            text = f"{outcome.row} misses: {'; '.join(missed)}. Limited by: {limit(outcome.row)}"
            lines += textwrap.wrap(text, WIDTH, subsequent_indent="  ")
    return "\n".join(lines)


def _summary_line(outcome: Outcome) -> str:
    ours, best = outcome.ours, outcome.best_rival
    shape = "×".join(map(_compact, outcome.shape))
    met = "no" if outcome.misses() else "yes" if outcome.ratio and outcome.row in ROWS else "-"
    peak = outcome.memory.first if outcome.memory else None
    return (
        f"{outcome.row:13} {shape:10} {_milliseconds(ours):>7} {best.short if best else '-':12} "
        f"{_milliseconds(best):>7} {_digits(outcome.ratio):>5} {met:>3} "
        f"{_digits(outcome.floors):>5} {_gap(ours):>5} {_digits(peak):>4}"
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
    return "\n".join([head, columns, *contestants, *_marks(outcome.timings), *_extras(outcome)])


def _contestant_line(timing: Timing, ours: Timing | None) -> str:
    name = timing.contestant + (" †" if timing.penalises_intercept else "")
    if timing.tol is None and timing.suboptimality is None:
        return textwrap.shorten(f"{name:30} {timing.note}", WIDTH, placeholder=" …")
    ratio = timing.ratio
    if ratio is None and ours and ours.seconds and timing.seconds:
        ratio = timing.seconds / ours.seconds
    spread = "-".join(map(_digits, timing.spread)) if timing.spread else "-"
    tol = "-" if timing.tol is None else f"{timing.tol:.0e}"
    return (
        f"{name:30} {_milliseconds(timing):>8} {_digits(ratio):>6} {spread:>11} "
        f"{tol + ('' if timing.settled else '~'):>6} {_gap(timing):>6}"
        f"{' ' if timing.reached else '!'} {_digits(timing.first_seconds):>5}"
    )


def _marks(timings: list[Timing]) -> list[str]:
    """What the marks in the table mean, where there are any."""
    meanings = {
        "!  fell short of the target at every tolerance tried in the time allowed; the time is "
        "that of one fit": [t for t in timings if not t.reached and t.seconds],
        "~  the time allowed ended before a looser tolerance was ruled out": [
            t for t in timings if not t.settled
        ],
        "†  penalises the intercept: judged by the minimum of that problem": [
            t for t in timings if t.penalises_intercept
        ],
    }
    return [
        line
        for meaning, marked in meanings.items()
        if marked
        for line in textwrap.wrap(meaning, WIDTH, subsequent_indent="   ")
    ]


def _extras(outcome: Outcome) -> list[str]:
    lines = []
    if (busy := outcome.busy_cores) is not None:
        lines.append(f"others kept {busy:.1f} cores busy just before")
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
    return [part for line in lines for part in textwrap.wrap(line, WIDTH, subsequent_indent="  ")]


def _milliseconds(timing: Timing | None) -> str:
    if timing is None or timing.seconds is None:
        return "-"
    milliseconds = 1e3 * timing.seconds
    return f"{milliseconds:.1f}" if milliseconds < 1e5 else f"{milliseconds:.0f}"


def _gap(timing: Timing | None) -> str:
    """The relative suboptimality to one digit."""
    if timing is None or timing.suboptimality is None:
        return "-"
    return f"{timing.suboptimality:.0e}"


def _digits(x: float | None) -> str:
    """About three digits, in little space."""
    if x is None:
        return "-"
    return f"{x:.2f}" if x < 10 else f"{x:.1f}" if x < 100 else f"{x:.0f}"


def _compact(count: int) -> str:
    """1000000 as 1e6, 784 as it is."""
    exponent = len(str(count)) - len(str(count).rstrip("0"))
    return f"{count // 10**exponent}e{exponent}" if exponent > 2 else str(count)

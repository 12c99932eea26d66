"""The picture of the report: ratios to the best rival, and growth."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.outcomes import Outcome
from benchmarks.rows import ROWS

PATH = Path(__file__).parent / "results.png"


def draw(outcomes: list[Outcome], path: Path = PATH) -> None:
    figure = Figure(figsize=(9, 4), layout="constrained")
    ratios, growth = figure.subplots(1, 2)
    _draw_ratios(ratios, [outcome for outcome in outcomes if outcome.ratio])
    _draw_growth(growth, [outcome for outcome in outcomes if outcome.growth])
    figure.savefig(path, dpi=120)


def _draw_ratios(axes: Axes, outcomes: list[Outcome]) -> None:
    """A bar a row, and a mark at its goal."""
    names = [_label(outcome) for outcome in outcomes]
    goals = [ROWS[outcome.row].ratio_goal for outcome in outcomes]
    values = [outcome.ratio or 0.0 for outcome in outcomes]
    colours = ["C0" if v <= g else "C1" for v, g in zip(values, goals, strict=True)]
    axes.barh(names, values, color=colours)
    axes.plot(goals, names, "k|", markersize=12, label="goal")
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set(xscale="log", xlabel="our time / best rival's time")
    axes.invert_yaxis()
    axes.legend(loc="best")


def _draw_growth(axes: Axes, outcomes: list[Outcome]) -> None:
    """Seconds against the share of the whole, so that n and p share an axis."""
    for outcome in outcomes:
        if growth := outcome.growth:
            shares = [size / growth.sizes[-1] for size in growth.sizes]
            label = f"{_label(outcome)}: {growth.axis}^{growth.exponent:.2f}"
            axes.plot(shares, growth.seconds, "o-", label=label)
    axes.set(xscale="log", yscale="log", xlabel="share of n or p", ylabel="seconds")
    axes.set_xticks([0.25, 0.5, 1], labels=["¼", "½", "1"], minor=False)
    axes.set_xticks([], minor=True)
    if outcomes:
        axes.legend(loc="best")


def _label(outcome: Outcome) -> str:
    """The row, and what is not usual about it."""
    unusual = [outcome.dtype] * (outcome.dtype != "float64")
    unusual += [outcome.platform] * (outcome.platform != "cpu")
    return " ".join([outcome.row, *unusual])

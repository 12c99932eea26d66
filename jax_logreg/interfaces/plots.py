"""Plots of trainings, inferences and audits.

Each is a matplotlib figure: a notebook shows it, ``figure.savefig(path)`` writes it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jax_logreg.audit.report import Check, DerivativeReport
from jax_logreg.fitting.result import FitResult
from jax_logreg.inference.calibration import calibration
from jax_logreg.inference.inference import Inference
from jax_logreg.inference.influence import influence
from jax_logreg.interfaces.classifier_plots import roc
from jax_logreg.interfaces.plot_style import new_figure, series, styled, whole_ticks

# log₁₀ of an error is drawn as at least this, that of zero included.
_MIN_LOG_ERROR = -17.0
_MAX_INTERVALS = 30


@styled
def plot_training(
    results: Mapping[str, FitResult],
    *,
    costs: Mapping[str, Mapping[str, Any]] | None = None,
    title: str = "",
) -> Any:
    """Draw the progress of solvers: loss above the lowest seen, and gradient norm, both
    logarithmic, against steps and against what the steps cost.

    Args:
        results: name ↦ what ``fit`` returned, all for the same objective.
        costs: label, such as "seconds" ↦ name ↦ the cost of that whole training, divided
            evenly among its start and its steps; or the cost up to each of them,
            (num_steps + 1,), positive.
        title: a line above the plot.

    Returns:
        The matplotlib figure.

    Raises:
        ValueError: if there is nothing to draw, or a cost is missing or of another length.

    >>> import jax_logreg as lr
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1]
    >>> result = lr.fit(X, y, solver="newton")
    >>> figure = plot_training({"Newton": result}, costs={"seconds": {"Newton": 0.02}})
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['step + 1', 'seconds', 'step + 1', 'seconds']
    """
    curves = {name: _curve(name, result) for name, result in results.items()}
    if not curves:
        raise ValueError("results is empty: give at least one fit.")
    if not any(np.isfinite(loss).any() for loss, _ in curves.values()):
        raise ValueError("results hold no finite loss: see their messages.")
    # A logarithmic axis has no zero: the start counts as the first step.
    spent = {"step + 1": {name: np.arange(len(loss)) + 1 for name, (loss, _) in curves.items()}}
    for label, cost in (costs or {}).items():
        spent[label] = {
            name: _spread(label, name, cost, len(loss)) for name, (loss, _) in curves.items()
        }
    figure = new_figure(7.5, 6.4 if costs else 3.6)
    # A column of panels for each cost; steps alone are a row.
    columns = figure.subplots(2, len(spent), sharey="row").T if costs else [figure.subplots(1, 2)]
    for (label, after), column in zip(spent.items(), columns, strict=True):
        _draw_curves(column, curves, after)
        for panel in column:
            panel.set_xlabel(label)
    columns[0][0].set_ylabel("loss above the lowest")
    columns[0][1].set_ylabel("gradient norm")
    figure.legend(*columns[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.suptitle(title)
    return figure


def _curve(name: str, result: FitResult) -> tuple[np.ndarray, np.ndarray]:
    """Loss and gradient norm after 0, 1, … steps."""
    if np.ndim(result.status):
        raise ValueError(
            f"results[{name!r}] holds {np.size(result.status)} fits: take one of them, by "
            "jax.tree.map(lambda a: a[i], result)."
        )
    loss, norm = (np.asarray(values)[: int(result.num_steps) + 1] for values in result.history)
    return loss, norm


def _spread(label: str, name: str, cost: Mapping[str, Any], count: int) -> np.ndarray:
    """The cost up to every step, the start included."""
    if name not in cost:
        raise ValueError(f"costs[{label!r}] has no entry for {name!r}.")
    spent = np.asarray(cost[name], float)
    if spent.ndim == 0:
        spent = spent * (np.arange(count) + 1) / count
    if spent.shape != (count,):
        raise ValueError(
            f"costs[{label!r}][{name!r}] must be a number or ({count},), not {spent.shape}."
        )
    return spent


def _draw_curves(
    panels: Any, curves: Mapping[str, tuple[np.ndarray, np.ndarray]], after: Mapping[str, Any]
) -> None:
    losses = np.concatenate([loss for loss, _ in curves.values()])
    best = float(np.min(losses[np.isfinite(losses)]))
    # A logarithmic axis has no zero: round-off is drawn in its place.
    floor = np.finfo(losses.dtype).eps * max(abs(best), 1e-3)
    for i, (name, (loss, norm)) in enumerate(curves.items()):
        heights = np.maximum(loss - best, floor), np.maximum(norm, 1e-3 * floor)
        for panel, values in zip(panels, heights, strict=True):
            panel.plot(after[name], values, label=name, markevery=0.15, **series(i))
    for panel in panels:
        panel.set(xscale="log", yscale="log")
        panel.grid()


@styled
def plot_inference(inference: Inference) -> Any:
    """Draw an inference: intervals of the coefficients, and the influence of each row; for two
    classes the ROC curve and the calibration as well.

    Args:
        inference: what ``infer`` returned.

    Returns:
        The matplotlib figure.

    >>> import jax_logreg as lr
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1]
    >>> figure = plot_inference(lr.infer(lr.fit(X, y), X, y))
    >>> [axes.get_xlabel() for axes in figure.axes[1:3]]
    ['row', 'false positives']
    """
    labels = np.asarray(inference.fit.objective.y)
    binary = inference.fit.reference is None and bool(np.all((labels == 0) | (labels == 1)))
    shown = [i for i, name in enumerate(inference.names) if not name.endswith("intercept")]
    shown = sorted(shown, key=lambda i: -abs(inference.estimate[i]))[:_MAX_INTERVALS][::-1]
    heights = [max(3.2, 0.8 + 0.17 * len(shown)), 3.9][: 1 + binary]
    figure = new_figure(7.5, sum(heights))
    axes = figure.subplots(len(heights), 2, squeeze=False, height_ratios=heights)
    _draw_intervals(axes[0, 0], inference, shown)
    _draw_influence(axes[0, 1], influence(inference).cooks_distance)
    if binary:
        _draw_roc(axes[1, 0], inference.fit.probability, labels, inference.fit.weight)
        _draw_calibration(axes[1, 1], inference.fit.probability, labels, inference.fit.weight)
    return figure


def _draw_intervals(axes: Any, inference: Inference, shown: list[int]) -> None:
    """Coefficients with their 95 % intervals."""
    half = inference.confidence_interval()[shown, 1] - inference.estimate[shown]
    places = np.arange(len(shown))
    colour = series(0)["color"]
    axes.errorbar(inference.estimate[shown], places, xerr=half, fmt="o", color=colour, capsize=2)
    axes.axvline(0, color="0.6", linewidth=1)
    axes.set_yticks(places, [inference.names[i] for i in shown], fontsize=8)
    axes.set(xlabel="log-odds per unit, 95 % interval", title="Coefficients")
    axes.set_ylim(-0.6, len(shown) - 0.4)


def _draw_influence(axes: Any, distance: np.ndarray) -> None:
    """Cook's distance of every row; the three largest numbered."""
    axes.vlines(np.arange(len(distance)), 0, distance, color=series(0)["color"], linewidth=1)
    for i in np.argsort(-distance)[:3]:
        axes.annotate(
            str(i), (i, distance[i]), xytext=(0, 2), textcoords="offset points",
            ha="center", fontsize=8,
        )  # fmt: skip
    axes.set(xlabel="row", ylabel="Cook's distance", title="Influence")
    axes.set_ylim(0, 1.1 * float(np.max(distance, initial=0)) or 1)
    whole_ticks(axes.xaxis)


def _draw_roc(axes: Any, mu: np.ndarray, labels: np.ndarray, weight: Any) -> None:
    curve = roc(mu, labels, sample_weight=weight)
    axes.plot(curve.false_positive, curve.true_positive, color=series(0)["color"])
    axes.plot([0, 1], [0, 1], "--", color="0.6")
    axes.set(
        xlabel="false positives", ylabel="true positives", title=f"ROC, area {curve.area:.3f}",
        aspect="equal",
    )  # fmt: skip


def _draw_calibration(axes: Any, mu: np.ndarray, labels: np.ndarray, weight: Any) -> None:
    found = calibration(mu, labels, sample_weight=weight)
    axes.plot([0, 1], [0, 1], "--", color="0.6")
    axes.plot(found.predicted, found.observed, "o-", color=series(0)["color"])
    p = found.hosmer_lemeshow.p_value
    axes.set(
        xlabel="predicted probability", ylabel="observed share", aspect="equal",
        title=f"Calibration: Brier {found.brier:.3f}\nHosmer–Lemeshow p = {p:.2g}",
    )  # fmt: skip


@styled
def plot_reports(reports: Mapping[str, DerivativeReport]) -> Any:
    """Draw each audit in a row: differences of the value, and the errors of the worst check.

    Args:
        reports: title ↦ report.

    Returns:
        The matplotlib figure.

    >>> import jax_logreg as lr
    >>> square, slope = lambda t: t @ t, lambda t: 2 * t
    >>> report = lr.check_derivatives(square, gradient=slope, at=np.ones(2))
    >>> plot_reports({"t @ t": report}).axes[0].get_title()
    't @ t: all right'
    """
    figure = new_figure(7.5, 3.4 * len(reports))
    rows = figure.subplots(len(reports), 2, squeeze=False)
    for (title, report), (left, right) in zip(reports.items(), rows, strict=True):
        left.set_title(f"{title}: {'all right' if report.ok else 'WRONG'}", wrap=True)
        _draw_sweep(left, report)
        _draw_errors(figure, right, report)
    return figure


def _draw_sweep(axes: Any, report: DerivativeReport) -> None:
    """Relative error of central differences against the step, with a line of slope 2."""
    scan = report.sweep
    if scan is None:
        _write(axes, "no differences to draw: JAX\ncannot trace the value")
        return
    drawn = np.isfinite(scan.errors) & (scan.errors > 0)
    axes.loglog(scan.steps[drawn], scan.errors[drawn], **series(0), label="differences")
    anchors = np.flatnonzero(drawn & (scan.errors < 0.1))
    if len(anchors):
        before, at = scan.steps[scan.steps >= scan.best_step], anchors[0]
        guide = scan.errors[at] * (before / scan.steps[at]) ** 2
        axes.loglog(before, guide, "--", color="0.5", label="slope 2")
    axes.set(xlabel="step, relative to the point's scale", ylabel="relative error of the slope")
    axes.grid()
    axes.legend()


def _draw_errors(figure: Any, axes: Any, report: DerivativeReport) -> None:
    """The error matrix of the worst check, as powers of ten."""
    if not report.checks:
        _write(axes, "nothing could be compared")
        return
    check = max(report.checks, key=_severity)
    errors = np.atleast_2d(check.error_matrix)
    with np.errstate(all="ignore"):
        powers = np.where(np.isfinite(errors), np.maximum(np.log10(errors), _MIN_LOG_ERROR), np.nan)
    known = powers[np.isfinite(powers)]
    largest = float(np.max(known, initial=_MIN_LOG_ERROR + 1))
    smallest = min(float(np.min(known, initial=0.0)), largest - 1)
    image = axes.imshow(powers, aspect="auto", vmin=smallest, vmax=largest, interpolation="none")
    figure.colorbar(image, ax=axes, label="log₁₀ |by hand − reference|")
    verdict = "right" if check.agrees else f"{check.num_wrong} of {check.num_entries} differ"
    axes.set(title=f"{check.name}: {verdict}", xlabel="entry of θ")
    axes.set_ylabel("entry of θ" if check.name == "hessian" else "output")
    for axis in (axes.xaxis, axes.yaxis):
        whole_ticks(axis)
    if len(errors) == 1:
        axes.set(yticks=[], ylabel="")


def _severity(check: Check) -> tuple[bool, float]:
    return not check.agrees, float(np.nan_to_num(check.relative, nan=np.inf))


def _write(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
    axes.set_axis_off()

"""Pictures of a training and of an audit. The one file that imports matplotlib."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jax_logreg.audit.report import Check, DerivativeReport
from jax_logreg.inference.calibration import Calibration, Roc, calibration, roc
from jax_logreg.inference.inference import Inference
from jax_logreg.inference.influence import Influence, influence

try:
    from matplotlib.figure import Figure

    HAS_MATPLOTLIB = True
except ImportError:
    HAS_MATPLOTLIB = False

# Where log₁₀ of an error is drawn that is zero, or smaller.
_FLOOR = -17.0

_MOST_IN_FOREST = 30

PLOT_FORMATS = (".png", ".pdf", ".svg")


def require_matplotlib() -> None:
    """Say how to get matplotlib where it is missing.

    Raises:
        ValueError: naming the command.
    """
    if not HAS_MATPLOTLIB:
        raise ValueError("--plot needs matplotlib: pip install 'jax-logreg[plot]'.")


def check_plot_path(path: str | Path) -> Path:
    """A path that a picture can be written to, checked before any work.

    Raises:
        ValueError: for an unknown ending or a folder that does not exist.
    """
    require_matplotlib()
    path = Path(path)
    if path.suffix.lower() not in PLOT_FORMATS:
        raise ValueError(f"--plot must end in {', '.join(PLOT_FORMATS)}, but it is {str(path)!r}.")
    if not path.parent.is_dir():
        raise ValueError(f"--plot: there is no folder {str(path.parent)!r}. Create it first.")
    return path


def plot_training(
    histories: Mapping[str, tuple[np.ndarray, ...]], title: str, path: str | Path
) -> None:
    """Draw loss above the best seen and gradient norm against steps, both logarithmic.

    Args:
        histories: solver name ↦ (losses, gradient norms), NaN after the last step.
        title: a line above the picture.
        path: where to write it.
    """
    best = min(float(np.nanmin(loss)) for loss, _ in histories.values())
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    for name, (loss, norm) in histories.items():
        steps = np.arange(len(loss)) + 1  # a logarithmic axis has no zero
        left.plot(steps, np.maximum(loss - best, 1e-17), label=name)
        right.plot(steps, norm, label=name)
    left.set_ylabel("loss above the lowest seen (nats per row)")
    right.set_ylabel("gradient norm (largest entry)")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="step + 1")
        axes.grid(alpha=0.3)
    right.legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=150)


def plot_inference(inference: Inference, path: str | Path) -> None:
    """Draw an inference: intervals of the coefficients, and what each row weighs; for two
    classes the ROC curve and the calibration besides.

    Args:
        inference: what ``infer`` returned.
        path: where to write it.
    """
    two = inference.fit.reference is None
    figure = Figure(figsize=(11, 8 if two else 4.2), layout="constrained")
    axes = figure.subplots(2 if two else 1, 2).reshape(-1)
    _draw_forest(axes[0], inference)
    _draw_influence(axes[1], influence(inference))
    labels = np.asarray(inference.fit.objective.y)
    if two and np.all((labels == 0) | (labels == 1)):
        mu = inference.fit.probability
        _draw_roc(axes[2], roc(mu, labels, sample_weight=inference.fit.weight))
        _draw_calibration(axes[3], calibration(mu, labels, sample_weight=inference.fit.weight))
    figure.savefig(path, dpi=150)


def _draw_forest(axes: Any, inference: Inference) -> None:
    """Coefficients with their 95 % intervals, the largest first; the intercept left out."""
    shown = [i for i, name in enumerate(inference.names) if not name.endswith("intercept")]
    shown.sort(key=lambda i: -abs(inference.estimate[i]))
    shown = shown[:_MOST_IN_FOREST][::-1]
    half = inference.confidence_interval()[shown, 1] - inference.estimate[shown]
    places = np.arange(len(shown))
    axes.errorbar(inference.estimate[shown], places, xerr=half, fmt="o", color="0.2", capsize=2)
    axes.axvline(0, color="0.6", linewidth=1)
    axes.set_yticks(places, [inference.names[i] for i in shown], fontsize=8)
    axes.set(xlabel="log-odds per unit, 95 % interval", title="Coefficients")


def _draw_influence(axes: Any, rows: Influence) -> None:
    axes.vlines(np.arange(len(rows.cooks_distance)), 0, rows.cooks_distance, color="0.4")
    for i in np.argsort(-rows.cooks_distance)[:3]:
        axes.annotate(str(i), (i, rows.cooks_distance[i]), fontsize=8)
    axes.set(xlabel="row", ylabel="Cook's distance", title="Influence")
    axes.set_ylim(bottom=0)


def _draw_roc(axes: Any, curve: Roc) -> None:
    axes.plot(curve.false_positive, curve.true_positive, color="0.1")
    axes.plot([0, 1], [0, 1], "--", color="0.6")
    axes.set(
        xlabel="false positives", ylabel="true positives", title=f"ROC, area {curve.area:.3f}",
        aspect="equal",
    )  # fmt: skip


def _draw_calibration(axes: Any, found: Calibration) -> None:
    axes.plot([0, 1], [0, 1], "--", color="0.6")
    axes.plot(found.predicted, found.observed, "o-", color="0.1")
    p = found.hosmer_lemeshow.p_value
    axes.set(
        xlabel="predicted probability", ylabel="observed share", aspect="equal",
        title=f"Calibration: Brier {found.brier:.3f}\nHosmer–Lemeshow p = {p:.2g}",
    )  # fmt: skip


def plot_reports(reports: Mapping[str, DerivativeReport], path: str | Path) -> None:
    """Draw each audit in a row: differences of the value, and where the worst check is off.

    Args:
        reports: title ↦ report.
        path: where to write it.
    """
    figure = Figure(figsize=(11, 4.4 * len(reports)), layout="constrained")
    rows = figure.subplots(len(reports), 2, squeeze=False)
    for (title, report), (left, right) in zip(reports.items(), rows, strict=True):
        left.set_title(f"{title}: {'all right' if report.ok else 'WRONG'}")
        _draw_sweep(left, report)
        _draw_errors(figure, right, report)
    figure.savefig(path, dpi=150)


def _draw_sweep(axes: Any, report: DerivativeReport) -> None:
    """Relative error of central differences against the step, with a line of slope 2."""
    scan = report.sweep
    if scan is None:
        _say(axes, "no differences to draw: the value is no number that JAX can trace")
        return
    drawn = np.isfinite(scan.errors) & (scan.errors > 0)
    axes.loglog(scan.steps[drawn], scan.errors[drawn], "o-", label="differences of the value")
    anchors = np.flatnonzero(drawn & (scan.errors < 0.1))
    if len(anchors):
        before = scan.steps[scan.steps >= scan.best_step]
        at = anchors[0]
        guide = scan.errors[at] * (before / scan.steps[at]) ** 2
        axes.loglog(before, guide, "--", color="0.5", label="slope 2")
    axes.set(xlabel="step, relative to the point's scale", ylabel="relative error of the slope")
    axes.grid(alpha=0.3)
    axes.legend()


def _draw_errors(figure: "Figure", axes: Any, report: DerivativeReport) -> None:
    """The error matrix of the worst check, as powers of ten."""
    if not report.checks:
        _say(axes, "nothing could be compared")
        return
    check = max(report.checks, key=_badness)
    errors = np.atleast_2d(check.error_matrix)
    with np.errstate(all="ignore"):
        powers = np.where(np.isfinite(errors), np.maximum(np.log10(errors), _FLOOR), np.nan)
    known = powers[np.isfinite(powers)]
    smallest = float(np.min(known, initial=0.0))
    largest = float(np.max(known, initial=_FLOOR + 1))
    image = axes.imshow(
        powers, aspect="auto", vmin=min(smallest, largest - 1), vmax=largest, interpolation="none"
    )
    figure.colorbar(image, ax=axes, label="log₁₀ |by hand − reference|")
    verdict = "right" if check.agrees else f"{check.num_wrong} of {check.num_entries} differ"
    axes.set(title=f"{check.name}: {verdict}", xlabel="entry of θ")
    axes.set_ylabel("entry of θ" if check.name == "hessian" else "output")
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(integer=True)
    if len(errors) == 1:
        axes.set(yticks=[], ylabel="")


def _badness(check: Check) -> tuple[bool, float]:
    return not check.agrees, float(np.nan_to_num(check.relative, nan=np.inf))


def _say(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", wrap=True, transform=axes.transAxes)
    axes.set_axis_off()

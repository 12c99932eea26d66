"""Plots of trainings, inferences, audits and classifiers.

Each is a matplotlib figure: a notebook shows it, ``figure.savefig(path)`` writes it. The
confusion matrix and the decision regions are scikit-learn's, in this project's style.
"""

import re
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jax_logreg.audit.report import Check, DerivativeReport
from jax_logreg.fitting.result import FitResult
from jax_logreg.fitting.validation import refuse_dates
from jax_logreg.inference.calibration import calibration
from jax_logreg.inference.inference import Inference, check_inference
from jax_logreg.inference.influence import influence
from jax_logreg.interfaces.model import Model
from jax_logreg.interfaces.plot_style import (
    log_ticks,
    new_figure,
    series,
    shades,
    styled,
    tint,
    whole_ticks,
)

# log₁₀ of an error is drawn as at least this, that of zero included.
_MIN_LOG_ERROR = -17.0
_MAX_INTERVALS = 30
_MAX_POINTS = 2000
_GRID = 201
# Entries of θ whose names are written at an axis, the characters of each, and of a line of text.
_MOST_NAMED, _LONGEST_NAME, _LINE = 12, 14, 44


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
    _check_mapping("results", results, FitResult)
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
        log_ticks(panel.xaxis)
        log_ticks(panel.yaxis)


@styled
def plot_inference(inference: Inference) -> Any:
    """Draw an inference: intervals of the coefficients per standard deviation of their column,
    in which they can be compared, and the influence of each row; for two classes the ROC curve and
    the calibration as well.

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
    check_inference(inference)
    labels = np.asarray(inference.fit.objective.y)
    binary = inference.fit.reference is None and bool(np.all((labels == 0) | (labels == 1)))
    fit = inference.fit
    unit = np.repeat(
        fit.features.std(axis=0) * fit.scaling.scale, fit.num_contrasts
    )  # of the coefficients alone
    size = np.abs(inference.estimate[: len(unit)] * unit)
    shown = sorted(range(len(unit)), key=lambda i: -size[i])[:_MAX_INTERVALS][::-1]
    heights = [max(3.2, 0.8 + 0.17 * len(shown)), 3.9][: 1 + binary]
    figure = new_figure(7.5, sum(heights))
    axes = figure.subplots(len(heights), 2, squeeze=False, height_ratios=heights)
    _draw_intervals(axes[0, 0], inference, shown, unit[shown])
    _draw_influence(axes[0, 1], influence(inference).cooks_distance)
    if binary:
        _draw_roc(axes[1, 0], inference.fit.probability, labels, inference.fit.weight)
        _draw_calibration(axes[1, 1], inference.fit.probability, labels, inference.fit.weight)
    return figure


def _draw_intervals(axes: Any, inference: Inference, shown: list[int], unit: np.ndarray) -> None:
    """Coefficients with their 95 % intervals, times the unit of each."""
    estimate = inference.estimate[shown] * unit
    half = inference.confidence_interval()[shown, 1] * unit - estimate
    places = np.arange(len(shown))
    colour = series(0)["color"]
    axes.errorbar(estimate, places, xerr=half, fmt="o", color=colour, capsize=2)
    axes.axvline(0, color="0.6", linewidth=1)
    axes.set_yticks(places, [inference.names[i] for i in shown], fontsize=8)
    axes.set(xlabel="log-odds per deviation, 95 % interval", title="Coefficients")
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


def _check_mapping(name: str, given: Any, kind: type) -> None:
    """Refuse what is no mapping from titles to results of a kind, such as one result."""
    values = list(given.values()) if isinstance(given, Mapping) else [given]
    if not isinstance(given, Mapping) or not all(isinstance(value, kind) for value in values):
        found = next((v for v in values if not isinstance(v, kind)), given)
        raise ValueError(
            f"{name} must be a dict from a title to a {kind.__name__}, but it holds or is a "
            f"{type(found).__name__}."
        )


@styled
def plot_reports(reports: Mapping[str, DerivativeReport]) -> Any:
    """Draw each audit in a row: differences of the value, and the errors of the worst check
    with the diagnosis.

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
    _check_mapping("reports", reports, DerivativeReport)
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
    """The error matrix of the worst check, as powers of ten, and what is wrong with it."""
    if not report.checks:
        _write(axes, "\n".join(["nothing could be compared", *_diagnosis(report, "")]))
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
    axes.set_title("\n".join([f"{check.name}: {verdict}", *_diagnosis(report, check.name)]))
    is_hessian = check.name == "hessian"
    axes.set(xlabel="entry of θ", ylabel="entry of θ" if is_hessian else "output")
    for axis, has_names in ((axes.xaxis, True), (axes.yaxis, is_hessian)):
        whole_ticks(axis)
        if has_names and 0 < len(check.names) <= _MOST_NAMED:
            _name_ticks(axis, check.names)
    if len(errors) == 1:
        axes.set(yticks=[], ylabel="")


def _diagnosis(report: DerivativeReport, name: str) -> list[str]:
    """What is wrong with a derivative, in lines."""
    about = [diagnosis for diagnosis in report.diagnoses if diagnosis.where == name]
    about = about or list(report.diagnoses)
    return textwrap.wrap(about[0].message, _LINE) if about else []


def _name_ticks(axis: Any, names: Sequence[str]) -> None:
    short = [n if len(n) <= _LONGEST_NAME else f"{n[: _LONGEST_NAME - 1]}…" for n in names]
    axis.set_ticks(range(len(short)), short, fontsize=8)
    if axis.axis_name == "x" and max(map(len, short)) * len(short) > _LINE - 8:
        axis.set_tick_params(rotation=45)
        for label in axis.get_ticklabels():
            label.set(ha="right", rotation_mode="anchor")


def _severity(check: Check) -> tuple[bool, float]:
    return not check.agrees, float(np.nan_to_num(check.relative, nan=np.inf))


def _write(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
    axes.set_axis_off()


# Classifiers ---------------------------------------------------------------------------------


@styled
def plot_coefficients(model: Any, *, scale: Any = None, most: int = 30, title: str = "") -> Any:
    """Draw the coefficients of a model, the largest at the top, one mark a class, each at the
    end of a line from zero.

    Args:
        model: a :class:`Model`, or a fitted linear classifier.
        scale: the deviation of every feature, (p,), such as ``X.std(axis=0)``: coefficients
            are then per deviation, and those of different units can be compared.
        most: how many features at most, those with the largest coefficients.
        title: a line above the plot.

    Returns:
        The matplotlib figure.

    Raises:
        ValueError: for a scale of another length.

    >>> model = Model([2.0, -30.0], 0.5, feature_names=["age", "dose"])
    >>> figure = plot_coefficients(model, scale=[10.0, 0.1])
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['dose', 'age']
    """
    model = model if isinstance(model, Model) else Model.from_estimator(model)
    coef, p = model.coef.reshape(len(model.coef), -1), len(model.coef)
    scale = np.ones(p) if scale is None else np.asarray(scale, float)
    if scale.shape != (p,):
        raise ValueError(f"scale must be ({p},), one number a feature, not {scale.shape}.")
    coef = coef * scale[:, None]
    shown = np.argsort(-np.abs(coef).max(axis=1), kind="stable")[:most][::-1]
    coef, K = coef[shown], coef.shape[1]
    height = max(0.24, min(0.12 * K, 0.8))  # of a feature, in inches
    figure = new_figure(6.5, 1.6 + height * max(len(shown), 4))
    axes = figure.subplots()
    axes.axvline(0, color="0.35", linewidth=1)
    places = np.arange(len(shown))
    for k, shift in enumerate(np.linspace(0.26, -0.26, K) if K > 1 else [0.0]):
        axes.hlines(places + shift, 0, coef[:, k], color="0.75", linewidth=1.5)
        _scatter(axes, coef[:, k], places + shift, k, size=36, label=str(model.classes[k]))
    axes.grid(axis="x")
    axes.set_yticks(places, [model.feature_names[j] for j in shown])
    axes.set_ylim(-0.7, len(shown) - 0.3)
    of = f"log-odds of {model.classes[1]}" if K == 1 else "logit"
    axes.set_xlabel(f"{of} per {'unit' if np.all(scale == 1) else 'deviation'} of the feature")
    if K > 1:
        figure.legend(loc="outside lower center", ncols=5)
    left_out = f"the largest {len(shown)} of {p}" if len(shown) < p else ""
    axes.set_title("\n".join(filter(None, [title, left_out])))
    return figure


def _scatter(axes: Any, x: np.ndarray, y: np.ndarray, k: int, *, size: float, label: str) -> None:
    """Marks of the k-th class."""
    style = series(k)
    axes.scatter(
        x, y, s=size, marker=style["marker"], color=style["color"], edgecolors="white",
        linewidths=0.6, label=label, zorder=3,
    )  # fmt: skip


def require_scikit_learn() -> Any:
    """scikit-learn with its displays and metrics, loaded when first used: that takes a second.

    Raises:
        ValueError: if it is missing or too old, naming the command.
    """
    try:
        import sklearn.inspection
        import sklearn.metrics

        recent = tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 9)
    except ImportError:
        recent = False
    if not recent:
        raise ValueError("This needs scikit-learn 1.9 or newer: pip install 'jax-logreg[plot]'.")
    return sklearn


class Roc(NamedTuple):
    """The receiver operating characteristic.

    Attributes:
        false_positive, true_positive: rates at every threshold, from (0, 0) to (1, 1).
        threshold: class 1 is predicted from this probability on; the first is infinite.
        area: under the curve: the probability that a row of class 1 scores above one of class 0.
    """

    false_positive: np.ndarray
    true_positive: np.ndarray
    threshold: np.ndarray
    area: float


def roc(probability: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Roc:
    """The curve of true against false positives by scikit-learn, and the area under it.

    Args:
        probability: of class 1, (n,), or any score that grows with it.
        y: 0 or 1, (n,), with both occurring.
        sample_weight: frequencies, (n,).

    Returns:
        The curve with every threshold, and its area.

    Raises:
        ValueError: for arrays that do not match, other than two classes, and an absent class.

    >>> roc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]).area
    0.75
    """
    metrics = require_scikit_learn().metrics
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No (positive|negative) samples")  # refused below
        false, true, threshold = metrics.roc_curve(
            y, probability, sample_weight=sample_weight, drop_intermediate=False
        )
    if not np.all(np.isfinite(false + true)):
        raise ValueError("y must hold both classes, with positive weight.")
    return Roc(false, true, threshold, float(metrics.auc(false, true)))


@styled
def plot_confusion(y: Any, predicted: Any, *, classes: Any = None, title: str = "") -> Any:
    r"""Draw scikit-learn's confusion matrix: counts, and their share of the true class as
    shade; in per cent too, for up to ten classes.

    Args:
        y: the true labels, (n,).
        predicted: the model's answers, (n,).
        classes: all labels, in the order wanted; if absent those that occur, sorted, numbers
            in text by their size.
        title: a line above the plot.

    Returns:
        The matplotlib figure.

    Raises:
        ValueError: for arrays that do not match, or a label that is not in ``classes``.

    >>> figure = plot_confusion(["a", "b", "b"], ["a", "a", "b"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['1\n100 %', '0', '1\n50 %', '1\n50 %']
    """
    metrics = require_scikit_learn().metrics
    y, predicted = np.asarray(y), np.asarray(predicted)
    if classes is None:
        classes = sorted(np.unique(np.concatenate([y, predicted])), key=_by_size)
    classes = np.asarray(classes)
    _check_known("y", y, classes)
    _check_known("predicted", predicted, classes)
    counts = metrics.confusion_matrix(y, predicted, labels=classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    K = len(classes)
    side = min(7.5, 3.4 + 0.32 * K)
    figure = new_figure(side, 0.93 * side)
    axes = figure.subplots()
    drawn = metrics.ConfusionMatrixDisplay(shares, display_labels=classes).plot(
        ax=axes, cmap=shades(), im_kw={"vmin": 0, "vmax": 1}, colorbar=False
    )
    figure.get_layout_engine().set(w_pad=0.1)
    beside = axes.inset_axes((1.04, 0, 0.04, 1))  # as high as the matrix
    figure.colorbar(drawn.im_, cax=beside, label="share of the true class")
    for cell, count, share in zip(drawn.text_.flat, counts.flat, shares.flat, strict=True):
        per_cent = f"\n{100 * share:.0f} %" if count and K <= 10 else ""
        cell.set(text=f"{count}{per_cent}", color="black" if count else "0.6")
        cell.set_fontsize(10 if K <= 6 else 8 if K <= 10 else 7)
    if max(len(str(label)) for label in classes) * K > 9 * side:
        for name in axes.get_xticklabels():
            name.set(rotation=45, ha="right")
    axes.set(xlabel="predicted", ylabel="true", title=title)
    axes.tick_params(length=0)
    return figure


def _by_size(label: Any) -> tuple[Any, ...]:
    """A key that sorts "category 2" before "category 10"."""
    if not isinstance(label, str):
        return (label,)
    parts = re.split(r"(\d+)", label)
    return tuple((int(part) if i % 2 else part) for i, part in enumerate(parts))


def _check_known(name: str, labels: np.ndarray, classes: np.ndarray) -> None:
    unknown = np.flatnonzero(~np.isin(labels, classes))
    if len(unknown):
        i = int(unknown[0])
        raise ValueError(
            f"{name}[{i}] is {labels.tolist()[i]!r}, but the classes are {classes.tolist()}."
        )


@styled
def plot_decision_regions(
    model: Any,
    X: Any,
    y: Any,
    *,
    features: Sequence[int | str] = (0, 1),
    title: str = "",
) -> Any:
    """Draw the probabilities of a model over two features by scikit-learn, the decision
    boundaries, and the rows.

    The other features are fixed at their means, so that with more than two a row may lie on
    the wrong side of a boundary although it is classified correctly.

    Args:
        model: a :class:`Model`, or a fitted classifier with ``predict_proba``, pipelines
            included.
        X: features, (n, p), dense.
        y: labels, (n,), each a class of the model. Of many rows 2000 are drawn, evenly taken.
        features: the two, by name or column number.
        title: a line above the plot.

    Returns:
        The matplotlib figure.

    Raises:
        ValueError: for features or labels that the model does not have.

    >>> model = Model([2.0, -1.0], 0.5, classes=["no", "yes"], feature_names=["age", "dose"])
    >>> figure = plot_decision_regions(model, [[0.0, 1.0], [2.0, 0.0]], ["no", "yes"])
    >>> figure.axes[0].get_xlabel(), figure.axes[1].get_ylabel()
    ('age', 'probability of yes')
    """
    sklearn = require_scikit_learn()
    refuse_dates("X", X)
    X, y = sklearn.utils.check_X_y(X, y, dtype=float, ensure_min_features=2)
    classes, names = _classes_and_names(model, X.shape[1])
    _check_known("y", y, classes)
    first, second = _two_columns(features, names)
    x0, x1 = np.meshgrid(_range_of(X[:, first]), _range_of(X[:, second]))
    grid = np.tile(X.mean(axis=0), (x0.size, 1))
    grid[:, first], grid[:, second] = x0.ravel(), x1.ravel()
    mu = _probability(model, grid).reshape(*x0.shape, -1)

    figure = new_figure(6, 5.2)
    axes = figure.subplots()
    K = len(classes)
    display = sklearn.inspection.DecisionBoundaryDisplay(
        xx0=x0, xx1=x1, n_classes=K, response=mu if K > 2 else mu[..., 1],
        multiclass_colors=[tint(k) for k in range(K)], xlabel=names[first], ylabel=names[second],
    )  # fmt: skip
    if K > 2:  # the palest tint is that of K equal probabilities, and not quite white
        display.plot("pcolormesh", ax=axes, vmin=(1 / K - 0.15) / 0.85, vmax=1, rasterized=True)
    else:
        display.plot("contourf", ax=axes, levels=np.linspace(0, 1, 11), cmap=shades())
        bar = figure.colorbar(display.surface_, ax=axes, label=f"probability of {classes[1]}")
        bar.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "0.25", "0.5", "0.75", "1"])
    _draw_boundaries(axes, x0, x1, mu)
    drawn = np.linspace(0, len(X) - 1, min(len(X), _MAX_POINTS)).astype(int)
    for k, label in enumerate(classes):
        rows = drawn[y[drawn] == label]
        _scatter(axes, X[rows, first], X[rows, second], k, size=26, label=str(label))
    axes.set(xlim=x0[0, [0, -1]], ylim=x1[[0, -1], 0])
    fixed = "the other features at their means" if X.shape[1] > 2 else ""
    axes.set_title("\n".join(filter(None, [title, fixed])))
    figure.legend(loc="outside lower center", ncols=5)
    return figure


def _classes_and_names(model: Any, num_features: int) -> tuple[np.ndarray, list[str]]:
    """The classes of a model, and the names of its features."""
    if isinstance(model, Model):
        return np.asarray(model.classes), list(model.feature_names)
    if not hasattr(model, "predict_proba") or not hasattr(model, "classes_"):
        raise ValueError(
            "model must be a Model or a fitted classifier with predict_proba, not "
            f"{type(model).__name__}; Model.from_result makes one of a fit."
        )
    names = getattr(model, "feature_names_in_", [f"x{j}" for j in range(num_features)])
    return np.asarray(model.classes_), list(names)


def _probability(model: Any, X: np.ndarray) -> np.ndarray:
    if isinstance(model, Model):
        return model.probability(X)
    with warnings.catch_warnings():  # the columns are those of the fit, without the names
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        return np.asarray(model.predict_proba(X))


def _two_columns(features: Sequence[int | str], names: list[str]) -> list[int]:
    """The column numbers of two features."""
    columns = [names.index(f) if f in names else f for f in features]
    if len(set(columns)) != 2 or not all(column in range(len(names)) for column in columns):
        raise ValueError(f"features must be two different ones of {names}, not {features!r}.")
    return [int(column) for column in columns]


def _range_of(values: np.ndarray) -> np.ndarray:
    """Grid points over the values and a little beyond."""
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 0.5 * max(abs(low), 1.0)
    return np.linspace(low - margin, high + margin, _GRID)


def _draw_boundaries(axes: Any, x0: np.ndarray, x1: np.ndarray, mu: np.ndarray) -> None:
    """Lines where the most probable class changes.

    In log-probabilities, which are linear for a linear model: no error of interpolation.
    """
    log_mu = np.log(np.maximum(mu, np.finfo(float).tiny))
    for k in range(1 if mu.shape[-1] == 2 else 0, mu.shape[-1]):
        margin = log_mu[..., k] - np.delete(log_mu, k, axis=-1).max(axis=-1)
        if margin.min() < 0 < margin.max():
            axes.contour(x0, x1, margin, [0.0], colors="black", linewidths=1.5)

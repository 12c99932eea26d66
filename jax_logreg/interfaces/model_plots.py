"""Pictures of a model: where it decides what, its coefficients, and what it confuses."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jax_logreg.interfaces.model import Model
from jax_logreg.interfaces.plot_style import new_figure, series, shades, styled, tint

_GRID = 201
_MOST_POINTS = 2000
_SMALLEST = np.finfo(float).tiny


class _Predictor(NamedTuple):
    """What a picture asks of a model: X ↦ probabilities (n, K), and the labels."""

    probability: Callable[[np.ndarray], np.ndarray]
    classes: np.ndarray
    feature_names: Sequence[str] | None


def _predictor(model: Any) -> _Predictor:
    if isinstance(model, Model):
        return _Predictor(model.probability, model.classes, model.feature_names)
    if not hasattr(model, "predict_proba") or not hasattr(model, "classes_"):
        raise ValueError(
            f"model must be a Model or a fitted classifier with predict_proba, not "
            f"{type(model).__name__}; Model.from_result makes one of a fit."
        )

    def probability(X: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():  # the columns are those of the fit, without the names
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            return np.asarray(model.predict_proba(X))

    return _Predictor(probability, model.classes_, getattr(model, "feature_names_in_", None))


@styled
def plot_decision_regions(
    model: Any,
    X: Any,
    y: Any,
    *,
    features: Sequence[int | str] = (0, 1),
    title: str = "",
) -> Any:
    """Draw the probabilities of a model over two features, where its decision changes, and
    the rows.

    The other features are held at their means, so that with more than two a row may lie on
    the wrong side of a line and be classified rightly all the same.

    Args:
        model: a :class:`Model`, or a fitted classifier with ``predict_proba``, pipelines
            included.
        X: features, (n, p), dense.
        y: labels, (n,), each a class of the model. Of many rows 2000 are drawn, evenly taken.
        features: the two, by name or column number.
        title: a line above the picture.

    Returns:
        The matplotlib figure: a notebook shows it, ``figure.savefig(path)`` writes it.

    Raises:
        ValueError: for features that the model does not have, or labels that it does not know.

    >>> model = Model([2.0, -1.0], 0.5, classes=["no", "yes"], feature_names=["age", "dose"])
    >>> figure = plot_decision_regions(model, [[0.0, 1.0], [2.0, 0.0]], ["no", "yes"])
    >>> figure.axes[0].get_xlabel(), figure.axes[1].get_ylabel()
    ('age', 'probability of yes')
    """
    known = _predictor(model)
    X, y = np.asarray(X, float), np.asarray(y)
    if X.ndim != 2 or X.shape[1] < 2 or len(X) == 0 or y.shape != (len(X),):
        raise ValueError(
            f"X must be (n, p) with p of at least 2 and y (n,), not {X.shape} and {y.shape}."
        )
    gaps = np.flatnonzero(~np.isfinite(X).all(axis=1))
    if len(gaps):
        raise ValueError(f"row {gaps[0]} of X holds a gap or an infinite number: leave it out.")
    names = [f"x{j}" for j in range(X.shape[1])]
    names = names if known.feature_names is None else list(known.feature_names)
    numbers = _class_numbers("y", y, np.asarray(known.classes))
    pair = _two_columns(features, names)
    across, up = (_range_of(X[:, j]) for j in pair)
    grid = np.tile(X.mean(axis=0), (_GRID**2, 1))
    grid[:, pair[0]], grid[:, pair[1]] = (part.ravel() for part in np.meshgrid(across, up))
    mu = known.probability(grid).reshape(_GRID, _GRID, -1)

    figure = new_figure(6, 5.2)
    axes = figure.subplots()
    if len(known.classes) == 2:
        image = axes.contourf(across, up, mu[:, :, 1], np.linspace(0, 1, 11), cmap=shades())
        label = f"probability of {known.classes[1]}"
        figure.colorbar(image, ax=axes, label=label, ticks=[0, 0.25, 0.5, 0.75, 1], format="%g")
    else:
        axes.imshow(
            _tinted(mu), origin="lower", extent=(across[0], across[-1], up[0], up[-1]),
            aspect="auto", interpolation="bilinear",
        )  # fmt: skip
    _draw_boundaries(axes, across, up, mu)
    _draw_rows(axes, X[:, pair], numbers, known.classes)
    axes.set(xlabel=names[pair[0]], ylabel=names[pair[1]])
    axes.set(xlim=across[[0, -1]], ylim=up[[0, -1]])
    others = "the other features at their means" if X.shape[1] > 2 else ""
    axes.set_title("\n".join(filter(None, [title, others])))
    figure.legend(loc="outside lower center", ncols=5)
    return figure


def _class_numbers(name: str, labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The place of every label among the classes, (n,)."""
    number = {label: k for k, label in enumerate(classes.tolist())}
    numbers = np.array([number.get(label, -1) for label in labels.tolist()])
    unknown = np.flatnonzero(numbers < 0)
    if len(unknown):
        i = int(unknown[0])
        raise ValueError(
            f"{name}[{i}] is {labels.tolist()[i]!r}, but the classes are {classes.tolist()}."
        )
    return numbers


def _two_columns(features: Sequence[int | str], names: Sequence[str]) -> list[int]:
    """Column numbers of two features named or numbered."""
    columns = [names.index(f) if f in names else f for f in features]
    for feature, column in zip(features, columns, strict=True):
        if not isinstance(column, int | np.integer) or not 0 <= column < len(names):
            raise ValueError(f"features: there is no {feature!r} among {list(names)}.")
    if len(set(columns)) != 2 or len(columns) != 2:
        raise ValueError(f"features must be two different ones, not {features!r}.")
    return [int(column) for column in columns]


def _range_of(values: np.ndarray) -> np.ndarray:
    """Grid points over the values and a little beyond."""
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 0.5 * max(abs(low), 1.0)
    return np.linspace(low - margin, high + margin, _GRID)


def _tinted(mu: np.ndarray) -> np.ndarray:
    """The likeliest class's colour, paler where it is less sure, (…, 3)."""
    K = mu.shape[-1]
    sure = (mu.max(axis=-1) - 1 / K) / (1 - 1 / K)
    paint = np.array([tint(k) for k in range(K)])[mu.argmax(axis=-1)]
    return 1 - (0.15 + 0.85 * sure[..., None]) * (1 - paint)


def _draw_boundaries(axes: Any, across: np.ndarray, up: np.ndarray, mu: np.ndarray) -> None:
    """Lines where the likeliest class changes.

    In log-probabilities, which a linear model's grid interpolates without error.
    """
    log_mu = np.log(np.maximum(mu, _SMALLEST))
    for k in range(1 if mu.shape[-1] == 2 else 0, mu.shape[-1]):
        ahead = log_mu[..., k] - np.delete(log_mu, k, axis=-1).max(axis=-1)
        if ahead.min() < 0 < ahead.max():
            axes.contour(across, up, ahead, [0.0], colors="black", linewidths=1.5)


def _draw_rows(axes: Any, X: np.ndarray, numbers: np.ndarray, classes: np.ndarray) -> None:
    every = np.linspace(0, len(X) - 1, min(len(X), _MOST_POINTS)).astype(int)
    X, numbers = X[every], numbers[every]
    for k, label in enumerate(classes):
        look = series(k)
        axes.scatter(
            *X[numbers == k].T, s=26, marker=look["marker"], color=look["color"],
            edgecolors="white", linewidths=0.6, label=str(label),
        )  # fmt: skip


@styled
def plot_coefficients(model: Any, *, scale: Any = None, most: int = 30, title: str = "") -> Any:
    """Draw the coefficients of a model, the largest at the top, one mark a class.

    Args:
        model: a :class:`Model`, or a fitted linear classifier.
        scale: the deviation of every feature, (p,), such as ``X.std(axis=0)``: coefficients
            are then per deviation, and those of different units can be compared.
        most: how many features at most, those with the largest coefficients.
        title: a line above the picture.

    Returns:
        The matplotlib figure: a notebook shows it, ``figure.savefig(path)`` writes it.

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
    figure = new_figure(6.5, 1.6 + 0.24 * max(len(shown), 4))
    axes = figure.subplots()
    _draw_marks(axes, coef[shown], model.classes)
    axes.set_yticks(range(len(shown)), [model.feature_names[j] for j in shown])
    axes.set_ylim(-0.7, len(shown) - 0.3)
    of = f"log-odds of {model.classes[1]}" if coef.shape[1] == 1 else "logit"
    axes.set_xlabel(f"{of} per {'unit' if np.all(scale == 1) else 'deviation'} of the feature")
    if coef.shape[1] > 1:
        figure.legend(loc="outside lower center", ncols=5)
    left_out = f"the largest {len(shown)} of {p}" if len(shown) < p else ""
    axes.set_title("\n".join(filter(None, [title, left_out])))
    return figure


def _draw_marks(axes: Any, coef: np.ndarray, classes: np.ndarray) -> None:
    """A mark a coefficient, (p, 1) or (p, K), classes one above the other, and a stem from
    zero to the outermost."""
    places = np.arange(len(coef))
    axes.axvline(0, color="0.35", linewidth=1)
    low, high = np.minimum(coef.min(axis=1), 0), np.maximum(coef.max(axis=1), 0)
    axes.hlines(places, low, high, color="0.75", linewidth=1.5, zorder=1)
    K = coef.shape[1]
    for k, shift in enumerate(np.linspace(0.2, -0.2, K) if K > 1 else [0.0]):
        look = series(k)
        axes.scatter(
            coef[:, k], places + shift, s=36, marker=look["marker"], color=look["color"],
            edgecolors="white", linewidths=0.6, label=str(classes[k]), zorder=3,
        )  # fmt: skip
    axes.grid(axis="x")


@styled
def plot_confusion(y: Any, predicted: Any, *, classes: Any = None, title: str = "") -> Any:
    r"""Draw which class was taken for which: counts, and their share of the true class as
    shade; in per cent too, for up to ten classes.

    Args:
        y: the true labels, (n,).
        predicted: the model's answers, (n,).
        classes: all labels, in the order wanted; those that occur, sorted, if absent.
        title: a line above the picture.

    Returns:
        The matplotlib figure: a notebook shows it, ``figure.savefig(path)`` writes it.

    Raises:
        ValueError: for arrays that do not match, or a label that is not in ``classes``.

    >>> figure = plot_confusion(["a", "b", "b"], ["a", "a", "b"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['1\n100 %', '0', '1\n50 %', '1\n50 %']
    """
    y, predicted = np.asarray(y), np.asarray(predicted)
    if y.ndim != 1 or y.shape != predicted.shape or len(y) == 0:
        raise ValueError(f"y and predicted must both be (n,), not {y.shape}, {predicted.shape}.")
    classes = np.unique(np.concatenate([y, predicted])) if classes is None else np.asarray(classes)
    K = len(classes)
    counts = np.zeros((K, K), int)
    pairs = (_class_numbers("y", y, classes), _class_numbers("predicted", predicted, classes))
    np.add.at(counts, pairs, 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    side = min(7.5, 3.4 + 0.32 * K)
    figure = new_figure(side, 0.93 * side)
    axes = figure.subplots()
    image = axes.imshow(shares, vmin=0, vmax=1, cmap=shades())
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    _write_counts(axes, counts, shares)
    names = [str(label) for label in classes]
    slanted = max(map(len, names)) * K > 9 * side
    axes.set_xticks(range(K), names, **({"rotation": 45, "ha": "right"} if slanted else {}))
    axes.set_yticks(range(K), names)
    axes.set(xlabel="predicted", ylabel="true")
    axes.tick_params(length=0)
    axes.set_title(title)
    return figure


def _write_counts(axes: Any, counts: np.ndarray, shares: np.ndarray) -> None:
    """The count in every cell and, where there is room, the share; a zero is pale."""
    K = len(counts)
    size = 10 if K <= 6 else 8 if K <= 10 else 7
    for (i, j), count in np.ndenumerate(counts):
        per_cent = f"\n{100 * shares[i, j]:.0f} %" if count and K <= 10 else ""
        colour = "black" if count else "0.6"
        axes.text(j, i, f"{count}{per_cent}", ha="center", va="center", fontsize=size, color=colour)

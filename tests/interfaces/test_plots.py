"""Every plot is rendered; its texts, marks, boundaries and greys are checked."""

import dataclasses
import itertools
import subprocess
import sys

import numpy as np
import pytest
from matplotlib import colormaps, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.contour import QuadContourSet
from matplotlib.text import Text
from sklearn.metrics import roc_auc_score

import jax_logreg as lr
from jax_logreg.fitting.result import FitResult, History
from jax_logreg.interfaces import plot_style
from tests.problems import N, P

RNG = np.random.default_rng(0)
TWO = lr.Model(
    [1.0, -30.0, 4.0], -12.0, classes=["no", "yes"], feature_names=["age", "dose_in_mg", "weight"]
)
THREE = lr.Model(
    [[2.0, -1.0, 0.0], [0.0, 1.5, -250.0]], [0.1, 0.0, 0.5], classes=["setosa", "b", "c"]
)
X = RNG.normal(size=(90, 3)) * [1.0, 0.1, 1.0] + [0.0, 0.0, 3.0]
WHO = np.array(["yes", "no"])[RNG.integers(0, 2, 90)]
SPECIES = np.array(["setosa", "b", "c"])[RNG.integers(0, 3, 90)]


def a_fit(num_steps, start=1.0):
    """A result with a history, and nothing computed."""
    curve = np.full(5000, np.nan)
    curve[: num_steps + 1] = start * np.exp(-np.linspace(0, 30, num_steps + 1))
    zero = np.zeros(())
    history = History(0.1 + curve, curve)
    return FitResult(zero, zero, zero, np.array(num_steps), zero, zero, zero, zero, zero, history)


FITS = {"gradient descent": a_fit(3400), "Optax Adam": a_fit(290), "Newton": a_fit(8)}
COSTS = {
    "seconds": {"gradient descent": 0.046, "Optax Adam": 0.0095, "Newton": np.arange(1, 10.0)},
    "products": {"gradient descent": 6800, "Optax Adam": 580, "Newton": 300},
}


def classes_of(K, n=600):
    names = np.array([f"species {k}" for k in range(K)])
    true = np.arange(n) % K
    return names[true], names[np.where(RNG.uniform(size=n) < 0.8, true, RNG.integers(0, K, n))]


PLOTS = {
    "two classes": lambda: lr.plot_decision_regions(TWO, X, WHO, title="Who is ill"),
    "three classes": lambda: lr.plot_decision_regions(THREE, X[:, :2], SPECIES),
    "coefficients": lambda: lr.plot_coefficients(TWO, scale=X.std(axis=0), title="Who is ill"),
    "coefficients of classes": lambda: lr.plot_coefficients(THREE),
    "many coefficients": lambda: lr.plot_coefficients(lr.Model(RNG.normal(size=80), 0.0)),
    "training": lambda: lr.plot_training(FITS, title="Three solvers"),
    "training with costs": lambda: lr.plot_training(FITS, costs=COSTS, title="Three solvers"),
    "training of few decades": lambda: lr.plot_training(
        {"Newton": a_fit(8, 1e-3)}, costs={"seconds": {"Newton": 0.0116}, "hours": {"Newton": 7}}
    ),
    "training of other few decades": lambda: lr.plot_training(
        {"Newton": a_fit(50)}, costs={"seconds": {"Newton": 3600}, "hours": {"Newton": 1e5}}
    ),
    "training of two points": lambda: lr.plot_training(
        {"Newton": a_fit(1)}, costs={"seconds": {"Newton": (0.0116, 0.0131)}}
    ),
    "confusion of 2": lambda: lr.plot_confusion(*classes_of(2), title="Who is ill"),
    "confusion of 10": lambda: lr.plot_confusion(*classes_of(10)),
    "confusion of 20": lambda: lr.plot_confusion(*classes_of(20, 30_000), title="Twenty"),
}


@pytest.mark.parametrize("num_classes", [2, 3])
def test_intervals_do_not_depend_on_the_units_of_the_columns(num_classes, x64):
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(N, P)), np.arange(N) % num_classes
    unit = 10.0 ** np.arange(P)

    def drawn(X):
        figure = lr.plot_inference(lr.infer(lr.fit(X, y, solver="newton"), X, y))
        names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        return names, figure.axes[0].lines[0].get_xdata()

    (names, estimates), (scaled_names, scaled) = drawn(X), drawn(X * unit)
    assert names == scaled_names
    np.testing.assert_allclose(scaled, estimates, rtol=1e-6)


def report_of(names, factor):
    """An audit of the gradient of Σt³ whose last entry is off by a factor."""
    factors = np.where(np.arange(len(names)) + 1 == len(names), factor, 1.0)
    return lr.check_derivatives(
        lambda t: (t**3).sum(), gradient=lambda t: 3 * t**2 * factors,
        at=np.linspace(0.5, 1.5, len(names)), names=list(names),
    )  # fmt: skip


def render(figure):
    """Pixels in grey, between 0 and 1."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3] @ [0.2126, 0.7152, 0.0722] / 255


def texts_of(figure, monkeypatch):
    """What is written, with the box of each: the ticks outside an axis are not drawn."""
    drawn, draw = {}, Text.draw

    def record(text, renderer, *args, **kwargs):
        if text.get_visible() and text.get_text():
            drawn[id(text)] = (text, text.get_window_extent(renderer))
        return draw(text, renderer, *args, **kwargs)

    monkeypatch.setattr(Text, "draw", record)
    render(figure)
    monkeypatch.undo()
    return list(drawn.values())


def check_texts(figure, monkeypatch):
    """Nothing written is cut off, lies on something written, or is too small at 600 pixels."""
    texts = texts_of(figure, monkeypatch)
    assert texts
    width, height = figure.bbox.width, figure.bbox.height
    assert figure.get_figwidth() <= 7.5
    for text, box in texts:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text  # noqa: PT018
        assert text.get_fontsize() / 72 * 600 / figure.get_figwidth() >= 7, text
    straight = [(text, box) for text, box in texts if text.get_rotation() in (0, 90)]
    for (one, a), (other, b) in itertools.combinations(straight, 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        up = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(across, up) <= 1, f"{one} lies on {other}"


@pytest.mark.parametrize("name", PLOTS)
def test_what_is_written_can_be_read(name, monkeypatch):
    figure = PLOTS[name]()
    check_texts(figure, monkeypatch)
    grey = render(figure)
    assert np.mean(grey < 0.5) > 0.002  # something dark is drawn


def test_an_inference_can_be_read(monkeypatch, x64):
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(N, P)), np.arange(N) % 2
    inference = lr.infer(lr.fit(X, y, solver="newton"), X, y)
    figure = lr.plot_inference(inference)
    check_texts(figure, monkeypatch)
    assert [axes.get_title().split(",")[0].split(":")[0] for axes in figure.axes] == [
        "Coefficients", "Influence", "ROC", "Calibration",
    ]  # fmt: skip


def test_an_audit_names_the_entries_and_says_what_is_wrong(monkeypatch):
    names = ["age", "dose of the drug", "weight"]
    reports = {"right": report_of(names, 1.0), "wrong": report_of(names, -1.0)}
    figure = lr.plot_reports(reports)
    check_texts(figure, monkeypatch)
    right, wrong = (axes for axes in figure.axes if axes.get_xlabel() == "entry of θ")
    assert [label.get_text() for label in wrong.get_xticklabels()] == [
        "age", "dose of the d…", "weight"
    ]  # fmt: skip
    assert right.get_title() == "gradient: right"
    assert wrong.get_title().splitlines()[:2] == [
        "gradient: 1 of 3 differ", "Only weight is wrong: the sign is flipped.",
    ]  # fmt: skip
    many = lr.plot_reports({"many": report_of([f"w{i}" for i in range(40)], 2.0)})
    check_texts(many, monkeypatch)
    assert "Only w39 is wrong" in many.axes[1].get_title()


def boundaries(figure):
    """Points on the drawn lines, (m, 2)."""
    lines = [
        c for c in figure.axes[0].collections if isinstance(c, QuadContourSet) and not c.filled
    ]
    return [np.concatenate([path.vertices for path in line.get_paths()]) for line in lines]


def test_the_boundary_lies_at_even_odds():
    (line,) = boundaries(PLOTS["two classes"]())
    assert np.ptp(line, axis=0).min() > 0.1
    there = np.column_stack([line, np.full(len(line), X[:, 2].mean())])
    np.testing.assert_allclose(TWO.probability(there), 0.5, atol=1e-9)


def test_the_boundaries_of_three_classes_lie_where_two_tie():
    lines = boundaries(PLOTS["three classes"]())
    assert len(lines) == 3
    ties = [np.sort(THREE.probability(line), axis=1) for line in lines]
    gaps = np.concatenate([mu[:, 2] - mu[:, 1] for mu in ties])
    # A corner of three regions lies between grid points.
    assert np.mean(gaps < 1e-6) > 0.9


def test_every_row_is_a_mark_of_its_class_and_many_are_thinned():
    axes = PLOTS["three classes"]().axes[0]
    marks = {c.get_label(): c for c in axes.collections if not isinstance(c, QuadContourSet)}
    for label in ("setosa", "b", "c"):
        drawn = np.asarray(marks[label].get_offsets())
        np.testing.assert_array_equal(drawn, X[label == SPECIES, :2])
    shapes = {marks[label].get_paths()[0].vertices.shape[0] for label in marks}
    assert len(shapes) == 3
    many = np.tile(X, (100, 1))
    axes = lr.plot_decision_regions(TWO, many, np.tile(WHO, 100)).axes[0]
    counts = [len(c.get_offsets()) for c in axes.collections if c.get_label() in ("yes", "no")]
    assert sum(counts) == 2000


def test_a_class_that_never_wins_is_no_error():
    model = lr.Model(np.zeros((2, 3)), [1.0, 0.0, -1.0])
    assert boundaries(lr.plot_decision_regions(model, X[:, :2], np.arange(90) % 3)) == []


def test_features_are_chosen_by_name_from_a_pipeline_fitted_on_a_frame():
    import pandas as pd
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    frame = pd.DataFrame(X, columns=TWO.feature_names)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, WHO)
    figure = lr.plot_decision_regions(model, frame, WHO, features=["weight", "age"])
    (line,) = boundaries(figure)
    there = np.column_stack([line[:, 1], np.full(len(line), X[:, 1].mean()), line[:, 0]])
    there = pd.DataFrame(there, columns=TWO.feature_names)
    np.testing.assert_allclose(model.predict_proba(there)[:, 1], 0.5, atol=1e-9)


def test_coefficients_are_sorted_and_lie_where_they_are():
    figure = PLOTS["coefficients of classes"]()
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["x0", "x1"]
    marks = {
        c.get_label(): np.asarray(c.get_offsets())
        for c in axes.collections
        if c.get_label() in THREE.class_names
    }
    np.testing.assert_array_equal(marks["c"][:, 0], THREE.coef[:, 2])
    lines = [c.get_segments() for c in axes.collections if hasattr(c, "get_segments")]
    for segments, mark in zip(lines, marks.values(), strict=True):  # each ends in its mark
        ends = [[x for x in (a[0], b[0]) if x] or [0] for a, b in segments]
        np.testing.assert_array_equal(np.ravel(ends), mark[:, 0])
        np.testing.assert_array_equal([a[1] for a, _ in segments], mark[:, 1])
    many = PLOTS["many coefficients"]().axes[0]
    assert len(many.get_yticklabels()) == 30
    assert many.get_title() == "the largest 30 of 80"
    assert "per deviation" in PLOTS["coefficients"]().axes[0].get_xlabel()


def test_curves_end_where_the_training_ended_and_costs_are_shared_out():
    figure = PLOTS["training with costs"]()
    loss, seconds, _ = figure.axes[:3]
    ends = {line.get_label(): line.get_xydata() for line in loss.lines}
    assert {name: curve[-1, 0] for name, curve in ends.items()} == {
        "gradient descent": 3401, "Optax Adam": 291, "Newton": 9,
    }  # fmt: skip
    adam, newton = seconds.lines[1].get_xdata(), seconds.lines[2].get_xdata()
    np.testing.assert_allclose(adam, 0.0095 * np.arange(1, 292) / 291)
    np.testing.assert_array_equal(newton, COSTS["seconds"]["Newton"])
    assert all(line.get_ydata().min() > 0 for line in loss.lines)  # none falls off the axis


def test_a_divergent_training_is_drawn_as_far_as_it_is_finite(monkeypatch):
    curve = np.array([0.7, 5.0, np.inf, np.nan])
    away = dataclasses.replace(a_fit(3), history=History(curve, curve))
    exact = dataclasses.replace(a_fit(0), history=History(np.array([0.7]), np.array([0.0])))
    check_texts(lr.plot_training({"away": away, "exact": exact}), monkeypatch)
    check_texts(lr.plot_training({"exact": exact}), monkeypatch)
    nothing = dataclasses.replace(a_fit(3), history=History(curve[[3] * 4], curve[[3] * 4]))
    with pytest.raises(ValueError, match="no finite loss"):
        lr.plot_training({"nothing": nothing})


def test_a_confusion_counts_by_true_class():
    true, answer = classes_of(10)
    figure = lr.plot_confusion(true, answer)
    cells = [text.get_text() for text in figure.axes[0].texts]
    wrong = int(np.sum((true == "species 2") & (answer == "species 5")))
    share = 100 * wrong / np.sum(true == "species 2")
    assert cells[2 * 10 + 5] == (f"{wrong}\n{share:.0f} %" if wrong else "0")
    assert sum(int(cell.split("\n")[0]) for cell in cells) == len(true)
    shades = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shades.sum(axis=1), 1)


def test_a_confusion_is_in_the_natural_order_and_its_bar_is_as_high():
    names = [f"category {k}" for k in (10, 2, 1)]
    figure = lr.plot_confusion(names, names)
    render(figure)
    (axes,) = figure.axes
    (bar,) = axes.child_axes
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert shown == ["category 1", "category 2", "category 10"]
    np.testing.assert_allclose(
        bar.get_window_extent().intervaly, axes.get_window_extent().intervaly
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_the_roc_curve_has_every_threshold_and_scikit_learns_area(weighted):
    mu, y = np.round(RNG.uniform(size=200), 2), RNG.integers(0, 2, 200)  # with ties
    weight = RNG.integers(0, 3, size=200) if weighted else None
    curve = lr.roc(mu, y, sample_weight=weight)
    np.testing.assert_allclose(curve.area, roc_auc_score(y, mu, sample_weight=weight))
    counted = mu if weight is None else mu[weight > 0]
    np.testing.assert_array_equal(curve.threshold, [np.inf, *np.unique(counted)[::-1]])


def lightness(colours):
    """CIE L*, between 0 and 100."""
    rgb = np.asarray(colours)[..., :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


def test_colours_are_distinct_in_grey():
    styles = [plot_style.series(i) for i in range(12)]
    light = lightness([to_rgb(style["color"]) for style in styles])
    assert np.abs(np.diff(light)).min() > 12
    assert np.abs(np.diff(lightness([plot_style.tint(i) for i in range(5)]))).min() > 4
    assert light.max() < 80  # visible on white
    kinds = {(style["linestyle"], style["marker"]) for style in styles}
    assert len(kinds) == 12
    steps = np.linspace(0, 1, 50)
    assert np.all(np.diff(lightness(plot_style.shades()(steps))) < 0)
    assert np.all(np.diff(lightness(colormaps[plot_style.STYLE["image.cmap"]](steps))) > 0)
    # Black text is written on the darkest shade.
    assert lightness(plot_style.shades()(1.0)) > 55


def test_the_style_is_the_same_whatever_the_caller_has_set():
    plain = render(lr.plot_confusion(["a", "b"], ["a", "a"]))
    with rc_context({"font.size": 30, "axes.spines.top": True, "figure.dpi": 40}):
        again = lr.plot_confusion(["a", "b"], ["a", "a"])
    np.testing.assert_array_equal(plain, render(again))


@pytest.mark.parametrize(
    ("ending", "start"), [("png", b"\x89PNG"), ("PDF", b"%PDF"), ("svg", b"<?xml")]
)
def test_plots_are_written_whole_or_not_at_all(ending, start, tmp_path):
    path = tmp_path / f"plot.{ending}"
    plot_style.save_figure(PLOTS["confusion of 2"](), path)
    assert path.read_bytes().startswith(start)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


BAD = {
    "a fit for a model": (lambda: lr.plot_decision_regions(FITS, X, WHO), "Model.from_result"),
    "no such feature": (
        lambda: lr.plot_decision_regions(TWO, X, WHO, features=("age", "hight")), "'hight'",
    ),
    "one feature twice": (
        lambda: lr.plot_decision_regions(TWO, X, WHO, features=("age", 0)), "two different",
    ),
    "a label unknown": (lambda: lr.plot_decision_regions(TWO, X, SPECIES), r"y\[0\] is .* classes"),
    "lengths": (lambda: lr.plot_decision_regions(TWO, X, WHO[1:]), "inconsistent numbers"),
    "a scale too short": (lambda: lr.plot_coefficients(TWO, scale=[1.0]), r"scale must be \(3,\)"),
    "a gap": (
        lambda: lr.plot_decision_regions(TWO, np.where(X > 4.5, np.nan, X), WHO), "X contains NaN",
    ),
    "many fits": (
        lambda: lr.plot_training({"all": dataclasses.replace(a_fit(3), status_code=np.zeros(7))}),
        r"\['all'\] holds 7 fits",
    ),
    "no fits": (lambda: lr.plot_training({}), "results is empty"),
    "no cost": (
        lambda: lr.plot_training(FITS, costs={"seconds": {"Newton": 1.0}}), "no entry for 'grad",
    ),
    "costs too few": (
        lambda: lr.plot_training(FITS, costs={"products": dict.fromkeys(FITS, (1.0, 2.0))}),
        r"a number or \(3401,\)",
    ),
    "one fit": (lambda: lr.plot_training(a_fit(3)), "results must be a dict.*is a FitResult"),
    "one report": (lambda: lr.plot_reports({"all": a_fit(3)}), "reports must be a dict"),
    "one class": (lambda: lr.roc([0.5, 0.6], [1, 1]), "both classes"),
    "labels that are no classes": (lambda: lr.roc([0.5, 0.6], [0, 2]), r"\{0, 1\}"),
    "an answer too few": (lambda: lr.plot_confusion(["a", "b"], ["a"]), "inconsistent numbers"),
    "a class left out": (
        lambda: lr.plot_confusion(["a", "b"], ["a", "b"], classes=["a"]), r"\[1\] is .*'b'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_named(what):
    draw, words = BAD[what]
    with pytest.raises(ValueError, match=words):
        draw()


def test_a_notebook_shows_a_plot_without_pyplot():
    assert PLOTS["coefficients"]()._repr_png_().startswith(b"\x89PNG")


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(plot_style, "HAS_MATPLOTLIB", False)
    with pytest.raises(ValueError, match=r"pip install 'jax-logreg\[plot\]'"):
        lr.plot_confusion(["a"], ["a"])


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    with pytest.raises(ValueError, match=r"scikit-learn 1.9.*pip install 'jax-logreg\[plot\]'"):
        lr.plot_confusion(["a"], ["a"])


def test_the_command_line_does_not_load_scikit_learn():
    code = "import sys, jax_logreg.interfaces.cli; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_package_does_not_load_matplotlib_by_itself():
    code = "import sys, jax_logreg; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

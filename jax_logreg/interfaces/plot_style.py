"""The style of all plots. The only file that imports matplotlib."""

import functools
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from jax_logreg.interfaces.files import atomic_write, check_can_write

try:
    from matplotlib import rc_context
    from matplotlib.colors import LinearSegmentedColormap, to_rgb
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    HAS_MATPLOTLIB = True
except ImportError:
    HAS_MATPLOTLIB = False

PLOT_FORMATS = (".png", ".pdf", ".svg")

# Neighbours differ in lightness, so that a print in grey can be read.
COLOURS = ("#1c2451", "#c0392b", "#2e9c94", "#5b3a9b", "#f0a030")
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "^", "s", "D", "v", "P", "X")

#: matplotlib's settings, for your own plots too: ``plt.rcParams.update(STYLE)``.
STYLE: Any = {
    "figure.dpi": 120,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.06,
    "figure.constrained_layout.h_pad": 0.06,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "font.size": 10,
    "axes.titlesize": 10.5,
    "figure.titlesize": 11.5,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.35",
    "grid.color": "0.85",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.7,
    "lines.markersize": 5,
    "image.cmap": "cividis",
    "axes.prop_cycle": (
        f"cycler('color', {list(COLOURS[:4])}) + cycler('linestyle', {list(LINES)})"
    ),
}

if HAS_MATPLOTLIB:

    class Picture(Figure):
        """A figure that a notebook shows, whether pyplot is in use or not."""

        def _repr_png_(self) -> bytes:
            stream = io.BytesIO()
            self.savefig(stream, format="png")
            return stream.getvalue()


P = ParamSpec("P")
R = TypeVar("R")


def require_matplotlib() -> None:
    """Say how to get matplotlib where it is missing.

    Raises:
        ValueError: naming the command.
    """
    if not HAS_MATPLOTLIB:
        raise ValueError("A plot needs matplotlib: pip install 'jax-logreg[plot]'.")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """A function that draws in this style, whatever matplotlib's settings are outside."""

    @functools.wraps(draw)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> R:
        require_matplotlib()
        with rc_context(STYLE):
            return draw(*args, **kwargs)

    return in_style


def new_figure(width: float, height: float) -> Any:
    """An empty figure, in inches; at most 7.5 wide, to be legible in 600 pixels."""
    return Picture(figsize=(width, height))


def series(i: int) -> dict[str, Any]:
    """Colour, line and marker of the i-th series; 140 are distinct.

    >>> series(0) == series(1), series(1)["marker"]
    (False, '^')
    """
    return {
        "color": COLOURS[i % len(COLOURS)],
        "linestyle": LINES[i % len(LINES)],
        "marker": MARKERS[i % len(MARKERS)],
    }


def shades() -> Any:
    """From nearly white at 0 to a middle blue at 1: dark marks and text stand out on it."""
    return LinearSegmentedColormap.from_list("shades", ["#fcfcf9", "#c9d6e6", "#6d90ba"])


def tint(i: int) -> tuple[float, float, float]:
    """The colour of the i-th series for a surface under its marks."""
    red, green, blue = (0.5 + 0.5 * part for part in to_rgb(series(i)["color"]))
    return red, green, blue


def whole_ticks(axis: Any) -> None:
    """Ticks at whole numbers alone."""
    axis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def log_ticks(axis: Any) -> None:
    """Labels on a logarithmic axis that leave room for one another, however few decades it has."""
    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    if decades < 2:
        steps = [1, 2, 5, 10]
        multiples = [1] if decades > 1.3 else steps[:3]
        axis.set_major_locator(
            LogLocator(subs=multiples) if decades > 0.7 else MaxNLocator(3, steps=steps)
        )
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda x, position: f"{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def check_plot_path(path: str | Path) -> Path:
    """The path of a plot, checked before any work.

    Raises:
        ValueError: for an unknown extension, or if no file can be written there.
    """
    require_matplotlib()
    path = Path(path)
    if path.suffix.lower() not in PLOT_FORMATS:
        raise ValueError(f"--plot must end in {', '.join(PLOT_FORMATS)}, but it is {str(path)!r}.")
    check_can_write(path)
    return path


def save_figure(figure: Any, path: str | Path) -> None:
    """Write a figure, whole or not at all, in the format of the extension."""
    with atomic_write(path) as stream:
        figure.savefig(stream, format=Path(path).suffix[1:].lower(), dpi=200)

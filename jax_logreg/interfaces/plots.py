"""Pictures of a training. The one file that imports matplotlib."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

try:
    from matplotlib.figure import Figure

    HAS_MATPLOTLIB = True
except ImportError:
    HAS_MATPLOTLIB = False

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

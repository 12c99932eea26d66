"""What the command line prints, in 80 columns."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from jax_logreg.audit.proof import Comparison
from jax_logreg.fitting.result import Status as FitStatus
from jax_logreg.inference.inference import Inference
from jax_logreg.interfaces.coefficient_table import coefficient_tables
from jax_logreg.interfaces.files import as_json
from jax_logreg.interfaces.main_job import Job, Report, Training

try:
    from rich import box
    from rich.console import Console
    from rich.status import Status as Spinner
    from rich.table import Table
    from rich.text import Text

    HAS_RICH = True
except ImportError:
    HAS_RICH = False

WIDTH = 80
_BAR = 30

# What a status's advice is called on the command line.
_OPTIONS = {
    FitStatus.SEPARATED: "--l2 0.01",
    FitStatus.MAX_STEPS: "--max-steps N",
    FitStatus.STALLED: "--dtype float64, --tol T",
    FitStatus.LOOSE: "--tol T, --l2 S",
}


def require_rich() -> None:
    """Say how to get rich where it is missing.

    Raises:
        ValueError: naming the command and the way without.
    """
    if not HAS_RICH:
        raise ValueError("tables need rich: pip install 'jax-logreg[cli]', or use --json.")


class Progress:
    """A line on the error stream that tells what is going on; silent in a pipe."""

    def __init__(self) -> None:
        self._spinner: Any = None
        if HAS_RICH:
            console = Console(stderr=True, markup=False)
            if console.is_terminal:
                self._spinner = Spinner("starting", console=console)

    def shown(self) -> AbstractContextManager[Any]:
        """A context in which the line is visible."""
        return self._spinner or nullcontext()

    def report(self) -> Report:
        """The function to call with (what, steps, loss, gradient norm)."""

        def tell(what: str, steps: int = 0, loss: float = 0.0, norm: float = math.nan) -> None:
            if self._spinner is None:
                return
            text = (
                what
                if math.isnan(norm)
                else (f"{what}: step {steps}, loss {loss:.6g}, gradient norm {norm:.1e}")
            )
            self._spinner.update(Text(text))

        return tell

    def bar(self, what: str) -> Callable[[float], None]:
        """The function to call with the share that is done, from 0 to 1."""

        def tell(share: float) -> None:
            if self._spinner is not None:
                done = round(_BAR * share)
                bar = f"{'━' * done}{'─' * (_BAR - done)} {share:4.0%}"
                self._spinner.update(Text(f"{what} {bar}"))

        return tell


def print_job(job: Job) -> None:
    """The report of the main job for people."""
    console = Console(width=WIDTH, highlight=False, markup=False)
    _print_heading(console, job)
    console.print(_training_table(job.trainings))
    _print_messages(console, job)
    for table in _coefficient_tables(job):
        console.print(table)
    if job.inference is not None:
        _print_inference(console, job)
    print_audits(console, job.audits, f"{job.audit_rows} of {len(job.table.y)} rows")


def _print_heading(console: "Console", job: Job) -> None:
    n, p = job.table.X.shape
    settings = job.settings
    columns = "standardized" if settings.standardize else "as given"
    model = "softmax" if len(job.table.class_names) > 2 else "sigmoid"
    console.print(f"{job.table.name}: {n} rows, {p} features ({columns})", style="bold")
    console.print(f"classes: {', '.join(job.table.class_names)} ({model} model)")
    console.print(
        f"L2 strength {settings.l2:g} on the mean loss, {settings.derivatives} derivatives, "
        f"{settings.dtype}, {job.device}\n",
        soft_wrap=False,
    )


def _training_table(trainings: list[Training]) -> "Table":
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    table.add_column("solver", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for heading in ("steps", "loss", "gradient", "accuracy", "compile", "run"):
        table.add_column(heading, justify="right", no_wrap=True)
    for t in trainings:
        table.add_row(
            t.solver,
            t.status.name.lower(),
            str(int(t.result.num_steps)),
            _loss(float(t.result.objective)),
            f"{float(t.result.gradient_norm):.1e}",
            f"{100 * t.accuracy:.1f} %",
            f"{t.compile_seconds:.2f} s",
            _seconds(t.run_seconds),
        )
    return table


def _loss(loss: float) -> str:
    return f"{loss:.6f}" if loss < 10 else f"{loss:.2e}"


def _seconds(seconds: float) -> str:
    return f"{1e3 * seconds:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _print_messages(console: "Console", job: Job) -> None:
    """Why a row is no answer, each reason once."""
    reasons: dict[FitStatus, list[str]] = {}
    for training in job.trainings:
        if training.status != FitStatus.CONVERGED:
            reasons.setdefault(training.status, []).append(training.solver)
    for status, solvers in reasons.items():
        here = f" Here: {_OPTIONS[status]}." if status in _OPTIONS else ""
        console.print(f"{', '.join(solvers)}: {status.message}{here}\n", style="yellow")


def _coefficient_tables(job: Job) -> list["Table"]:
    best, names = job.trainings[job.best], job.table.class_names
    headings = names if len(names) > 2 else [f"of {names[1]}"]
    note = "" if best.result.converged else f" ({best.status.name.lower()}: no answer)"
    unit = "per standard deviation" if job.settings.standardize else "per unit"
    return coefficient_tables(
        f"Coefficients of {best.solver}, log-odds {unit}{note}",
        job.table.feature_names,
        headings,
        np.asarray(best.result.coef).reshape(len(job.scale), -1),
        np.atleast_1d(best.result.intercept) if job.settings.fit_intercept else None,
    )


def _print_inference(console: "Console", job: Job) -> None:
    if isinstance(job.inference, Inference):
        unit = "per standard deviation" if job.settings.standardize else "per unit"
        console.print(f"Inference, log-odds {unit}", style="italic")
        console.print(job.inference.summary() + "\n")
    else:
        console.print(f"No standard errors: {job.inference}\n", style="yellow")


def _audit_table(audits: dict[str, list[Comparison]]) -> "Table":
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=0,
        title_justify="left",
        title="Derivatives by hand against autodiff, largest difference",
    )
    table.add_column("derivative")
    for dtype in audits:
        table.add_column(f"{dtype} abs", justify="right")
        table.add_column("relative", justify="right")
    table.add_column("verdict")
    for row in zip(*audits.values(), strict=True):
        cells = [f"{x:.1e}" for c in row for x in (c.absolute, c.relative)]
        table.add_row(row[0].name, *cells, "agree" if all(c.agrees for c in row) else "DIFFER")
    return table


def print_audits(console: "Console", audits: dict[str, list[Comparison]], rows: str) -> None:
    """The derivative audit of a table, and its verdict; ``rows`` says of which rows."""
    console.print(_audit_table(audits))
    failed = [c.name for audit in audits.values() for c in audit if not c.agrees]
    bounds = ", ".join(f"{audit[0].bound:.1e} in {d}" for d, audit in audits.items())
    verdict = f"differ: {', '.join(failed)}" if failed else "all agree"
    console.print(
        f"{verdict} (at a random point, {rows}; relative to the largest entry, bound {bounds})",
        style="red" if failed else "green",
    )


def job_as_json(job: Job) -> str:
    """The report of the main job for machines: one JSON object."""
    document = {
        "data": {
            "name": job.table.name,
            "rows": len(job.table.y),
            "features": job.table.feature_names,
            "classes": job.table.class_names,
            "encoding": job.table.encoding.as_dict()["columns"],
            "dropped_rows": job.table.num_dropped,
            "scale": job.scale.tolist(),
        },
        "settings": vars(job.settings),
        "device": job.device,
        "trainings": [_training_as_dict(t) for t in job.trainings],
        "best": job.trainings[job.best].solver,
        **({} if job.inference is None else {"inference": _inference_as_dict(job.inference)}),
        "audit": {
            "rows": job.audit_rows,
            **{dtype: [c._asdict() for c in audit] for dtype, audit in job.audits.items()},
        },
        "sound": job.sound,
    }
    return as_json(document)


def _inference_as_dict(inference: Inference | str) -> dict[str, Any]:
    if isinstance(inference, str):
        return {"message": inference}
    return {"parameters": inference.as_dict(), "statistics": inference.statistics()}


def _training_as_dict(training: Training) -> dict[str, Any]:
    result = training.result
    steps = int(result.num_steps) + 1
    return {
        "solver": training.solver,
        "status": training.status.name,
        "message": training.status.message,
        "converged": bool(result.converged),
        "num_steps": int(result.num_steps),
        "objective": float(result.objective),
        "gradient_norm": float(result.gradient_norm),
        "newton_decrement": float(result.newton_decrement),
        "rank": int(result.rank),
        "accuracy": training.accuracy,
        "compile_seconds": training.compile_seconds,
        "run_seconds": training.run_seconds,
        "coef": result.coef.tolist(),
        "intercept": result.intercept.tolist(),
        "history": {
            "objective": result.history.objective[:steps].tolist(),
            "gradient_norm": result.history.gradient_norm[:steps].tolist(),
        },
    }

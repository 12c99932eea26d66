"""The main job: one table, four solvers, the derivatives that trained them proved."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax_logreg.audit.proof import Comparison, audit_objective
from jax_logreg.fitting.fit import fit
from jax_logreg.fitting.result import FitResult, Status
from jax_logreg.inference.infer import infer
from jax_logreg.inference.inference import Inference
from jax_logreg.inference.separation import diagnose_separation
from jax_logreg.interfaces.readers import Table
from jax_logreg.objective.model import logits, predict_class
from jax_logreg.objective.objective import Objective, make_objective
from jax_logreg.objective.penalties import L2
from jax_logreg.solvers.base import Solver
from jax_logreg.solvers.gradient_descent import GradientDescent
from jax_logreg.solvers.newton import Newton
from jax_logreg.solvers.optax_adapter import Optax

# The audit's arrays grow as n · P², so a large table is audited on its first rows.
_AUDIT_ROWS = 600

SOLVERS: dict[str, Solver] = {
    "gradient descent": GradientDescent(),
    "Optax Adam": Optax(optax.adam(0.1)),
    "Optax L-BFGS": Optax(optax.lbfgs()),
    "Newton": Newton(),
}

# (what is going on, steps, loss, gradient norm); no numbers while compiling
Report = Callable[..., None]


@dataclass(frozen=True)
class Settings:
    """What the command line decides.

    Attributes:
        l2: strength of the penalty on the mean loss.
        derivatives: "analytic" or "autodiff".
        dtype: "float64" or "float32".
        standardize: whether columns are shifted and scaled to mean 0, deviation 1.
        fit_intercept: whether to fit an intercept.
        tol: bound on the gradient norm; the dtype's default if None.
        max_steps: the solvers' defaults if None.
        seed: of the point where derivatives are audited.
        inference: whether to add standard errors and tests.
    """

    l2: float = 0.01
    derivatives: str = "analytic"
    dtype: str = "float64"
    standardize: bool = True
    fit_intercept: bool = True
    tol: float | None = None
    max_steps: int | None = None
    seed: int = 0
    inference: bool = False


@dataclass(frozen=True)
class Training:
    """One solver's row: its result in NumPy, its accuracy, its times in seconds."""

    solver: str
    result: FitResult
    accuracy: float
    compile_seconds: float
    run_seconds: float

    @property
    def status(self) -> Status:
        """How it ended."""
        return Status(int(self.result.status))


@dataclass(frozen=True)
class Job:
    """All that the main job found; what it prints and draws is made from this.

    Attributes:
        table: the data.
        settings: as given.
        trainings: one a solver.
        best: index of the training whose coefficients are shown.
        scale: deviation of every column that was divided out, (p,); ones if none.
        audits: dtype name ↦ comparisons.
        audit_rows: how many rows the audit used.
        device: where it ran.
        inference: of the best training; why there is none, in words; None if not asked for.
    """

    table: Table
    settings: Settings
    trainings: list[Training]
    best: int
    scale: np.ndarray
    audits: dict[str, list[Comparison]]
    audit_rows: int
    device: str
    inference: Inference | str | None = None

    @property
    def sound(self) -> bool:
        """Whether some solver converged and every derivative agreed."""
        solved = any(bool(training.result.converged) for training in self.trainings)
        return solved and all(c.agrees for audit in self.audits.values() for c in audit)


def run_main_job(table: Table, settings: Settings, report: Report) -> Job:
    """Train with every solver, then audit the derivatives, in the dtype asked for.

    Args:
        table: the data.
        settings: see :class:`Settings`.
        report: called with progress.
    """
    X, scale = table.X, np.ones(table.X.shape[1])
    if settings.standardize:
        X, scale = standardize(table.X)
    with jax.enable_x64(settings.dtype == "float64"):
        trainings = [
            _train(name, solver, X, table, settings, report) for name, solver in SOLVERS.items()
        ]
    losses = [
        (not bool(t.result.converged), float(np.nan_to_num(t.result.objective, nan=np.inf)))
        for t in trainings
    ]
    best = losses.index(min(losses))
    return Job(
        table=table,
        settings=settings,
        trainings=trainings,
        best=best,
        scale=scale,
        audits=audit_table(X, table, settings, report),
        audit_rows=min(len(X), _AUDIT_ROWS),
        device=str(jax.devices()[0]),
        inference=_inference(trainings[best], X, table, settings) if settings.inference else None,
    )


def _inference(
    training: Training, X: np.ndarray, table: Table, settings: Settings
) -> Inference | str:
    """Standard errors of a training, or why there can be none."""
    shared: dict[str, Any] = {
        "penalty": L2(settings.l2), "fit_intercept": settings.fit_intercept
    }  # fmt: skip
    if not training.result.converged:
        K = len(table.class_names)
        found = diagnose_separation(X, table.y, num_classes=K if K > 2 else None, **shared)
        return found.message if found else training.status.message
    return infer(
        training.result,
        X,
        table.y,
        feature_names=table.feature_names,
        class_names=table.class_names,
        **shared,
    )


def standardize(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns of mean 0 and deviation 1; a constant column becomes zero."""
    size = np.max(np.abs(X), axis=0)
    unit = X / np.where(size > 0, size, 1.0)  # no square of a huge number overflows
    centred = unit - unit.mean(axis=0)
    deviation = centred.std(axis=0)
    constant = deviation <= 100 * np.finfo(float).eps
    scaled = np.where(constant, 0.0, centred / np.where(constant, 1.0, deviation))
    return scaled, np.where(constant, 1.0, deviation * size)


def _train(
    name: str, solver: Solver, X: np.ndarray, table: Table, settings: Settings, report: Report
) -> Training:
    data = jnp.asarray(X, settings.dtype), jnp.asarray(table.y)
    K = len(table.class_names)

    def run(tol: float | None) -> FitResult:
        result = fit(
            *data,
            penalty=L2(settings.l2),
            solver=solver,
            derivatives=settings.derivatives,
            fit_intercept=settings.fit_intercept,
            num_classes=K if K > 2 else None,
            tol=tol,
            max_steps=settings.max_steps,
            progress=lambda *numbers: report(name, *numbers),
        )
        return jax.block_until_ready(result)

    report(f"{name}: compiling")
    began = time.perf_counter()
    run(np.inf)  # any start is within this tol: everything compiles, no step is taken
    compiled = time.perf_counter()
    result = run(settings.tol)
    ended = time.perf_counter()
    predicted = predict_class(logits(data[0], result.coef, result.intercept))
    return Training(
        solver=name,
        result=jax.tree.map(np.asarray, result),
        accuracy=float(np.mean(np.asarray(predicted) == table.y)),
        compile_seconds=compiled - began,
        run_seconds=ended - compiled,
    )


def audit_table(
    X: np.ndarray, table: Table, settings: Settings, report: Report
) -> dict[str, list[Comparison]]:
    """Every derivative of the objective on a table against autodiff, in both dtypes.

    Args:
        X: the table's columns, scaled or not, (n, p); the first 600 rows are used.
        table: labels and classes.
        settings: penalty, intercept and seed.
        report: called with progress.

    Returns:
        Name of the dtype ↦ comparisons.
    """
    audits = {}
    for dtype in ("float64", "float32"):
        report(f"derivative audit in {dtype}")
        with jax.enable_x64(dtype == "float64"):
            objective = audited_objective(X.astype(dtype), table, settings)
            audits[dtype] = audit_objective(objective, jax.random.key(settings.seed))
    return audits


def audited_objective(X: np.ndarray, table: Table, settings: Settings) -> Objective:
    """The objective on the first rows of a table, in the dtype of X."""
    X, y, K = X[:_AUDIT_ROWS], table.y[:_AUDIT_ROWS], len(table.class_names)
    labels: Any = jax.nn.one_hot(y, K) if K > 2 else jnp.asarray(y)
    return make_objective(X, labels, L2(settings.l2), fit_intercept=settings.fit_intercept)

"""The comparison of four solvers on one table, and the audit of the derivatives they used."""

import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax_logreg.audit.proof import Comparison
from jax_logreg.fitting.column_scaling import standardize
from jax_logreg.fitting.fit import fit
from jax_logreg.fitting.result import FitError, FitResult, Status
from jax_logreg.inference.infer import infer
from jax_logreg.inference.inference import Inference
from jax_logreg.inference.separation import diagnose_separation
from jax_logreg.interfaces.formula_audits import OnProgress, audit_table
from jax_logreg.interfaces.model import Model
from jax_logreg.interfaces.tables import Table
from jax_logreg.objective.model import logits, predict_class
from jax_logreg.objective.penalties import L2
from jax_logreg.solvers.base import Solver
from jax_logreg.solvers.gradient_descent import GradientDescent
from jax_logreg.solvers.newton import Newton
from jax_logreg.solvers.optax_adapter import Optax

SOLVERS: dict[str, Solver] = {
    "gradient descent": GradientDescent(),
    "Optax Adam": Optax(optax.adam(0.1)),
    "Optax L-BFGS": Optax(optax.lbfgs()),
    "Newton": Newton(),
}

# What the messages of a status call the parameters of ``fit``.
_TERMS = {
    "tol": "--tol",
    "max_steps": "--max-steps",
    "float64": "--dtype float64",
    "solver": "another solver",
    "ridge": "add a penalty (--l2 0.01)",
    "finite": "add a penalty (--l2 0.01)",
}
_INFERENCE_TERMS = _TERMS | dict.fromkeys(
    ("ridge", "finite"), "add a penalty (--inference-l2 0.01)"
)


@dataclass(frozen=True)
class ComparisonSettings:
    """What to compute on the table.

    Attributes:
        l2: strength of the penalty on the mean loss.
        derivatives: "analytic" or "autodiff".
        dtype: "float64" or "float32".
        standardize: whether columns are shifted and scaled to mean 0, deviation 1.
        fit_intercept: whether to fit an intercept.
        tol: bound on the gradient norm; the dtype's default if None.
        max_steps: the solvers' defaults if None.
        seed: of the point where derivatives are audited.
        inference: whether to add standard errors and tests, of a fit of its own.
        inference_l2: strength of the penalty of that fit.
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
    inference_l2: float = 0.0


@dataclass(frozen=True)
class SolverRun:
    """One solver's fit in NumPy, its accuracy on the rows it was fitted to, and its times in
    seconds."""

    solver: str
    result: FitResult
    training_accuracy: float
    compile_seconds: float
    run_seconds: float

    @property
    def status(self) -> Status:
        """How the fit ended."""
        status: Status = self.result.status
        return status

    @property
    def message(self) -> str:
        """What that means and what to try, in the options of the command line."""
        return self.status.explain(_TERMS)


@dataclass(frozen=True)
class SolverComparison:
    """The fits of all solvers, the audit of their derivatives, and the inference.

    Attributes:
        table: the data.
        settings: as given.
        runs: one per solver.
        best: index of the run with the lowest loss, of the converged ones if there are any.
        center: what was subtracted from the columns, (p,); zeros if nothing was.
        scale: what the columns were divided by, (p,); ones if nothing was.
        audits: dtype name ↦ comparisons.
        audit_rows: number of rows that the audit used.
        device: where it ran.
        separation: in words, where the best run found the data separated; else None.
        inference: in the columns' own units; the reason in words if there can be none; None if
            not asked for.
    """

    table: Table
    settings: ComparisonSettings
    runs: list[SolverRun]
    best: int
    center: np.ndarray
    scale: np.ndarray
    audits: dict[str, list[Comparison]]
    audit_rows: int
    device: str
    separation: str | None = None
    inference: Inference | str | None = None

    def message(self, run: SolverRun) -> str:
        """What the end of a run means, and what to try."""
        if run.status == Status.SEPARATED and self.separation is not None:
            return self.separation
        return run.message

    @property
    def inference_terms(self) -> str:
        """What the numbers of the inference are: of which class, per which unit, how penalised."""
        classes, l2 = self.table.class_names, self.settings.inference_l2
        of = f"of {classes[1]}" if len(classes) == 2 else f"of each class against {classes[0]}"
        scaled = "standardized " if self.settings.standardize else ""
        penalty = f"L2 strength {l2:g} on {scaled}coefficients" if l2 else "no penalty"
        intercept = "" if self.settings.fit_intercept else ", no intercept"
        return f"log-odds {of} per unit of the column, {penalty}{intercept}"

    @property
    def best_run(self) -> SolverRun:
        """The run whose coefficients are shown and saved."""
        return self.runs[self.best]

    @property
    def sound(self) -> bool:
        """Whether some solver converged and every derivative agreed."""
        solved = any(bool(run.result.converged) for run in self.runs)
        return solved and all(c.agrees for audit in self.audits.values() for c in audit)

    def to_model(self) -> Model:
        """The best run's model, its coefficients per unit of the table's own columns."""
        table, settings, run = self.table, self.settings, self.best_run
        found = Model.from_result(run.result, classes=table.class_names, penalty=L2(settings.l2))
        scale = self.scale.reshape((-1,) + (1,) * (found.coef.ndim - 1))
        return Model(
            found.coef / scale,
            found.intercept,
            classes=table.class_names,
            encoding=table.encoding,
            center=self.center,
            training={
                **found.training,
                "solver": run.solver,
                "data": table.name,
                "rows": len(table.y),
                "standardized": settings.standardize,
                "derivatives": settings.derivatives,
            },
        )


def compare_solvers(
    table: Table, settings: ComparisonSettings, progress: OnProgress
) -> SolverComparison:
    """Fit with every solver in the dtype asked for, then audit the derivatives in both.

    Args:
        table: the data.
        settings: see :class:`ComparisonSettings`.
        progress: called with what is going on.

    Returns:
        The comparison.
    """
    X, center, scale = table.X, np.zeros(table.X.shape[1]), np.ones(table.X.shape[1])
    if settings.standardize:
        X, center, scale = standardize(table.X)
    with jax.enable_x64(settings.dtype == "float64"):
        runs = [_run(name, X, table, settings, progress) for name in SOLVERS]
    best = min(range(len(runs)), key=lambda i: _rank(runs[i].result))
    separation = inference = None
    if runs[best].status == Status.SEPARATED:
        progress("columns that separate the classes")
        separation = _separation(X, table, settings.l2, settings, _TERMS, progress)
    if settings.inference:
        progress("standard errors")
        inference = _inference(table, center, scale, settings)
    audits, audit_rows = audit_table(
        X,
        table,
        l2=settings.l2,
        fit_intercept=settings.fit_intercept,
        seed=settings.seed,
        progress=progress,
    )
    return SolverComparison(
        table=table,
        settings=settings,
        runs=runs,
        best=best,
        center=center,
        scale=scale,
        audits=audits,
        audit_rows=audit_rows,
        device=str(jax.devices()[0]),
        separation=separation,
        inference=inference,
    )


def _rank(result: FitResult) -> tuple[bool, float]:
    """Converged fits first, then by loss; a loss that is not finite comes last."""
    return not bool(result.converged), float(np.nan_to_num(result.objective, nan=np.inf))


def _num_classes(table: Table) -> int | None:
    """K where softmax is called for."""
    return len(table.class_names) if len(table.class_names) > 2 else None


def _separation(
    X: np.ndarray,
    table: Table,
    l2: float,
    settings: ComparisonSettings,
    terms: dict[str, str],
    progress: OnProgress | None = None,
) -> str | None:
    """Which of the table's columns separate the classes, None if none do."""
    found = diagnose_separation(
        X, table.y, penalty=L2(l2), fit_intercept=settings.fit_intercept,
        num_classes=_num_classes(table), progress=progress,
    )  # fmt: skip
    return found.explain(table.feature_names, terms) if found else None


def _inference(
    table: Table, center: np.ndarray, scale: np.ndarray, settings: ComparisonSettings
) -> Inference | str:
    """Standard errors in the columns' own units, or why there can be none.

    They are those of a fit of its own: a penalty that helps prediction would bias every test.

    Args:
        table: the data.
        center: what the solvers subtract from the columns, (p,). Without an intercept that makes
            another model.
        scale: what they divide them by, (p,): the unit of the penalty.
        settings: the strength of the penalty, and whether there is an intercept.
    """
    l2, with_intercept = settings.inference_l2, settings.fit_intercept
    X = table.X if with_intercept else table.X - center
    penalty = L2(l2, scale**2) if l2 else None
    with jax.enable_x64(True):
        result = fit(
            X, table.y, penalty=penalty, solver=Newton(), fit_intercept=with_intercept,
            num_classes=_num_classes(table),
        )  # fmt: skip
        if not result.converged:
            found = _separation(X, table, l2, settings, _INFERENCE_TERMS)
            return found or result.status.explain(_INFERENCE_TERMS)
        try:
            return infer(
                result, X, table.y, penalty=penalty, fit_intercept=with_intercept,
                feature_names=table.feature_names, class_names=table.class_names,
            )  # fmt: skip
        except (FitError, ValueError) as error:
            return str(error)


def _run(
    name: str, X: np.ndarray, table: Table, settings: ComparisonSettings, progress: OnProgress
) -> SolverRun:
    data = jnp.asarray(X, settings.dtype), jnp.asarray(table.y)

    def run(tol: float | None) -> FitResult:
        result = fit(
            *data,
            penalty=L2(settings.l2),
            solver=SOLVERS[name],
            derivatives=settings.derivatives,
            fit_intercept=settings.fit_intercept,
            num_classes=_num_classes(table),
            tol=tol,
            max_steps=settings.max_steps,
            progress=lambda *numbers: progress(name, *numbers),
        )
        return jax.block_until_ready(result)

    progress(f"{name}: compiling")
    began = time.perf_counter()
    run(np.inf)  # any start is within this tol: everything compiles, no step is taken
    compiled = time.perf_counter()
    result = run(settings.tol)
    ended = time.perf_counter()
    predicted = predict_class(logits(data[0], result.coef, result.intercept))
    return SolverRun(
        solver=name,
        result=jax.tree.map(np.asarray, result),
        training_accuracy=float(np.mean(np.asarray(predicted) == table.y)),
        compile_seconds=compiled - began,
        run_seconds=ended - compiled,
    )

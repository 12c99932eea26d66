"""How a fit of the estimator ended, in numbers and in words that name its parameters."""

from dataclasses import dataclass, field
from typing import Any

from jax_logreg.fitting.result import FitResult, Status


class RankWarning(UserWarning):
    """Columns depend on one another: many coefficients fit equally well."""


_MEANINGS = {
    Status.CONVERGED: "The gradient is within tol, and this is the minimum.",
    Status.NOT_UNIQUE: (
        "Columns of X depend on one another, or one is constant beside the intercept, so that "
        "many coefficients fit equally well. Drop such a column, or give a finite C."
    ),
    Status.MAX_STEPS: (
        "The gradient is not yet within tol. Increase the number of iterations (max_iter), "
        "scale the columns of X, raise tol, or use solver='auto'."
    ),
    Status.STALLED: (
        "Round-off hides any further progress, and the gradient is still above tol. Raise tol, "
        "scale the columns of X, or use dtype='float64' and solver='auto'."
    ),
    Status.SEPARATED: (
        "The data are separated: no finite coefficients are the best, and those kept are where "
        "the training stopped. Give a finite C, or leave columns out; "
        "jax_logreg.diagnose_separation(X, y) names them."
    ),
    Status.NOT_FINITE: (
        "The loss or its gradient became infinite or NaN. Scale the columns of X, or use "
        "solver='auto'."
    ),
    Status.LOOSE: (
        "The gradient is within tol, but a Newton step would still move some logit far: the data "
        "are nearly separated, columns are parallel to the last digits, or tol is loose for the "
        "units of X. Lower tol or C, or scale the columns of X."
    ),
}
# What scikit-learn's users filter its warnings by.
_OPENINGS = {
    "newton-cholesky": "Newton solver did not converge after {} iterations",
    "liblinear": "Liblinear failed to converge, increase the number of iterations. It took {}",
    "sag": "The max_iter was reached which means the coef_ did not converge, after {} steps",
    "saga": "The max_iter was reached which means the coef_ did not converge, after {} steps",
}


@dataclass(frozen=True)
class Diagnostics:
    """How a fit ended, in numbers.

    Attributes:
        status: why it ended.
        message: that in words, with what to try next.
        num_steps: steps taken.
        objective: mean nats a row plus the penalty.
        gradient_norm: the largest entry of the gradient.
        newton_decrement: half its square estimates how far the objective is above its minimum.
        rank: of the Hessian; −1 where it was too large to look at.
        solver: the one that finished.
    """

    status: Status
    message: str = field(repr=False)
    num_steps: int
    objective: float
    gradient_norm: float
    newton_decrement: float
    rank: int
    solver: str


def diagnostics_of(result: FitResult) -> Diagnostics:
    """The numbers of a result, plain."""
    status, steps, norm = Status(int(result.status)), int(result.num_steps), result.gradient_norm
    return Diagnostics(
        status=status,
        message=f"{status.name} after {steps} steps, gradient norm {norm:.1e}. {_MEANINGS[status]}",
        num_steps=steps,
        objective=float(result.objective),
        gradient_norm=float(norm),
        newton_decrement=float(result.newton_decrement),
        rank=int(result.rank),
        solver=result.solver,
    )


def complaint(solver: Any, diagnostics: Diagnostics) -> str:
    """The text of the warning after a fit that did not converge."""
    name = solver if isinstance(solver, str) else type(solver).__name__
    opening = _OPENINGS.get(name) if diagnostics.status == Status.MAX_STEPS else None
    opening = opening or name + " failed to converge after {} iteration(s)"
    return f"{opening.format(diagnostics.num_steps)}: {diagnostics.message}"

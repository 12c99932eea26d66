"""Fit results: the answer, its status, and what each status means."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from jax_logreg.programs.jax_settings import own_settings

# The code of a run that is not over.
RUNNING = -1
# A minimum is verified where a Newton step changes every logit by less than 1
# (``certificate.py``); by half of that, for round-off in the step.
MAX_LOGIT_CHANGE = 0.5


class Status(IntEnum):
    """How a fit ended. The first two are answers; the others are not.

    Attributes:
        CONVERGED: the gradient is within tol, the Newton step that remains is small beside the
            standard errors, and the minimum was verified to exist.
        NOT_UNIQUE: the same, but the Hessian is singular: other coefficients fit equally well.
        MAX_STEPS: the step limit came first.
        STALLED: round-off hides further progress, and the gradient is above tol or the step that
            remains is too large.
        SEPARATED: the classes can be separated, so that F has no minimum.
        NOT_FINITE: F or its gradient is infinite or NaN; under ``jit`` also an illegal value.
        LOOSE: the gradient is within tol, but no minimum could be verified there.
        STOPPED: ``stop_when`` ended the run, as it was asked to; it is no minimum.

    >>> from jax_logreg import fit
    >>> result = fit(np.array([[0.0], [1.0]]), np.array([0, 1]))
    >>> print(result.status)
    SEPARATED
    """

    CONVERGED = 0
    NOT_UNIQUE = 1
    MAX_STEPS = 2
    STALLED = 3
    SEPARATED = 4
    NOT_FINITE = 5
    LOOSE = 6
    STOPPED = 7

    def __str__(self) -> str:
        return self.name

    @property
    def message(self) -> str:
        """What happened, and what to try next, in the arguments of ``fit``."""
        return self.explain(FIT_TERMS)

    def explain(self, terms: Mapping[str, str]) -> str:
        """The same in another interface's terms.

        Args:
            terms: the keys of ``FIT_TERMS``, with what that interface calls each.
        """
        return _MESSAGES[self].format_map(terms)


# Every interface has the same messages; only the names of its parameters differ.
FIT_TERMS = {
    "tol": "tol",
    "max_steps": "max_steps",
    "float64": "float64 (with jax.enable_x64(True))",
    "solver": "another step size or solver",
    "ridge": "add penalty=L2(strength)",
    "finite": "add penalty=L2(strength) or penalty=Firth()",
}
_MESSAGES = {
    Status.CONVERGED: "The gradient is within {tol}.",
    Status.NOT_UNIQUE: (
        "The gradient is within {tol}, but the Hessian is singular: columns of X are linearly "
        "dependent, or one is constant beside the intercept, so that many coefficients fit "
        "equally well. Newton's method from zero returns the shortest. Drop such a column, or "
        "{ridge}."
    ),
    Status.MAX_STEPS: (
        "The step limit was reached before the gradient came within {tol}. Standardise the "
        "columns of X, raise {max_steps} or {tol}, or try {solver}; diagnose_separation tells "
        "whether a finite answer exists."
    ),
    Status.STALLED: (
        "Round-off hides any further progress, and the gradient is still above {tol}, or the "
        "step that remains is too large beside the standard errors. Use {float64}, standardise "
        "the columns of X, or raise {tol}."
    ),
    Status.SEPARATED: (
        "The data are separated: the loss keeps falling along one direction, so no finite "
        "coefficients minimise it. To make them finite, {finite}; diagnose_separation names the "
        "columns."
    ),
    Status.NOT_FINITE: (
        "The loss or its gradient became infinite or NaN. Inside jit that also means an "
        "illegal label, weight or strength (labels beyond 1 need num_classes there). "
        "Otherwise standardise the columns of X, or try {solver}."
    ),
    Status.LOOSE: (
        "The gradient is within {tol}, but no minimum can be verified: a Newton step would "
        "still change some logit by much, or cannot be computed. {tol} is too loose for the "
        "units of X, columns are parallel to the last digits, or the data are nearly "
        "separated. Standardise the columns of X, lower {tol}, or {ridge}."
    ),
    Status.STOPPED: "stop_when ended the run before the gradient came within {tol}.",
}


class FitError(RuntimeError):
    """A fit that ended without an answer; the message says why, and what to try.

    >>> import numpy as np
    >>> from jax_logreg import fit
    >>> try:
    ...     fit(np.array([[-1.0], [1.0]]), np.array([0, 1])).raise_if_failed()
    ... except FitError as error:
    ...     print(str(error)[:9])
    SEPARATED
    """


class History(NamedTuple):
    """The training curve: entry s is after s steps; the last of them is repeated to the end.

    Attributes:
        objective: F, (max_steps + 1,).
        gradient_norm: largest absolute entry of ∇F, (max_steps + 1,).
    """

    objective: jax.Array
    gradient_norm: jax.Array

    @property
    def record(self) -> None:
        """None was asked for: see ``RecordedHistory``."""
        return


class RecordedHistory(NamedTuple):
    """The same of a run with ``record=``.

    Attributes:
        objective: see ``History``.
        gradient_norm: see ``History``.
        record: what was kept: each leaf has a leading axis of max_steps + 1.
    """

    objective: jax.Array
    gradient_norm: jax.Array
    record: Any


class Outcome:
    """What any run of a solver ends with: a status, and what it means."""

    status_code: jax.Array
    num_steps: jax.Array
    gradient_norm: jax.Array

    def _meaning(self, status: Status) -> str:
        return status.message

    @property
    @own_settings()
    def status(self) -> Any:
        """How the run ended, a :class:`Status`; of many, and inside ``jit``, the codes."""
        code = self.status_code
        is_one = isinstance(code, jax.Array | np.ndarray | np.generic) and not code.ndim
        return Status(int(code)) if is_one and not isinstance(code, jax.core.Tracer) else code

    @property
    @own_settings()
    def converged(self) -> Any:
        """Whether the gradient is within tol at a point that was verified to be a minimum: a
        boolean of NumPy, or of JAX inside ``jit``, for each."""
        code: Any = self.status_code
        code = code if isinstance(code, jax.core.Tracer) else np.asarray(code)
        return code <= Status.NOT_UNIQUE

    @property
    @own_settings()
    def message(self) -> str:
        """The status in words, with the numbers; of the worst fit if there are several."""
        worst = int(np.argmax(np.asarray(self.status_code)))
        status = Status(int(np.asarray(self.status_code).flat[worst]))
        norm = float(np.asarray(self.gradient_norm).flat[worst])
        steps = int(np.asarray(self.num_steps).flat[worst])
        which = (
            f"Fit {worst} of {jnp.size(self.status_code)}: " if jnp.ndim(self.status_code) else ""
        )
        return (
            f"{which}{status.name} after {steps} steps, gradient norm {norm:.1e}. "
            f"{self._meaning(status)}"
        )

    @own_settings()
    def raise_if_failed(self) -> Self:
        """This result, if every run converged.

        Raises:
            FitError: naming the status and what to try.
        """
        if not np.all(self.converged):
            raise FitError(self.message)
        return self


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FitResult(Outcome):
    r"""The answer of a fit, with the evidence for it. All numbers are arrays.

    It is a pytree: under ``jax.vmap`` every field has a leading axis, one entry a fit.

    Attributes:
        coef: β, (p,) or (p, K), in log-odds per unit of the feature.
        intercept: b, () or (K,); zero where none was fitted.
        status_code: the number of the status, int8.
        num_steps: steps taken; epochs for ``Minibatch``.
        objective: F at the answer: mean nats a row plus the penalty.
        gradient_norm: largest absolute entry of ∇F at the answer, which tol bounds: in nats per
            unit of coefficient, of columns in the units of the solve (see ``fit``).
        newton_decrement: :math:`\sqrt{g^\top H^{-1}g}`; half its square estimates how
            far F is above its minimum.
        remaining_step: :math:`\sqrt{\sum_i w_i\; g^\top H^{-1}g}`, the Newton step that remains in
            standard errors: no contrast of the coefficients is further than that many of its own
            from the minimum. H includes the penalty; by Hessian products it is an estimate to
            some tenths of itself.
        rank: numerical rank of the Hessian, where the shifts common to all classes of softmax
            count as full rank; −1 where no Hessian was formed.
        history: the training curve.
        solver: the one that finished, in words; what "auto" chose.
        feature_names: of the columns of X, if that was a data frame.

    >>> from jax_logreg import L2, fit
    >>> result = fit(np.array([[0.0], [1.0]]), np.array([0, 1]), penalty=L2(0.1))
    >>> bool(result.converged), int(result.rank), result.solver
    (True, 2, 'Newton()')
    >>> result
    FitResult(status=CONVERGED, coef=Array(...
    >>> print(result.message)
    CONVERGED after ... steps, gradient norm ... The gradient is within tol.
    """

    coef: jax.Array
    intercept: jax.Array
    status_code: jax.Array
    num_steps: jax.Array
    objective: jax.Array
    gradient_norm: jax.Array
    newton_decrement: jax.Array
    remaining_step: jax.Array
    rank: jax.Array
    history: History = field(repr=False)
    solver: str = field(default="", metadata={"static": True})
    feature_names: tuple[str, ...] | None = field(
        default=None, repr=False, metadata={"static": True}
    )

    def __repr__(self) -> str:
        shown = [f.name for f in fields(self) if f.repr and f.name != "status_code"]
        values = [f"{name}={getattr(self, name)!r}" for name in shown]
        return f"FitResult(status={self.status}, {', '.join(values)})"


# --- results of an exported program ---------------------------------------------------------


def _to_text(static: tuple[str, tuple[str, ...] | None]) -> bytes:
    return json.dumps(static).encode()


def _from_text(text: bytes) -> tuple[str, tuple[str, ...] | None]:
    solver, names = json.loads(bytes(text))
    return solver, names if names is None else tuple(names)


# By these names jax.export finds the classes again in the process that loads a program.
export.register_pytree_node_serialization(
    FitResult,
    serialized_name="jax_logreg.FitResult",
    serialize_auxdata=_to_text,
    deserialize_auxdata=_from_text,
)
export.register_namedtuple_serialization(History, serialized_name="jax_logreg.History")
export.register_namedtuple_serialization(
    RecordedHistory, serialized_name="jax_logreg.RecordedHistory"
)

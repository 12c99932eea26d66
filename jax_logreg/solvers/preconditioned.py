"""What the solvers that divide by a stand-in for the Hessian share: how it is chosen."""

from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.oracle import Oracle
from jax_logreg.derivatives.preconditioners import Diagonal, Preconditioner
from jax_logreg.solvers.base import Solver, steeper_than

_KINDS = ("none", "diagonal", "gram", "hessian")
_SAMPLE_STEPS = 10
# Far below what a sample's answer differs from that of all rows.
_SAMPLE_GRADIENT = 1e-3


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Preconditioned(Solver):
    """A solver with a preconditioner.

    Attributes:
        preconditioner: "gram" (Böhning's bound, one p × p matrix for all classes; dense
            X), "diagonal" (the diagonal of the bound; sparse X too), "hessian" (the one
            at the start; P × P), or "none".
        sample: make the preconditioner from about so many rows; 0 takes all. With
            "hessian" the fit then begins at Newton's answer to those rows.
    """

    preconditioner: str = field(default="diagonal", metadata={"static": True})
    sample: int = field(default=0, metadata={"static": True})

    def __post_init__(self) -> None:
        """Refuse what no run could use."""
        if self.preconditioner not in _KINDS:
            raise ValueError(
                f"preconditioner must be one of {_KINDS}, but it is {self.preconditioner!r}."
            )
        check_count("sample", self.sample, least=0)

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        needs = {"gradient", "along"}
        needs |= {"preconditioner"} if self.preconditioner != "none" else set()
        needs |= {"hessian"} if self.preconditioner == "hessian" else set()
        return frozenset(needs | ({"rows"} if self.sample else set()))

    def begin(self, oracle: Oracle, theta: jax.Array) -> tuple[jax.Array, Preconditioner]:
        """Where to start, and what to divide by."""
        if self.preconditioner == "none":
            return theta, Diagonal(jnp.ones_like(theta))
        part = oracle.sample(self.sample) if self.sample else oracle
        if self.preconditioner != "hessian":
            return theta, part.preconditioner(self.preconditioner)
        if not self.sample:
            return theta, part.inverted_hessian(part.at(theta))
        # The sample's answer, by this very method: few steps, for it is worth few digits, and
        # where its rows are separated they lead no further than logits of a few units.
        whole = replace(self, sample=0)
        is_open = steeper_than(_SAMPLE_GRADIENT)
        end = whole.run_roughly(part, whole.init(part, theta), is_open, _SAMPLE_STEPS)
        inverse = part.inverted_hessian(end.point)
        # One more Newton step, for a product of P × P; and XLA must be done with the sample
        # before it looks at the data, so that both may use the same memory.
        return end.point.theta - inverse.solve(end.point.gradient), inverse


def check_count(name: str, count: int, *, least: int) -> None:
    """Refuse what is no whole number, or too small."""
    if not isinstance(count, int) or count < least:
        raise ValueError(f"{name} must be a whole number ≥ {least}, but it is {count!r}.")

"""Any Optax gradient transformation, on the whole data or on shuffled minibatches.

Optax is not loaded here: a caller who has a transformation has loaded it already.
"""

import sys
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jax_logreg.derivatives.oracle import Oracle, value
from jax_logreg.solvers.base import Solver, State, scan

if TYPE_CHECKING:
    import optax

# A schedule may begin at zero, and one still step is no stall; this many are.
_STILL_STEPS = 10


def is_transformation(x: Any) -> bool:
    """Whether x is an Optax transformation."""
    optax = sys.modules.get("optax")
    return optax is not None and isinstance(x, optax.GradientTransformation)


def _check_transform(transform: Any) -> None:
    if not hasattr(transform, "init") or not hasattr(transform, "update"):
        hint = " Call it." if callable(transform) else ""
        raise ValueError(
            "transform must be an Optax transformation, such as optax.adam(0.1), but it is "
            f"{transform!r}.{hint}"
        )


def _update(
    transform: "optax.GradientTransformation",
    oracle: Oracle,
    theta: Any,
    grad: Any,
    loss: Any,
    memory: Any,
) -> tuple[jax.Array, Any]:
    """One Optax update; a line search inside it differentiates the oracle's value."""
    import optax

    general = optax.with_extra_args_support(transform)
    updates, memory = general.update(
        grad, memory, theta, value=loss, grad=grad, value_fn=partial(value, oracle)
    )
    return optax.apply_updates(theta, updates), memory


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Optax(Solver):
    """Full-batch training by an Optax transformation, schedules and line searches included.

    Attributes:
        transform: as Optax made it, such as ``optax.adam(0.1)`` or ``optax.lbfgs()``.
            Its functions are compiled in: build it once and reuse it, since every new
            one compiles anew.

    >>> import optax
    >>> from jax_logreg import fit, L2
    >>> X, y = jnp.arange(4.0).reshape(-1, 1), jnp.array([0, 1, 0, 1])
    >>> bool(fit(X, y, penalty=L2(0.1), solver=Optax(optax.lbfgs())).converged)
    True
    """

    transform: "optax.GradientTransformation" = field(metadata={"static": True})

    default_max_steps = 5_000

    def __post_init__(self) -> None:
        """Refuse what is no transformation."""
        _check_transform(self.transform)

    def init(self, oracle: Oracle, theta: jax.Array) -> State:
        memory = (self.transform.init(theta), jnp.zeros((), int))
        return State(oracle.evaluate(theta), jnp.asarray(False), memory)

    def step(self, oracle: Oracle, state: State) -> State:
        point, (memory, still) = state.point, state.memory
        theta, memory = _update(
            self.transform, oracle, point.theta, point.gradient, point.value, memory
        )
        still = jnp.where(jnp.all(theta == point.theta), still + 1, 0)
        return State(oracle.evaluate(theta), still >= _STILL_STEPS, (memory, still))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Minibatch(Solver):
    """Training by an Optax transformation over shuffled minibatches; one step is one epoch.

    Every epoch visits each row once in a fresh order. The point that the loop judges is
    evaluated on the whole data after the epoch: a noisy batch never stops the training.

    Attributes:
        transform: as Optax made it. With a constant learning rate the iterates hover
            around the optimum: a decaying schedule settles.
        batch_size: rows a batch; the last batch takes what is left.
        key: from ``jax.random.key``; the same key repeats the training exactly.

    >>> import optax
    >>> Minibatch(optax.sgd(0.1), batch_size=32, key=jax.random.key(0)).batch_size
    32
    """

    transform: "optax.GradientTransformation" = field(metadata={"static": True})
    batch_size: int = field(metadata={"static": True})
    key: jax.Array

    requires = frozenset({"gradient", "rows"})
    default_max_steps = 200

    def __post_init__(self) -> None:
        """Refuse what is no transformation, and a batch size that no batch can have."""
        _check_transform(self.transform)
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ValueError(
                f"batch_size must be a whole number of at least 1, but it is {self.batch_size!r}."
            )

    def init(self, oracle: Oracle, theta: jax.Array) -> State:
        self._check_key()
        return State(
            oracle.evaluate(theta), jnp.asarray(False), (self.transform.init(theta), self.key)
        )

    def step(self, oracle: Oracle, state: State) -> State:
        memory, key = state.memory
        key, shuffle = jax.random.split(key)
        batches = self._batches(oracle.num_rows, shuffle)

        def train(
            carry: tuple[jax.Array, Any], batch: tuple[jax.Array, jax.Array]
        ) -> tuple[tuple[jax.Array, Any], None]:
            theta, memory = carry
            part = oracle.subset(*batch)
            point = part.evaluate(theta)
            return _update(self.transform, part, theta, point.gradient, point.value, memory), None

        (theta, memory), _ = scan(train, (state.point.theta, memory), batches)
        return State(oracle.evaluate(theta), jnp.asarray(False), (memory, key))

    def _check_key(self) -> None:
        """Refuse what is no key; here, since ``jax.vmap`` builds solvers that hold none."""
        dtype = getattr(self.key, "dtype", None)
        raw = dtype == jnp.uint32 and jnp.ndim(self.key) == 1
        if dtype is None or not (raw or jnp.issubdtype(dtype, jax.dtypes.prng_key)):
            raise ValueError(
                "key must be one that jax.random.key makes, such as jax.random.key(0), and neither "
                "a number nor None."
            )

    def _batches(self, n: int, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Row numbers and weight multipliers, (number of batches, batch size) each.

        The multipliers make each batch estimate the mean over all rows; the padding
        of the last batch counts nothing.
        """
        size = min(self.batch_size, n)
        count = -(-n // size)
        order = jnp.resize(jax.random.permutation(key, n), (count, size))
        real = (jnp.arange(count * size) < n).reshape(count, size)
        return order, real * (n / jnp.sum(real, axis=1, keepdims=True))

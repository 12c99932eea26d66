"""``jax.jit`` for the programs of a fit, which take less time to compile."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

# XLA has two writers of kernels for the CPU. A fit is some hundred small kernels: the newer
# writer takes half as long again over them, and they run no faster.
_WRITER: dict[str, bool | int] = {"xla_cpu_use_fusion_emitters": False}
# Nor do they with all of LLVM's polish, a seventh of what is left.
_POLISH: dict[str, bool | int] = {"xla_backend_optimization_level": 1}


def is_concrete(x: Any) -> bool:
    """Whether the values of x can be looked at, not only its shape: x is no tracer."""
    return not isinstance(x, jax.core.Tracer)


def are_concrete(*trees: Any) -> bool:
    """Whether all leaves of these pytrees are concrete."""
    return all(map(is_concrete, jax.tree.leaves(trees)))


class Compiled:
    """A function that is compiled, with options where JAX takes them.

    It takes them for an outermost program, not for one within another.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        static_argnames: str | Sequence[str] = (),
        options: Mapping[str, bool | int] | None = None,
    ):
        """``function`` as for ``jax.jit``, and XLA's options by name, those for JAX's default
        device if absent."""
        functools.update_wrapper(self, function)
        self._jit = functools.partial(jax.jit, function, static_argnames=static_argnames)
        self._within = self._jit()
        self._options = options

    @functools.cached_property
    def _outermost(self) -> Any:
        """Made when it is first called: to ask for the device earlier would choose it."""
        return self._jit(compiler_options=dict(self._options or _for_device()))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's value."""
        if not are_concrete(args, kwargs) or is_traced():
            return self._within(*args, **kwargs)
        try:
            return self._outermost(*args, **kwargs)
        except jax.errors.JaxRuntimeError as error:
            if "No such compile option" not in str(error):
                raise
        self._outermost = self._within  # an XLA without that option
        return self._within(*args, **kwargs)


def _for_device() -> dict[str, bool | int]:
    if jax.default_backend() != "cpu":
        return {}
    # Who asked JAX for less polish still gets less.
    return _WRITER if _is_set("jax_disable_most_optimizations") else _WRITER | _POLISH


def _is_set(option: str) -> bool:
    try:
        return bool(jax.config.read(option))
    except AttributeError:  # a JAX without it
        return False


@functools.cache
def _a_number() -> jax.Array:
    with jax.ensure_compile_time_eval():
        return jnp.zeros((), jnp.float32)


def is_traced() -> bool:
    """Whether a program is being traced, of which what is known would become a part."""
    return not is_concrete(jax.lax.stop_gradient(_a_number()))

"""``jax.jit`` for the programs of a fit, which take less time to compile."""

import functools
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

# XLA has two writers of kernels for the CPU. A fit is some hundred small kernels: the newer
# writer takes half as long again over them, and they run no faster.
_WRITER: dict[str, bool | int] = {"xla_cpu_use_fusion_emitters": False}
# Nor do they with all of LLVM's polish, a seventh of what is left.
_POLISH: dict[str, bool | int] = {"xla_backend_optimization_level": 1}


# Compiled programs that are kept, those used last. A fit has one to three, of up to 300 memory maps
# and 15 MB each, and a process may have 65,530 maps.
MAX_PROGRAMS = 64


def is_concrete(x: Any) -> bool:
    """Whether the values of x can be looked at, not only its shape: x is no tracer."""
    return not isinstance(x, jax.core.Tracer)


def are_concrete(*trees: Any) -> bool:
    """Whether all leaves of these pytrees are concrete."""
    return all(map(is_concrete, jax.tree.leaves(trees)))


class Compiled:
    """A function that is compiled once for every shape, with options where JAX takes them.

    It takes them for an outermost program, not for one within another. Of all outermost programs
    those used last are kept.
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
        self._static_argnames = static_argnames
        self._within = jax.jit(function, static_argnames=static_argnames)
        self._options = options
        self._takes_options = True

    def _new_program(self) -> Any:
        """A jitted copy of the function, which alone can be forgotten."""
        function = self.__wrapped__  # type: ignore[attr-defined]
        copy = functools.wraps(function)(lambda *args, **kwargs: function(*args, **kwargs))
        # Not before the first call: to ask for the device earlier would choose it.
        options = dict(self._options or _for_device()) if self._takes_options else None
        return jax.jit(copy, static_argnames=self._static_argnames, compiler_options=options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's value."""
        leaves, structure = jax.tree.flatten((args, kwargs))
        if not all(map(is_concrete, leaves)) or is_traced():
            return self._within(*args, **kwargs)
        key = (self, structure, tuple(map(_kind, leaves)))
        program = _programs.recall(key, self._new_program)
        try:
            return program(*args, **kwargs)
        except jax.errors.JaxRuntimeError as error:
            if not self._takes_options or "No such compile option" not in str(error):
                raise
        self._takes_options = False  # an XLA without that option
        _programs.forget(key)
        return self(*args, **kwargs)


def _kind(leaf: Any) -> Any:
    """What of an argument makes another program."""
    if hasattr(leaf, "dtype"):
        return leaf.shape, leaf.dtype
    return float if isinstance(leaf, float) else leaf


class RecentPrograms:
    """The programs used last, by what they are programs of.

    Attributes:
        size: how many are kept.
        num_made: how many there were of each function.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.num_made: Counter[Any] = Counter()
        self._programs: OrderedDict[Any, Any] = OrderedDict()
        self._lock = threading.RLock()

    def recall(self, key: Any, make: Callable[[], Any]) -> Any:
        """The program of a key, made if there is none; the one unused for longest goes."""
        with self._lock:
            program = self._programs.pop(key, None)
            if program is None:
                program = make()
                self.num_made[key[0]] += 1
            self._programs[key] = program
            while len(self._programs) > self.size:
                self._programs.popitem(last=False)[1].clear_cache()
        return program

    def forget(self, key: Any) -> None:
        """Drop one."""
        with self._lock:
            self._programs.pop(key, None)


_programs = RecentPrograms(MAX_PROGRAMS)


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

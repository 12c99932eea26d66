"""``jax.jit`` for the programs of a fit, which take less time to compile and are kept."""

import functools
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from threading import Thread
from typing import Any, NamedTuple

import jax
import numpy as np

from jax_logreg.programs.jax_settings import own_settings
from jax_logreg.programs.store import (
    Program,
    RecentPrograms,
    current_folder,
    disk_key,
    num_cache_hits,
    setting,
    settings,
)

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


class _Array(NamedTuple):
    """What of an array, or of a Python float, makes another program."""

    shape: tuple[int, ...]
    dtype: Any
    placement: Any = None


class _Static(NamedTuple):
    """An argument that is part of the program."""

    kind: type
    value: Any


class _Request(NamedTuple):
    """What a call asks for.

    Attributes:
        function: a ``Compiled``.
        structure: of the arguments.
        leaves: of the arguments.
        kinds: of the leaves.
        settings: of JAX.
    """

    function: "Compiled"
    structure: Any
    leaves: list[Any]
    kinds: tuple[Any, ...]
    settings: Any

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for calls of one program."""
        return self.function, self.structure, self.kinds, self.settings

    @property
    def arrays(self) -> list[Any]:
        """The leaves that are no part of the program."""
        return [x for x, kind in zip(self.leaves, self.kinds, strict=True) if type(kind) is _Array]


class Compiled:
    """A function that is compiled once for every shape, with options where JAX takes them.

    It takes them for an outermost program, not for one within another. Of all outermost programs
    those used last are kept, and on disk where the caller wants that. What is no array and no
    float is part of the program.
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
        self._within = jax.jit(function, static_argnames=static_argnames)
        self._options = options
        self._takes_options = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's value."""
        request = self._request(args, kwargs)
        if request is None:
            return self._within(*args, **kwargs)
        program = _programs.recall(request.key, partial(self._make, request))
        return jax.tree.unflatten(program.structure, program.run(*request.arrays))

    def compile_ahead(self, *args: Any, **kwargs: Any) -> None:
        """Compile for such arguments in a thread of its own, while others are compiled or run."""
        request = self._request(args, kwargs)
        if request is None or request.key in _programs:
            return

        def compile_there() -> None:
            # A scope in which the caller set JAX up differently ends at the thread.
            with own_settings():
                if settings() == request.settings:
                    _programs.recall(request.key, partial(self._make, request))

        Thread(None, copy_context().run, "compile_there", (compile_there,)).start()

    def _request(self, args: Any, kwargs: Any) -> "_Request | None":
        """The program of a call; None where the call is a part of another program."""
        leaves, structure = jax.tree.flatten((args, kwargs))
        if not all(map(is_concrete, leaves)) or is_traced() or _checks_values():
            return None
        return _Request(self, structure, leaves, tuple(map(_kind, leaves)), settings())

    def _make(self, request: "_Request") -> Program:
        """The program of a call, from disk if it is there."""
        function = self.__wrapped__  # type: ignore[attr-defined]
        folder = current_folder()
        options = tuple(self._compiler_options().items())
        _, structure, leaves, kinds, now = request
        key = disk_key(function, structure, kinds, now, options) if folder else None
        program = folder.load(key) if folder and key else None
        if program is None:
            num_hits = num_cache_hits()
            program = self._compile(function, leaves, structure, kinds)
            if folder and key and num_cache_hits() == num_hits:
                folder.save(key, program)
        return program

    def _compile(
        self, function: Callable[..., Any], leaves: list[Any], structure: Any, kinds: Sequence[Any]
    ) -> Program:
        places = [i for i, kind in enumerate(kinds) if type(kind) is _Array]
        arrays = [leaves[i] for i in places]
        # The program outlives the data, and must not hold them.
        rest = [None if type(kind) is _Array else kind.value for kind in kinds]
        found: list[Any] = []

        def of_arrays(*arrays: Any) -> list[Any]:
            filled = list(rest)
            for i, array in zip(places, arrays, strict=True):
                filled[i] = array
            args, kwargs = jax.tree.unflatten(structure, filled)
            values, output = jax.tree.flatten(function(*args, **kwargs))
            found[:] = [output]
            return values

        of_arrays.__name__ = function.__name__  # by which a profile shows it
        while True:
            options = self._compiler_options()
            try:
                program = jax.jit(of_arrays, compiler_options=options).lower(*arrays).compile()
                return Program(program, found[0], len(arrays))
            except jax.errors.JaxRuntimeError as error:
                if not options or "No such compile option" not in str(error):
                    raise
            self._takes_options = False  # an XLA without that option

    def _compiler_options(self) -> dict[str, bool | int]:
        # Not before the first call: to ask for the device earlier would choose it.
        return dict(self._options or _for_device()) if self._takes_options else {}


def _kind(leaf: Any) -> _Array | _Static:
    """What of an argument makes another program."""
    if isinstance(leaf, jax.Array):
        kind, committed = jax.typeof(leaf), getattr(leaf, "committed", True)
        return _Array(kind.shape, kind.dtype, (kind.weak_type, committed, leaf.sharding))
    if hasattr(leaf, "dtype"):
        return _Array(leaf.shape, leaf.dtype)
    return _Array((), float) if isinstance(leaf, float) else _Static(type(leaf), leaf)


_programs = RecentPrograms(MAX_PROGRAMS)


def _for_device() -> dict[str, bool | int]:
    if jax.default_backend() != "cpu":
        return {}
    # Who asked JAX for less polish still gets less.
    return _WRITER if _is_set("jax_disable_most_optimizations") else _WRITER | _POLISH


def _checks_values() -> bool:
    """Whether JAX is set to look at values as they are computed: its own jit names the culprit."""
    return any(map(_is_set, ("jax_debug_nans", "jax_debug_infs", "jax_disable_jit")))


def _is_set(option: str) -> bool:
    return bool(setting(option))


@functools.cache
def _a_number() -> jax.Array:
    with jax.ensure_compile_time_eval():
        return jax.device_put(np.zeros((), np.float32))  # compiles nothing


def is_traced() -> bool:
    """Whether a program is being traced, of which what is known would become a part."""
    return not is_concrete(jax.lax.stop_gradient(_a_number()))

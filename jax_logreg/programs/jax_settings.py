"""JAX's settings within this package, and the mesh that is set.

``jax_numpy_rank_promotion="raise"``, ``jax_numpy_dtype_promotion="strict"`` and
``transfer_guard("disallow")`` check a program for what its author may not have meant. A caller
who sets them checks the caller's code: here arrays broadcast, and a zero of ours moves to the
device, on purpose. ``jax_debug_nans`` stays on: here no NaN stands for anything but itself.

Nor does the mesh of ``jax.set_mesh`` count here: where the data lie, they are worked on. Beside it
JAX refuses arrays of any other placement, such as the float64 copies of an inference.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any, TypeVar

import jax
from jax.sharding import NamedSharding, PartitionSpec


@contextmanager
def own_settings() -> Iterator[None]:
    """A scope, or a decorator, in which JAX computes as this package expects.

    >>> with jax.numpy_rank_promotion("raise"), own_settings():
    ...     (jax.numpy.ones((2, 2)) + jax.numpy.ones(2)).shape
    (2, 2)
    """
    with (
        jax.numpy_rank_promotion("allow"),
        jax.numpy_dtype_promotion("standard"),
        jax.transfer_guard("allow"),
        _full_precision(),
        _no_mesh(),
    ):
        yield


def _full_precision() -> AbstractContextManager[Any]:
    """Products of float32 in float32, unless the caller asked JAX for another precision: by default
    a TPU keeps two or three digits, and a GPU three."""
    is_asked = getattr(jax.config, "jax_default_matmul_precision", None) is not None
    return nullcontext() if is_asked else jax.default_matmul_precision("highest")


def _no_mesh() -> AbstractContextManager[Any]:
    if jax.sharding.get_abstract_mesh().empty:
        return nullcontext()
    try:
        return jax.set_mesh(None)
    except ValueError:  # in a program that is traced, whose values have the mesh in their types
        return nullcontext()


@contextmanager
def in_float64() -> Iterator[None]:
    """The same with float64 arrays, whatever the caller's setting."""
    with own_settings(), jax.enable_x64(True):
        yield


Door = TypeVar("Door", bound=Callable[..., Any])


def in_auto_axes(door: Door) -> Door:
    """``door``, a function of data, for arrays on a mesh of explicit axes as for any others.

    Explicit axes make the sharding of an array a part of its type, and JAX refuses a product
    whose sharding its types leave open. Here XLA chooses, as where axes are automatic.
    """

    @wraps(door)
    def with_auto_axes(*args: Any, **kwargs: Any) -> Any:
        arrays, rebuild = take_arrays((args, kwargs))
        meshes = [jax.typeof(array).sharding.mesh for array in arrays]
        mesh = next((mesh for mesh in meshes if mesh.explicit_axes), None)
        if mesh is None:
            return door(*args, **kwargs)
        rebuilds = []

        def run(*arrays: jax.Array) -> list[jax.Array]:
            args, kwargs = rebuild(arrays)
            answer, rebuild_answer = take_arrays(door(*args, **kwargs))
            rebuilds.append(rebuild_answer)
            return answer

        everywhere = NamedSharding(mesh, PartitionSpec())
        answer = jax.sharding.auto_axes(run, out_sharding=everywhere)(*arrays)
        return rebuilds[0](answer)

    return with_auto_axes  # type: ignore[return-value]


def take_arrays(tree: Any) -> tuple[list[jax.Array], Callable[[Sequence[jax.Array]], Any]]:
    """The arrays of a pytree, and the function that puts others in their places."""
    leaves, structure = jax.tree.flatten(tree, is_leaf=_is_data)
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array)]

    def rebuild(arrays: Sequence[jax.Array]) -> Any:
        changed = dict(zip(places, arrays, strict=True))
        return jax.tree.unflatten(structure, [changed.get(i, x) for i, x in enumerate(leaves)])

    return [leaves[i] for i in places], rebuild


def _is_data(part: Any) -> bool:
    """A list of numbers, a generator: arguments, not groups of arguments."""
    return isinstance(part, Iterable) and not isinstance(part, tuple | dict)

"""PyTorch's functions as functions of NumPy arrays, for :func:`~jax_logreg.check_derivatives`.

A hand-written derivative in torch is audited as one in NumPy is. So is the ``backward`` of a
``torch.autograd.Function``: the value is its ``forward``.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

# A backward that ignores what flows into it would pass for right with a one.
_COTANGENT = 2.0


def as_numpy(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors as one of arrays.

    Args:
        function: of tensors, or of pytrees of them, as its answers.

    Returns:
        The same of arrays; what is no array is passed on as it is.
    """

    def call(*args: Any) -> Any:
        import torch

        with torch.no_grad():
            return jax.tree.map(_to_array, function(*jax.tree.map(_to_tensor, args)))

    return call


def backward_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """The derivative that torch's autograd makes of a function, with the rules inside it.

    Args:
        function: function(θ, *args), a tensor; θ a tensor or a pytree of them.

    Returns:
        The derivative with respect to θ, of arrays: in the structure of θ, of the shape of
        the value followed by that of θ. That is ``gradient=`` or ``jacobian=``.
    """

    def derivative(theta: Any, *args: Any) -> Any:
        import torch

        leaves, structure = jax.tree.flatten(theta)
        inputs = [_to_tensor(leaf).requires_grad_() for leaf in leaves]
        given = jax.tree.unflatten(structure, inputs)
        value = function(given, *jax.tree.map(_to_tensor, args))
        rows = [
            torch.autograd.grad(
                entry, inputs, torch.full_like(entry, _COTANGENT),
                retain_graph=True, allow_unused=True, materialize_grads=True,
            )
            for entry in value.reshape(-1)
        ]  # fmt: skip
        stacked = [
            torch.stack(column).reshape((*value.shape, *leaf.shape)) / _COTANGENT
            for column, leaf in zip(zip(*rows, strict=True), inputs, strict=True)
        ]
        return jax.tree.unflatten(structure, [_to_array(x) for x in stacked])

    return derivative


def _to_tensor(x: Any) -> Any:
    import torch

    return torch.tensor(np.asarray(x)) if isinstance(x, np.ndarray | np.generic) else x


def _to_array(x: Any) -> Any:
    return x.detach().cpu().numpy() if hasattr(x, "detach") else x

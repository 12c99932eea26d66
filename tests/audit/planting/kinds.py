"""What a planted mistake is, and short ways to write one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.audit.planting.recipe import Array, Model

ALL = ("gradient", "hessian", "hvp")
SECOND = ("hessian", "hvp")
BOTH = ("sigmoid", "softmax")


class Setting(NamedTuple):
    """Where and how large.

    Attributes:
        model: the loss.
        relative: size of the smallest errors.
        row, column: a place in a matrix; the first also a coordinate.
        label: a class. feature: a feature.
        total: sum of the weights.
    """

    model: Model
    relative: float
    row: int
    column: int
    label: int
    feature: int
    total: float


Spoil = Callable[[Array, Setting], Array]


@dataclass(frozen=True)
class Kind:
    """One mistake.

    Attributes:
        name: in words.
        accepted: slugs of a right diagnosis.
        pieces: model ↦ pieces of the recipe that are swapped.
        spoil: what becomes of the derivative.
        matrix: what becomes of the Hessian, where that is another thing; a product is
            then one with the spoiled Hessian.
        read: what becomes of θ (and of the vector) before.
        derivatives, models: where it makes sense.
        far: whether it shows at large logits only.
    """

    name: str
    accepted: tuple[str, ...]
    pieces: Callable[[Model], dict[str, Any]] = lambda model: {}
    spoil: Spoil = lambda array, s: array
    matrix: Spoil | None = None
    read: Callable[[Array], Array] = lambda theta: theta
    derivatives: tuple[str, ...] = ALL
    models: tuple[str, ...] = BOTH
    far: bool = False


def swap(name: str, *accepted: str, on: tuple[str, ...] = ALL, **pieces: Any) -> Kind:
    return Kind(name, accepted, lambda model: pieces, derivatives=on)


def swap_in_softmax(name: str, *accepted: str, on: tuple[str, ...] = ALL, **pieces: Any) -> Kind:
    return Kind(name, accepted, lambda model: pieces, derivatives=on, models=("softmax",))


def times(name: str, factor: Callable[[Setting], float], kind: str = "factor") -> Kind:
    return Kind(name, (kind,), spoil=lambda array, s: factor(s) * array)

"""One case: hand-written derivatives as the public writes them, and what is true of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

MEAN = ("1/n", "1/m", "mean", "average", "number of", "n times", "sum of", "sum over")
SIGN = ("sign", "-1", "−1", "negat", "opposite")
CHAIN = ("chain", "logarithm", "log(", "log σ", "exp(", "eᶿ", "e^", "exponential")
PENALTY = ("penal", "regulari", "ridge", "l2")

Build = Callable[[int], dict[str, Any]]


@dataclass(frozen=True)
class AuditCase:
    """``build(seed)`` makes the keyword arguments of ``check_derivatives``.

    Args:
        name: short and unique.
        is_right: whether nothing is to be found; True of approximate derivatives, too.
        truth: in a sentence, what is wrong, or what is awkward.
        words: a diagnosis that names the mistake has at least one of them, in lower case. They
            are for what the report says is wrong, not for all the text around it.
        build: of a seed, which draws the data.
        where: the part of the parameters that is affected; empty if all.
        more_words: the same of the second mistake, where there are two.
        is_approximate: the derivative is itself a crude difference: right, to a few digits.
    """

    name: str
    is_right: bool
    truth: str
    words: tuple[str, ...]
    build: Build
    where: str = ""
    more_words: tuple[str, ...] = ()
    is_approximate: bool = False


REGISTERED: list[AuditCase] = []


def _register(build: Build, is_right: bool, truth: str, words: tuple[str, ...], **more: Any) -> Any:
    REGISTERED.append(AuditCase(build.__name__, is_right, truth, words, build, **more))
    return build


def right(truth: str) -> Callable[[Build], Build]:
    return lambda build: _register(build, True, truth, ())


def wrong(truth: str, *words: str, where: str = "", also: tuple[str, ...] = ()) -> Any:
    return lambda build: _register(build, False, truth, words, where=where, more_words=also)


def approximate(truth: str) -> Callable[[Build], Build]:
    words = ("approximate", "difference")
    return lambda build: _register(build, True, truth, words, is_approximate=True)


def table(seed: int, n: int = 40, p: int = 4) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    """A column of ones and p - 1 features, and labels 0 and 1."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])
    y = (rng.random(n) < 1 / (1 + np.exp(-X @ rng.normal(size=p)))).astype(float)
    return rng, X, y

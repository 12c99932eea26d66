"""The cases for the audit are what they say, by central differences that are not the audit's."""

from functools import cache

import jax
import numpy as np
import pytest

from benchmarks.audit_cases import CASES

STEPS = (1e-3, 1e-4, 1e-5, 1e-6)
RIGHT, APPROXIMATE, WRONG = 1e-6, 1e-2, 1e-4


def flatten(tree):
    """The entries of θ in one vector, and the way back, in the kinds of arrays of ``tree``."""
    leaves, structure = jax.tree.flatten(tree)
    shapes = [np.shape(leaf) for leaf in leaves]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]

    def rebuild(vector):
        parts = np.split(vector, ends)
        return structure.unflatten(p.reshape(s) for p, s in zip(parts, shapes, strict=True))

    return np.concatenate([np.ravel(leaf).astype(float) for leaf in leaves]), rebuild


def number(value):
    return np.asarray(value, dtype=float).ravel()


def slope(f, x, direction, h):
    """By a central difference of order four."""
    near, far = (f(x + k * direction) - f(x - k * direction) for k in (h, 2 * h))
    return (8 * near - far) / (12 * h)


def smallest(errors):
    """Per entry over the steps: a kink or round-off spoils some steps, never all."""
    return np.min(errors, axis=0)


def first_order_error(f, x, claimed):
    """Over the largest true entry; ``claimed`` has one row per entry of θ."""
    eye = np.eye(len(x))
    slopes = np.array([[slope(f, x, e, h) for e in eye] for h in STEPS])
    scale = np.abs(slopes[1]).max()
    return smallest(np.abs(slopes - claimed)).max() / scale


def second_order_error(f, x, claimed, directions):
    eye = np.eye(len(x))
    curvatures = np.array(
        [
            [
                [slope(lambda t, d=d, h=h: slope(f, t, d, h), x, e, h)[0] for d in directions]
                for e in eye
            ]
            for h in (1e-2, 2e-3)
        ]
    )
    scale = np.abs(curvatures[1]).max()
    return smallest(np.abs(curvatures - claimed)).max() / scale


def errors(case, seed):
    """{derivative: (error at one point, at another)}, after a first call at ``at``."""
    call = case.build(seed)
    start, rebuild = flatten(call["at"])
    args = call.get("args", ())
    value = jax.jit(call["value"]) if not call.get("numpy") else call["value"]
    rng = np.random.default_rng(seed + 1)
    size = len(start)

    def f(x):
        return number(value(rebuild(x), *args))

    def entries(tree):
        leaves = jax.tree.leaves(tree)
        return np.concatenate([number(leaf) for leaf in leaves])

    def claims(x, v):
        theta = rebuild(x)
        if call.get("gradient"):
            yield "gradient", entries(call["gradient"](theta, *args))[:, None], None
        if call.get("jacobian"):
            jacobian = number(call["jacobian"](theta, *args))
            yield "jacobian", jacobian.reshape(-1, size).T, None
        if call.get("hvp"):
            yield "hvp", entries(call["hvp"](theta, rebuild(v), *args))[:, None], v[None]
        if call.get("hessian"):
            hessian = number(call["hessian"](theta, *args))
            if len(hessian) == size > 1:
                hessian = np.diag(hessian)
            yield "hessian", hessian.reshape(size, size), np.eye(size)

    found = {}
    for _ in claims(start, start):
        pass  # what is kept of a first call is kept now
    for _ in range(2):
        x = start + 0.05 * rng.normal(size=size) * np.maximum(np.abs(start), 0.5)
        for kind, claimed, directions in claims(x, rng.normal(size=size)):
            if directions is None:
                error = first_order_error(f, x, claimed)
            else:
                error = second_order_error(f, x, claimed, directions)
            found.setdefault(kind, []).append(error)
    return found


@cache
def errors_of_first_seed(case):
    with jax.enable_x64(True):
        return errors(case, 0)


def test_there_are_enough_and_their_names_are_unique():
    assert len({case.name for case in CASES}) == len(CASES)
    assert sum(not case.is_right for case in CASES) >= 60
    assert sum(case.is_right for case in CASES) >= 35


@pytest.mark.parametrize("case", [c for c in CASES if c.is_right], ids=lambda c: c.name)
def test_a_right_one_is_right(case):
    found = errors_of_first_seed(case)
    assert found
    worst = max(max(e) for e in found.values())
    assert worst < (APPROXIMATE if case.is_approximate else RIGHT), found


@pytest.mark.parametrize("case", [c for c in CASES if not c.is_right], ids=lambda c: c.name)
def test_a_wrong_one_is_wrong_at_every_point(case):
    found = errors_of_first_seed(case)
    assert max(min(e) for e in found.values()) > WRONG, found
    assert case.words


def numbers(case, seed):
    """All numbers of a case at its own point: of the value and of what is claimed of it."""
    call = case.build(seed)
    functions = (call.get(name) for name in ("value", "gradient", "jacobian", "hessian"))
    found = [f(call["at"], *call.get("args", ())) for f in functions if f is not None]
    return np.concatenate([number(leaf) for leaf in jax.tree.leaves(found)])


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_the_seed_alone_decides_the_data(case):
    np.testing.assert_array_equal(numbers(case, 3), numbers(case, 3))
    assert not np.array_equal(numbers(case, 3), numbers(case, 4))

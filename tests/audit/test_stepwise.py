"""A jaxpr evaluated step by step has the values of the compiled one."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg.audit.stepwise import cost_per_step, evaluate

RNG = np.random.default_rng(0)
A = RNG.normal(size=(5, 4))
T = RNG.normal(size=4)
LABELS = np.array([0, 2, 1, 1, 0])


@jax.custom_jvp
def doubled(x):
    return 2 * x


doubled.defjvp(lambda p, t: (2 * p[0], 2 * t[0]))


@jax.custom_vjp
def tripled(x):
    return 3 * x


tripled.defvjp(lambda x: (3 * x, None), lambda _, g: (3 * g,))


def chosen_log_probabilities(t):
    return jax.nn.log_softmax(A @ t.reshape(4, 1) * jnp.arange(3.0))[jnp.arange(5), LABELS]


def running(t):
    return jax.lax.scan(lambda c, x: (c * 0.9 + x, (c, x * c)), 0.0, t, reverse=True)


def while_small(t):
    return jax.lax.while_loop(lambda x: jnp.sum(x) < 50, lambda x: x * 2, jnp.abs(t))


FUNCTIONS = {
    "elementwise": lambda t: jnp.stack(
        [jnp.exp(t), jnp.log1p(t**2), jnp.expm1(t), jnp.tanh(t), jnp.abs(t), jnp.sign(t), t**-3,
         jnp.sqrt(jnp.abs(t)), jax.lax.rsqrt(t**2), jnp.floor(t), jnp.round(t), jnp.arctan2(t, 2),
         jnp.sin(t), jnp.cbrt(t), jnp.square(t), jnp.abs(t) ** 1.7, t % 0.3, jnp.clip(t, -0.2, 0.4),
         jnp.maximum(t, 0.1), jnp.minimum(t, 0.1), jax.nn.sigmoid(t), jax.nn.softplus(t)]
    ),
    "complex": lambda t: jnp.stack([jnp.real(jnp.exp(1j * t)), jnp.imag(jnp.conj(t + 2j * t))]),
    "joined": lambda t: (jnp.stack([t, 2 * t], axis=1), jax.lax.complex(t, 2 * t)),
    "comparisons": lambda t: jnp.where((t > 0) & (t < 1) | ~(t >= -1) ^ (t == 2), t, -t),
    "cases": lambda t: jax.lax.select_n(jnp.array([0, 2, 1, 0]), t, 2 * t, 3 * t),
    "integers": lambda t: jax.lax.div(jnp.array([-7, 7, -7, 7]), jnp.array([2, -2, -2, 2])) * t,
    "to integers": lambda t: (10 * t).astype(int) % 3,
    "products": lambda t: (A @ t, jnp.outer(t, t), t @ t, jnp.einsum("ij,ik,j->ik", A, A, t)),
    "a long product": lambda t: jnp.outer(t, jnp.ones(90_000)).T @ jnp.outer(t, t),
    "batches": lambda t: jnp.einsum("bij,bjk->bik", A[:4, :, None] * t, A[:4, None] * t[1]),
    "empty": lambda t: jnp.zeros((3, 0)) @ jnp.zeros((0, 2)) + t[0],
    "reductions": lambda t: (jnp.sum(A * t, 0), jnp.max(A * t, 1), jnp.prod(t), jnp.any(t > 0)),
    "running": lambda t: (jnp.cumsum(t), jnp.cumprod(t), jax.lax.cumlogsumexp(t, reverse=True)),
    "shapes": lambda t: (t.reshape(2, 2).T, jnp.concatenate([t, t[1:3]]), t[::2], t[None], t[::-1]),
    "padding": lambda t: [jax.lax.pad(t, t[0], [edges]) for edges in ((1, 2, 1), (-1, -2, 3))],
    "iota": lambda t: jax.lax.broadcasted_iota(float, (4, 3), 0) * t[:, None],
    "gather": chosen_log_probabilities,
    "special functions": lambda t: jax.scipy.stats.norm.logcdf(t) + jax.lax.lgamma(jnp.abs(t)),
    "sort": lambda t: jnp.sort(t),
    "scan": running,
    "map": lambda t: jax.lax.map(jnp.exp, t),
    "while": while_small,
    "cond": lambda t: jax.lax.cond(t[0] > 0, jnp.sin, jnp.cos, t),
    "jit": jax.jit(lambda t: jnp.exp(t)),
    "checkpoint": jax.checkpoint(lambda t: jnp.exp(t)),
    "custom rules": lambda t: doubled(t) + tripled(t),
    "half precision": lambda t: t.astype(jnp.bfloat16) @ t.astype(jnp.bfloat16),
    "float16": lambda t: t.astype(jnp.float16) * 2,
    "random keys": lambda t: t + jax.random.normal(jax.random.key(3), (4,)),
    "constants": lambda t: 3.0,
}  # fmt: skip


def assert_same(function, *arguments):
    closed = jax.make_jaxpr(function)(*arguments)
    found = evaluate(closed, arguments)
    expected = jax.tree.leaves(jax.jit(function)(*arguments))
    for value, right in zip(found, expected, strict=True):
        assert (value.dtype, value.shape) == (right.dtype, right.shape)
        is_exact = not jnp.issubdtype(right.dtype, jnp.inexact)
        units = 0 if is_exact else 64 * float(jnp.finfo(right.dtype).eps)
        np.testing.assert_allclose(np.asarray(value), np.asarray(right), rtol=units, atol=units)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_values_are_those_of_the_compiled_program(name, dtype, x64):
    assert_same(FUNCTIONS[name], T.astype(dtype))


@pytest.mark.parametrize("name", ["elementwise", "products", "gather", "running", "map", "jit"])
def test_derivatives_at_several_points_too(name, x64):
    def total(t):
        return sum(jnp.sum(jnp.sqrt(1 + x**2)) for x in jax.tree.leaves(FUNCTIONS[name](t)))

    assert_same(jax.vmap(jax.grad(total)), RNG.normal(size=(3, 4)))
    assert_same(jax.vmap(jax.hessian(total)), RNG.normal(size=(3, 4)))


def test_what_is_not_finite_stays_so(x64):
    def f(t):
        return jnp.log(t), jnp.exp(800 * t), jax.nn.sigmoid(-1e3 * t), jnp.maximum(t, 0)

    assert_same(f, np.array([0.0, -1.0, np.inf, np.nan]))


def test_the_cost_of_a_step_is_that_of_its_numbers():
    def cost(function, *shape):
        return cost_per_step(jax.make_jaxpr(function)(np.ones(shape, np.float32)).jaxpr)

    assert cost(jnp.exp, 10) < 2000
    assert cost(jnp.exp, 1000, 1000) > 1e6
    assert cost(lambda a: a @ a, 500, 500) > 1e6
    assert cost(lambda a: jax.lax.map(jnp.exp, a), 10_000) > 1e6


def test_what_is_needed_no_more_is_not_kept(x64):
    def chain(t):
        for _ in range(50):
            t = jnp.sin(t) + 1
        return t

    t = np.ones(125_000)  # a megabyte
    closed = jax.make_jaxpr(chain)(t)
    tracemalloc.start()
    evaluate(closed, [t])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6


def test_what_numpy_refuses_is_left_to_jax(x64):
    assert_same(lambda t: jax.lax.cumlogsumexp(t), T.astype(complex))

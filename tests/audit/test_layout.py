"""Parameters in a pytree that holds more than parameters, as those of Equinox do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import check_derivatives
from jax_logreg.audit.layout import make_layout

DATA = np.random.default_rng(0).normal(size=(5, 2))
FIELDS = ("w", "b", "act", "name", "power", "extra", "training")


class Layer:
    def __init__(self, *values):
        for field, value in zip(FIELDS, values, strict=True):
            setattr(self, field, value)

    def with_arrays(self, w, b):
        return Layer(w, b, *(getattr(self, field) for field in FIELDS[2:]))


jax.tree_util.register_pytree_with_keys(
    Layer,
    lambda layer: ([(jax.tree_util.GetAttrKey(f), getattr(layer, f)) for f in FIELDS], None),
    lambda _, values: Layer(*values),
)
LAYER = Layer(jnp.ones((2, 3)), jnp.zeros(3), jnp.tanh, "first", 2, None, True)


def value(layer):
    assert layer.name == "first"
    assert layer.training is True
    return jnp.sum(layer.act(DATA @ layer.w + layer.b) ** layer.power)


def slope(layer):
    def of_arrays(w, b):
        return value(LAYER.with_arrays(w, b))

    return jax.grad(of_arrays, argnums=(0, 1))(layer.w, layer.b)


@pytest.mark.parametrize(
    "build",
    [
        lambda w, b: Layer(w, b, *[None] * 5),
        LAYER.with_arrays,
        lambda w, b: (w, b),
        lambda w, b: jnp.append(w, b),
    ],
)
def test_leaves_that_are_no_parameters_are_kept(build):
    report = check_derivatives(value, gradient=lambda t: build(*slope(t)), at=LAYER)
    assert report.ok, str(report)
    assert report.checks[0].num_entries == 9
    wrong = check_derivatives(
        value, gradient=lambda t: build(slope(t)[0], 2 * slope(t)[1]), at=LAYER
    )
    assert "Only b is wrong" in wrong.diagnosis.message


def test_a_whole_number_beside_arrays_is_configuration_and_said_to_be():
    at = {"w": np.ones(3), "power": 3, "act": np.tanh, "frozen": np.array([True])}

    def loss(t):
        return jnp.sum(t["w"] ** t["power"])

    report = check_derivatives(
        loss, gradient=lambda t: {"w": t["power"] * t["w"] ** (t["power"] - 1)}, at=at
    )
    assert report.checks[0].agrees
    assert "power is the whole number 3 and kept as it is; 3.0 is a parameter." in [
        f.message for f in report.findings
    ]
    assert make_layout({"a": 1, "b": 2}).size == 2


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ({"f": jnp.tanh}, "must hold real numbers"),
        (np.array([True]), "must hold real numbers"),
        (object(), "must hold real numbers"),
        ({"w": np.ones(2), "z": np.array([1j])}, "complex"),
        ({}, "must be a point"),
        ([], "must be a point"),
    ],
)
def test_a_point_without_parameters_is_refused(at, message):
    with pytest.raises(ValueError, match=message):
        check_derivatives(value, gradient=slope, at=at)

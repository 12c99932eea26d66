"""Mistakes that the audit's catalogue does not contain: how does it fare on the unforeseen?

Written from what people do to losses, not from the catalogue. Each must be found. A name
is right if it is accepted; where nothing is accepted, only a place or "unknown" is honest.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from tests.audit.planting.kinds import SECOND, Kind, Setting, swap, swap_in_softmax
from tests.audit.planting.recipe import STRENGTH, Array, observed_information, ridge

FIRST = ("gradient",)
# Diagnoses that say where the numbers are wrong, and claim nothing else.
PLACES = frozenset({"coordinate", "block"})


def _of_logits(name: str, link: Callable[[Array], Array]) -> Kind:
    return swap(name, "sigmoid-softmax", "chain-factor", mean=link)


def _data() -> list[Kind]:
    """Weights, offsets, labels and rows."""
    return [
        swap("weights cut at 1", "weights", weights=lambda w: jnp.minimum(w, 1)),
        swap("weights rounded", "weights", weights=jnp.round),
        swap("weights plus 1", "weights", weights=lambda w: w + 1),
        swap("weights centred", "weights", weights=lambda w: w - jnp.mean(w)),
        swap("weights by rank", "weights", weights=lambda w: 1.0 + jnp.argsort(jnp.argsort(w))),
        swap("logarithms of the weights", "weights", weights=jnp.log),
        swap("weights cubed", "weights", weights=lambda w: w**3),
        swap("weights shifted by two rows", "weights", "off-by-one",
             weights=lambda w: jnp.roll(w, 2)),
        swap("offset halved", "offset", offset=lambda o: o / 2),
        swap("offset centred", "offset", offset=lambda o: o - jnp.mean(o)),
        swap("offset in absolute value", "offset", offset=jnp.abs),
        swap("offset shifted by a row", "offset", "off-by-one",
             offset=lambda o: jnp.roll(o, 1, axis=0)),
        swap("offset exponentiated", "offset", offset=jnp.exp),
        swap("labels smoothed", "labels", on=FIRST, labels=lambda y: 0.9 * y + 0.05),
        swap("labels halved", "labels", on=FIRST, labels=lambda y: y / 2),
        swap("labels shifted by two rows", "labels", "off-by-one", on=FIRST,
             labels=lambda y: jnp.roll(y, 2, axis=0)),
        swap("labels sorted", "labels", "off-by-one", on=FIRST,
             labels=lambda y: jnp.sort(y, axis=0)),
        swap("every other row left out", "off-by-one", "weights", rows=lambda r: r.at[::2].set(0)),
        swap("last three rows left out", "off-by-one", "weights", rows=lambda r: r.at[-3:].set(0)),
        swap("a row counted three times", "off-by-one", "weights",
             rows=lambda r: r.at[5].multiply(3)),
        swap("rows shifted by two", "off-by-one", rows=lambda r: jnp.roll(r, 2, axis=0)),
        swap("two rows exchanged", "off-by-one",
             rows=lambda r: r.at[jnp.array([2, 9])].set(r[jnp.array([9, 2])])),
    ]  # fmt: skip


def _logits() -> list[Kind]:
    """Other links, other logits."""
    return [
        _of_logits("hard sigmoid", lambda e: jnp.clip(0.2 * e + 0.5, 0, 1)),
        _of_logits("arctan link", lambda e: 0.5 + jnp.arctan(e) / jnp.pi),
        _of_logits("complementary log-log link", lambda e: 1 - jnp.exp(-jnp.exp(e))),
        _of_logits("softsign link", lambda e: 0.5 + 0.5 * e / (1 + jnp.abs(e))),
        Kind("temperature 1.5", ("factor",), lambda m: {"mean": lambda e: m.mean(1.5 * e)}),
        swap_in_softmax("a reference class too much", "sigmoid-softmax", "chain-factor",
                        mean=lambda e: jnp.exp(e) / (1 + jnp.sum(jnp.exp(e), 1, keepdims=True))),
        swap_in_softmax("squares for exponentials", "sigmoid-softmax", "chain-factor",
                        mean=lambda e: e**2 / jnp.sum(e**2, axis=1, keepdims=True)),
        swap("intercept of the wrong sign in the logits", "intercept",
             logits=lambda X, t: X[:, :-1] @ t[:-1] - t[-1]),
        swap("intercept twice in the logits", "intercept",
             logits=lambda X, t: X[:, :-1] @ t[:-1] + 2 * t[-1]),
        swap("features centred in the logits",
             logits=lambda X, t: (X[:, :-1] - X[:, :-1].mean(axis=0)) @ t[:-1] + t[-1]),
        swap("a feature left out of the logits", logits=lambda X, t: X[:, 1:] @ t[1:]),
    ]  # fmt: skip


def _formulas() -> list[Kind]:
    """Other residuals and curvatures."""

    def at_even_odds(mu: Array, y: Array) -> Array:
        return observed_information(jnp.full_like(mu, 1 / max(mu.shape[1], 2)), y)

    def of_the_mean_row(mu: Array, y: Array) -> Array:
        return jnp.broadcast_to(observed_information(mu, y).mean(axis=0), (*mu.shape, mu.shape[1]))

    def of_the_label_only(mu: Array, y: Array) -> Array:
        return y[:, :, None] * observed_information(mu, y)

    residuals: dict[str, Callable[[Array, Array], Array]] = {
        "residual squared": lambda mu, y: (mu - y) ** 2,
        "residual's sign": lambda mu, y: jnp.sign(mu - y),
        "residual cut at 1/2": lambda mu, y: jnp.clip(mu - y, -0.5, 0.5),
        "focal factor": lambda mu, y: (mu - y) * jnp.abs(mu - y) ** 2,
        "rows of the label only": lambda mu, y: y * (mu - y),
        "probability to the power 1.5": lambda mu, y: mu**1.5 - y,
    }
    curvatures = {
        "curvature at even odds": at_even_odds,
        "curvature of the mean row": of_the_mean_row,
        "curvature of the label only": of_the_label_only,
    }
    return [
        *(swap(name, "chain-factor", "labels", "cross-class", on=FIRST, residual=f)
          for name, f in residuals.items()),
        *(swap(name, "chain-factor", "fisher", "labels", on=SECOND, curvature=f)
          for name, f in curvatures.items()),
    ]  # fmt: skip


def _penalties() -> list[Kind]:
    penalties: dict[str, Callable[[Array], Array]] = {
        "penalty cubed": lambda t: ridge(t**3),
        "penalty of the normalised table": lambda t: ridge(t) / jnp.linalg.norm(t[:-1]),
        "penalty of the sum": lambda t: ridge(jnp.full_like(t, jnp.sum(t[:-1]))),
        "penalty on the first feature only": lambda t: (STRENGTH * t).at[1:].set(0),
        "penalty of the exponentials": lambda t: ridge(jnp.exp(t)),
    }
    return [
        swap(name, "penalty-factor", "penalty-missing", on=FIRST, penalty=f)
        for name, f in penalties.items()
    ]


def _numbers() -> list[Kind]:
    """What becomes of the right numbers."""

    def exchanged(array: Array, s: Setting) -> Array:
        order = jnp.arange(len(array)).at[jnp.array([0, 1])].set(jnp.array([1, 0]))
        return array[order]

    matrices: dict[str, Callable[[Array, Setting], Array]] = {
        "square of the Hessian": lambda H, s: H @ H / jnp.linalg.norm(H),
        "a ridge too much": lambda H, s: H + 1e-2 * jnp.max(jnp.abs(H)) * jnp.eye(len(H)),
        "off-diagonal halved": lambda H, s: (H + jnp.diag(jnp.diag(H))) / 2,
    }
    return [
        Kind("two entries exchanged", ("swapped",), spoil=exchanged, derivatives=FIRST),
        Kind("normalised", (), spoil=lambda g, s: g / jnp.linalg.norm(g), derivatives=FIRST),
        Kind("cut at its mean size", (), derivatives=FIRST,
             spoil=lambda g, s: jnp.clip(g, -jnp.mean(jnp.abs(g)), jnp.mean(jnp.abs(g)))),
        *(Kind(name, ("diagonal", "penalty-factor"), matrix=f, derivatives=SECOND)
          for name, f in matrices.items()),
    ]  # fmt: skip


def _pairs() -> list[Kind]:
    """Two mistakes at once, each of which is known: either name is right."""
    pairs: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
        "no weights, no offset": (
            ("weights", "offset"), {"weights": jnp.ones_like, "offset": jnp.zeros_like},
        ),
        "no offset, penalty doubled": (
            ("offset", "penalty-factor"),
            {"offset": jnp.zeros_like, "penalty": lambda t: 2 * ridge(t)},
        ),
        "exp for the mean, no weights": (
            ("weights", "chain-factor"), {"weights": jnp.ones_like, "mean": jnp.exp},
        ),
        "no weights, penalty on the intercept": (
            ("weights", "penalty-on-intercept"),
            {"weights": jnp.ones_like, "penalty": lambda t: STRENGTH * t},
        ),
    }  # fmt: skip
    return [swap(name, *accepted, **pieces) for name, (accepted, pieces) in pairs.items()]


UNCATALOGUED = [*_data(), *_logits(), *_formulas(), *_penalties(), *_numbers(), *_pairs()]

"""From numbers that differ to the mistake that makes them differ.

Each explanation is a formula; it counts only if it reproduces the hand-written numbers,
entry by entry and at every point, up to round-off. Explanations that fit equally well
and are equally plain are all told; where none fits, that is told.
"""

from collections.abc import Iterable, Iterator

import jax.numpy as jnp
import numpy as np

from jax_logreg.audit import explain, orders, patterns, penalty
from jax_logreg.audit.anatomy import Cut, cut_at_logits, weighed
from jax_logreg.audit.counterfactual import changed_data
from jax_logreg.audit.diagnosis import Diagnosis
from jax_logreg.audit.examine import Examination, Place
from jax_logreg.audit.fitting import Case, fit_parts, matches
from jax_logreg.audit.layout import Layout
from jax_logreg.audit.logistic import recognise
from jax_logreg.audit.mistakes import intercepts
from jax_logreg.audit.reference import Autodiff, Vectors
from jax_logreg.audit.subject import Subject

# Explanations up to so much more far-fetched than the best are told beside it.
_ALSO = 0.3
_AT_MOST = 3
# Explanations of this cost say where, but hardly what.
_VAGUE = 1.5
# Logits, or parameters, from which on they are called large.
_LARGE = 2.5
# Larger Hessians are not formed to explain a product, nor more orders tried.
_MATRIX_LIMIT = 200
_ORDERS_TRIED = 12


class Diagnoser:
    """Knows the function that was differentiated, and asks of each derivative what is wrong."""

    def __init__(self, subject: Subject):
        self._layout, self._numbers = subject.layout, subject.numbers()
        self._cut, self._model = subject.cut, subject.model
        self._data_names = subject.data_names()
        program = subject.program
        self._autodiff = None if program is None else Autodiff(program)

    def __call__(self, examination: Examination) -> list[Diagnosis]:
        """The likeliest mistakes, most likely first; "unknown" where none fits."""
        if examination.rejected is not None:
            return list(self._about_shape(examination.name, *examination.rejected))
        usable = [p for p in examination.places if np.isfinite(p.expected).all()]
        if not any(place.wrong.any() for place in usable):
            return self._only_far_out(examination)
        case = _stack(examination.name, usable)
        found = _ranked(self._explanations(case))
        vague = not found or found[0].cost >= _VAGUE
        if vague and self._cut is not None and case.name != "jacobian":
            parts = penalty.split(case, self._cut)
            found = _ranked([*found, *changed_data(parts, self._cut, self._data_names)])
        if (not found or found[0].cost >= _VAGUE) and any(not p.wrong.any() for p in usable):
            found = _ranked([*found, *self._only_somewhere(examination.name, usable)])
        return found or [_unknown(case)]

    def _about_shape(
        self, name: str, vectors: Vectors, arrays: list[np.ndarray]
    ) -> Iterator[Diagnosis]:
        """An array of another shape: is it the transpose?"""
        if self._autodiff is None or name == "hessian":
            return
        turned = np.concatenate([a.T.ravel() for a in arrays])
        expected = self._autodiff(name, *vectors).ravel()
        same = turned.shape == expected.shape
        if same and np.allclose(turned, expected, rtol=1e-5, atol=1e-12):
            text = "It has the shape of the transpose, and transposed it is right."
            yield Diagnosis("transposed", name, text, "transposed, all entries agree", 0.5)

    def _explanations(self, case: Case) -> Iterator[Diagnosis]:
        layout, numbers = self._layout, self._numbers
        yield from patterns.proportional(case, numbers)
        yield from patterns.confined(case, layout, numbers)
        yield from orders.rearranged(case, layout)
        yield from patterns.matrix_shapes(case)
        yield from patterns.scaled_rows(case)
        yield from patterns.constant(case, *self._fixed_part(case.name))
        if case.name == "jacobian":
            yield from self._as_gradient(case)
            return
        if self._autodiff is not None:
            yield from _misread(case, layout, self._autodiff)
            if case.name == "hvp":
                yield from _about_vector(case, self._autodiff)
        if self._cut is None:
            yield from patterns.linear_in_parameters(case, layout)
        else:
            yield from self._through_logits(case, self._cut)

    def _as_gradient(self, case: Case) -> Iterator[Diagnosis]:
        """A Jacobian's rows summed with random weights are the gradient of one number: the
        mistakes of a gradient are looked for in it."""
        if self._autodiff is None:
            return
        weight = np.random.default_rng(0).uniform(0.5, 2.0, size=case.hand.shape[1:2])
        program = weighed(self._autodiff.program, weight, jnp.asarray(case.theta[0]))
        cut = cut_at_logits(program, jnp.asarray(case.theta[0]))
        if cut is None:
            return
        model = recognise(cut, jnp.asarray(case.theta[0]))
        hand, expected = (np.einsum("i,mij->mj", weight, a) for a in (case.hand, case.expected))
        allowed = np.einsum("i,mij->mj", weight, case.allowed)
        summed = Case(
            "jacobian", case.theta, None, hand, expected, allowed, np.any(case.wrong, axis=1)
        )
        if model is not None:
            parts = penalty.split(summed, cut)
            yield from explain.by_catalogue(parts, model, self._numbers)

    def _fixed_part(self, name: str) -> tuple[str, str]:
        """What part of a derivative does not depend on θ: (kind, words)."""
        if self._model is None or name == "jacobian":
            return "constant", "a constant is added"
        if name == "gradient":
            return "labels", "in a gradient that is the part of the labels"
        return "penalty-factor", "in a Hessian that is the part of the penalty"

    def _through_logits(self, case: Case, cut: Cut) -> Iterator[Diagnosis]:
        model, numbers = self._model, self._numbers
        parts = penalty.split(case, cut)
        on_intercept = np.zeros(self._layout.size, bool)
        if model is not None:
            on_intercept = intercepts(model)
            yield from explain.by_catalogue(parts, model, numbers)
            yield from explain.class_blocks(case, model)
        elif case.name != "gradient":
            yield from explain.outer_products(parts, cut)
        found = list(penalty.about_penalty(parts, on_intercept, numbers))
        yield from found
        if not found:
            x = parts.case.theta if parts.case.vector is None else parts.case.vector
            strength = np.sum(parts.penalty * x, axis=0) / np.maximum(np.sum(x**2, axis=0), 1e-300)
            yield from patterns.linear_in_parameters(case, self._layout, strength)
        if parts.penalty.any():
            known = parts.penalty
            if case.name == "hessian":
                known = penalty.penalty_hessians(case, cut)
            bare = case._replace(hand=case.hand - known, expected=case.expected - known)
            yield from orders.rearranged(bare, self._layout)
        yield from explain.intercept_mistakes(parts, cut, on_intercept, self._layout)
        yield from explain.rows_miscounted(parts, cut)

    def _only_far_out(self, examination: Examination) -> list[Diagnosis]:
        wrong = [place for place in examination.extreme if place.wrong.any()]
        if not wrong:
            return []
        return [_large(examination.name, wrong, "far out, where the arguments are large")]

    def _only_somewhere(self, name: str, places: list[Place]) -> list[Diagnosis]:
        """Right at some points, wrong at others: the largest ones?"""
        if self._cut is None:
            sizes = [float(np.max(np.abs(p.theta))) for p in places]
        else:
            sizes = [float(np.max(np.abs(self._cut.logits(jnp.asarray(p.theta))))) for p in places]
        wrong = [p.wrong.any() for p in places]
        smallest_wrong = min(s for s, bad in zip(sizes, wrong, strict=True) if bad)
        largest_right = max(s for s, bad in zip(sizes, wrong, strict=True) if not bad)
        # At zero many a mistake vanishes, and what is small is not large.
        if largest_right == 0 or smallest_wrong <= max(largest_right, _LARGE):
            return []
        what = "arguments" if self._cut is None else "logits"
        where = f"where {what} reach {smallest_wrong:.3g}, right up to {largest_right:.3g}"
        return [_large(name, [p for p in places if p.wrong.any()], where)]


def _large(name: str, wrong: list[Place], where: str) -> Diagnosis:
    place = wrong[0]
    with np.errstate(all="ignore"):
        error = np.nanmax(np.abs(place.hand - place.expected)[place.wrong], initial=0.0)
    evidence = f"{int(place.wrong.sum())} entries differ there, by up to {error:.2g}"
    text = f"It is wrong only at large logits or arguments ({where}): clipping or overflow?"
    return Diagnosis("large-logits", name, text, evidence, 1.45)


def _stack(name: str, places: list[Place]) -> Case:
    vectors = [place.vector for place in places]
    return Case(
        name,
        np.stack([place.theta for place in places]),
        None if vectors[0] is None else np.stack([v for v in vectors if v is not None]),
        *(
            np.stack([getattr(place, field) for place in places])
            for field in ("hand", "expected", "allowed", "wrong")
        ),
    )


def _about_vector(case: Case, autodiff: Autodiff) -> Iterator[Diagnosis]:
    """A Hessian–vector product with another vector than the one given."""
    assert case.vector is not None
    options = {
        "θ itself": case.theta,
        "a vector of ones": np.ones_like(case.vector),
        "v²": case.vector**2,
        "v of length one": case.vector / np.linalg.norm(case.vector, axis=1, keepdims=True),
    }
    for what, vectors in options.items():
        model = autodiff.at_all("hvp", case.theta, vectors)
        fit = fit_parts(case, [model])
        if fit.exact:
            text = f"It is the product with {what}, not with the vector given."
            yield Diagnosis("vector", case.name, text, f"ratio {fit.factors[0]:.8g}", 1.1)
    gradients = autodiff.at_all("gradient", case.theta)
    if matches(case, gradients):
        yield Diagnosis("vector", case.name, "It is the gradient.", "residual vanishes", 1.0)
    if 1 < case.theta.shape[1] <= _MATRIX_LIMIT:
        yield from patterns.misshapen_product(case, autodiff.at_all("hessian", case.theta))


def _misread(case: Case, layout: Layout, autodiff: Autodiff) -> Iterator[Diagnosis]:
    """θ read in another order: right for the shuffled point, at every point."""
    seen: set[bytes] = set()
    for kind, text, order in orders.orders(layout):
        if kind not in ("class-order", "transposed") or order.tobytes() in seen:
            continue
        seen.add(order.tobytes())
        back = np.argsort(order)
        if np.array_equal(order, np.arange(order.size)) or len(seen) > _ORDERS_TRIED:
            continue
        stacks = [case.theta[:, order]]
        if case.vector is not None:
            stacks.append(case.vector[:, order])
        moved = autodiff.at_all(case.name, *stacks)
        for also, places in (("", np.arange(order.size)), (", and written back", back)):
            model = moved[:, places] if case.name != "hessian" else moved[:, places][:, :, places]
            if matches(case, model):
                evidence = "right for the reordered parameters, at every point"
                message = f"θ is read in another order{also}: {text[0].lower()}{text[1:]}."
                yield Diagnosis(kind, case.name, message, evidence, 1.2)


def _ranked(explanations: Iterable[Diagnosis]) -> list[Diagnosis]:
    """The plainest, and those that are hardly less plain; each kind once."""
    best: dict[str, Diagnosis] = {}
    for found in explanations:
        if found.message not in best or found.cost < best[found.message].cost:
            best[found.message] = found
    ranked = sorted(best.values(), key=lambda found: found.cost)
    plain = [d for d in ranked if d.cost <= ranked[0].cost + _ALSO]
    kinds = [d.kind for d in plain]
    return [d for i, d in enumerate(plain) if d.kind not in kinds[:i]][:_AT_MOST]


def _unknown(case: Case) -> Diagnosis:
    fit = fit_parts(case, [case.expected])
    with np.errstate(all="ignore"):
        scale = 1 / np.where(case.allowed > 0, case.allowed, np.inf)
        a, b = (np.nan_to_num(x * scale).ravel() for x in (case.hand, case.expected))
        correlation = float(a @ b / np.sqrt((a @ a) * (b @ b))) if a.any() and b.any() else 0.0
    evidence = f"best ratio {fit.factors[0]:.4g}, correlation with the reference {correlation:.4f}"
    text = "No known kind of mistake reproduces these numbers."
    return Diagnosis("unknown", case.name, text, evidence, 9.0)

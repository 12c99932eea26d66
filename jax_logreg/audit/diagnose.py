"""The diagnosis: from numbers that differ to the mistake that makes them differ.

Explanations are tried from the general to the particular, and those that are costly only
if no simple one was found. Where none fits, the diagnosis is "unknown".
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np

from jax_logreg.audit import (
    blocks,
    chain_rule,
    gauss_newton,
    matrices,
    patterns,
    penalties,
    through_logits,
    two_mistakes,
    varying_factors,
)
from jax_logreg.audit.compare_entries import DerivativeComparison, PointComparison
from jax_logreg.audit.fix import with_fix
from jax_logreg.audit.linear_predictor import SplitLoss, split_at_logits, weighted_sum
from jax_logreg.audit.logistic import intercept_mask, recognise
from jax_logreg.audit.match import (
    COMPLEX,
    LOCATED,
    Diagnosis,
    Mismatch,
    complexity,
    fit_parts,
    inner_sentence,
    matches,
    rank,
)
from jax_logreg.audit.models import Model, with_changed_data, with_conditions
from jax_logreg.audit.reference import Autodiff
from jax_logreg.audit.returned import DIAGONAL
from jax_logreg.audit.row_residuals import by_row_residuals
from jax_logreg.audit.target import Target
from jax_logreg.audit.traced import TracedFunction
from jax_logreg.audit.user_names import UserNames

# Logits, or parameters, above this size are called large.
_LARGE = 2.5
# Up to this many parameters a Hessian is formed to explain a product.
_MAX_MATRIX = 200
_MAX_ORDERS = 12


def diagnose(target: Target, comparison: DerivativeComparison) -> list[Diagnosis]:
    """The likeliest mistakes in a wrong derivative of a value, most likely first."""
    if comparison.name == DIAGONAL:
        found = diagnose(target, _as_matrices(comparison))
        return [diagnosis._replace(where=DIAGONAL) for diagnosis in found]
    if comparison.reading and not comparison.wrong:
        if "transposed" not in comparison.reading:
            return []  # the finding about its form says it all
        text = "It has the shape of the transpose, and transposed it is right."
        return [Diagnosis("transposed", comparison.name, text, "transposed, all entries agree")]
    usable = [p for p in comparison.moderate if np.isfinite(p.expected).all()]
    usable = usable or comparison.moderate
    if not any(point.wrong.any() for point in usable):
        wrong = [point for point in comparison.extreme if point.wrong.any()]
        where = "far out, where the arguments are large"
        return [_large_logits(comparison.name, wrong, where)] if wrong else []
    case = _Wrong(target, _with_values(target, _stack(comparison.name, usable)))
    found = rank(_explanations(case))
    for more in (
        _by_changed_data, _by_links, _by_curvatures, _in_places, _by_row_residuals,
        _by_two_mistakes,
    ):  # fmt: skip
        if _is_complex(found):
            found = rank([*found, *more(case)])
    if _is_complex(found) and any(not point.wrong.any() for point in usable):
        found = rank([*found, *_only_at_large_logits(target, comparison.name, usable)])
    return [with_fix(d, case.mismatch, case.names) for d in found] or [_unknown(case.mismatch)]


def _with_values(target: Target, mismatch: Mismatch) -> Mismatch:
    if not target.is_scalar:
        return mismatch
    return mismatch._replace(values=np.ravel(target.values(mismatch.theta)))


@dataclass
class _Wrong:
    """A wrong derivative, and what is found out about it when it is first asked for."""

    target: Target
    mismatch: Mismatch

    @cached_property
    def names(self) -> UserNames:
        """What the user's code calls things."""
        return self.target.user_names(self.mismatch.name)

    @cached_property
    def parts(self) -> through_logits.Parts | None:
        """Data term and penalty; None if the value has no logits, or many values."""
        if self.target.split is None or self.mismatch.name == "jacobian":
            return None
        return through_logits.split_parts(self.mismatch, self.target.split)

    @cached_property
    def changes(self) -> chain_rule.LinkChanges | None:
        """The changes of the links of a value."""
        function = self.target.function
        return None if function is None else chain_rule.find_changes(function)

    @cached_property
    def models(self) -> list[Model]:
        """The derivative with each of the data changed; and with each condition on θ taken to
        hold everywhere, or nowhere."""
        function = self.target.function
        if function is None or self.mismatch.name == "jacobian":
            return []
        changed = with_changed_data(self.mismatch, function, self.target.data_names())
        return [*changed, *with_conditions(self.mismatch, function)]


def _is_complex(found: list[Diagnosis]) -> bool:
    return not found or found[0].complexity >= COMPLEX


def _by_changed_data(wrong: _Wrong) -> Iterator[Diagnosis]:
    if wrong.parts is not None and wrong.target.split is not None:
        names = wrong.target.data_names()
        yield from through_logits.by_changed_data(wrong.parts, wrong.target.split, names)


def _by_links(wrong: _Wrong) -> Iterator[Diagnosis]:
    mismatch, function, changes = wrong.mismatch, wrong.target.function, None
    if function is not None and mismatch.name == "jacobian":
        mismatch, function = _as_gradient(function, mismatch)
        changes = chain_rule.find_changes(function)
    elif mismatch.name == "gradient":
        changes = wrong.changes
    if changes is not None:
        yield from chain_rule.by_links(mismatch, changes, wrong.names)


def _by_curvatures(wrong: _Wrong) -> Iterator[Diagnosis]:
    function = wrong.target.function
    if function is not None and wrong.mismatch.name == "hessian" and wrong.target.is_scalar:
        yield from gauss_newton.without_curvature(wrong.mismatch, function)


def _by_row_residuals(wrong: _Wrong) -> Iterator[Diagnosis]:
    target = wrong.target
    yield from patterns.fixed(wrong.mismatch, 0.0)
    if wrong.parts is not None and wrong.mismatch.name == "gradient":
        yield from patterns.fixed(wrong.mismatch, wrong.parts.penalty)
    if target.function is not None and wrong.mismatch.name == "gradient":
        penalty = 0.0 if wrong.parts is None else wrong.parts.penalty
        yield from by_row_residuals(
            wrong.mismatch, target.function, target.split, penalty, wrong.names, target.data_names()
        )


def _in_places(wrong: _Wrong) -> Iterator[Diagnosis]:
    models = wrong.models
    if wrong.mismatch.name == "gradient" and wrong.changes is not None:
        models = [*models, *chain_rule.wrong_gradients(wrong.mismatch, wrong.changes)]
    yield from two_mistakes.in_places(wrong.mismatch, wrong.target.layout, wrong.names, models)


def _by_two_mistakes(wrong: _Wrong) -> Iterator[Diagnosis]:
    target, mismatch, names, parts = wrong.target, wrong.mismatch, wrong.names, wrong.parts
    if mismatch.name == "jacobian" or target.function is None:
        return
    models: list[Model] = []
    if parts is not None and target.model is not None:
        yield from through_logits.by_pairs(parts, target.model, names)
        if mismatch.name == "gradient":
            models += through_logits.wrong_gradients(parts, target.model)
    elif mismatch.name == "gradient" and wrong.changes is not None:
        models += chain_rule.wrong_gradients(mismatch, wrong.changes)
    if target.model is None:
        models += wrong.models
    yield from two_mistakes.by_two_mistakes(mismatch, target.layout, names, models)


def _as_matrices(comparison: DerivativeComparison) -> DerivativeComparison:
    """The diagonal of a Hessian as a Hessian that is diagonal, as is its reference."""

    def matrix(point: PointComparison) -> PointComparison:
        names = ("hand", "expected", "allowed", "wrong", "low")
        matrices: dict[str, Any] = {name: np.diag(getattr(point, name)) for name in names}
        return replace(point, **matrices)

    moderate, extreme = ([*map(matrix, p)] for p in (comparison.moderate, comparison.extreme))
    return replace(comparison, name="hessian", moderate=moderate, extreme=extreme)


def _stack(name: str, points: list[PointComparison]) -> Mismatch:
    vectors = [point.vector for point in points if point.vector is not None]
    return Mismatch(
        name,
        np.stack([point.theta for point in points]),
        np.stack(vectors) if vectors else None,
        *(
            np.stack([getattr(point, field) for point in points])
            for field in ("hand", "expected", "allowed", "wrong")
        ),
    )


def _explanations(wrong: _Wrong) -> Iterator[Diagnosis]:
    target, mismatch, names = wrong.target, wrong.mismatch, wrong.names
    layout = target.layout
    yield from patterns.proportional(mismatch, names)
    if wrong.parts is not None and target.split is not None:
        yield from _through_logits(wrong, target.split, wrong.parts)
    yield from patterns.misplaced(mismatch, layout, names)
    yield from patterns.rearranged(mismatch, layout, names)
    yield from matrices.matrix_shapes(mismatch, names)
    yield from matrices.matrix_blocks(mismatch, layout, names)
    if target.function is not None:
        autodiff = Autodiff(target.function)
        if mismatch.name == "jacobian":
            yield from _mistakes_of_rows(target, target.function, mismatch)
        else:
            yield from _misread(target, autodiff, mismatch)
        if mismatch.name == "hvp":
            yield from _other_vector(mismatch, autodiff)
        if mismatch.name == "hessian" and target.is_scalar:
            slopes = autodiff.at_rows("gradient", mismatch.theta)
            yield from matrices.with_gradients(mismatch, slopes, names)
    if target.split is None:
        yield from penalties.linear_in_parameters(mismatch, layout, names)
    yield from matrices.scaled_rows(mismatch)
    yield from patterns.constant(mismatch, *_constant_part(target, mismatch.name))
    yield from varying_factors.varying_factor(
        mismatch, names, blocks.other_factors(mismatch, layout, names)
    )
    yield from blocks.confined(mismatch, layout, names)
    yield from blocks.located(mismatch, layout, names)


def _constant_part(target: Target, name: str) -> tuple[str, str]:
    """What part of a derivative does not depend on θ: (kind, words)."""
    if target.model is None or name == "jacobian":
        return "constant", "a constant is added"
    if name == "gradient":
        return "labels", "in a gradient that is the part of the labels"
    return "penalty-factor", "in a Hessian that is the part of the penalty"


def _through_logits(
    wrong: _Wrong, split: SplitLoss, parts: through_logits.Parts
) -> Iterator[Diagnosis]:
    mismatch, names, layout = wrong.mismatch, wrong.names, wrong.target.layout
    model = wrong.target.model
    intercepts = np.zeros(layout.size, bool) if model is None else intercept_mask(model)
    of_penalty: list[Diagnosis] = []
    if model is not None or through_logits.is_penalty(parts, split):
        of_penalty += through_logits.by_penalty(parts, intercepts, layout, names)
    yield from of_penalty
    if model is not None:
        yield from through_logits.by_catalogue(parts, model, names)
    elif mismatch.name != "gradient":
        yield from through_logits.outer_products(parts, split)
    if not of_penalty:
        x = parts.mismatch.call_arguments[-1]
        strength = np.sum(parts.penalty * x, axis=0) / np.maximum(np.sum(x**2, axis=0), 1e-300)
        yield from penalties.linear_in_parameters(mismatch, layout, names, strength)
    if parts.penalty.any():
        known = parts.penalty
        if mismatch.name == "hessian":
            known = through_logits.penalty_hessians(mismatch, split)
        data_term = mismatch._replace(
            hand=mismatch.hand - known, expected=mismatch.expected - known
        )
        yield from patterns.rearranged(data_term, layout, names)
    yield from through_logits.without_intercept(parts, split, intercepts, layout)
    yield from through_logits.by_rows(parts, split)


def _as_gradient(function: TracedFunction, mismatch: Mismatch) -> tuple[Mismatch, TracedFunction]:
    """A Jacobian's rows summed with random weights are the gradient of a scalar function."""
    weight = np.random.default_rng(0).uniform(0.5, 2.0, size=mismatch.hand.shape[1:2])
    hand, expected, allowed = (
        np.einsum("i,mij->mj", weight, a)
        for a in (mismatch.hand, mismatch.expected, mismatch.allowed)
    )
    summed = Mismatch(
        "jacobian", mismatch.theta, None, hand, expected, allowed, np.any(mismatch.wrong, axis=1)
    )
    return summed, weighted_sum(function, weight, jnp.asarray(mismatch.theta[0]))


def _mistakes_of_rows(
    target: Target, function: TracedFunction, mismatch: Mismatch
) -> Iterator[Diagnosis]:
    """The mistakes of a gradient, in a Jacobian whose rows are those of a logistic loss."""
    summed, scalar = _as_gradient(function, mismatch)
    theta = jnp.asarray(mismatch.theta[0])
    split = split_at_logits(scalar, theta)
    model = None if split is None else recognise(split, theta)
    if split is not None and model is not None:
        parts = through_logits.split_parts(summed, split)
        yield from through_logits.by_catalogue(parts, model, target.user_names("jacobian"))


def _misread(target: Target, autodiff: Autodiff, mismatch: Mismatch) -> Iterator[Diagnosis]:
    """θ read in another order: right for the permuted point, at every point."""
    seen = {np.arange(target.layout.size).tobytes()}
    for kind, text, order in patterns.permutations(target.layout):
        if kind not in ("class-order", "transposed") or order.tobytes() in seen:
            continue
        if len(seen) > _MAX_ORDERS:
            return
        seen.add(order.tobytes())
        moved = autodiff.at_rows(mismatch.name, *(a[:, order] for a in mismatch.call_arguments))
        for also, places in (("", slice(None)), (", and written back", np.argsort(order))):
            model = moved[:, places]
            if mismatch.name == "hessian":
                model = model[:, :, places]
            if matches(mismatch, model):
                evidence = "right for the reordered parameters, at every point"
                message = f"θ is read in another order{also}: {inner_sentence(text)}."
                yield Diagnosis(kind, mismatch.name, message, evidence)


def _other_vector(mismatch: Mismatch, autodiff: Autodiff) -> Iterator[Diagnosis]:
    """A Hessian-vector product with another vector than the one given, or another Hessian."""
    assert mismatch.vector is not None
    theta, v = mismatch.theta, mismatch.vector
    options = {
        "θ itself": theta,
        "a vector of ones": np.ones_like(v),
        "v²": v**2,
        "v of length one": v / np.linalg.norm(v, axis=1, keepdims=True),
    }
    for what, vectors in options.items():
        fit = fit_parts(mismatch, [autodiff.at_rows("hvp", theta, vectors)])
        if fit.exact:
            text = f"It is the product with {what}, not with the vector given."
            effort = complexity(1, factors=int(fit.factors[0] != 1))
            yield Diagnosis("vector", "hvp", text, f"ratio {fit.factors[0]:.8g}", effort)
    if matches(mismatch, autodiff.at_rows("gradient", theta)):
        yield Diagnosis("vector", "hvp", "It is the gradient.", "residual vanishes")
    if 1 < theta.shape[1] <= _MAX_MATRIX:
        hessians = autodiff.at_rows("hessian", theta)
        for kind, text, wrong in matrices.misshapen_matrices(hessians):
            if matches(mismatch, np.einsum("mij,mj->mi", wrong, v)):
                yield Diagnosis(kind, "hvp", f"Of the Hessian: {text}", "residual vanishes")


def _only_at_large_logits(
    target: Target, name: str, points: list[PointComparison]
) -> list[Diagnosis]:
    """Right at some points, wrong at others: at the largest ones?"""
    split = target.split

    def size(point: PointComparison) -> float:
        x = point.theta if split is None else split.logits(jnp.asarray(point.theta))
        return float(np.max(np.abs(x)))

    wrong = [point for point in points if point.wrong.any()]
    smallest_wrong = min(map(size, wrong))
    largest_right = max(size(point) for point in points if not point.wrong.any())
    # At zero many a mistake vanishes, and what is small is not large.
    if largest_right == 0 or smallest_wrong <= max(largest_right, _LARGE):
        return []
    what = "arguments" if split is None else "logits"
    where = f"where {what} reach {smallest_wrong:.3g}, right up to {largest_right:.3g}"
    return [_large_logits(name, wrong, where)]


def _large_logits(name: str, wrong: list[PointComparison], where: str) -> Diagnosis:
    point = wrong[0]
    with np.errstate(all="ignore"):
        error = np.nanmax(np.abs(point.hand - point.expected)[point.wrong], initial=0.0)
    evidence = f"{int(point.wrong.sum())} entries differ there, by up to {error:.2g}"
    text = f"It is wrong only at large logits or arguments ({where}): clipping or overflow?"
    return Diagnosis("large-logits", name, text, evidence, complexity(1, vagueness=LOCATED))


def _unknown(mismatch: Mismatch) -> Diagnosis:
    ratio = fit_parts(mismatch, [mismatch.expected]).factors[0]
    with np.errstate(all="ignore"):
        scaled = (x * mismatch.weight for x in (mismatch.hand, mismatch.expected))
        a, b = (np.nan_to_num(x).ravel() for x in scaled)
        correlation = float(a @ b / np.sqrt((a @ a) * (b @ b))) if a.any() and b.any() else 0.0
    evidence = f"best ratio {ratio:.4g}, correlation with the reference {correlation:.4f}"
    text = "No known kind of mistake reproduces these numbers."
    return Diagnosis("unknown", mismatch.name, text, evidence, np.inf)

"""What kind of mistake: the words, and the type that carries one."""

from typing import NamedTuple

# Slug ↦ what it means; the order is that of the documentation.
KINDS = {
    "sign": "the sign is flipped",
    "factor": "a constant factor too much or too little",
    "zero": "identically zero",
    "penalty-missing": "the penalty is left out",
    "penalty-factor": "the penalty has a wrong factor (doubled, halved, wrong sign, n)",
    "penalty-on-intercept": "the intercept is penalised",
    "weights": "sample weights left out, or not as they should be",
    "offset": "the offset left out, or with a wrong sign",
    "transposed": "transposed",
    "class-order": "class-major where feature-major is meant, or the other way round",
    "labels": "labels in {0, 1} against {−1, 1}, or shifted",
    "sigmoid-softmax": "the sigmoid where the softmax is meant, or the other way round",
    "fisher": "outer products of the scores in place of the observed information",
    "chain-factor": "a factor of the chain rule missing or too much, such as σ(1 − σ)",
    "complement": "p against 1 − p, or y against 1 − y",
    "cross-class": "the blocks between classes dropped, or wrong",
    "off-by-one": "a row or a column shifted, left out or counted twice",
    "coordinate": "wrong in one coordinate only",
    "block": "wrong in one parameter, class, feature or block only",
    "triangle": "only one triangle of the matrix is filled",
    "diagonal": "only the diagonal is filled",
    "large-logits": "wrong only at large arguments",
    "constant": "a constant is added",
    "vector": "not the product with the vector that was given",
    "intercept": "the intercept is left out of the logits",
    "inverse": "the inverse matrix",
    "shape": "a shape that does not fit",
    "dtype": "numbers of another kind, or with fewer digits, than were given",
    "raises": "the function raises",
    "not-finite": "NaN or infinity where the reference is finite",
    "autodiff-differs": "JAX's own derivative of the value is not that of its numbers",
    "hidden-state": "the answer depends on more than the arguments",
    "unknown": "no known kind of mistake reproduces these numbers",
}


class Diagnosis(NamedTuple):
    """A mistake that reproduces the hand-written numbers.

    Attributes:
        kind: one of KINDS.
        where: the derivative that it is about.
        message: what is wrong, in a sentence.
        evidence: the fitted ratio, the residual that vanishes, and the like.
        cost: how far-fetched; equal costs are equally likely.
    """

    kind: str
    where: str
    message: str
    evidence: str
    cost: float = 1.0

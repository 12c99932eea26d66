"""The formulas of the two texts held against what they claim, on any data.

A verdict is read off the numbers: "right", or "wrong: " and what kind of wrong it is.
The entries are in ``text_formulas.py`` and ``article_formulas.py``.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.article_formulas import SOFTMAX, TWO_CLASSES
from jax_logreg.audit.check import check_derivatives
from jax_logreg.audit.compare import Comparison, compare
from jax_logreg.audit.text_entry import Sample, TextFormula
from jax_logreg.audit.text_formulas import NOTEBOOK

BINARY = NOTEBOOK + TWO_CLASSES

# Logits reach so far either way: no row saturated, none near ½ only.
_LARGEST_LOGIT = 3.0


class TextVerdict(NamedTuple):
    """What became of one formula.

    Attributes:
        formula: the entry.
        comparison: as printed against the counterpart.
        verdict: "right", "wrong: sign", "wrong: ratio 2", "wrong: shape", …
    """

    formula: TextFormula
    comparison: Comparison
    verdict: str

    @property
    def as_expected(self) -> bool:
        """Whether a right formula came out right, and a misprint wrong in its way."""
        return self.verdict == self.formula.expected

    def as_dict(self) -> dict[str, Any]:
        """The verdict in plain numbers and strings."""
        words = {
            key: getattr(self.formula, key)
            for key in ("name", "latex", "domain", "where", "expected")
        }
        numbers = self.comparison._asdict() | {"as_expected": self.as_expected}
        return words | {"verdict": self.verdict} | numbers


def audit_texts(X: Any, y: Any, seed: int = 0) -> list[TextVerdict]:
    """Hold every formula of the texts against its counterpart, in float64.

    Args:
        X: features, (n, p), at least three columns of a few units each.
        y: classes 0 … K−1, (n,). Two classes are for the sigmoid's formulas, more for
            the softmax's.
        seed: of the weights at which the formulas are tried.

    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> verdicts = audit_texts(X, np.arange(60) % 3)
    >>> len(verdicts), {v.verdict for v in verdicts}
    (11, {'right'})
    """
    with jax.enable_x64(True):
        sample = _draw(np.asarray(X, float), np.asarray(y), seed)
        formulas = BINARY if sample.y.ndim == 1 else SOFTMAX
        return [judge(formula, sample) for formula in formulas]


def _draw(X: np.ndarray, y: np.ndarray, seed: int) -> Sample:
    K = int(y.max()) + 1
    shape = (X.shape[1],) if K == 2 else (X.shape[1], K)
    w = np.random.default_rng(seed).normal(size=shape)
    w *= _LARGEST_LOGIT / np.max(np.abs(X @ w))
    labels = y.astype(float) if K == 2 else np.eye(K)[y]
    return Sample(jnp.asarray(X), jnp.asarray(labels), jnp.asarray(w))


def judge(formula: TextFormula, sample: Sample) -> TextVerdict:
    """One formula at one sample."""
    reference = np.asarray(formula.counterpart(sample))
    hand = _as_printed(formula, sample)
    is_claim = reference.dtype == bool
    if is_claim:
        hand, reference = hand.astype(float), reference.astype(float)
    comparison = compare(formula.name, hand, reference)
    if comparison.agrees:
        verdict = "right"
    elif is_claim:
        verdict = "wrong: claim"
    else:
        verdict = f"wrong: {_kind_of_wrong(formula, sample, hand, reference)}"
    return TextVerdict(formula, comparison, verdict)


def _as_printed(formula: TextFormula, sample: Sample) -> np.ndarray:
    """The formula's numbers; none where its shapes do not fit one another."""
    try:
        return np.asarray(formula.hand(sample))
    except TypeError:
        return np.empty(0)


def _kind_of_wrong(
    formula: TextFormula, sample: Sample, hand: np.ndarray, reference: np.ndarray
) -> str:
    if hand.shape != reference.shape:
        return "shape"
    if formula.of is not None:
        return _diagnosis(formula, sample)
    ratio = float(np.vdot(reference, hand) / np.vdot(reference, reference))
    if compare("", hand, ratio * reference).agrees:
        return "sign" if np.isclose(ratio, -1) else f"ratio {ratio:.4g}"
    if hand.shape == sample.y.shape:
        for label in (0, 1):
            if np.array_equal(hand != reference, np.asarray(sample.y == label)):
                return f"where y = {label}"
    return "values"


def _diagnosis(formula: TextFormula, sample: Sample) -> str:
    """What the audit of derivatives says of a wrong gradient."""
    of = formula.of
    assert of is not None
    data = jax.tree.map(np.asarray, sample)  # NumPy's follow the precision of the point
    report = check_derivatives(
        lambda w: of(data._replace(w=w)),
        gradient=lambda w: formula.hand(data._replace(w=w)),
        at=data.w,
    )
    return "values" if report.diagnosis is None else report.diagnosis.kind

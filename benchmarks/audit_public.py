"""Two bars of the audit: code as the public writes it, and what checking NumPy code costs."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.optimize import check_grad

from benchmarks.audit_cases import CASES, AuditCase
from jax_logreg import check_derivatives

# The bars: the share of wrong derivatives that are named; CPU time against SciPy's check_grad, and
# in seconds, for a wrong one and for a Hessian alone.
NAMED = 0.75
TIMES_CHECK_GRAD, SECONDS_WRONG, SECONDS_HESSIAN = 5.0, 2.0, 5.0
_SIZES = (5, 30, 100)
# Diagnoses that say where, not what.
_PLACES = {"coordinate", "block", "large-logits", "constant"}

_FATES = (
    "named", "one of two named", "other words", "located", "unknown", "not found", "raised",
)  # fmt: skip


class Fate(NamedTuple):
    """What became of a case: a word, what was said, and the CPU time."""

    word: str
    said: str
    seconds: float


def judge(case: AuditCase, seed: int) -> Fate:
    """Audit one case."""
    options = case.build(seed)
    began = time.process_time()
    try:
        report = check_derivatives(**options)
    except Exception as error:  # an audit that breaks has found nothing
        return Fate("raised", repr(error), 0.0)
    seconds = time.process_time() - began
    diagnoses = report.diagnoses[:2]
    said = "; ".join(f"({d.kind}) {d.message}" for d in diagnoses)
    if case.is_right:
        errors = "; ".join(f.message for f in report.findings if f.severity == "error")
        return Fate("right" if report.ok else "false alarm", said or errors, seconds)
    if report.ok:
        return Fate("not found", "", seconds)
    return Fate(_fate(case, [d.kind for d in diagnoses], said.lower()), said, seconds)


def _fate(case: AuditCase, kinds: list[str], said: str) -> str:
    if not kinds or kinds[0] == "unknown":
        return "unknown"
    hits = [any(word in said for word in words) for words in (case.words, case.more_words) if words]
    if all(hits):
        return "named"
    if any(hits):
        return "one of two named"
    return "located" if kinds[0] in _PLACES else "other words"


def public_code(seeds: int, tell: Callable[[str], None]) -> tuple[str, bool]:
    """The fates of all cases, and whether the bar is met."""
    fates: dict[str, list[tuple[AuditCase, Fate]]] = defaultdict(list)
    for seed in range(seeds):
        tell(f"public code: seed {seed}")
        jax.clear_caches()
        for case in CASES if seed == 0 else filter(_is_cheap_again, CASES):
            fate = judge(case, seed)
            fates[fate.word].append((case, fate))
    alarms, num_right = len(fates["false alarm"]), len(fates["right"])
    wrong = sum(map(len, fates.values())) - alarms - num_right
    lines = [f"{len(CASES)} cases; {alarms + num_right} audits of right code: {alarms} alarms"]
    lines.append(f"{wrong} audits of wrong code:")
    for word in filter(fates.get, _FATES):
        lines.append(f"  {word:18}{100 * len(fates[word]) / wrong:6.1f} %")
    for word in ("false alarm", *_FATES[1:]):
        said = {case.name: fate.said for case, fate in fates[word]}
        lines += [f"  {word}: {case}: {text}" for case, text in said.items()]
    met = not fates["false alarm"] and not fates["not found"] and not fates["raised"]
    return "\n".join(lines), met and len(fates["named"]) >= NAMED * wrong


def _is_cheap_again(case: AuditCase) -> bool:
    """After the first seed, only the right code: an alarm may be rare, a name is not."""
    return case.is_right


def numpy_cost() -> tuple[str, bool]:
    """CPU time on NumPy code, and whether the bars are met."""
    rows = [_cost_of(size) for size in _SIZES]
    lines = ["     P  check_grad  right gradient   times  wrong gradient  Hessian alone"]
    for size, theirs, ours, wrong, hessian in rows:
        lines.append(
            f"{size:6} {1e3 * theirs:8.2f} ms {1e3 * ours:12.2f} ms {ours / theirs:7.1f}"
            f" {wrong:13.2f} s {hessian:12.2f} s"
        )
    met = all(
        ours <= TIMES_CHECK_GRAD * theirs and wrong <= SECONDS_WRONG
        for _, theirs, ours, wrong, _ in rows
    )
    return "\n".join(lines), met and rows[1][-1] <= SECONDS_HESSIAN


def _cost_of(size: int) -> tuple[int, float, float, float, float]:
    rng = np.random.default_rng(size)
    X, y = rng.normal(size=(1000, size)), (rng.random(1000) < 0.5).astype(float)

    def value(w: np.ndarray) -> float:
        h = 1 / (1 + np.exp(-X @ w))
        return float(-np.mean(y * np.log(h + 1e-15) + (1 - y) * np.log(1 - h + 1e-15)))

    def gradient(w: np.ndarray) -> np.ndarray:
        return X.T @ (1 / (1 + np.exp(-X @ w)) - y) / len(y)

    def hessian(w: np.ndarray) -> np.ndarray:
        h = 1 / (1 + np.exp(-X @ w))
        return (X.T * (h * (1 - h))) @ X / len(y)

    at = rng.normal(size=size) / np.sqrt(size)

    def audit(**given: Any) -> Callable[[], Any]:
        return lambda: check_derivatives(value, at=at, numpy=True, **given)

    theirs = _seconds(lambda: check_grad(value, gradient, at))
    ours = _seconds(audit(gradient=gradient))
    wrong = _seconds(audit(gradient=lambda w: len(y) * gradient(w)), once=True)
    return size, theirs, ours, wrong, _seconds(audit(hessian=hessian), once=True)


def _seconds(call: Callable[[], Any], once: bool = False) -> float:
    """CPU time of a call; the median of several, after one to warm up, unless once."""
    if not once:
        call()
    return statistics.median(_each(call, 1 if once else 9))


def _each(call: Callable[[], Any], count: int) -> Iterable[float]:
    for _ in range(count):
        began = time.process_time()
        call()
        yield time.process_time() - began

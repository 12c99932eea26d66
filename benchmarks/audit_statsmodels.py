"""Audit of statsmodels: are its scores and Hessians the derivatives of its log-likelihoods?

``python -m benchmarks.audit_statsmodels`` prints the table of the guide "Auditing NumPy code".
Each model is fitted to simulated data, and audited around its estimate.
"""

import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import statsmodels
import statsmodels.api as sm
from statsmodels.discrete import conditional_models, count_model, discrete_model, truncated_model
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.miscmodels.ordinal_model import OrderedModel
from statsmodels.othermod.betareg import BetaModel

from jax_logreg import check_derivatives
from jax_logreg.audit.report import Check, DerivativeReport

Make = Callable[[], Any]
# Relative in norm: a derivative this near is a numerical one, or exact.
_NUMERICAL, _EXACT = 1e-4, 1e-9
_ROWS, _SEED = 150, 0


def _data() -> dict[str, Any]:
    """Responses of every kind, and two columns beside the constant."""
    rng = np.random.default_rng(_SEED)
    x, z = rng.normal(size=(2, _ROWS))
    mu = np.exp(0.5 + 0.4 * x)
    count = rng.poisson(mu * rng.gamma(2, 0.5, _ROWS))
    return {
        "X": sm.add_constant(x), "Z": sm.add_constant(z), "xz": np.column_stack([x, z]),
        "count": count, "inflated": count * (rng.uniform(size=_ROWS) > 0.3),
        "binary": (rng.uniform(size=_ROWS) < 1 / (1 + np.exp(-x))).astype(float),
        "choice": rng.integers(0, 3, _ROWS), "share": rng.beta(2, 3, _ROWS),
        "positive": rng.gamma(3, mu / 3), "real": x + rng.normal(size=_ROWS),
        "groups": np.repeat(np.arange(_ROWS // 5), 5), "observed": rng.uniform(size=_ROWS) < 0.7,
    }  # fmt: skip


DATA = _data()


def _discrete(name: str, y: str, **options: Any) -> Make:
    module = next(m for m in (discrete_model, count_model, truncated_model) if hasattr(m, name))
    rows = DATA[y] > 0 if name.startswith("Truncated") else slice(None)
    return lambda: getattr(module, name)(DATA[y][rows], DATA["X"][rows], **options)


def _inflated(name: str, **options: Any) -> Make:
    return _discrete(name, "inflated", exog_infl=DATA["Z"], **options)


def _glm(family: str, y: str, link: str, **options: Any) -> Make:
    made = getattr(sm.families, family)
    return lambda: sm.GLM(
        DATA[y], DATA["X"], family=made(link=getattr(sm.families.links, link)(), **options)
    )


def _conditional(name: str, y: str) -> Make:
    model = getattr(conditional_models, name)
    return lambda: model(DATA[y], DATA["xz"], groups=DATA["groups"])


def _survival(ties: str) -> Make:
    time = np.ceil(2 * DATA["positive"])
    return lambda: PHReg(time, DATA["xz"], status=DATA["observed"].astype(int), ties=ties)


MODELS: dict[str, list[Make]] = {
    "`Logit`, `Probit`": [_discrete(name, "binary") for name in ("Logit", "Probit")],
    "`MNLogit`": [_discrete("MNLogit", "choice")],
    "`Poisson`": [_discrete("Poisson", "count")],
    "`NegativeBinomial` (nb1, nb2, geometric)": [
        _discrete("NegativeBinomial", "count", loglike_method=method)
        for method in ("nb1", "nb2", "geometric")
    ],
    "`GeneralizedPoisson` (p = 1, 1.5, 2)": [
        _discrete("GeneralizedPoisson", "count", p=p) for p in (1, 1.5, 2)
    ],
    "`NegativeBinomialP` (p = 1, 2)": [
        _discrete("NegativeBinomialP", "count", p=p) for p in (1, 2)
    ],
    "`NegativeBinomialP` (p = 1.5)": [_discrete("NegativeBinomialP", "count", p=1.5)],
    "`ZeroInflatedPoisson`, logit": [_inflated("ZeroInflatedPoisson")],
    "`ZeroInflatedPoisson`, probit": [_inflated("ZeroInflatedPoisson", inflation="probit")],
    "`ZeroInflatedNegativeBinomialP`, logit": [
        _inflated("ZeroInflatedNegativeBinomialP", p=p) for p in (1, 2)
    ],
    "`ZeroInflatedGeneralizedPoisson`, logit": [
        _inflated("ZeroInflatedGeneralizedPoisson", p=p) for p in (1, 2)
    ],
    "`TruncatedLFPoisson`": [_discrete("TruncatedLFPoisson", "count")],
    "`TruncatedLFNegativeBinomialP`": [_discrete("TruncatedLFNegativeBinomialP", "count")],
    "`HurdleCountModel` (Poisson, negative binomial)": [
        _discrete("HurdleCountModel", "count", dist=d, zerodist=d) for d in ("poisson", "negbin")
    ],
    "`OrderedModel` (logit, probit)": [
        partial(OrderedModel, DATA["choice"], DATA["xz"][:, :1], distr=distr)
        for distr in ("logit", "probit")
    ],
    "`BetaModel`": [partial(BetaModel, DATA["share"], DATA["X"], exog_precision=DATA["Z"])],
    "`ConditionalLogit`, `ConditionalPoisson`": [
        _conditional("ConditionalLogit", "binary"), _conditional("ConditionalPoisson", "count"),
    ],
    "`ConditionalMNLogit`": [_conditional("ConditionalMNLogit", "choice")],
    "`PHReg` (Breslow, Efron)": [_survival("breslow"), _survival("efron")],
    "`GLM`: Gaussian (identity), binomial (logit)": [
        _glm("Gaussian", "real", "Identity"), _glm("Binomial", "binary", "Logit"),
    ],
    "`GLM` (log): Poisson, Gamma, inverse Gaussian, negative binomial, Tweedie": [
        _glm("Poisson", "count", "Log"), _glm("Gamma", "positive", "Log"),
        _glm("InverseGaussian", "positive", "Log"),
        _glm("NegativeBinomial", "count", "Log", alpha=1.0),
        _glm("Tweedie", "positive", "Log", var_power=1.5, eql=True),
    ],
}  # fmt: skip


def audit(make: Make) -> DerivativeReport:
    """The report on one model, around its estimate."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make()
        estimate = np.ravel(model.fit(disp=0, maxiter=200).params, order="F")
        # By default a GLM's score is scaled by an estimate that depends on the parameters.
        scale = {"scale": 1.0} if isinstance(model, sm.GLM) else {}
        return check_derivatives(
            lambda theta: model.loglike(theta, **scale),
            gradient=lambda theta: np.ravel(model.score(theta, **scale), order="F"),
            hessian=lambda theta: np.asarray(model.hessian(theta, **scale)),
            at=1.05 * estimate + 0.02,
            numpy=True,
        )


def verdict(check: Check, report: DerivativeReport) -> str:
    """Right, numerical, or wrong, and by how much."""
    off = f"{check.relative:.0e}"
    remarks = {(finding.where, finding.kind) for finding in report.findings}
    if check.agrees and ((check.name, "approximate") not in remarks or check.relative < _EXACT):
        return "right"
    if {d.kind for d in report.diagnoses if d.where == check.name} == {"large-logits"}:
        return "right"  # far out the log-likelihood is guarded against overflow
    return f"numerical, to {off}" if check.relative < _NUMERICAL else f"wrong, off by {off}"


def line(name: str) -> str:
    """One line of the table, the worst verdict of each kind of derivative."""
    reports = [audit(make) for make in MODELS[name]]
    words = [
        max((verdict(check, report) for report in reports for check in report.checks
             if check.name == kind), key=_badness)
        for kind in ("gradient", "hessian")
    ]  # fmt: skip
    return f"| {name} | {words[0]} | {words[1]} |"


def _badness(word: str) -> tuple[int, float]:
    order = ["right", "numerical", "wrong"]
    rank = next(i for i, start in enumerate(order) if word.startswith(start))
    return rank, float(word.split()[-1]) if rank else 0.0


if __name__ == "__main__":
    print(f"statsmodels {statsmodels.__version__}\n\n| model | score | Hessian |\n|---|---|---|")
    for name in MODELS:
        if not sys.argv[1:] or any(word in name for word in sys.argv[1:]):
            print(line(name), flush=True)

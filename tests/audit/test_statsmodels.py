"""What the guide tells of statsmodels 0.15.0, run again."""

import contextlib
import inspect
import io
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
import statsmodels
import statsmodels.api as sm
from statsmodels.discrete import discrete_model
from statsmodels.discrete.count_model import ZeroInflatedPoisson
from statsmodels.discrete.discrete_model import NegativeBinomialP
from statsmodels.tools.numdiff import approx_fprime

from benchmarks import audit_statsmodels
from jax_logreg import check_derivatives

PAGE = Path(__file__).parents[2].joinpath("docs/guides/your_code.md").read_text("utf-8")
pytestmark = [
    pytest.mark.skipif(statsmodels.__version__ != "0.15.0", reason="the guide is about 0.15.0"),
    pytest.mark.filterwarnings("ignore"),
]


def error_ratio(model, fit):
    """Its standard errors over those by differences of its score."""
    exact = np.linalg.inv(-approx_fprime(fit.params, model.score, centered=True))
    return np.asarray(fit.bse) / np.sqrt(np.diag(exact))


def test_the_code_of_the_guide_prints_what_it_says():
    story = PAGE[PAGE.index("## What it found in statsmodels") :]
    code, printed = re.search(
        r"```python\n(.*?)```\n\n```text\n(.*?)```", story, re.DOTALL
    ).groups()
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {"__name__": "guide"})
    assert out.getvalue() == printed


def test_the_block_matters_little_where_zeros_are_rare():
    table = sm.datasets.randhie.load_pandas().data
    assert round(table.mdvis.mean(), 1) == 2.9
    for rows, columns in ((2000, ["physlm", "disea"]), (20190, ["lncoins", "idp", "physlm"])):
        X = sm.add_constant(table[columns])[:rows]
        model = ZeroInflatedPoisson(table.mdvis[:rows], X, exog_infl=X)
        ratio = error_ratio(model, model.fit(disp=0, maxiter=500))
        assert 0.995 < ratio.min() <= ratio.max() < 1.001


def counts(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=400)
    mu = np.exp(0.3 + 0.5 * x)
    return rng.poisson(mu * rng.gamma(1, 1, 400)), sm.add_constant(x)


@pytest.mark.parametrize("seed", range(3))
def test_standard_errors_of_another_power(seed):
    y, X = counts(seed)
    model = NegativeBinomialP(y, X, p=1.5)
    ratio = error_ratio(model, model.fit(disp=0, maxiter=500))
    assert 0.002 < np.abs(ratio - 1).max() < 0.05
    model = NegativeBinomialP(y, X, p=3)
    fit = model.fit(disp=0, maxiter=500)
    assert np.linalg.eigvalsh(model.hessian(fit.params)).max() > 0
    assert np.isnan(fit.bse).all()
    assert np.linalg.eigvalsh(approx_fprime(fit.params, model.score, centered=True)).max() < 0


def test_one_term_makes_that_hessian_right():
    source = textwrap.dedent(inspect.getsource(NegativeBinomialP.hessian))
    assert source.count("a3 + p * a1") == 1
    namespace = {}
    exec(source.replace("a3 + p * a1", "a3 + a1"), vars(discrete_model) | namespace, namespace)
    y, X = counts(0)
    model = NegativeBinomialP(y, X, p=3)
    audit = {"gradient": model.score, "at": np.array([0.3, 0.5, 0.5]), "numpy": True}
    assert not check_derivatives(model.loglike, hessian=model.hessian, **audit)

    def mended(params):
        return namespace["hessian"](model, params)

    check_derivatives(model.loglike, hessian=mended, **audit).raise_if_wrong()


@pytest.mark.parametrize(
    "name",
    ["`Logit`, `Probit`", "`NegativeBinomialP` (p = 1, 2)", "`NegativeBinomialP` (p = 1.5)",
     "`ZeroInflatedPoisson`, logit", "`BetaModel`", "`PHReg` (Breslow, Efron)"],
)  # fmt: skip
def test_lines_of_the_table(name):
    """Their words; the last digit of how far it is off may be another elsewhere."""
    found = audit_statsmodels.line(name)
    words = re.sub(r"off by \S+", "", found)
    assert words in re.sub(r"off by \S+", "", PAGE)


def test_the_table_has_a_line_for_every_model():
    models = list(audit_statsmodels.MODELS)
    assert re.findall(r"^\| (`.*?) \| [rnw]", PAGE, re.MULTILINE) == models

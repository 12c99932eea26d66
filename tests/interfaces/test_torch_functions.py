"""PyTorch's functions under the audit, where PyTorch is installed."""

import re
from pathlib import Path

import numpy as np
import pytest

from jax_logreg import check_derivatives
from jax_logreg.interfaces.torch_functions import as_numpy, backward_of

torch = pytest.importorskip("torch")
AT = np.array([0.5, -1.0, 2.0])


def make_rule(slope):
    class Softplus(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.log1p(torch.exp(x))

        @staticmethod
        def backward(ctx, g):
            return slope(g, *ctx.saved_tensors)

    return Softplus.apply


def audit(rule):
    return check_derivatives(as_numpy(rule), jacobian=backward_of(rule), at=AT, numpy=True)


def test_a_right_backward_is_right():
    assert audit(make_rule(lambda g, x: g * torch.sigmoid(x))).ok


@pytest.mark.parametrize(
    "slope",
    [
        lambda g, x: torch.sigmoid(x),
        lambda g, x: g * torch.sigmoid(-x),
        lambda g, x: -g * torch.sigmoid(x),
        lambda g, x: 2 * g * torch.sigmoid(x),
        lambda g, x: g**2 * torch.sigmoid(x),
    ],
    ids=["ignores", "swapped", "sign", "factor", "squares"],
)
def test_a_wrong_backward_is_wrong(slope):
    assert not audit(make_rule(slope)).ok


def test_a_loss_of_several_arrays_and_its_hand_written_gradient():
    X = np.random.default_rng(0).normal(size=(20, 3))
    y = (X[:, 0] > 0).astype(float)

    def loss(p, X, y):
        eta = X @ p["w"] + p["b"]
        return torch.nn.functional.binary_cross_entropy_with_logits(eta, y)

    def gradient(p, X, y):
        error = (torch.sigmoid(X @ p["w"] + p["b"]) - y) / len(y)
        return {"w": X.T @ error, "b": error.sum()}

    at = {"w": AT, "b": np.array(0.3)}
    value = as_numpy(loss)
    for slope in (as_numpy(gradient), backward_of(loss)):
        assert check_derivatives(value, gradient=slope, at=at, args=(X, y), numpy=True).ok

    def scaled(p, X, y):
        return {k: 20 * g for k, g in gradient(p, X, y).items()}

    report = check_derivatives(value, gradient=as_numpy(scaled), at=at, args=(X, y), numpy=True)
    assert report.diagnosis.kind == "factor"


def test_the_code_of_the_guide_runs(capsys):
    page = Path(__file__).parents[2].joinpath("docs/guides/your_code.md").read_text("utf-8")
    code = re.search(r"```python\n(.*?)```", page[page.index("## PyTorch") :], re.DOTALL)[1]
    exec(code, {"__name__": "guide"})
    assert "jacobian: WRONG" in capsys.readouterr().out

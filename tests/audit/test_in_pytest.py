"""What pytest prints where derivatives are wrong: the user's line, the report, nothing of ours."""

import subprocess
import sys

import pytest

from jax_logreg import check_derivatives
from jax_logreg.audit.custom_rule import check_rule

FILE = """
import numpy as np
from jax_logreg import assert_derivatives, check_derivatives
from jax_logreg.audit.watch import DerivativeWatch

def value(t):
    return np.sum(t**2)

def gradient(t):
    return 3 * t

def test_asserted():
    assert_derivatives(value, gradient=gradient, at=np.ones(2), numpy=True)

def test_report():
    report = check_derivatives(value, gradient=gradient, at=np.ones(2), numpy=True)
    assert report

def test_watch():
    DerivativeWatch(value, gradient, numpy=True)(np.ones(2))
"""


def test_a_failure_shows_the_users_line_and_the_report(tmp_path):
    path = tmp_path / "test_users.py"
    path.write_text(FILE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)]
    text = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path).stdout
    assert "3 failed" in text
    assert text.count("WRONG") >= 3
    assert "off by the factor 1.5" in text
    assert ">       assert_derivatives(value, gradient=gradient" in text
    assert "AssertionError: derivatives against" in text
    assert "check.py" not in text
    assert "watch.py" not in text


def test_a_report_raises_if_it_is_wrong():
    right = check_derivatives(lambda t: t**2, gradient=lambda t: 2 * t, at=1.0)
    right.raise_if_wrong()
    assert repr(right) == str(right)
    wrong = check_derivatives(lambda t: t**2, gradient=lambda t: 3 * t, at=1.0)
    with pytest.raises(AssertionError, match=r"^derivatives against autodiff, float64: WRONG"):
        wrong.raise_if_wrong()


def test_what_is_no_rule_is_no_assertion():
    with pytest.raises(ValueError, match="uses no custom_jvp"):
        check_rule(lambda x: x, 1.0)

"""Hand-written derivatives in the style of public code, right and wrong, for the audit.

Written by someone who had not read the catalogue of explanations. Each wrong one differs from
the truth by more than 1e-4 of the largest entry, each right one by less than 1e-6, by central
differences that are not the audit's: ``tests/benchmarks/test_audit_cases.py``.
"""

from benchmarks.audit_cases import events, fitting, jax_code, likelihoods, logistic, networks
from benchmarks.audit_cases.case import REGISTERED, AuditCase

__all__ = [
    "CASES",
    "AuditCase",
    "events",
    "fitting",
    "jax_code",
    "likelihoods",
    "logistic",
    "networks",
]

CASES: tuple[AuditCase, ...] = tuple(REGISTERED)

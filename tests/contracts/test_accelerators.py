"""The programs of a fit lower for GPUs and TPUs: in the dtype of X, in full precision, and without
the host."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg import (
    L2,
    LBFGS,
    ElasticNet,
    Firth,
    GradientDescent,
    Newton,
    NewtonCG,
    make_objective,
)
from jax_logreg.derivatives.firth import FirthOracle
from jax_logreg.derivatives.model_oracle import ModelOracle
from jax_logreg.derivatives.nonsmooth import NonsmoothOracle
from jax_logreg.fitting import loop
from jax_logreg.fitting.certificate import make_tolerance
from jax_logreg.programs.jax_settings import own_settings
from jax_logreg.solvers.bfgs import BFGS
from jax_logreg.solvers.proximal_newton import ProximalNewton

PLATFORMS = ("cuda", "rocm", "tpu")
# Factorisations, which every platform has.
LIBRARY = re.compile(
    r"(cusolver|hipsolver)_(potrf|syevd|gesvdj|geqrf|orgqr)_ffi|(cu|hip)blas_trsm\w*"
    r"|Eigh|Qr|ProductOfElementaryHouseholderReflectors"
)
# Arrays of float64, and what may have them where X is float32: constants on their way to its dtype.
WIDE, CONSTANTS = r"tensor<\d[\dx]*xf64>", r"stablehlo\.(constant|convert|broadcast_in_dim)"
ROWS, COLUMNS = 300, 4


def oracle_of(K, penalty, dtype):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(ROWS, COLUMNS)).astype(dtype), np.arange(ROWS) % K
    F = make_objective(X, np.eye(K, dtype=dtype)[y] if K > 2 else y.astype(dtype), penalty)
    if penalty.is_jeffreys:
        return FirthOracle(F, jnp.asarray(ROWS, dtype))
    return NonsmoothOracle(ModelOracle(F)) if penalty.has_l1 else ModelOracle(F)


def programs_of(oracle, solver, dtype):
    """Each program of a fit outside of jit, with its arguments."""
    theta = np.zeros(oracle.objective.num_parameters, dtype)
    tol = make_tolerance(dtype(1e-5), dtype(1e-5), dtype(ROWS))
    if "float32" in solver.requires:
        oracle = oracle.with_float32_copy()
    if loop._certifies_itself(oracle, solver):
        memory = solver.blank_memory(theta)
        if memory is not None:
            yield loop._prepare, (oracle, solver, theta), {}
        yield loop._solve_regular, (oracle, solver, theta, memory, tol, 50), {}
        return
    plan = loop._plan(oracle, solver, concrete=True)
    yield loop._solve, (oracle, solver, theta, tol), {"max_steps": 50, "plan": plan}


@own_settings()
def lowered(program, args, kwargs):
    """The module of a program for all of the platforms."""
    leaves, structure = jax.tree.flatten(args)
    is_array = [isinstance(x, jax.Array | np.ndarray) for x in leaves]

    def of_arrays(*arrays):
        left = iter(arrays)
        mixed = [next(left) if array else x for x, array in zip(leaves, is_array, strict=True)]
        return jax.tree.leaves(program.__wrapped__(*jax.tree.unflatten(structure, mixed), **kwargs))

    kinds = [
        jax.ShapeDtypeStruct(x.shape, x.dtype)
        for x, array in zip(leaves, is_array, strict=True)
        if array
    ]
    return jax.export.export(jax.jit(of_arrays), platforms=PLATFORMS)(*kinds).mlir_module()


SOLVERS = {
    "newton": (Newton(), L2),
    "newton, regular": (Newton(singular=False), L2),
    "bfgs": (BFGS(sample=64), L2),
    "lbfgs": (LBFGS("gram"), L2),
    "lbfgs, no search": (LBFGS("gram", search=False), L2),
    "newton-cg": (NewtonCG(), L2),
    "gradient descent": (GradientDescent(), L2),
    "proximal newton": (ProximalNewton(), lambda c: ElasticNet(c, l1_ratio=np.float32(0.5))),
    "firth": (LBFGS("hessian"), lambda strength: Firth()),
}


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize(("solver", "penalty"), SOLVERS.values(), ids=SOLVERS)
def test_a_float32_fit_lowers_for_every_accelerator(solver, penalty, K, x64):
    oracle = oracle_of(K, penalty(np.float32(0.1)), np.float32)
    for program, args, kwargs in programs_of(oracle, solver, np.float32):
        lines = lowered(program, args, kwargs).splitlines()
        calls = {name for line in lines for name in re.findall(r"custom_call @([\w.]+)", line)}
        assert all(map(LIBRARY.fullmatch, calls)), calls
        host = r"callback|infeed|outfeed|stablehlo\.(send|recv)\b"
        assert not [line for line in lines if re.search(host, line) and not line.startswith("#loc")]
        products = [line for line in lines if "= stablehlo.dot_general" in line]
        assert all("HIGHEST, HIGHEST" in line for line in products)
        wide = [line for line in lines if re.search(WIDE, line)]
        assert not [line for line in wide if not re.search(CONSTANTS, line)]


def test_a_float64_fit_lowers_with_its_float32_lead(x64):
    oracle = oracle_of(3, L2(0.1), np.float64)
    solver = LBFGS("gram", float32_steps=20)
    for program, args, kwargs in programs_of(oracle, solver, np.float64):
        module = lowered(program, args, kwargs)
        assert "f32" in module
        assert "callback" not in "".join(re.findall(r"custom_call @[\w.]+", module))


def test_the_precision_that_a_caller_asked_for_stays():
    oracle = oracle_of(2, L2(np.float32(0.1)), np.float32)
    (program, args, kwargs), *_ = programs_of(oracle, NewtonCG(), np.float32)
    with jax.default_matmul_precision("tensorfloat32"):
        module = lowered(program, args, kwargs)
    products = [line for line in module.splitlines() if "= stablehlo.dot_general" in line]
    assert products
    assert any("HIGHEST" not in line for line in products)

"""One fit in a fresh process: ``python -m benchmarks.cold_child METHOD TABLE STRENGTH TOL``.

It prints the time of the answer, the stages before it, and the answer. Nothing is imported
before the clock runs that the fit itself would not import.
"""

import json
import sys
import time
from collections import defaultdict
from typing import Any

# The events that JAX reports of its compiler.
_STAGES = {
    "/jax/core/compile/jaxpr_trace_duration": "trace",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
    "/jax/core/compile/backend_compile_duration": "compile",
}


def jax_logreg(table: str, strength: float, tol: float) -> dict[str, Any]:
    """Ours, with the seconds of import, trace, lower, compile and the rest."""
    began = time.perf_counter()
    import jax
    import numpy as np

    from jax_logreg import L2, fit

    imported = time.perf_counter()
    spent: dict[str, float] = defaultdict(float)

    def note(event: str, duration_secs: float, **_: Any) -> None:
        if event in _STAGES:
            spent[_STAGES[event]] += duration_secs

    jax.monitoring.register_event_duration_secs_listener(note)
    X, y = np.load(table).values()
    with jax.enable_x64(True):
        result = fit(X, y, penalty=L2(strength), tol=tol)
        coef, intercept = np.asarray(result.coef), float(result.intercept)
    rest = time.perf_counter() - imported - sum(spent.values())
    stages = {"import": imported - began, **spent, "run": rest}
    return {"stages": stages, "coef": coef.tolist(), "intercept": intercept}


def scikit_learn(table: str, strength: float, tol: float, solver: str) -> dict[str, Any]:
    """``LogisticRegression``, with the seconds of import and the rest."""
    began = time.perf_counter()
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    imported = time.perf_counter()
    X, y = np.load(table).values()
    C = 1 / (strength * len(y))
    model = LogisticRegression(C=C, solver=solver, tol=tol, max_iter=1000).fit(X, y)
    stages = {"import": imported - began, "run": time.perf_counter() - imported}
    coef, intercept = model.coef_[0].tolist(), float(model.intercept_[0])
    return {"stages": stages, "coef": coef, "intercept": intercept}


if __name__ == "__main__":
    method, path, *numbers = sys.argv[1:]
    strength, tol = map(float, numbers)
    if method == "jax_logreg":
        answer = jax_logreg(path, strength, tol)
    else:
        answer = scikit_learn(path, strength, tol, solver=method)
    print(json.dumps({"answered": time.time(), **answer}))

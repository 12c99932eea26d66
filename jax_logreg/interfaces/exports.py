"""A model as a program that others can run. The one file that imports onnx."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from jax_logreg.interfaces.labels import label_text
from jax_logreg.interfaces.model import Model
from jax_logreg.objective.model import logits, sigmoid, softmax

_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
_DTYPES = ("float32", "float64")
# Of 2022, so that runtimes some years old read it too.
_OPSET, _IR_VERSION = 17, 8


def export_stablehlo(model: Model, dtype: str | None = None) -> bytes:
    """A model's probabilities as a StableHLO program, for any number of rows.

    ``jax.export.deserialize(program).call(X)`` takes features (n, p) of the dtype and
    gives (n, K), columns in the order of ``model.classes``; a float64 program is called
    under ``jax.enable_x64(True)``. It runs on CPU, GPU and TPU.

    Args:
        model: what to export; where it has an encoding, the program takes encoded features.
        dtype: "float32" or "float64"; that of the coefficients if absent.

    Returns:
        The program, to be written to a file.

    Raises:
        ValueError: for another dtype, or where flatbuffers is not installed.

    >>> program = export_stablehlo(Model(np.float32([1.0]), np.float32(0.0)))
    >>> export.deserialize(program).call(np.float32([[0.0]])).tolist()
    [[0.5, 0.5]]
    """
    dtype = _checked(model, dtype)
    center, coef, intercept = _arrays(model, dtype)
    link = sigmoid if model.coef.ndim == 1 else softmax

    def predict_probability(X: jax.Array) -> jax.Array:
        return link(logits(X - center, coef, intercept))

    with jax.enable_x64(dtype == "float64"):
        X = jax.ShapeDtypeStruct((*export.symbolic_shape("n"), len(coef)), jnp.dtype(dtype))
        program = export.export(jax.jit(predict_probability), platforms=_PLATFORMS)(X)
    try:
        return bytes(program.serialize())
    except ImportError:
        raise ValueError("StableHLO needs flatbuffers: pip install 'jax-logreg[export]'.") from None


def export_onnx(model: Model, dtype: str | None = None) -> bytes:
    """A model's probabilities as an ONNX graph, for any number of rows.

    The input ``X`` is (n, p), the output ``probability`` (n, K), columns in the order of
    the labels in the graph's property ``classes``; ``feature_names`` is a property too.

    Args:
        model: what to export; where it has an encoding, the graph takes encoded features.
        dtype: "float32" or "float64"; that of the coefficients if absent.

    Returns:
        The graph, to be written to a file.

    Raises:
        ValueError: for another dtype, or where onnx is not installed.
    """
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError:
        raise ValueError("ONNX needs onnx: pip install 'jax-logreg[export]'.") from None
    dtype = _checked(model, dtype)
    center, coef, intercept = _arrays(model, dtype)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    link = "Sigmoid" if model.coef.ndim == 1 else "Softmax"
    graph = helper.make_graph(
        [
            helper.make_node("Sub", ["X", "center"], ["centred"]),
            helper.make_node("Gemm", ["centred", "coef", "intercept"], ["logits"]),
            helper.make_node(link, ["logits"], ["probability"]),
        ],
        "jax_logreg",
        [helper.make_tensor_value_info("X", kind, ["n", len(coef)])],
        [helper.make_tensor_value_info("probability", kind, ["n", len(intercept)])],
        [
            numpy_helper.from_array(array, name)
            for name, array in (("center", center), ("coef", coef), ("intercept", intercept))
        ],
    )
    document = helper.make_model(
        graph,
        producer_name="jax_logreg",
        producer_version=model.version,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
    names = {"classes": _texts(model.classes), "feature_names": _texts(model.feature_names)}
    helper.set_model_props(document, names)
    onnx.checker.check_model(document)
    return bytes(document.SerializeToString())


def _checked(model: Model, dtype: str | None) -> str:
    dtype = model.coef.dtype.name if dtype is None else dtype
    if dtype not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}, not {dtype!r}.")
    return dtype


def _arrays(model: Model, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Center, coef and intercept with a column a class: of two classes −β and β."""
    coef, intercept = model.coef, model.intercept
    if coef.ndim == 1:
        coef, intercept = np.stack([-coef, coef], axis=1), np.stack([-intercept, intercept])
    return model.center.astype(dtype), coef.astype(dtype), intercept.astype(dtype)


def _texts(labels: Any) -> str:
    return json.dumps([label_text(label) for label in labels])

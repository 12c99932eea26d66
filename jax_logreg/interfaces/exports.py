"""A linear classifier as a StableHLO or ONNX program. The one file that imports onnx."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from jax_logreg.objective.model import logits, sigmoid, softmax
from jax_logreg.programs.jax_settings import own_settings

_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
_DTYPES = ("float32", "float64")
# Of 2022, so that runtimes some years old can read the graph.
_OPSET, _IR_VERSION = 17, 8


def stablehlo_program(
    center: np.ndarray, coef: np.ndarray, intercept: np.ndarray, dtype: str
) -> bytes:
    """Class probabilities as a serialized StableHLO program, for any number of rows.

    Args:
        center: c, (p,).
        coef: β, (p,) for two classes or (p, K).
        intercept: b, () or (K,).
        dtype: of the program's input and output, "float32" or "float64".

    Returns:
        The program: features (n, p) ↦ probabilities (n, K).

    Raises:
        ValueError: for another dtype, or if flatbuffers is not installed.

    >>> one = np.ones(1, np.float32)
    >>> program = stablehlo_program(0 * one, one, np.float32(0), "float32")
    >>> export.deserialize(bytearray(program)).call(np.float32([[0.0]])).tolist()
    [[0.5, 0.5]]
    """
    c, beta, b = _columns_per_class(center, coef, intercept, dtype)
    link = sigmoid if coef.ndim == 1 else softmax

    def predict_probability(X: jax.Array) -> jax.Array:
        return link(logits(X - c, beta, b))

    with own_settings(), jax.enable_x64(dtype == "float64"):
        X = jax.ShapeDtypeStruct((*export.symbolic_shape("n"), len(beta)), jnp.dtype(dtype))
        program = export.export(jax.jit(predict_probability), platforms=_PLATFORMS)(X)
    try:
        return bytes(program.serialize())
    except ImportError:
        raise ValueError("StableHLO needs flatbuffers: pip install 'jax-logreg[export]'.") from None


def onnx_graph(
    center: np.ndarray,
    coef: np.ndarray,
    intercept: np.ndarray,
    dtype: str,
    *,
    version: str,
    properties: dict[str, str],
) -> bytes:
    """The same as a serialized ONNX graph: ``X`` (n, p) ↦ ``probability`` (n, K).

    Args:
        center: c, (p,).
        coef: β, (p,) for two classes or (p, K).
        intercept: b, () or (K,).
        dtype: of the graph's input and output, "float32" or "float64".
        version: of the package that made the model.
        properties: key ↦ text, kept in the graph.

    Raises:
        ValueError: for another dtype, or if onnx is not installed.
    """
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError:
        raise ValueError("ONNX needs onnx: pip install 'jax-logreg[export]'.") from None
    arrays = _columns_per_class(center, coef, intercept, dtype)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    link = "Sigmoid" if coef.ndim == 1 else "Softmax"
    p, K = arrays[1].shape
    graph = helper.make_graph(
        [
            helper.make_node("Sub", ["X", "center"], ["centered"]),
            helper.make_node("Gemm", ["centered", "coef", "intercept"], ["logits"]),
            helper.make_node(link, ["logits"], ["probability"]),
        ],
        "jax_logreg",
        [helper.make_tensor_value_info("X", kind, ["n", p])],
        [helper.make_tensor_value_info("probability", kind, ["n", K])],
        [
            numpy_helper.from_array(array, name)
            for name, array in zip(("center", "coef", "intercept"), arrays, strict=True)
        ],
    )
    document = helper.make_model(
        graph,
        producer_name="jax_logreg",
        producer_version=version,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
    helper.set_model_props(document, properties)
    onnx.checker.check_model(document)
    return bytes(document.SerializeToString())


def _columns_per_class(
    center: np.ndarray, coef: np.ndarray, intercept: np.ndarray, dtype: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The arrays with one column per class: −β and β for two classes, under a sigmoid each."""
    if dtype not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}, not {dtype!r}.")
    if coef.ndim == 1:
        coef, intercept = np.stack([-coef, coef], axis=1), np.stack([-intercept, intercept])
    return center.astype(dtype), coef.astype(dtype), intercept.astype(dtype)

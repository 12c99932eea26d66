"""Configuration of the documentation site.

Built strictly and without network access:

    python -m sphinx -W -n -b html docs docs/_build/html
"""

import re
import shutil
import sys
import zlib
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

import jax.typing
import numpy.typing

# A signature shows ArrayLike, not the union of a dozen types that it stands for. Before the
# package is imported, so that its annotations have it.
for _module in (jax.typing, numpy.typing):
    for _name in ("ArrayLike", "DTypeLike"):
        setattr(_module, _name, type(_name, (), {"__module__": _module.__name__}))

import jax_logreg

project = "jax_logreg"
author = "The jax_logreg authors"
copyright = author
version = release = jax_logreg.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]

html_theme = "pydata_sphinx_theme"
html_title = "jax_logreg"
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_copy_source = False

# --- guides and notebooks ---------------------------------------------------------

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
# Notebooks are committed with their outputs; pytest --nbmake runs them.
nb_execution_mode = "off"


def _copy_notebooks() -> None:
    """Copy the notebooks, which live beside docs/, into the source folder of the site."""
    target = DOCS / "notebooks"
    target.mkdir(exist_ok=True)
    for path in (ROOT / "notebooks").iterdir():
        if path.suffix in {".ipynb", ".png"}:
            shutil.copy2(path, target)


_copy_notebooks()

# --- the API reference ------------------------------------------------------------

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
autosummary_generate = False
add_module_names = False

# Parts of signatures that are private: shown, without a link.
_PRIVATE = "Encoding|FitContext|Diagonals|Features|Information|Preconditioner"
nitpick_ignore_regex = [("py:class", rf"jax_logreg\..*\.({_PRIVATE})")]


def _use_documented_name(app, env, node, contnode):
    """Look a name up under the one that is documented, where a docstring or annotation differs.

    Annotations carry the module that defines a class: jax_logreg.fitting.result.FitResult is
    documented as jax_logreg.FitResult, scipy.sparse._csr.csr_array without its private part, and
    the class of jax.Array lives in jaxlib. Docstrings name public functions without the package.
    """
    target = node.get("reftarget", "")
    name = target.rpartition(".")[2]
    if target == name or target.startswith("jax_logreg."):
        domain = env.domains["py"]
        found = [key for key in domain.objects if key.endswith(f".{name}")]
        public = f"jax_logreg.{name}"
        if public in found or len(found) == 1:
            full_name = public if public in found else found[0]
            return domain.resolve_xref(
                env, node["refdoc"], app.builder, "obj", full_name, node, contnode
            )
    # Found by intersphinx, which is asked next.
    is_of_jax = target.startswith("jax") and name in {"Array", "Device"}
    target = target.replace("np.", "numpy.", 1) if target.startswith("np.") else target
    node["reftarget"] = f"jax.{name}" if is_of_jax else re.sub(r"\._\w+", "", target)
    return None


_HIDDEN_COLON = "\ue000"


def _hide_colons(app, what, name, obj, options, lines):
    """Keep napoleon from taking prose before a colon for a type."""
    starts = [0] if what in {"property", "attribute"} else []
    starts += [i + 1 for i, line in enumerate(lines) if line.strip() == "Returns:"]
    for i in starts:
        lines[i] = lines[i].replace(":", _HIDDEN_COLON)


# Docstrings are for the terminal first: |x|, *args and coef_ are meant as they stand. Left alone
# are doctests, directives with their content, literals, roles and emphasis.
_MARKUP = re.compile(
    r"^ *>>>.*?(?:\n *\n|\Z)"
    r"|^(?P<indent> *)\.\. .*?(?=^(?P=indent)\S|\Z)"
    r"|``.*?``|`.*?`|(?<![\\*\w])\*\w(?:(?!\n *\n)[^*])*?\w\*(?!\w)"
    r"|(?P<plain>(?<!\\)(?:\||\*+(?=\w)|(?<=\w)_(?!\w)))",
    re.MULTILINE | re.DOTALL,
)


def _escape(match):
    plain = match["plain"]
    return match[0] if plain is None else "".join(f"\\{character}" for character in plain)


def _show_plain_text(app, what, name, obj, options, lines):
    """Escape what would be markup by accident, and show the colons again."""
    text = _MARKUP.sub(_escape, "\n".join(lines)).replace(_HIDDEN_COLON, ":")
    lines[:] = text.split("\n")


def _show_default_factories(app, what, name, obj, options, signature, annotation):
    """Write a default that a factory makes as "...": "<factory>" is no Python."""
    return (signature or "").replace("<factory>", "...") or None, annotation


def setup(app) -> None:
    """Register the hooks around the extensions that they help; those have priority 500."""
    app.connect("missing-reference", _use_documented_name, priority=400)
    app.connect("autodoc-process-signature", _show_default_factories)
    app.connect("autodoc-process-docstring", _hide_colons, priority=400)
    app.connect("autodoc-process-docstring", _show_plain_text, priority=600)


# --- links to other projects ------------------------------------------------------

# The external names that signatures mention, written here so that the strict build needs no
# network: project: (site, {name: (kind, page)}).
EXTERNAL = {
    "python": (
        "https://docs.python.org/3/",
        {
            **{
                f"collections.abc.{name}": ("class", "library/collections.abc.html#")
                for name in ("Callable", "Iterator", "Mapping", "Sequence")
            },
            "pathlib.Path": ("class", "library/pathlib.html#"),
        },
    ),
    "jax": (
        "https://docs.jax.dev/en/latest/",
        {
            "jax.Array": ("class", "_autosummary/jax.Array.html#"),
            "jax.Device": ("class", "_autosummary/jax.Device.html#"),
            "jax.typing.ArrayLike": ("class", "_autosummary/jax.typing.ArrayLike.html#"),
            "jax.typing.DTypeLike": ("class", "_autosummary/jax.typing.DTypeLike.html#"),
            "jax.enable_x64": ("function", "_autosummary/jax.enable_x64.html#"),
            "jax.jit": ("function", "_autosummary/jax.jit.html#"),
            "jax.vmap": ("function", "_autosummary/jax.vmap.html#"),
            "jax.grad": ("function", "_autosummary/jax.grad.html#"),
            "jax.hessian": ("function", "_autosummary/jax.hessian.html#"),
            "jax.jacfwd": ("function", "_autosummary/jax.jacfwd.html#"),
        },
    ),
    "numpy": (
        "https://numpy.org/doc/stable/",
        {
            "numpy.ndarray": ("class", "reference/generated/numpy.ndarray.html#"),
            "numpy.random.RandomState": ("class", "reference/random/legacy.html#"),
            "numpy.typing.ArrayLike": ("class", "reference/typing.html#"),
        },
    ),
    "scipy": (
        "https://docs.scipy.org/doc/scipy/",
        {
            "scipy.sparse.csr_array": ("class", "reference/generated/scipy.sparse.csr_array.html#"),
            "scipy.optimize.linprog": (
                "function",
                "reference/generated/scipy.optimize.linprog.html#",
            ),
        },
    ),
    "sklearn": (
        "https://scikit-learn.org/stable/",
        {
            "sklearn.linear_model.LogisticRegression": (
                "class",
                "modules/generated/sklearn.linear_model.LogisticRegression.html#",
            ),
            "sklearn.exceptions.ConvergenceWarning": (
                "exception",
                "modules/generated/sklearn.exceptions.ConvergenceWarning.html#",
            ),
        },
    ),
    "optax": (
        "https://optax.readthedocs.io/en/latest/",
        {"optax.GradientTransformation": ("class", "api/transformations.html#")},
    ),
    "pandas": (
        "https://pandas.pydata.org/docs/",
        {"pandas.DataFrame": ("class", "reference/api/pandas.DataFrame.html#")},
    ),
}


def _write_inventory(path: Path, name: str, entries: dict[str, tuple[str, str]]) -> None:
    """Write an inventory for intersphinx: four lines of header, then entries, compressed."""
    header = f"# Sphinx inventory version 2\n# Project: {name}\n# Version: \n"
    header += "# The remainder of this file is compressed using zlib.\n"
    lines = [f"{key} py:{kind} 1 {page}$ -" for key, (kind, page) in sorted(entries.items())]
    path.write_bytes(header.encode() + zlib.compress("\n".join([*lines, ""]).encode()))


intersphinx_mapping = {}
_folder = DOCS / "_build" / "inventories"
_folder.mkdir(parents=True, exist_ok=True)
for _name, (_site, _entries) in EXTERNAL.items():
    _write_inventory(_folder / f"{_name}.inv", _name, _entries)
    intersphinx_mapping[_name] = (_site, str(_folder / f"{_name}.inv"))

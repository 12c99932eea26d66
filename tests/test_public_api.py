"""The public names and their signatures, as ``public_api.txt`` has them.

A change of the public interface changes that file: ``python -m tests.test_public_api`` writes
it anew, and its difference belongs in the commit and in the changelog.
"""

import enum
import inspect
import re
import subprocess
import sys
from pathlib import Path

import jax_logreg

SNAPSHOT = Path(__file__).with_name("public_api.txt")
ROOT = Path(jax_logreg.__file__).parent
MOST_NAMES = 50
NAMES = [name for name in dir(jax_logreg) if not name.startswith("_")]


def signature(function):
    """Names and defaults: annotations are the type checker's matter."""
    parameters = inspect.signature(function).parameters.values()
    bare = [p.replace(annotation=p.empty) for p in parameters if p.name != "self"]
    text = str(inspect.Signature(bare)).replace(repr(jax_logreg.__version__), "__version__")
    return re.sub(r"<function \w+ at \w+>", "<function>", text)


def methods(cls):
    """Those of this package, each once: under the base class where that is public too."""
    inherited = {name for base in cls.__mro__[1:] if base.__name__ in NAMES for name in dir(base)}
    for name, member in inspect.getmembers(cls, inspect.isroutine):
        ours = "jax_logreg" in (getattr(inspect.unwrap(member), "__module__", None) or "")
        if ours and not name.startswith("_") and name not in inherited:
            yield f"    .{name}{signature(member)}"


def described(name):
    value = getattr(jax_logreg, name)
    if not inspect.isclass(value):
        return [f"{name}{signature(value)}"]
    if issubclass(value, enum.Enum):
        return [f"{name}: {' '.join(value.__members__)}"]
    if issubclass(value, Exception):
        return [f"{name}: {value.__base__.__name__}"]
    return [f"{name}{signature(value)}", *methods(value)]


def described_whole():
    return "".join(f"{line}\n" for name in NAMES for line in described(name))


def test_names_and_signatures_are_those_of_the_snapshot():
    assert described_whole() == SNAPSHOT.read_text(encoding="utf-8")


def test_there_are_few_names_and_no_others():
    assert len(NAMES) <= MOST_NAMES
    assert {name for name in dir(jax_logreg) if name.startswith("_")} == {"__version__"}
    assert jax_logreg.__all__ == NAMES  # "import *" gives all, since the extras are installed


def test_every_public_name_has_a_docstring():
    assert all(getattr(jax_logreg, name).__doc__ for name in NAMES)


def test_import_star_works_without_extras():
    """In a process of its own: the tests have loaded everything."""
    assert all((ROOT / "interfaces" / f"{name}.py").is_file() for name in jax_logreg._EXTRAS)
    extras = ("sklearn", "matplotlib", "pyarrow", "rich", "onnx", "pandas")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({extras}));"
        "from jax_logreg import *; assert fit and Model and infer and read_table;"
        "assert 'LogisticRegression' not in dir() and 'plot_training' not in dir()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_reading_path_in_the_docstring_is_what_a_fit_loads():
    """The package's docstring sends a reader to files: they exist, and a fit uses them."""
    path = re.findall(r"(\w+)/(\w+)\.py", jax_logreg.__doc__)
    assert len(path) >= 4
    code = (
        "import sys; from jax_logreg import fit, L2;"
        "fit([[0.0], [1.0]], [0, 1], penalty=L2(0.1)); print(*sys.modules)"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(child.stdout.split())
    assert {f"jax_logreg.{room}.{file}" for room, file in path} <= loaded


def test_the_map_in_the_docstring_names_every_room():
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert rooms == set(re.findall(r"^    (\w+)/ ", jax_logreg.__doc__, re.MULTILINE))


if __name__ == "__main__":
    SNAPSHOT.write_text(described_whole(), encoding="utf-8")

"""The layers, the imports and the size of the package, read from the source."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "jax_logreg"
ROOMS = [
    "programs",
    "objective",
    "derivatives",
    "audit",
    "solvers",
    "fitting",
    "inference",
    "interfaces",
]
# A heavy optional dependency may be imported in these files only.
OPTIONAL = {
    "rich": {"interfaces/report.py"},
    "pyarrow": {"interfaces/table_source.py"},
    "matplotlib": {"interfaces/plot_style.py"},
    "sklearn": {
        "interfaces/estimator.py",
        "interfaces/sklearn_checks.py",
        "interfaces/plots.py",
        "interfaces/array_formats.py",
    },
    "pandas": {"inference/inference.py"},  # the table of Inference.to_dataframe
    "onnx": {"interfaces/exports.py"},
    "torch": {"interfaces/torch_functions.py"},
}
CORE = {"jax", "optax", "numpy", "scipy"}  # SciPy comes with JAX
# The files of audit/ that hold this project's formulas: its own, and its two texts'.
OWN_FORMULAS = {"proof.py", "text_formulas.py"}
CORE_ROOMS = {"objective", "derivatives", "solvers", "fitting"}
# 42 for a fit, and one for each capability since.
MAX_CORE_FILES = 47
MAX_DEPTH = 14
FILES = sorted(ROOT.rglob("*.py"))


def name(path):
    return path.relative_to(ROOT).as_posix()


def imports(tree):
    """(module, imported names, line) of every import, nested ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, [], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            yield node.module, [alias.name for alias in node.names], node.lineno


@pytest.fixture(params=FILES, ids=name)
def source(request):
    return request.param, ast.parse(request.param.read_text(encoding="utf-8"))


def test_a_room_imports_only_itself_and_the_rooms_above(source):
    path, tree = source
    if path.parent == ROOT:
        return  # the front door sees every room
    here = ROOMS.index(path.relative_to(ROOT).parts[0])
    for module, _, line in imports(tree):
        if module.startswith("jax_logreg"):
            there = ROOMS.index(module.split(".")[1])
            assert there <= here, f"{name(path)}:{line} imports {module}"


def test_modules_are_imported_not_rooms(source):
    path, tree = source
    for module, names, line in imports(tree):
        parts = module.split(".")
        if parts[0] == "jax_logreg" and len(parts) < 3:
            room = ROOT / parts[-1] if len(parts) == 2 else ROOT
            assert names, f"{name(path)}:{line}"
            assert all((room / f"{n}.py").is_file() for n in names), f"{name(path)}:{line}"


def test_no_import_of_the_package_inside_a_function(source):
    path, tree = source
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            inside = [m for m, _, _ in imports(node) if m.startswith("jax_logreg")]
            assert not inside, f"{name(path)}:{node.lineno}"


def test_room_init_files_import_nothing(source):
    path, tree = source
    if path.name == "__init__.py" and path.parent != ROOT:
        assert not list(imports(tree)), name(path)


def test_solvers_load_nothing_of_the_objective():
    """Each solver is loaded in a fresh process: it sees an oracle, and no data or model."""
    for path in (ROOT / "solvers").glob("*.py"):
        module = "jax_logreg.solvers." + path.stem
        code = f"import sys, {module}; print(*sys.modules)"
        child = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        ours = {m for m in child.stdout.split() if m.startswith("jax_logreg.")}
        assert module in ours
        assert not [m for m in ours if m.startswith("jax_logreg.objective")], module


def test_audit_knows_the_project_in_its_own_formulas_only(source):
    path, tree = source
    if path.parent.name == "audit" and path.name not in OWN_FORMULAS:
        ours = [m for m, _, _ in imports(tree) if m.startswith("jax_logreg")]
        assert all(m.startswith("jax_logreg.audit") for m in ours), name(path)


def test_third_parties_are_the_core_or_in_their_own_files(source):
    path, tree = source

    for module, _, line in imports(tree):
        top = module.split(".")[0]
        if top == "jax_logreg" or top in sys.stdlib_module_names or top in CORE:
            continue
        assert name(path) in OPTIONAL.get(top, ()), f"{name(path)}:{line} imports {module}"


def test_public_jax_only(source):
    path, tree = source
    private = [m for m, names, _ in imports(tree) if "_src" in m or "_src" in names]
    assert not private, name(path)


def test_no_function_is_long(source):
    path, tree = source
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = node.end_lineno - body[0].lineno + 1 if body else 0
            assert lines <= 60, f"{name(path)}:{node.lineno} {node.name}"


def loaded_modules(path):
    """Files of the package that a file imports when it runs, without those for types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    candidates = {
        ROOT.parent / f"{target.replace('.', '/')}.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and id(node) not in for_types
        if (node.module or "").startswith("jax_logreg")
        for target in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
    }
    return {file for file in candidates if file.is_file() and file != path}


def test_the_chain_of_imports_is_short():
    """So deep must one read, at most, to follow a name to where it comes from."""
    loads = {path: loaded_modules(path) for path in FILES if path.name != "__init__.py"}

    @functools.cache
    def longest(path):
        return (name(path), *max(map(longest, loads[path]), key=len, default=()))

    chain = max(map(longest, loads), key=len)
    assert len(chain) <= MAX_DEPTH, " > ".join(chain)


def test_the_core_has_few_files():
    core = [f for f in FILES if name(f).split("/")[0] in CORE_ROOMS]
    assert len(core) <= MAX_CORE_FILES


def test_every_file_is_in_a_room():
    folders = {name(f).split("/")[0] for f in FILES if "/" in name(f)}
    assert folders == set(ROOMS)


def test_who_fits_does_not_wait_for_the_rest():
    """Each of them takes as long to load as a fit takes to compile, or has no part in it."""
    code = "import sys, jax_logreg; jax_logreg.fit; print(*sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(child.stdout.split())
    assert "jax" in loaded
    assert not {"optax", "scipy.optimize", "sklearn", "matplotlib", "pyarrow"} & loaded
    assert "jax_logreg.audit.check" not in loaded


def test_the_map_in_the_front_door_names_every_room():
    text = (ROOT / "__init__.py").read_text(encoding="utf-8")
    assert all(f"{room}/" in text for room in ROOMS)

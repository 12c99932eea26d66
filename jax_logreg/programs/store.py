"""The store of programs: what was compiled once is loaded ten milliseconds later, not compiled.

A program is kept in memory, those used last, and on request in a folder of the user's own, from
where other processes load it without tracing, lowering or compiling anything. A compiled program
is code: the folder is refused if others can write to it, and an entry that is damaged, or is that
of another machine, JAX or version of this package, is not used.
"""

import contextlib
import enum
import functools
import hashlib
import importlib.metadata
import os
import pickle
import platform
import tempfile
import threading
import types
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

# JAX takes its factorisations from here, at the first of them: a quarter of a second, spent when
# the package is loaded and not in the first fit.
import scipy.linalg.cython_lapack  # noqa: F401
from jax.experimental.serialize_executable import deserialize_and_load, serialize

# "off", or the folder to keep programs in.
VARIABLE = "JAX_LOGREG_PROGRAMS"
_FIRST_LINE = b"jax_logreg program, format 1\n"
_SUFFIX, _PART = ".program", ".program-part"
# A fit has one to three programs of some hundred kilobytes.
_MAX_BYTES = 256 * 2**20
_SAVES_PER_CLEANING = 16


class Program(NamedTuple):
    """A compiled function of flat arrays.

    Attributes:
        run: arrays ↦ list of arrays.
        structure: of what the list has the leaves of.
        num_inputs: arrays that it takes.
    """

    run: Any
    structure: Any
    num_inputs: int


class RecentPrograms:
    """The programs used last, by what they are programs of.

    Attributes:
        size: how many are kept.
        num_made: how many there were of each function.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.num_made: Counter[Any] = Counter()
        self._programs: OrderedDict[Any, Future[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: Any) -> bool:
        """Whether a program is there, or being made."""
        return key in self._programs

    def recall(self, key: Any, make: Callable[[], Any]) -> Any:
        """The program of a key, made if there is none; the one unused for longest goes.

        Threads make programs at the same time, and each program once.
        """
        with self._lock:
            future = self._programs.pop(key, None)
            is_new = future is None
            if future is None:
                future = Future()
            self._programs[key] = future
            while len(self._programs) > self.size:
                self._programs.popitem(last=False)
        if is_new:
            self._fulfil(key, future, make)
        elif future.exception() is not None:  # another thread's: here it may succeed
            return self.recall(key, make)
        return future.result()

    def _fulfil(self, key: Any, future: Future[Any], make: Callable[[], Any]) -> None:
        try:
            program = make()
        except BaseException as error:
            with self._lock:
                self._programs.pop(key, None)
            future.set_exception(error)
        else:
            with self._lock:
                self.num_made[key[0]] += 1
            future.set_result(program)


# --- the folder ---------------------------------------------------------------------------

_asked_for: ContextVar[bool] = ContextVar("asked_for", default=False)
_chosen: list[Path] = []  # by keep_programs


def keep_programs(folder: str | Path | None = None) -> Path:
    """Keep compiled programs on disk from now on, for this process and those that follow.

    The estimator and the command line do so by themselves. The environment variable
    ``JAX_LOGREG_PROGRAMS`` does so for all, if it names a folder; ``off`` forbids it. JAX's own
    settings are not touched.

    Args:
        folder: where; by default ``jax_logreg`` in the user's folder of caches. It is made if
            there is none, and readable by its owner alone.

    Returns:
        The folder.

    Raises:
        ValueError: if others can write to the folder, or it cannot be made.

    >>> import tempfile
    >>> folder = keep_programs(tempfile.mkdtemp())
    >>> stop_keeping_programs()
    """
    path = _default_folder() if folder is None else Path(folder).expanduser().absolute()
    if path is None:
        raise ValueError("folder must be given: this user has no home folder.")
    reason = _refusal(path)
    if reason:
        raise ValueError(f"folder {str(path)!r} {reason}")
    _chosen[:] = [path]
    return path


def stop_keeping_programs() -> None:
    """Undo ``keep_programs``; what is on disk stays there."""
    _chosen.clear()


@contextlib.contextmanager
def programs_on_disk() -> Iterator[None]:
    """A scope, or a decorator, in which programs are kept on disk if that is possible."""
    token = _asked_for.set(True)
    try:
        yield
    finally:
        _asked_for.reset(token)


def current_folder() -> "ProgramFolder | None":
    """Where programs are kept now, or None."""
    named = os.environ.get(VARIABLE, "")
    if named.lower() in ("off", "0", "false", "no"):
        return None
    if _chosen:
        return _checked_folder(_chosen[0])
    if named:
        return _checked_folder(Path(named).expanduser().absolute())
    return _checked_folder(_default_folder()) if _asked_for.get() else None


_hits = threading.local()


def num_cache_hits() -> int:
    """How many programs this thread took from JAX's own cache on disk: written out again, such a
    program lacks its code."""
    _count_cache_hits()
    return getattr(_hits, "count", 0)


@functools.cache
def _count_cache_hits() -> None:
    def count(event: str, **_: Any) -> None:
        if event == "/jax/compilation_cache/cache_hits":
            _hits.count = getattr(_hits, "count", 0) + 1

    jax.monitoring.register_event_listener(count)


def _default_folder() -> Path | None:
    caches = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    if caches and os.path.isabs(caches):
        return Path(caches, "jax_logreg", "programs")
    try:
        return Path.home() / ".cache" / "jax_logreg" / "programs"
    except RuntimeError:
        return None


@functools.cache
def _checked_folder(path: Path | None) -> "ProgramFolder | None":
    """The folder, if it can be used; one that others can write to is worth a warning."""
    reason = "" if path is None else _refusal(path)
    if path is not None and "others" in reason:
        warnings.warn(
            f"Compiled programs are not kept: folder {str(path)!r} {reason}", stacklevel=2
        )
    return None if path is None or reason else ProgramFolder(path)


def _refusal(path: Path) -> str:
    """Why a folder cannot be used, or nothing."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        return f"cannot be used: {error.strerror}."
    if hasattr(os, "geteuid") and (status.st_uid != os.geteuid() or status.st_mode & 0o022):
        return (
            "belongs to others, or others can write to it, and a compiled program is code. "
            f"'chmod 700' it, or name another by {VARIABLE}."
        )
    return ""


class ProgramFolder:
    """Programs on disk, each in a file of its own, named by a hash of all that it depends on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._num_saved = 0

    def load(self, key: str) -> Program | None:
        """The program of a key, or None if there is none that can be used."""
        path = self._file(key)
        try:
            body = _opened(path.read_bytes())
        except OSError:
            return None
        if body is None:
            return None
        try:
            found_key, payload, structure, num_inputs = pickle.loads(body)
            if found_key != key:
                return None
            program = _loaded(payload, structure, num_inputs)
        except Exception:  # whatever another JAX or machine left: it is compiled anew and replaced
            return None
        with contextlib.suppress(OSError):  # last used now, where that may be written
            os.utime(path)
        return program

    def save(self, key: str, program: Program) -> None:
        """Keep a program, if it can be and the folder can be written to."""
        try:
            payload = serialize(program.run)[0]
            body = pickle.dumps((key, payload, program.structure, program.num_inputs))
        except Exception:  # a device, or a program with a callback, that cannot be serialised
            return
        with contextlib.suppress(OSError):  # a full disk must not stop a fit
            _write_whole(self._file(key), _sealed(body))
            if self._num_saved % _SAVES_PER_CLEANING == 0:
                self._remove_oldest()
            self._num_saved += 1

    def _file(self, key: str) -> Path:
        return self.path / (hashlib.sha256(key.encode()).hexdigest()[:40] + _SUFFIX)

    def _remove_oldest(self) -> None:
        """Those unused for longest, until the folder is small enough."""
        ours = (p for p in self.path.iterdir() if p.name.endswith((_SUFFIX, _PART)))
        files = [(p.stat().st_mtime, p.stat().st_size, p) for p in ours]
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= _MAX_BYTES:
                return
            path.unlink(missing_ok=True)
            total -= size


def _sealed(body: bytes) -> bytes:
    """What goes into a file, such that damage shows."""
    return _FIRST_LINE + hashlib.sha256(body).digest() + body


def _opened(data: bytes) -> bytes | None:
    """What a file holds, if all of it is there."""
    start = len(_FIRST_LINE)
    if not data.startswith(_FIRST_LINE):
        return None
    body = data[start + 32 :]
    return body if hashlib.sha256(body).digest() == data[start : start + 32] else None


def _write_whole(path: Path, data: bytes) -> None:
    """By a file of another name: readers see all of it or nothing."""
    number, name = tempfile.mkstemp(dir=path.parent, suffix=_PART)  # for its owner alone
    try:
        with open(number, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _loaded(payload: bytes, structure: Any, num_inputs: int) -> Program:
    device = _default_device()
    if device.platform == "cpu":
        _prepare_lapack(device)
    inputs = jax.tree.structure(((0,) * num_inputs, {}))
    outputs = jax.tree.structure([0] * structure.num_leaves)
    run = deserialize_and_load(payload, inputs, outputs, device.platform, [device])
    return Program(run, structure, num_inputs)


@functools.cache
def _prepare_lapack(device: jax.Device) -> None:
    """A loaded program that factorises on a CPU ends the process, unless something was lowered
    there that factorises (jax#28908)."""

    def lower() -> None:
        with jax.default_device(device):
            jax.jit(jax.lax.linalg.cholesky).lower(jax.ShapeDtypeStruct((1, 1), np.float32))

    # In a thread of its own, where nothing is being traced or computed at once.
    lowering = threading.Thread(target=lower)
    lowering.start()
    lowering.join()


# --- the key ------------------------------------------------------------------------------

# What changes a program beyond its arguments.
_SETTINGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_default_device",
    "jax_disable_most_optimizations",
)


def settings() -> tuple[Any, ...]:
    """JAX's settings that programs depend on, and the mesh that is set."""
    mesh = jax.sharding.get_abstract_mesh()
    known = tuple(map(setting, _SETTINGS))
    return known if mesh.empty else (*known, mesh)


def setting(name: str) -> Any:
    """One of JAX's settings as it is here; None in a JAX without it."""
    try:
        return getattr(jax.config, name)
    except AttributeError:  # one without a scope
        with contextlib.suppress(AttributeError):
            return jax.config.read(name)
        return None


def disk_key(function: Callable[..., Any], structure: Any, *parts: Any) -> str | None:
    """The key of a program that another process finds again, or None if there is none.

    There is none where a class of somebody else's takes part: its code may change.

    Args:
        function: of the program.
        structure: of its arguments.
        parts: all else that it depends on: numbers, words, members of this package's enums.
    """
    name = f"{function.__module__}.{function.__qualname__}"
    if not name.startswith("jax_logreg.") or "<" in name:
        return None
    try:
        lines = [_environment(), name, _described_structure(structure), _described(parts)]
    except _Foreign:
        return None
    return "\n".join(lines)


class _Foreign(Exception):
    """What has no name that lasts."""


def _described_structure(structure: Any) -> str:
    node = structure.node_data()
    if node is None:
        return "*"
    kind, static = node
    children = ",".join(map(_described_structure, structure.children()))
    return f"{_described(kind)}[{_described(static)}]({children})"


def _described(part: Any) -> str:
    """A text that is the same in every process."""
    if isinstance(part, tuple | list):
        return f"({','.join(map(_described, part))})"
    if isinstance(part, frozenset):
        return f"{{{','.join(sorted(map(_described, part)))}}}"
    if isinstance(part, enum.Enum):
        return f"{_described(type(part))}.{part.name}"
    if isinstance(part, np.dtype | bool | int | str | float | bytes | types.NoneType):
        return repr(part)
    if isinstance(part, jax.sharding.SingleDeviceSharding) and part.device_set == {
        _default_device()
    }:
        return f"{part.memory_kind}"
    if isinstance(part, jax.Device):
        return str(part)
    name = getattr(part, "__qualname__", "")
    is_ours = getattr(part, "__module__", "").split(".")[0] in ("jax_logreg", "builtins")
    if isinstance(part, type) and is_ours and "<" not in name:
        return f"{part.__module__}.{name}"
    if isinstance(part, types.ModuleType) and part.__name__.startswith("jax_logreg."):
        return part.__name__
    raise _Foreign


def _default_device() -> jax.Device:
    chosen = setting("jax_default_device")
    return chosen if isinstance(chosen, jax.Device) else jax.local_devices(backend=chosen)[0]


@functools.cache
def _environment() -> str:
    """Versions, this package's files, and the machine: all that a program was compiled for."""
    device = jax.devices()[0]
    versions = [importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy")]
    backend = getattr(getattr(device, "client", None), "platform_version", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    flags = os.environ.get("XLA_FLAGS", "")
    parts = [
        *versions, platform.python_version(), _fingerprint_of_package(), platform.machine(),
        _processor(), device.platform, device.device_kind, jax.device_count(), backend, cores,
        flags,
    ]  # fmt: skip
    return repr(parts)


def _fingerprint_of_package() -> str:
    """Of the package's files, by name, size and time: a change of one makes other programs."""
    root = Path(__file__).parents[1]
    files = sorted(root.rglob("*.py"))
    parts = [(str(f.relative_to(root)), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _processor() -> str:
    """What it can do: a program for another may hold instructions that this one lacks."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    kinds = ("model name", "flags", "Features", "CPU part")
    return hashlib.sha256(
        repr(sorted({x for x in lines if x.startswith(kinds)})).encode()
    ).hexdigest()

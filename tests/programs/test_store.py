"""Programs on disk: found again by another process, and never wrong, whatever lies there."""

import os
import pickle
import random
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_logreg.objective.losses import cross_entropy
from jax_logreg.objective.penalties import L2
from jax_logreg.programs import compiled, store
from jax_logreg.programs.compiled import Compiled
from jax_logreg.programs.store import (
    ProgramFolder,
    current_folder,
    disk_key,
    keep_programs,
    programs_on_disk,
    stop_keeping_programs,
)

ETA, Y = np.array([0.5, -1.0, 2.0]), np.array([1.0, 0.0, 1.0])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv(store.VARIABLE, raising=False)
    jax.config.update("jax_enable_compilation_cache", False)  # see the test of JAX's own cache
    yield keep_programs(tmp_path / "programs")
    stop_keeping_programs()
    jax.config.update("jax_enable_compilation_cache", True)


def losses():
    """By a new program each time: memory forgets it with the object."""
    return np.asarray(Compiled(cross_entropy)(ETA, Y))


def entries(folder):
    return sorted(folder.glob("*.program"))


def test_a_program_is_kept_once_and_loaded(folder, monkeypatch):
    first = losses()
    (entry,) = entries(folder)
    monkeypatch.setattr(Compiled, "_compile", None)  # nothing is compiled any more
    assert losses().tolist() == first.tolist()
    assert entries(folder) == [entry]
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: b"another format\n" + data,
        lambda data: store._sealed(b"no pickle"),
        lambda data: store._sealed(pickle.dumps(("another key", b"", 0, 0))),
    ],
    ids=["empty", "half", "one bit", "foreign", "sealed nonsense", "another key"],
)
def test_a_damaged_entry_is_replaced(folder, damage, monkeypatch):
    first = losses()
    (entry,) = entries(folder)
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    assert losses().tolist() == first.tolist()
    assert entries(folder) == [entry]
    # Whole again, if not to the byte: XLA writes its number of a program into it.
    monkeypatch.setattr(Compiled, "_compile", None)
    assert losses().tolist() == first.tolist()


def test_an_entry_that_no_device_loads_is_replaced(folder, monkeypatch):
    first = losses()
    with monkeypatch.context() as patch:
        patch.setattr(store, "deserialize_and_load", lambda *args: 1 / 0)
        assert losses().tolist() == first.tolist()
    assert losses().tolist() == first.tolist()


def test_another_default_device_has_a_program_of_its_own(folder, monkeypatch):
    first = losses()
    with jax.default_device(jax.devices()[1]):  # the tests have two
        assert losses().tolist() == first.tolist()
        assert len(entries(folder)) == 2
        monkeypatch.setattr(Compiled, "_compile", None)
        assert losses().tolist() == first.tolist()


def test_settings_shapes_and_functions_have_programs_of_their_own(folder):
    losses()
    with jax.enable_x64(True):
        assert losses().dtype == np.float64
    Compiled(cross_entropy)(ETA[:2], Y[:2])
    Compiled(L2.value)(L2(0.5), ETA)
    Compiled(L2.gradient)(L2(0.5), ETA)
    assert len(entries(folder)) == 5


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Ridge(L2):
    """Somebody else's penalty, whose code may change."""


def foreign(x):
    return x


def test_what_others_wrote_is_not_kept(folder):
    Compiled(L2.value)(Ridge(0.5), ETA)
    Compiled(foreign)(ETA)
    Compiled(lambda x: 2 * x)(ETA)
    assert entries(folder) == []


@pytest.mark.parametrize("part", [object(), foreign, np, Ridge], ids=range(4))
def test_a_key_has_no_part_that_another_process_would_not_have(part):
    structure = jax.tree.structure(1)
    assert disk_key(cross_entropy, structure, "part", 1, None) is not None
    assert disk_key(cross_entropy, structure, part) is None


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX's")
def test_a_folder_that_others_can_write_to_is_refused(tmp_path, monkeypatch):
    tmp_path.chmod(0o777)
    with pytest.raises(ValueError, match="others can write to it(.|\n)*chmod 700"):
        keep_programs(tmp_path)
    monkeypatch.setenv(store.VARIABLE, str(tmp_path))
    store._checked_folder.cache_clear()
    with pytest.warns(UserWarning, match="not kept"):
        assert current_folder() is None
    losses()
    assert entries(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be used"):
        keep_programs(tmp_path / "file" / "programs")


def test_a_folder_that_goes_away_does_not_stop_a_fit(folder):
    first = losses()
    for entry in entries(folder):
        entry.unlink()
    folder.rmdir()
    assert losses().tolist() == first.tolist()


def test_without_a_home_folder_programs_stay_in_memory(monkeypatch):
    def no_home():
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.delenv(store.VARIABLE, raising=False)
    with programs_on_disk():
        assert current_folder() is None
    with pytest.raises(ValueError, match="folder must be given"):
        keep_programs()


def test_the_variable_names_a_folder_or_forbids_any(folder, tmp_path, monkeypatch):
    assert current_folder().path == folder
    monkeypatch.setenv(store.VARIABLE, "off")
    assert current_folder() is None
    stop_keeping_programs()
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "named"))
    assert current_folder().path == tmp_path / "named"
    monkeypatch.delenv(store.VARIABLE)
    assert current_folder() is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with programs_on_disk():
        assert current_folder().path == tmp_path / "jax_logreg" / "programs"


def test_the_folder_stays_small(tmp_path, monkeypatch):
    tmp_path.chmod(0o700)
    kept = ProgramFolder(tmp_path)
    monkeypatch.setattr(store, "_MAX_BYTES", 250)
    for age in range(4):
        (tmp_path / f"{age}.program").write_bytes(bytes(100))
        os.utime(tmp_path / f"{age}.program", (1e9 - age, 1e9 - age))
    (tmp_path / "somebody else's").write_bytes(bytes(1000))
    kept._remove_oldest()
    assert (tmp_path / "somebody else's").exists()
    assert [path.name for path in entries(tmp_path)] == ["0.program", "1.program"]


_WRITER = """
import sys
from pathlib import Path
from jax_logreg.programs import compiled, store
data = store._sealed(bytes(range(256)) * 4000)
while True:
    for k in range(8):
        store._write_whole(Path(sys.argv[1], f"{k}.program"), data)
"""


def test_writers_that_are_killed_leave_whole_entries(tmp_path):
    whole = store._sealed(bytes(range(256)) * 4000)
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)]) for _ in range(3)]
    while not entries(tmp_path):
        time.sleep(0.05)
    pause = random.Random(0)
    for writer in writers:
        time.sleep(pause.random() / 10)
        writer.kill()
        writer.wait()
    assert {path.read_bytes() == whole for path in entries(tmp_path)} == {True}


_FIT = """
import sys, jax, numpy as np
import jax_logreg as lr
from jax_logreg.programs.store import keep_programs
jax.config.update("jax_enable_x64", True)
compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda name, *rest, **more: "backend_compile" in name and compiled.append(name)
)
keep_programs(sys.argv[1])
rng = np.random.default_rng(0)
X, y = rng.normal(size=(300, 5)), np.arange(300) % 2
result = lr.fit(X, y, penalty=lr.L2(0.01)).raise_if_failed()
print(len(compiled), result.coef.tolist())
"""


def test_the_next_process_compiles_nothing_for_the_same_answer(tmp_path):
    """It factorises a matrix, which JAX must be prepared for before it loads a program."""
    others = ("JAX_COMPILATION_CACHE_DIR", store.VARIABLE)
    environment = {k: v for k, v in os.environ.items() if k not in others}
    answers = [
        subprocess.run(
            [sys.executable, "-c", _FIT, str(tmp_path / "kept")],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        ).stdout.split(" ", 1)
        for _ in range(2)
    ]
    first, second = (int(count) for count, _ in answers)
    assert first > 0  # some versions of JAX report a compilation twice
    assert second == 0
    assert answers[0][1] == answers[1][1]


def test_a_program_from_the_cache_of_jax_is_not_kept(folder, monkeypatch):
    """It runs, but what is written out of it does not."""
    monkeypatch.setattr(compiled, "num_cache_hits", iter(range(10)).__next__)
    losses()
    assert entries(folder) == []


def test_arrays_of_a_program_are_not_held(x64):
    import gc
    import weakref

    double = Compiled(lambda x: 2 * x)
    x = jnp.ones(1000)
    ref = weakref.ref(x)
    double(x)
    del x
    gc.collect()
    assert ref() is None

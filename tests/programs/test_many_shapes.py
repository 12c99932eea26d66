"""A process that fits many shapes keeps a bounded number of programs, memory maps and bytes."""

import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from jax_logreg.programs.store import RecentPrograms

# A fit of each of 1000 shapes, of a few sizes; the maps and the memory after the first hundred
# shapes, and after all.
_SCRIPT = """
import itertools
import numpy as np
import jax_logreg as lr

def used():
    pages = int(open("/proc/self/statm").read().split()[1])
    return sum(1 for _ in open("/proc/self/maps")), pages * 4096 / 2**20

rng = np.random.default_rng(0)
X, y = rng.normal(size=(300, 32)).astype(np.float32), np.arange(300) % 2
shapes = list(itertools.product(range(201, 251), range(5, 25)))
for k, (n, p) in enumerate(shapes):
    lr.fit(X[:n, :p], y[:n], penalty=lr.L2(0.1)).raise_if_failed()
    if k == 100:
        early = used()
late = used()
assert late[0] < 10_000, late
assert late[0] - early[0] < 1_000, (early, late)
assert late[1] < 2_000 and late[1] - early[1] < 200, (early, late)
print(len(shapes))
"""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="counts Linux's memory maps")
def test_a_thousand_shapes_fit_in_one_process():
    run = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "1000"


class Program:
    """Any object that can be referred to weakly."""


def test_the_program_unused_for_longest_goes():
    programs = RecentPrograms(2)
    a, b = programs.recall("a", Program), programs.recall("b", Program)
    assert programs.recall("a", Program) is a
    programs.recall("c", Program)
    gone = weakref.ref(b)
    del b
    assert gone() is None
    assert programs.num_made == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("fails", [False, True])
def test_threads_make_a_program_once(fails):
    """The second waits for the first, and makes the program itself where the first could not."""
    programs, begun, released, made = RecentPrograms(2), Event(), Event(), []

    def first():
        begun.set()
        released.wait(10)
        if fails:
            raise MemoryError
        made.append("first")
        return Program()

    def second():
        made.append("second")
        return Program()

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(programs.recall, "a", first)
        begun.wait(10)
        other = pool.submit(programs.recall, "a", second)
        released.set()
        assert (one.exception() is not None) == fails
        assert programs.recall("a", second) is other.result()
    assert made == (["second"] if fails else ["first"])
    assert programs.num_made == {"a": 1}

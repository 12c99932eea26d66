"""Fuzz the readers for as long as you like: ``python -m tests.fuzz --minutes 10``.

Valid files are changed at random; ``tests.fuzz.by_coverage`` is led by coverage. A file that
breaks a reader is kept in the folder that is printed.
"""

import argparse
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.fuzz.targets import NUM_KINDS, READERS, TOKENS, Edit, check


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="in all")
    parser.add_argument("--reader", choices=list(READERS), action="append", help="all if absent")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    readers = options.reader or list(READERS)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    print(f"files that break a reader go to {folder}")
    found = [fuzz(name, options.minutes / len(readers), options.seed, folder) for name in readers]
    return 1 if any(found) else 0


def fuzz(name: str, minutes: float, seed: int, folder: Path) -> int:
    """Change valid files at random and read them; how many broke the reader."""
    reader, draw = READERS[name], random.Random(seed)
    began, runs, taken, broken = time.monotonic(), 0, 0, 0
    while time.monotonic() < began + 60 * minutes:
        edits = [random_edit(draw) for _ in range(draw.randint(0, 4))]
        content = reader.change(draw.choice(reader.seeds), edits)
        runs += 1
        # Written first, so that it is there even if the process dies.
        (folder / f"current-{name}").write_bytes(content)
        try:
            taken += check(reader, content, draw.choice(reader.options), folder)
        except Exception:
            broken += 1
            (folder / f"broken-{name}-{broken}{reader.suffix}").write_bytes(content)
            traceback.print_exc()
    print(f"{name}: {runs} files, {taken} read, {broken} broke the reader", flush=True)
    return broken


def random_edit(draw: random.Random) -> Edit:
    payload = draw.choice(TOKENS) if draw.random() < 0.6 else draw.randbytes(draw.randint(1, 4))
    return Edit(draw.randrange(NUM_KINDS), draw.random(), payload)


if __name__ == "__main__":
    sys.exit(main())

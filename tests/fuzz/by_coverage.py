"""Fuzz one reader by coverage, with atheris (pip install 'jax-logreg[fuzz]').

``python -m tests.fuzz.by_coverage csv -max_total_time=120``, and any other option of libFuzzer.
An input that breaks the reader is left in the working directory as ``crash-…``.
"""

import sys
import tempfile
from pathlib import Path


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def main() -> None:
    import atheris

    with atheris.instrument_imports(include=["jax_logreg.interfaces", "numpy.lib.format", "csv"]):
        from tests.fuzz.targets import READERS, TOKENS, check

    name, arguments = sys.argv[1], sys.argv[2:]
    reader = READERS[name]
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    corpus, words = folder / "corpus", folder / "words"
    corpus.mkdir()
    for index, seed in enumerate(reader.seeds):
        (corpus / f"{index}").write_bytes(b"\0" + reader.opened(seed))
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in TOKENS))

    def run(data: bytes) -> None:
        """The first byte chooses the options."""
        content = reader.sealed(data[1:])
        check(reader, content, reader.options[sum(data[:1]) % len(reader.options)], folder)

    program = [sys.argv[0], f"-dict={words}", "-max_len=2000", "-rss_limit_mb=4096", str(corpus)]
    atheris.Setup([*program, *arguments], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

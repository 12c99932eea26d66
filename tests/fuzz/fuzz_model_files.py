"""Fuzz the loading of model files: python tests/fuzz/fuzz_model_files.py -max_total_time=60

Needs the extra "fuzz" (atheris). Bytes are loaded as they are, and again as the header and
arrays of a file whose checksum agrees, so that the fuzzer gets behind it; JSON models too.
Whatever comes out is a model that can predict, or a ValueError that names the file.
"""

import contextlib
import hashlib
import struct
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["jax_logreg.interfaces"]):
    from jax_logreg.interfaces import model_files
    from jax_logreg.interfaces.model import Model
    from jax_logreg.interfaces.model_json import from_json, to_json

import numpy as np

from jax_logreg.interfaces.encoding import Column, Encoding

FOLDER = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
PATH = FOLDER / "fuzzed.model"
_PREFIX = len(model_files.MAGIC) + struct.calcsize("<IQ")


def load(contents):
    """The model in these bytes, or None where they are refused by name."""
    PATH.write_bytes(contents)
    try:
        return model_files.load(PATH)
    except ValueError as error:
        if str(PATH) not in str(error):
            raise AssertionError("the file is not named") from error
        return None


def check(contents):
    model = load(contents)
    if model is not None:
        use(model)
        model_files.save(model, PATH)
        again = load(PATH.read_bytes())
        assert again.coef.tobytes() == model.coef.tobytes()
        assert repr(again.classes.tolist()) == repr(model.classes.tolist())


def use(model):
    with contextlib.suppress(ValueError):  # a logit may overflow
        assert len(model.predict(np.zeros((1, len(model.coef))))) == 1


def one_input(data):
    check(data)
    if len(data) > 2:
        claim = int.from_bytes(data[:2], "little")
        body = model_files.MAGIC + struct.pack("<IQ", 1, claim) + data[2:]
        check(body + hashlib.sha256(body).digest())
    with contextlib.suppress(ValueError):
        use(from_json(data.decode("utf-8", "surrogateescape")))


def seeds():
    """What save wrote: whole, and as (length, header, arrays); and as JSON."""
    encoding = Encoding((Column("age", fill=0.5), Column("sex", ("f", "m"))))
    models = [
        Model([0.5], 1.0, classes=["no", "yes"]),
        Model(np.float32([[1, 2, 3]]), np.zeros(3), classes=[1, b"x", "a"], training={"a": [None]}),
        Model([0.5, 2.0], 1.0, classes=[False, True], encoding=encoding),
    ]
    for model in models:
        model_files.save(model, PATH)
        whole = PATH.read_bytes()
        length = int.from_bytes(whole[_PREFIX - 8 : _PREFIX], "little")
        yield whole
        yield length.to_bytes(2, "little") + whole[_PREFIX:-32]
        yield to_json(model).encode()


def main():
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds()):
        (corpus / str(number)).write_bytes(seed)
    atheris.Setup([*sys.argv, str(corpus)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

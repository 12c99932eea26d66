"""``python -m jax_logreg``: the command line."""

import sys

from jax_logreg.interfaces.cli import run_process

sys.exit(run_process())

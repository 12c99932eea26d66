"""``python -m jax_logreg``: the command line."""

import sys

from jax_logreg.interfaces.cli import main

sys.exit(main())

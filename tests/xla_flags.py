"""How XLA compiles the programs of the tests; read when JAX first computes."""

import os
import subprocess
import sys

# So that "the device of the data" is a choice.
_TWO_DEVICES = "--xla_force_host_platform_device_count=2"
# As for the programs of a fit: what the tests compute beside them compiles faster, too.
_OLDER_WRITER = "--xla_cpu_use_fusion_emitters=false"


def xla_flags():
    """What is set already, as by the process that shares a run out; else ours."""
    if "XLA_FLAGS" in os.environ:
        return os.environ["XLA_FLAGS"]
    return f"{_TWO_DEVICES} {_OLDER_WRITER}" if _is_known(_OLDER_WRITER) else _TWO_DEVICES


def _is_known(flag):
    """A flag that XLA does not know ends the process."""
    command = [sys.executable, "-c", "import jax; jax.devices()"]
    ended = subprocess.run(command, env=os.environ | {"XLA_FLAGS": flag}, capture_output=True)
    return ended.returncode == 0

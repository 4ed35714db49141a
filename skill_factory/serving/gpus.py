"""The GPUs of this machine, and which server gets which."""

from __future__ import annotations

import os
import re
import subprocess

VARIABLE = "CUDA_VISIBLE_DEVICES"
"""Which GPUs a process sees, by number or UUID, with commas (CUDA programming guide, environment
variables); empty or -1: none."""

_LOOK = 30.0
"""Seconds that nvidia-smi may take: it loads the driver where nothing else has."""


def visible_gpus() -> list[str]:
    """The GPUs, as CUDA_VISIBLE_DEVICES names them: those that it names where it is set, else all
    that `nvidia-smi -L` lists."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        names = [name.strip() for name in named.split(",")]
        return [name for name in names if name not in ("", "-1", "NoDevFiles")]
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, check=False, timeout=_LOOK
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return re.findall(r"^GPU (\d+):", done.stdout, re.MULTILINE) if done.returncode == 0 else []


def shares(gpus: list[str], replicas: int | None) -> list[str | None]:
    """What CUDA_VISIBLE_DEVICES is for each server; None: as it is. `replicas` None: one a GPU.

    >>> shares(["0", "1", "2", "3"], 2)
    ['0,1', '2,3']
    >>> shares(["0", "1"], 4)
    ['0', '1', '0', '1']
    >>> shares([], None)
    [None]
    """
    if not gpus:
        return [None] * (replicas or 1)
    wanted = replicas or len(gpus)
    each = max(1, len(gpus) // wanted)
    starts = [number * each % len(gpus) for number in range(wanted)]
    return [",".join(gpus[start : start + each]) for start in starts]

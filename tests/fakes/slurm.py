"""Stand-ins for Slurm's commands and for vLLM, as far as examples/slurm uses them: jobs are
processes of this machine, and a server is ours.

    python tests/fakes/slurm.py sbatch|srun|scancel|vllm ARGUMENTS...

What they leave behind lies in $SLURM_STANDIN: the processes of each job, and what each server
answered.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from model_server import Server
from tutor import speak

COMMANDS = ("sbatch", "srun", "scancel", "vllm")
NODE = "127.0.0.1"


def install(folder: Path) -> None:
    """Put the commands into a folder for $PATH."""
    folder.mkdir()
    for name in COMMANDS:
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "$@"\n')
        path.chmod(0o755)


def sbatch(arguments: list[str], place: Path) -> None:
    """Run a script for each task of its array, or once; the options of the command line go before
    those in the script."""
    *options, script = arguments
    text = Path(script).read_text()
    options = [*re.findall(r"^#SBATCH (\S+)", text, re.MULTILINE), *options]
    given = dict(option.removeprefix("--").partition("=")[::2] for option in options)
    assert given["account"], "Slurm wants an account"
    assert given["partition"], "and a partition"
    job = str(1 + len(list(place.glob("job-*"))))
    first, _, last = given.get("array", "").partition("-")
    tasks = range(int(first), int(last) + 1) if last else [0]
    pids = []
    for task in tasks:
        log = given["output"].replace("%A", job).replace("%j", job).replace("%a", str(task))
        with Path(log).open("w") as out:
            process = subprocess.Popen(
                ["bash", script],
                env=os.environ | {"SLURMD_NODENAME": NODE, "SLURM_ARRAY_TASK_ID": str(task)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        pids.append(process.pid)
    (place / f"job-{job}").write_text(json.dumps(pids))
    print(job)


def scancel(arguments: list[str], place: Path) -> None:
    """Ask the processes of a job to end."""
    for pid in json.loads((place / f"job-{arguments[0]}").read_text()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def vllm(arguments: list[str], place: Path) -> None:
    """Serve, until it is asked to end; then write what was answered."""
    given = dict(zip(arguments[2::2], arguments[3::2], strict=True))
    assert arguments[0] == "serve"
    asyncio.run(_serve(arguments[1], int(given["--port"]), place))


async def _serve(model: str, port: int, place: Path) -> None:
    server, over = Server(models=(model,), port=port, speak=speak, latency=0.005), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    await server.listen()
    await over.wait()
    answered = [
        [entry.digest, entry.seed, entry.count]
        for entry, request in zip(server.log, server.requests, strict=True)
        if request.get("max_tokens") != 1
    ]
    (place / f"answered-{port}").write_text(json.dumps(answered))
    os._exit(0)


if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    if name == "srun":
        os.execvp(rest[0], rest)
    {"sbatch": sbatch, "scancel": scancel, "vllm": vllm}[name](
        rest, Path(os.environ["SLURM_STANDIN"])
    )

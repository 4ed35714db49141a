"""A program that serves a model as vLLM's does, with the scripted server of these tests behind it,
and misbehaves on demand.

    python tests/fakes/served.py --port PORT --model NAME [OPTIONS]
    python tests/fakes/served.py serve NAME --host HOST --port PORT --served-model-name NAME

It asks for the key in $VLLM_API_KEY.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import tutor
from model_server import Server


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="*", help="serve NAME")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", "--served-model-name", required=True)
    parser.add_argument("--tells", type=Path, help="write here what it was started with")
    parser.add_argument("--fails", help="print this on stderr, and end with exit code 3")
    parser.add_argument("--never-healthy", action="store_true")
    parser.add_argument("--other-model", action="store_true")
    parser.add_argument("--dies-after", type=int, help="so many samples, at each start")
    parser.add_argument("--lives-once", type=Path, help="--dies-after the first time alone: a file")
    parser.add_argument("--sickens-after", type=int, help="so many samples: /health says 503")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds for each answer")
    parser.add_argument("--ignores-sigterm", action="store_true")
    parser.add_argument("--forks", action="store_true", help="a child, and an orphan, in sessions")
    return parser.parse_args()


def main(given: argparse.Namespace) -> None:
    if given.tells:
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
        about = {"argv": sys.argv[1:], "gpus": gpus, "port": given.port}
        with given.tells.open("a") as file:
            file.write(json.dumps(about) + "\n")
    if given.fails:
        print(given.fails, "\nkey:", os.environ["VLLM_API_KEY"], file=sys.stderr)
        sys.exit(3)
    if given.ignores_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if given.forks:
        fork()
    dies = given.dies_after
    if given.lives_once and given.lives_once.exists():
        dies = None
    server = Server(
        models=("other" if given.other_model else given.model,),
        port=given.port,
        key=os.environ.get("VLLM_API_KEY"),
        health=503 if given.never_healthy else 200,
        slow=given.slow,
    )
    count = 0

    def speak(request: dict[str, Any], sample: int) -> str:
        nonlocal count
        count += 1
        if dies and count > dies:
            if given.lives_once:
                given.lives_once.touch()
            os._exit(9)
        if given.sickens_after and count > given.sickens_after:
            server.health = 503
        text = request["messages"][-1]["content"]
        return "Hello." if text == "Hi" else tutor.speak(request, sample)

    server.speak = speak
    asyncio.run(forever(server))


async def forever(server: Server) -> None:
    await server.listen()
    print("serving", flush=True)
    await asyncio.sleep(3600)


def fork() -> None:
    """As engines do: a process with a session of its own, and one whose parent is gone at once.
    Both heed no SIGTERM."""
    sleeps = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)"
    subprocess.Popen([sys.executable, "-c", sleeps], start_new_session=True)
    orphans = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {sleeps!r}])"
    subprocess.run([sys.executable, "-c", orphans], start_new_session=True, check=True)


if __name__ == "__main__":
    main(options())

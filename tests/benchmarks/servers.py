"""How much of what four servers of different speeds could give together a run gets out of them.

    PYTHONPATH=tests/fakes python tests/benchmarks/servers.py [--seconds 20]

Each server, in a process of its own, works on 16 requests at a time, as an engine does on its
batch, and takes 0.1, 0.2, 0.4 or 0.8 seconds for one; others wait. First each is asked alone, then
all of them, for about so many seconds each. Last, one of them is killed halfway. Printed are
requests a second, and the ratio to the sum of what each gave alone.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from model_server import Server

from skill_factory.asking.collect import collect
from skill_factory.asking.journal import Journal
from skill_factory.asking.pace import Pace
from skill_factory.asking.requests import Ask
from skill_factory.asking.tally import Tally
from skill_factory.models import Sampling
from skill_factory.models.addresses import FixedAddresses
from skill_factory.models.server_pool import ServerPool
from skill_factory.models.servers import OpenAIModel

SLOTS = 16
SECONDS = (0.1, 0.2, 0.4, 0.8)
SAMPLING = Sampling(temperature=0.7, max_tokens=64)


class Engine(Server):
    """Works on so many requests at a time."""

    async def _complete(self, writer: asyncio.StreamWriter, body: bytes) -> None:
        if not hasattr(self, "slots"):
            self.slots = asyncio.Semaphore(SLOTS)
        async with self.slots:
            await super()._complete(writer, body)


async def serve(seconds: float) -> None:
    """Serve until whoever started this is gone."""
    server = Engine(latency=seconds)
    await server.listen()
    print(server.url, flush=True)
    await asyncio.to_thread(sys.stdin.read)


def asks(total: int, mark: str) -> Iterator[Ask]:
    for number in range(total):
        messages = [{"role": "user", "content": f"{mark}: what is {number} + {number}?"}]
        yield Ask(messages, 1, ("sample", f"{mark} {number}"))


async def ask(
    urls: list[str],
    total: int,
    mark: str,
    folder: Path,
    seen: Callable[[Tally], None] = lambda tally: None,
) -> float:
    """Requests a second, from the first that is sent to the last answer."""
    pool = ServerPool(
        FixedAddresses(urls), partial(OpenAIModel, model=None), model="tiny", patience=60
    )
    try:
        await pool.preflight()
        start = time.perf_counter()
        with Journal(folder / f"{mark}.sqlite") as journal:
            pace = Pace(concurrency=SLOTS)
            tally = await collect(
                asks(total, mark), pool, SAMPLING, journal, settings=pace, progress=seen
            )
        took = time.perf_counter() - start
    finally:
        await pool.close()
    assert (tally.answered, tally.failed) == (total, 0)
    return total / took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        asyncio.run(serve(options.serve))
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, __file__, "--serve", str(seconds)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for seconds in SECONDS
        ]
        urls = [server.stdout.readline().strip() for server in servers if server.stdout]
        alone = []
        for url, seconds in zip(urls, SECONDS, strict=True):
            total = int(SLOTS / seconds * options.seconds)
            alone.append(asyncio.run(ask([url], total, f"alone {seconds}", folder)))
            print(f"alone, {seconds} s a request: {alone[-1]:,.0f} requests/s")
        together = sum(alone)
        total = int(together * options.seconds)
        speed = asyncio.run(ask(urls, total, "together", folder))
        print(f"together: {speed:,.0f} requests/s of {together:,.0f}, ratio {speed / together:.2f}")

        def kill(tally: Tally) -> None:
            if tally.answered > total / 2:
                servers[1].kill()

        speed = asyncio.run(ask(urls, total, "killed", folder, kill))
        # Half of the work at the speed of four, half at that of three.
        without = together - alone[1]
        could = 1 / (0.5 / together + 0.5 / without)
        print(
            f"one killed halfway: {speed:,.0f} requests/s of {could:,.0f}, "
            f"ratio {speed / could:.2f}"
        )
        for server in servers:
            server.kill()


if __name__ == "__main__":
    main()

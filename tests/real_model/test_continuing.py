"""Budget forcing on a real model: continued in this process; and a real server that does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import Outcome, run
from test_quickstart import server as server  # a fixture

from skill_factory.models.llama_cpp import Llama
from skill_factory.models.local import _find

QUESTIONS = ["addition", "--count", "6", "--samples", "2", "--seed", "1"]
FORCE = ["--force-budget", "30,64", "--force-with", ". Wait, let me check:", "--stop", "."]
"""An answer ends with its first sentence: most of them before 30 tokens."""


def evaluate(*arguments: str | Path) -> Outcome:
    return run("evaluate", *arguments, module="skill_factory")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forced") / "e"
    done = evaluate(*QUESTIONS, *FORCE, "--local", "smollm2", "--context", "256", "-o", folder)
    assert done.code == 0, done
    assert "evaluate: 12 answered, 0 failed" in done.out
    return folder


def rows(folder: Path) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = pq.read_table(folder / "responses.parquet").to_pylist()
    return table


def test_a_model_in_this_process_goes_on_from_what_was_put_in(folder: Path) -> None:
    found = rows(folder)
    assert len(found) == 12
    assert all(row["completion_tokens"] <= 64 for row in found)
    forced = [row["response"] for row in found if "Wait, let me check:" in row["response"]]
    assert len(forced) >= 6
    gone_on = [text.partition("Wait, let me check:")[2] for text in forced]
    assert all(text.strip() for text in gone_on)
    assert len(set(gone_on)) > len(forced) / 2


def test_the_same_command_asks_nothing(folder: Path) -> None:
    before = rows(folder)
    done = evaluate("-o", folder)
    assert done.code == 0, done
    assert " answered" not in done.out
    assert rows(folder) == before


def test_an_answer_that_is_begun_stands_at_the_end_of_the_prompt() -> None:
    llama = Llama(_find("smollm2"), parallel=1, context=256, threads=1)
    try:
        asked = [{"role": "user", "content": "What is 7 + 12?"}]
        begun = "7 + 12 is <sample>\n"
        prompt = llama.tokens([*asked, {"role": "assistant", "content": begun}])
        text = b"".join(llama.piece(token) or b"" for token in prompt).decode()
        assert text.endswith(f"assistant\n{begun}")
        assert prompt[: len(llama.tokens(asked))] == llama.tokens(asked)
    finally:
        llama.free()


def test_a_real_server_that_closes_the_turn_is_refused(server: str, tmp_path: Path) -> None:
    """llama-cpp-python's server takes the two keys and does nothing with them."""
    done = evaluate(*QUESTIONS, *FORCE, "--base-url", server, "-o", tmp_path / "e")
    assert done.code == 1
    assert "does not continue an answer as it was begun: its prompt has +" in done.err
    assert not (tmp_path / "e" / "responses.parquet").exists()


def test_a_real_server_completes_prompts(server: str, tmp_path: Path) -> None:
    """With a chat template as the model's own is: ChatML."""
    from conftest import write_tokenizer

    tokenizer = write_tokenizer(tmp_path / "tokenizer")
    (tokenizer / "chat_template.jinja").write_text(
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
        "<|im_end|>\n{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
        "{% endfor %}<|im_start|>assistant\n"
    )
    done = evaluate(*QUESTIONS, *FORCE, "--base-url", server, "--chat-template", tokenizer,
                    "-o", tmp_path / "e")  # fmt: skip
    assert done.code == 0, done
    found = rows(tmp_path / "e")
    assert len(found) == 12
    assert any("Wait, let me check:" in row["response"] for row in found)

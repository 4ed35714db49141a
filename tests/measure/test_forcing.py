"""Budget forcing: a response that ends its thinking too early is made to go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import write_tokenizer
from model_server import TOKEN, Fault, Server, serve
from test_evaluate import evaluate, made, manifest, rows
from trained import speak

from skill_factory.measure.forcing import Beginning, Forcing, Response
from skill_factory.models import ModelError

FORCE = ["--force-budget", "80,160"]
"""A trace of `trained` has about 65 tokens."""


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(Server(speak=speak, counts=True)) as server:
        yield server


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return made(tmp_path / "sums.parquet")


# -- the rule -------------------------------------------------------------------------------------

TRACE = "<think>\na\n</think>\n\n<answer>4</answer>"


@pytest.mark.parametrize(
    ("response", "beginning"),
    [
        # it ended its thinking: cut there, however the answer ended
        (Response(TRACE, "stop", 30), Beginning("<think>\na\n<sample>", 1, 70)),
        (Response("<think>a</think> b", "length", 50), Beginning("<think>a<sample>", 1, 50)),
        # at the first `</think>` of several
        (Response("a</think>b</think>c", "stop", 1), Beginning("a<sample>", 1, 99)),
        # still thinking when the first budget was spent: it goes on as it is
        (Response("<think>a", "length", 50), Beginning("<think>a", 0, 50)),
        # no thinking: the end of what it wrote
        (Response("It is 4.", "stop", 10), Beginning("It is 4.<sample>", 1, 90)),
        # nothing is left
        (Response(TRACE, "stop", 100), None),
        (Response("<think>a", "length", 100), None),
        # as often as is allowed
        (Response(TRACE, "stop", 30, forced=1), None),
    ],
)
def test_where_a_response_goes_on(response: Response, beginning: Beginning | None) -> None:
    assert Forcing(50, 100, "<sample>").beginning(response) == beginning


def test_without_counts_of_tokens_there_is_no_budget() -> None:
    with pytest.raises(ModelError, match="does not count tokens"):
        Forcing(50, 100, "<sample>").beginning(Response(TRACE, "stop", None))


# -- requests -------------------------------------------------------------------------------------


def first_and_second(server: Server) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The requests of each question: as it is asked, and as its response is continued."""
    by_question: dict[str, list[dict[str, Any]]] = {}
    for request in server.requests:
        by_question.setdefault(request["messages"][0]["content"], []).append(request)
    by_question.pop("Say a.")
    pairs = [(one, two) for one, two in by_question.values()]
    assert len(pairs) == 12
    return pairs


@pytest.mark.parametrize("continues", ["honoured", "echoed"])
def test_responses_are_continued_as_vllm_sglang_and_llama_cpp_take_it(
    server: Server, questions: Path, tmp_path: Path, continues: Any
) -> None:
    """vLLM's ChatCompletionRequest, SGLang's example openai_chat_with_response_prefill.py and
    llama.cpp's server README have the two keys beside a last message of the assistant's. The last
    one's reply begins with that message."""
    server.continues = continues
    evaluate(questions, "-o", tmp_path / "e", *FORCE, server=server)
    responses = {row["question"]: row for row in rows(tmp_path / "e")}
    for first, second in first_and_second(server):
        assert first.keys() & {"continue_final_message", "add_generation_prompt"} == set()
        assert first["max_tokens"] == 80
        assert (second["continue_final_message"], second["add_generation_prompt"]) == (True, False)
        user, assistant = second["messages"]
        assert (user, assistant["role"]) == (first["messages"][0], "assistant")
        begun = assistant["content"]
        assert begun.startswith("<think>\n<sample>\n")
        assert begun.endswith("</reflect>\n<sample>")
        assert "</think>" not in begun
        row = responses[user["content"]]
        assert row["response"].startswith(begun)
        assert row["response"].count("</think>") == 1
        assert row["response"].count("<sample>") == 2
        assert row["grade"] == "right"  # the second attempt is
        assert row["completion_tokens"] == sum_of_tokens(first, second)
        same = {"temperature", "top_p", "top_k", "repetition_penalty", "model"}
        assert {name: first[name] for name in same} == {name: second[name] for name in same}


def sum_of_tokens(first: dict[str, Any], second: dict[str, Any]) -> int:
    """The tokens of both answers, as the server counted them; the second budget is what the first
    one left."""
    counts = [len(TOKEN.findall(speak(request, 0))) for request in (first, second)]
    assert second["max_tokens"] == 160 - counts[0]
    return sum(counts)


def test_the_same_command_asks_nothing_and_another_text_only_with_leave(
    server: Server, questions: Path, tmp_path: Path
) -> None:
    evaluate(questions, "-o", tmp_path / "e", *FORCE, "--samples", "3", server=server)
    made_of = (tmp_path / "e" / "responses.parquet").read_bytes()
    asked = server.asked
    said = evaluate(questions, "-o", tmp_path / "e", *FORCE, "--samples", "3", server=server)
    assert said.count("nothing to ask") == 2
    assert (tmp_path / "e" / "responses.parquet").read_bytes() == made_of
    other = [*FORCE, "--samples", "3", "--force-with", "Wait"]
    told = evaluate(questions, "-o", tmp_path / "e", *other, server=server, code=1)
    assert "budget forcing 1: 36 samples would be asked for anew" in told
    assert "because the prompt changed" in told
    assert server.asked == asked
    evaluate(questions, "-o", tmp_path / "e", *other, "--ask-again", server=server)
    assert all("</reflect>\nWait...\n" in row["response"] for row in rows(tmp_path / "e"))


def test_a_text_can_be_put_in_more_often(server: Server, questions: Path, tmp_path: Path) -> None:
    evaluate(questions, "-o", tmp_path / "e", "--force-budget", "80,400", "--force-times", "3",
             server=server)  # fmt: skip
    assert all(row["response"].count("<sample>") == 4 for row in rows(tmp_path / "e"))
    assert manifest(tmp_path / "e")["forced"] == {"3": 12}


def test_what_the_first_budget_cut_off_goes_on_as_it_is(
    server: Server, questions: Path, tmp_path: Path
) -> None:
    said = evaluate(questions, "-o", tmp_path / "e", "--force-budget", "8,140", server=server)
    second = [r for r in server.requests if r.get("continue_final_message")][2:]
    goes_on = [r for r in second if "<sample>" not in r["messages"][1]["content"][20:]]
    assert len(goes_on) == 12
    assert {request["max_tokens"] for request in goes_on} == {132}
    for row in rows(tmp_path / "e"):
        assert row["completion_tokens"] <= 140
    assert "budget forcing 2: 12 samples to ask for" in said


def test_samples_that_begin_alike_are_drawn_apart(questions: Path, tmp_path: Path) -> None:
    """Two samples with the same text are two of one prompt, each with a seed of its own."""

    def alike(request: dict[str, Any], sample: int) -> str:
        if request["messages"][-1]["role"] == "assistant":
            return f" {sample}</think><answer>{sample}</answer>"
        return "<think>I see.</think><answer>1</answer>"

    with serve(Server(speak=alike, counts=True)) as server:
        evaluate(questions, "-o", tmp_path / "e", "--samples", "3", "--seed", "5",
                 "--force-budget", "40,90", server=server)  # fmt: skip
    found = [row["extracted_answer"] for row in rows(tmp_path / "e")]
    assert found == ["5", "6", "7"] * 12


# -- completions of prompts -----------------------------------------------------------------------


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    """A tokenizer whose chat template puts a thinking block before a finished answer, as Qwen3's
    does: a server with it does not continue an answer as it was begun."""
    folder = write_tokenizer(tmp_path / "model")
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{% if m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}"
        "{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return str(folder)


def test_where_the_template_is_in_the_way_prompts_are_completed(
    server: Server, questions: Path, tokenizer: str, tmp_path: Path
) -> None:
    server.continues = "spoilt"
    told = evaluate(questions, "-o", tmp_path / "e", *FORCE, server=server, code=1)
    assert "does not continue an answer as it was begun: its prompt has" in told
    assert "--chat-template" in told
    evaluate(questions, "-o", tmp_path / "e", *FORCE, "--chat-template", tokenizer,
             server=server)  # fmt: skip
    prompts = [request["prompt"] for request in server.requests if "prompt" in request]
    assert server.paths["/v1/completions"] == len(prompts)
    asked = pq.read_table(questions)["question"].to_pylist()
    for question in asked:
        begin = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        first, second = (prompt for prompt in prompts if question in prompt)
        assert first == begin
        assert second.startswith(f"{begin}<think>\n<sample>\nIt is ")
        assert second.endswith("</reflect>\n<sample>")
    for row in rows(tmp_path / "e"):
        assert row["response"].count("<sample>") == 2
        assert row["grade"] == "right"


# -- refusals -------------------------------------------------------------------------------------


def _no_usage(server: Server) -> None:
    server.faults = [Fault("usage in a list")]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("ignored", "does not continue an answer as it was begun: its prompt has +5 tokens"),
        ("rejected", "the model does not continue an answer: "),
        ("spoilt", "does not continue an answer as it was begun"),
        (_no_usage, "the server does not count tokens"),
    ],
    ids=["ignored", "rejected", "spoilt", "no usage"],
)
def test_a_server_that_cannot_continue_is_refused_before_anything_is_asked(
    server: Server, questions: Path, tmp_path: Path, spoil: Any, words: str
) -> None:
    if callable(spoil):
        spoil(server)
    else:
        server.continues = spoil
    told = evaluate(questions, "-o", tmp_path / "e", *FORCE, server=server, code=1)
    assert words in told.splitlines()[-1]
    asked = {request["messages"][0]["content"] for request in server.requests}
    assert asked == {"Say a."}
    assert not (tmp_path / "e" / "responses.parquet").exists()


def test_thinking_apart_from_the_text_cannot_be_continued(questions: Path, tmp_path: Path) -> None:
    def apart(request: dict[str, Any], sample: int) -> Any:
        said = speak(request, sample)
        return said if said == "one" else {"content": "4", "reasoning_content": "So."}

    with serve(Server(speak=apart, counts=True)) as server:
        told = evaluate(questions, "-o", tmp_path / "e", *FORCE, server=server, code=1)
    assert "serve the model without a reasoning parser" in told.splitlines()[-1]


def test_a_server_that_fails_is_not_taken_for_one_that_cannot(
    server: Server, questions: Path, tmp_path: Path
) -> None:
    server.faults = [Fault(500, holds="Say a.", times=4)]
    command: list[str | Path] = [questions, "-o", tmp_path / "e", *FORCE]
    told = evaluate(*command, server=server, code=1)
    assert "run the same command again" in told.splitlines()[-1]
    server.faults = [Fault(500, holds="Say a.", every=2)]
    evaluate(*command, server=server)
    assert json.loads((tmp_path / "e" / "manifest.json").read_text())["forced"] == {"1": 12}

"""Requests and answers as files, in the shapes that vLLM and providers really write."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from model_server import answer_to

from skill_factory.asking.batch_files import read_responses, write_requests
from skill_factory.asking.journal import Journal
from skill_factory.asking.requests import Ask, key_of
from skill_factory.errors import InputError, OutputError
from skill_factory.models import ModelError, Sampling
from skill_factory.models.servers import OpenAIModel

SAMPLING = Sampling(temperature=0.7, top_k=20, max_tokens=64, stop=("\n\n",), seed=5)
Line = dict[str, Any]


def asks(total: int, count: int) -> list[Ask]:
    return [
        Ask([{"role": "user", "content": f"What is {i} + {i}, ü?"}], count, ("sample", str(i)))
        for i in range(total)
    ]


@contextmanager
def the_model() -> Iterator[OpenAIModel]:
    model = OpenAIModel("http://127.0.0.1:8000/v1", "tiny")
    yield model
    asyncio.run(model.close())


def written(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def answer(request: Line) -> Line:
    body = request["body"]
    digest = sha256(json.dumps(body["messages"]).encode()).hexdigest()[:32]
    return answer_to(digest, body.get("n", 1))


def of_vllm(request: Line) -> Line:
    """As `BatchRequestOutput` of vllm/entrypoints/openai/run_batch.py is written."""
    response = {"status_code": 200, "request_id": "vllm-batch-1", "body": answer(request)}
    name = request["custom_id"]
    return {"id": "vllm-1", "custom_id": name, "response": response, "error": None}


def of_openai(request: Line) -> Line:
    """As https://platform.openai.com/docs/api-reference/batch/request-output has it."""
    response = {"status_code": 200, "request_id": "req_1", "body": answer(request)}
    name = request["custom_id"]
    return {"id": "batch_req_1", "custom_id": name, "response": response, "error": None}


def write_lines(path: Path, lines: list[Line]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("service", [of_vllm, of_openai])
def test_what_is_asked_for_in_a_file_comes_back_from_a_file(
    tmp_path: Path, service: Callable[[Line], Line]
) -> None:
    requests, wanted = tmp_path / "requests.jsonl", asks(30, 4)
    with the_model() as model, Journal(tmp_path / "j") as journal:
        done = write_requests(requests, wanted, model, SAMPLING, journal)
        assert (done.requests, done.samples, done.had) == (30, 120, 0)
        lines = [service(request) for request in written(requests)]
        random.Random(0).shuffle(lines)
        answers = write_lines(tmp_path / "answers.jsonl", lines)
        taken = read_responses(answers, journal)
        assert (taken.new, taken.known, taken.failed, taken.unknown) == (120, 0, 0, 0)
        assert taken.finish_reasons == {"stop": 120}
        assert (taken.prompt_tokens, taken.completion_tokens) == (30 * 7, 120 * 33)
        again = read_responses(answers, journal)
        assert (again.new, again.known) == (0, 120)
        for ask in wanted:
            found = journal.read(key_of(model, SAMPLING, ask.messages), 4)
            assert [(idx, said.text[-2:]) for idx, said in found] == [
                (idx, f" {idx}") for idx in range(4)
            ]
        done = write_requests(requests, wanted, model, SAMPLING, journal)
        assert (done.requests, done.samples, done.had) == (0, 0, 120)
        assert requests.read_text() == ""


def test_a_request_is_what_the_server_would_be_sent(tmp_path: Path) -> None:
    requests, extra = tmp_path / "requests.jsonl", {"min_p": 0.1}
    sampling = replace(SAMPLING, extra_body=extra)
    with the_model() as model, Journal(tmp_path / "j") as journal:
        write_requests(requests, asks(1, 5), model, sampling, journal, together=2)
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "What is 0 + 0, ü?"}],
        "temperature": 0.7,
        "top_k": 20,
        "max_tokens": 64,
        "stop": ["\n\n"],
        "min_p": 0.1,
    }
    lines = written(requests)
    assert [line["body"] for line in lines] == [
        body | {"n": 2, "seed": 5},
        body | {"n": 2, "seed": 7},
        body | {"seed": 9},
    ]
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
    names = [line["custom_id"] for line in lines]
    assert len(set(names)) == 3
    assert max(map(len, names)) <= 64


def test_errors_are_counted_and_asked_for_again(tmp_path: Path) -> None:
    requests, answers = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"
    with the_model() as model, Journal(tmp_path / "j") as journal:
        write_requests(requests, asks(10, 2), model, SAMPLING, journal)
        lines = [of_openai(request) for request in written(requests)]
        # In the order: what never ran, an error of OpenAI's, three of vLLM's, a broken answer.
        lines[0] |= {"response": None, "error": {"code": "batch_expired", "message": "too late"}}
        refused = {"error": {"message": "too long", "type": "invalid_request_error"}}
        lines[1]["response"] |= {"status_code": 400, "body": refused}
        lines[2]["response"] |= {"status_code": 400, "body": None}
        lines[2]["error"] = {"error": {"message": "too long", "type": "BadRequestError"}}
        lines[3]["response"] |= {"status_code": 400, "body": None}
        lines[3]["error"] = "too long"
        lines[4]["response"] |= {"status_code": 500, "body": None}
        lines[5]["response"]["body"]["choices"] = []
        # Fewer answers than samples, and more.
        del lines[6]["response"]["body"]["choices"][1]
        more = lines[7]["response"]["body"]["choices"]
        more.append(more[0] | {"index": 2})
        taken = read_responses(write_lines(answers, lines), journal)
        assert (taken.new, taken.failed) == (1 + 2 + 2 + 2, 6)
        assert taken.failures == {
            "too late": 1,
            "too long": 3,
            "status 500": 1,
            "an answer without a text": 1,
        }
        done = write_requests(requests, asks(10, 2), model, SAMPLING, journal)
        assert (done.requests, done.samples, done.had) == (7, 13, 7)
        taken = read_responses(
            write_lines(answers, [of_vllm(request) for request in written(requests)]), journal
        )
        assert (taken.new, taken.known, taken.failed) == (13, 0, 0)


def test_lines_that_are_not_ours_are_counted(tmp_path: Path) -> None:
    requests, answers = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"
    with the_model() as model, Journal(tmp_path / "j") as journal:
        write_requests(requests, asks(3, 1), model, SAMPLING, journal)
        lines = [of_openai(request) for request in written(requests)]
        write_requests(requests, asks(9, 1), model, SAMPLING, journal)
        with Journal(tmp_path / "other") as other:
            assert read_responses(write_lines(answers, lines), other).unknown == 3
            assert other.have([key_of(model, SAMPLING, asks(1, 1)[0].messages)]) == {}
        lines[0]["custom_id"] = "request-1"
        lines[1]["custom_id"] = lines[1]["custom_id"].replace("-0-1", "-7-1")
        text = "".join(json.dumps(line) + "\n" for line in lines)
        answers.write_text(text + '[]\n\n{"id": 1}\n' + text[:70], encoding="utf-8")
        taken = read_responses(answers, journal)
        assert (taken.new, taken.unknown, taken.broken) == (1, 2, 3)


def test_a_prompt_that_stands_twice_is_asked_for_once(tmp_path: Path) -> None:
    wanted = [*asks(3, 2), *asks(3, 4), *asks(3, 1)]
    with the_model() as model, Journal(tmp_path / "j") as journal:
        done = write_requests(tmp_path / "r", wanted, model, SAMPLING, journal)
    assert (done.requests, done.samples, done.had, done.twice) == (6, 12, 0, 9)


def test_bad_files_and_a_model_without_a_name_are_told(tmp_path: Path) -> None:
    with the_model() as model, Journal(tmp_path / "j") as journal:
        with pytest.raises(InputError, match="cannot be read: No such file"):
            read_responses(tmp_path / "absent", journal)
        with pytest.raises(OutputError, match="cannot be written: No such file"):
            write_requests(tmp_path / "no" / "r", asks(1, 1), model, SAMPLING, journal)
        model.model = None
        with pytest.raises(ModelError, match="which model"):
            write_requests(tmp_path / "r", asks(1, 1), model, SAMPLING, journal)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["j"]


def test_a_byte_order_mark_loses_no_line(tmp_path: Path) -> None:
    requests, answers, wanted = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl", asks(5, 1)
    with the_model() as model, Journal(tmp_path / "j") as journal:
        write_requests(requests, wanted, model, SAMPLING, journal)
        lines = [json.dumps(of_openai(request)) for request in written(requests)]
        answers.write_text("\n".join(lines), encoding="utf-8-sig")
        taken = read_responses(answers, journal)
    assert (taken.new, taken.broken) == (5, 0)


@pytest.mark.parametrize("error", [{}, {"code": None, "message": None}, {"error": {"message": ""}}])
def test_an_error_of_nulls_is_none(tmp_path: Path, error: Line) -> None:
    requests, answers, wanted = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl", asks(5, 1)
    with the_model() as model, Journal(tmp_path / "j") as journal:
        write_requests(requests, wanted, model, SAMPLING, journal)
        lines = [of_openai(request) | {"error": error} for request in written(requests)]
        lines[0]["response"]["body"]["error"] = error
        taken = read_responses(write_lines(answers, lines), journal)
    assert (taken.new, taken.failed) == (5, 0)


@pytest.mark.slow
def test_an_error_may_be_nested_deeply(tmp_path: Path) -> None:
    requests, answers = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"
    depths = [100, 500, 700, *range(850, 1000)]
    with the_model() as model, Journal(tmp_path / "j") as journal:
        write_requests(requests, asks(1, 1), model, SAMPLING, journal)
        name = written(requests)[0]["custom_id"]
        with answers.open("w", encoding="utf-8") as out:
            for depth in depths:
                deep = '{"error": ' * depth + '"no"' + "}" * depth
                out.write(f'{{"custom_id": "{name}", "error": {deep}}}\n')
        taken = read_responses(answers, journal)
    assert taken.failed + taken.broken == len(depths)
    assert taken.failed > 50


def test_lines_of_any_shape_are_counted(tmp_path: Path) -> None:
    requests, answers = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"
    with the_model() as model, Journal(tmp_path / "j") as journal:
        write_requests(requests, asks(1, 1), model, SAMPLING, journal)
        name = written(requests)[0]["custom_id"]
        odd = [[], 7, None, "text", {"body": []}, {"body": None, "status_code": "x"}]
        lines = [{"custom_id": name, "response": response, "error": None} for response in odd]
        answers.write_text(
            "".join(json.dumps(line) + "\n" for line in lines) + "[" * 100_000, encoding="utf-8"
        )
        taken = read_responses(answers, journal)
    assert (taken.new, taken.failed, taken.broken) == (0, len(odd), 1)


def test_what_a_content_filter_stopped_is_not_asked_for_again(tmp_path: Path) -> None:
    requests, answers, wanted = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl", asks(5, 2)
    with the_model() as model, Journal(tmp_path / "j") as journal:
        write_requests(requests, wanted, model, SAMPLING, journal)
        lines = [of_openai(request) for request in written(requests)]
        error = {"message": "The response was filtered", "code": "content_filter"}
        lines[3]["response"] = {"status_code": 400, "body": {"error": error}}
        taken = read_responses(write_lines(answers, lines), journal)
        assert (taken.new, taken.failed) == (8, 1)
        again = write_requests(requests, wanted, model, SAMPLING, journal)
        assert (again.samples, again.had, again.refused) == (0, 8, 2)
        again = write_requests(requests, wanted, model, SAMPLING, journal, retry=True)
        assert (again.samples, again.had, again.refused) == (2, 8, 0)

"""What servers say, in their own words: refusals, finish reasons, answers in every form."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skill_factory.models import (
    Completion,
    Kind,
    ModelError,
    Refusal,
    RefusedError,
    TooLongError,
    Trouble,
)
from skill_factory.models.replies import decoded, error_message, parse, read_answer, told_error
from skill_factory.models.server_errors import refusal


def meaning(status: int, body: Any) -> Exception:
    text = body if isinstance(body, str) else json.dumps(body)
    return refusal("http://server/v1", status, text, error_message(text), None)


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


TOO_LONG = [
    # OpenAI, and what vLLM has said
    (400, error("This model's maximum context length is 8192 tokens. However, your messages "
                "resulted in 9000 tokens.", code="context_length_exceeded")),
    (400, error("Your input exceeds the context window of this model. Please adjust your input.")),
    (400, error("'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's maximum "
                "context length is 2048 tokens and your request has 30 input tokens")),
    (400, error("The decoder prompt (length 5000) is longer than the maximum model length of "
                "4096.")),
    (400, error("The engine prompt length 5000 exceeds the max_model_len 4096.")),
    # SGLang
    (400, {"object": "error", "message": "The input (5000 tokens) is longer than the model's "
           "context length (4096 tokens).", "code": 400}),
    (400, error("Requested token count exceeds the model's maximum context length of 4096.")),
    # TGI, Together
    (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. "
           "Given: 5000 `inputs` tokens and 20 `max_new_tokens`", "error_type": "validation"}),
    (422, {"error": "Input validation error: `inputs` must have less than 1024 tokens. Given: "
           "1500"}),
    # Gemini, Groq, Ollama, llama.cpp, LM Studio
    (400, [error("The input token count (1200293) exceeds the maximum number of tokens allowed "
                 "(1048576).", status="INVALID_ARGUMENT")]),
    (400, error("Please reduce the length of the messages or completion.")),
    (413, error("Request too large for model `llama-3.1-8b-instant` on tokens per minute (TPM): "
                "Limit 6000, Requested 9000", code="rate_limit_exceeded")),
    (400, {"error": "the input length exceeds the context length"}),
    (500, error("input exceeds maximum context length")),
    (400, error("the request exceeds the available context size. try increasing the context size",
                type="exceed_context_size_error", n_ctx=4096)),
    (400, {"error": "Trying to keep the first 5000 tokens when context the overflows. However, the "
           "model is loaded with context length of only 4096 tokens"}),
    # Mistral, Anthropic, Bedrock, DashScope, Moonshot, xAI, Cohere, Fireworks, OpenRouter
    (400, {"object": "error", "message": "Prompt contains 40000 tokens and 0 draft tokens, too "
           "large for model with 32768 maximum context length", "code": "3051"}),
    (400, error("prompt is too long: 200001 tokens > 200000 maximum")),
    (400, error("input length and `max_tokens` exceed context limit: 199000 + 4096 > 200000")),
    (400, {"message": "Input is too long for requested model."}),
    (400, error("Range of input length should be [1, 30720]", code="invalid_parameter_error")),
    (400, error("Invalid request: Your request exceeded model token limit: 131072")),
    (400, {"error": "This model's maximum prompt length is 131072 but the request contains more"}),
    (400, {"message": "too many tokens: total number of tokens in the prompt cannot exceed 4081"}),
    (400, error("The prompt is too long: 9000, model maximum context length: 8191")),
    (400, error("This endpoint's maximum context length is 8192 tokens. However, you requested "
                "about 9000 tokens")),
    (400, error("prompt token count of 90000 exceeds the limit of 64000",
                code="model_max_prompt_tokens_exceeded")),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body"), TOO_LONG)
def test_a_prompt_that_is_too_long_is_told_in_many_words(status: int, body: Any) -> None:
    assert isinstance(meaning(status, body), TooLongError)


FILTERED = [
    (400, error("The response was filtered due to the prompt", code="content_filter")),
    (400, error("The response was filtered due to the prompt triggering Azure OpenAI's content "
                "management policy. Please modify your prompt and retry.", code="content_filter",
                innererror={"code": "ResponsibleAIPolicyViolation"})),
    (400, error("Your request was rejected as a result of our safety system.",
                code="content_policy_violation")),
    (400, error("Invalid prompt: your prompt was flagged as potentially violating our usage "
                "policy.", code="invalid_prompt")),
    (400, error("Input data may contain inappropriate content.", code="data_inspection_failed")),
    (400, {"code": "DataInspectionFailed", "message": "Output data may contain such content."}),
    (400, error("Content Exists Risk", type="invalid_request_error")),
    (400, error("The request was rejected because it was considered high risk",
                type="content_filter")),
    (403, error("Your chosen model requires moderation and your input was flagged for violence",
                code=403, metadata={"reasons": ["violence"]})),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body"), FILTERED)
def test_a_content_filter_is_told_in_many_words(status: int, body: Any) -> None:
    found = meaning(status, body)
    assert isinstance(found, RefusedError)
    assert found.reason is Refusal.CONTENT_FILTER


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, error("max_tokens is too large: 50000. This model supports at most 16384 completion "
                    "tokens, whereas you provided 50000.")),
        (400, error("top_k is not known")),
        (400, error("Invalid value for temperature: expected a value below 2")),
        (422, {"detail": [{"loc": ["body", "messages"], "msg": "field required"}]}),
        (413, "Payload Too Large"),
        (400, ""),
    ],
)  # fmt: skip
def test_any_other_refusal_may_be_the_prompts_or_the_settings(status: int, body: Any) -> None:
    found = meaning(status, body)
    assert isinstance(found, RefusedError)
    assert found.reason is Refusal.REFUSED
    assert "\n" not in str(found)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, error("slow down"), Kind.BUSY),
        (503, "<html>overloaded</html>", Kind.GONE),
        (500, error("cuda"), Kind.FAULTY),
        (408, "", Kind.FAULTY),
    ],
)
def test_what_may_be_asked_again_is_a_trouble(status: int, body: Any, kind: Kind) -> None:
    found = meaning(status, body)
    assert isinstance(found, Trouble)
    assert found.kind is kind


@pytest.mark.parametrize(
    ("status", "body"),
    [(402, error("pay")), (405, ""), (429, error("pay", code="insufficient_quota")), (301, "")],
)
def test_what_no_prompt_would_get_past_ends_the_run(status: int, body: Any) -> None:
    found = meaning(status, body)
    assert isinstance(found, ModelError)
    assert not isinstance(found, RefusedError | TooLongError)


# -- answers --------------------------------------------------------------------------------------


def reply(message: Any, reason: Any = "stop", **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": reason, **more}]}


PARTS = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "hm "}, {"type": "text"}, "7"]},
    {"type": "text", "text": "It is "},
    {"type": "image_url", "image_url": {"url": "data:"}},
    {"type": "text", "text": "<answer>7</answer>"},
]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "text", "reasoning"),
    [
        ({"content": PARTS}, "It is <answer>7</answer>", "hm 7"),
        ({"content": [{"type": "output_text", "text": "a"}]}, "a", ""),
        ({"content": ["a", "b"]}, "ab", ""),
        ({"content": [{"type": "reasoning", "reasoning": "r"}, "t"]}, "t", "r"),
        ({"content": "t", "reasoning_content": "r"}, "t", "r"),
        ({"content": "t", "reasoning": "r"}, "t", "r"),
        ({"content": "t", "reasoning": None, "reasoning_content": ""}, "t", ""),
        ({"content": None, "reasoning_content": "r"}, "", "r"),
        ({"reasoning": "r"}, "", "r"),
        ({"content": None, "refusal": "I cannot."}, "I cannot.", ""),
        ({"content": "", "reasoning": {"odd": 1}}, "", ""),
        ({"content": "a\ud800b", "reasoning": "\udfff"}, "a?b", "?"),
    ],
)  # fmt: skip
def test_the_text_of_an_answer_and_its_reasoning(message: Any, text: str, reasoning: str) -> None:
    assert read_answer(reply(message), 0.5) == [
        Completion(text, "stop", None, None, 0.5, reasoning)
    ]


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("length", "length"),
        ("model_length", "length"),
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ({"type": "length", "length": 64}, "length"),
        ({"type": "stop", "matched": 151645}, "stop"),
        ("eos_token", "eos_token"),
        ("", "unknown"),
        (None, "unknown"),
        (7, "unknown"),
        ({"odd": 1}, "unknown"),
        ("stop\ud800", "stop?"),
    ],
)
def test_why_an_answer_ended(said: Any, read: str) -> None:
    (answer,) = read_answer(reply({"content": "a"}, said), 0.5)
    assert answer.finish_reason == read


@pytest.mark.parametrize(
    "body",
    [
        reply({"content": ""}, "error", error={"code": 502, "message": "Provider returned error"}),
        reply({"content": "half of it"}, "error"),
        reply({"content": "half of it"}, {"type": "abort", "message": "gone"}),
        reply({"content": "half of it"}, "insufficient_system_resource"),
        reply({"content": None}),
        reply({"content": []}),
        reply({"content": None, "tool_calls": [{"id": 1}]}, "tool_calls"),
        reply("text"),
        {"choices": {"0": "text"}},
        {"choices": []},
        {},
        [],
        None,
        "text",
    ],
)
def test_what_is_no_answer_is_asked_for_again(body: Any) -> None:
    with pytest.raises(Trouble):
        read_answer(body, 0.5)


def test_answers_are_taken_up_to_the_first_that_failed() -> None:
    body = reply({"content": "a"})
    body["choices"] += reply({"content": ""}, "error", index=1)["choices"]
    body["choices"][1]["index"] = 1
    body["choices"] += reply({"content": "c"}, index=2)["choices"]
    assert [answer.text for answer in read_answer(body, 0.5)] == ["a"]


@pytest.mark.parametrize(
    ("body", "there"),
    [
        ({"error": None}, False),
        ({"error": {}}, False),
        ({"error": {"message": None, "code": None, "param": None}}, False),
        ({"error": {"error": {"message": ""}}}, False),
        ({"error": "no"}, True),
        ({"error": {"message": None, "code": 500}}, True),
        ({}, False),
        ([], False),
    ],
)
def test_an_error_of_nulls_is_none(body: Any, there: bool) -> None:
    assert (told_error(body) is not None) is there


NAMES = [
    *("choices", "index", "message", "content", "finish_reason", "error", "usage", "type", "text"),
    *("thinking", "reasoning", "code", "prompt_tokens", "completion_tokens"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(JSON)
def test_nothing_that_a_server_says_raises_anything_else(body: Any) -> None:
    for answer in (body, {"choices": [body, body]}, reply(body), reply({"content": body}, body)):
        with suppress(Trouble):
            for text, reason, asked, drawn, _, reasoning in read_answer(answer, 0.5):
                (text + reason + reasoning).encode()
                assert (asked or 0) >= 0
                assert (drawn or 0) >= 0
    error_message(body).encode()
    assert isinstance(meaning(400, body), ModelError)


@given(st.binary(max_size=60))
def test_any_bytes_are_json_or_a_trouble(data: bytes) -> None:
    with suppress(Trouble):
        assert json.dumps(parse(data))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_comes_in_every_unicode(encoding: str) -> None:
    assert parse('{"a": "ü"}'.encode(encoding)) == {"a": "ü"}


@pytest.mark.slow
@pytest.mark.parametrize("depth", [100, 300, 500, 700, 900, 990, 1000, 5000, 100_000])
@pytest.mark.parametrize("inner", ['"no"', "null", "[]"])
@pytest.mark.parametrize("outer", ['{"error": ', '{"a": ', "["])
def test_json_may_be_nested_as_deeply_as_a_server_likes(depth: int, inner: str, outer: str) -> None:
    nested = outer * depth + inner + ("]" if outer == "[" else "}") * depth
    for body in (nested, f'{{"error": {{"message": {nested}}}}}'):
        assert "\n" not in error_message(body)
        assert isinstance(meaning(400, body), ModelError)
    said = f'{{"choices": [{{"index": 0, "error": {nested}, "message": {{"content": {nested}}}}}]}}'
    with pytest.raises(Trouble):
        read_answer(parse(said.encode()), 0.5)


def test_an_error_is_one_line_in_any_encoding() -> None:
    said = json.dumps({"error": {"message": "no\n\x1b[31msuch\x00 thing \ud800"}})
    for encoding in ("utf-8", "utf-16", "utf-32"):
        text = decoded(said.encode(encoding))
        assert error_message(text) == "no [31msuch thing"
    assert error_message("") == "no reason given"
    assert len(error_message("x y" * 10_000)) == 300

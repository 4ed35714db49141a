"""What evaluation harnesses and batch services write: lm-eval, inspect_ai, `vllm run-batch`.

lm-eval (0.4.13, loggers/evaluation_tracker.py, `save_results_samples`): with `--log_samples` a
file `MODEL/samples_TASK_DATE.jsonl`, a line a document and filter, with `doc_id`, `doc`, `target`,
`arguments` (`gen_args_0`: `arg_0` is the prompt), `resps` (a list of lists), `filter` and the
metrics. A document's lines of several filters hold the same responses.

inspect_ai (0.3.285): `.eval` or `.json` logs, read by its own reader (extra `inspect`).

`vllm run-batch` (0.32.0, entrypoints/launchers/run_batch.py): the answers in OpenAI's batch format,
read as `asking.batch_files` does; the questions stand in the file of requests.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from skill_factory.asking.batch_files import answers_of
from skill_factory.errors import InputError, OptionError
from skill_factory.measure.sources.responses import (
    ColumnNames,
    FoundResponse,
    Row,
    rows_of,
    text_of,
    user_text,
    whole_number,
    with_thinking,
)
from skill_factory.models import RefusedError, Trouble

# -- lm-eval --------------------------------------------------------------------------------------

_SAMPLES = re.compile(r"samples_(.+)_\d{4}-\d\d-\d\dT[\d.-]+\.jsonl")
_QUESTIONS = ("question", "problem", "query", "prompt", "input")


def read_lm_eval(path: Path, names: ColumnNames) -> Iterator[FoundResponse]:
    """The responses of an lm-eval file of samples. A question is the document's own, by the column
    of that name, or else the prompt."""
    named = _SAMPLES.fullmatch(path.name)
    seen = set[Any]()
    for number, row in enumerate(rows_of(path), 1):
        if row.get("doc_id") in seen:
            continue  # another filter on the same responses
        seen.add(row.get("doc_id"))
        doc = row.get("doc")
        doc = doc if isinstance(doc, Mapping) else {}
        prompt = _first_argument(row.get("arguments"))
        answer = names.answer and (doc.get(names.answer) or row.get(names.answer))
        for text in _texts(path, number, row.get("resps")):
            yield FoundResponse(
                text,
                question=_own_question(doc, names.question),
                prompt=prompt,
                gold=answer or row.get("target"),
                task=text_of(doc.get(names.task or "")),
                facts=doc.get(names.facts or "", dict(doc)),
                question_set=named[1] if named else None,
                model=path.parent.name if named else None,
                row=row.get(names.row or "doc_id"),
                correct=row.get(names.correctness or ""),
            )


def _own_question(doc: Row, name: str | None) -> str | None:
    found = [doc[one] for one in ((name,) if name else _QUESTIONS) if one in doc]
    return text_of(found[0]) if found else None


def _first_argument(arguments: Any) -> str | None:
    """The prompt: the first argument of the first request."""
    first = arguments.get("gen_args_0") if isinstance(arguments, Mapping) else None
    found = first.get("arg_0") if isinstance(first, Mapping) else None
    return found if isinstance(found, str) else None


def _texts(path: Path, number: int, found: Any) -> list[str]:
    """The texts in a document's responses, a list for each of its requests. What is no text, as the
    likelihoods of choices, has nothing to measure."""
    requests = found if isinstance(found, list) else []
    texts = [one for each in requests for one in (each if isinstance(each, list) else [each])]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise InputError(
            f"{path}: line {number}: its responses are no texts; only tasks whose output type is "
            "generate_until can be measured"
        )
    return texts


# -- inspect_ai -----------------------------------------------------------------------------------

_CUT_OFF = ("max_tokens", "model_length")


def read_inspect(path: Path, names: ColumnNames) -> Iterator[FoundResponse]:
    """The outputs of an inspect_ai log; an epoch is a sample."""
    try:
        from inspect_ai.log import read_eval_log, read_eval_log_samples
    except ImportError:
        raise OptionError(
            f"{path}: reading logs of inspect_ai needs it: pip install 'skill-factory[inspect]'"
        ) from None
    try:
        head = read_eval_log(str(path), header_only=True).eval
        samples = read_eval_log_samples(str(path), all_samples_required=False)
        for sample in samples:
            yield from _inspect_sample(sample, head.task, head.model, names)
    except (ValueError, KeyError, OSError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not a log of inspect_ai ({reason})") from None


def _inspect_sample(
    sample: Any, task: str, model: str, names: ColumnNames
) -> Iterator[FoundResponse]:
    metadata = sample.metadata or {}
    asked = sample.input
    question = asked if isinstance(asked, str) else _last_user(asked)
    choices, usage = sample.output.choices, sample.output.usage
    tokens = usage.output_tokens if usage and len(choices) == 1 else None
    for choice in choices:
        yield FoundResponse(
            _inspect_text(choice.message.content),
            question=text_of(metadata.get(names.question or "")) or question,
            gold=metadata.get(names.answer or "", sample.target),
            task=text_of(metadata.get(names.task or "task_source")),
            facts=metadata.get(names.facts or "", metadata),
            question_set=task.rpartition("/")[2],
            model=model,
            step=whole_number(metadata.get(names.step or "step")),
            finish_reason="length" if choice.stop_reason in _CUT_OFF else choice.stop_reason,
            completion_tokens=tokens,
            row=metadata.get(names.row) if names.row else sample.id,
            correct=_score(sample.scores, names.correctness),
        )


def _last_user(messages: Any) -> str | None:
    asked = [message.text for message in messages if message.role == "user"]
    return asked[-1] if asked else None


def _inspect_text(content: Any) -> str:
    """A message's text, its reasoning before it in `<think>` tags."""
    if isinstance(content, str):
        return content
    thoughts = "".join(part.reasoning for part in content if part.type == "reasoning")
    return with_thinking(thoughts, "".join(part.text for part in content if part.type == "text"))


def _score(scores: Any, name: str | None) -> Any:
    """Inspect's own words for right and wrong are C and I."""
    if name is None or not scores or name not in scores:
        return None
    value = scores[name].value
    return {"C": True, "I": False}.get(value, value) if isinstance(value, str) else value


# -- vllm run-batch -------------------------------------------------------------------------------


FAILED = "their requests failed"


def read_requests(path: Path) -> dict[str, str]:
    """The question of each request by its custom id: the last user turn."""
    asked = {}
    for row in rows_of(path):
        body = row.get("body")
        body = body if isinstance(body, Mapping) else {}
        question = user_text(body.get("messages")) or text_of(body.get("prompt"))
        if isinstance(row.get("custom_id"), str) and question:
            asked[row["custom_id"]] = question
    if not asked:
        raise InputError(f"{path}: no line of it is a request with a custom_id and messages")
    return asked


def read_batch(
    path: Path, names: ColumnNames, requests: Mapping[str, str], failed: Counter[str]
) -> Iterator[FoundResponse]:
    """The answers of a batch; a request that failed gives none, and is counted."""
    for row in rows_of(path):
        try:
            answers = answers_of(dict(row))
        except (Trouble, RefusedError):
            failed[FAILED] += 1
            continue
        body = row["response"]["body"] if isinstance(row.get("response"), Mapping) else {}
        for answer in answers:
            yield FoundResponse(
                with_thinking(answer.reasoning, answer.text),
                question=requests.get(str(row.get("custom_id"))),
                model=text_of(body.get("model")) if isinstance(body, Mapping) else None,
                finish_reason=answer.finish_reason,
                completion_tokens=answer.completion_tokens,
                row=row.get("custom_id"),
            )

"""Attempts: what is asked of each question, and the table of what was answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from xxhash import xxh3_128_hexdigest

from skill_factory.asking.journal import Journal
from skill_factory.asking.prompts import Prompt, PromptBank
from skill_factory.asking.requests import Ask
from skill_factory.core.columns import Column
from skill_factory.core.did_you_mean import did_you_mean
from skill_factory.core.ledger import Account
from skill_factory.core.tables import ATTEMPTS, QUESTIONS
from skill_factory.core.whole_files import new_file
from skill_factory.errors import InputError, OptionError
from skill_factory.models import Completion, Identified, Sampling
from skill_factory.models.thinking import HandledCompletion, Thinking, handle_thinking

MISSING = "missing"
"""Reason of samples that were asked for and never answered."""

BATCH_ROWS = 4096
"""Rows that are written together; the file's bytes depend on it."""


_CHUNK = 64
"""Asks that are looked up in the journal together."""


@dataclass(frozen=True)
class SampleSpec:
    """What is asked of every question: `samples` answers to each of `variants`, by name.
    `grammar` is how the server takes a prompt's grammar: "llama.cpp" or "vllm"."""

    variants: dict[str, Prompt]
    samples: int
    grammar: str


def sample_spec(
    bank: PromptBank, variants: Sequence[str], samples: int, grammar: str
) -> SampleSpec:
    """What is to be asked; raises `OptionError` for a prompt variant that does not exist."""
    if unknown := [name for name in variants if name not in bank.variants]:
        raise OptionError(
            f"no prompt variant {unknown[0]!r}; the variants are {', '.join(bank.variants)}"
            f"{did_you_mean(unknown[0], bank.variants)}"
        )
    return SampleSpec({name: bank.variants[name] for name in variants}, samples, grammar)


def asks(questions: Path, spec: SampleSpec) -> Iterator[Ask]:
    """All that is asked of a table of questions, in its order; each is `about` a row of
    `tables.QUESTIONS` with its `prompt_variant`."""
    for row in read_rows(questions, QUESTIONS):
        name = short_digest(row[Column.QUESTION])
        for variant, prompt in spec.variants.items():
            yield Ask(
                prompt.fill(question=row[Column.QUESTION], answer=row[Column.GOLD]),
                spec.samples,
                ("sample", name, variant),
                grammar_body(prompt, spec.grammar),
                row | {"prompt_variant": variant},
            )


def grammar_body(prompt: Prompt, how: str) -> dict[str, Any] | None:
    """What a prompt's grammar is in a request: llama.cpp's server takes `grammar`
    (tools/server/README.md), vLLM `structured_outputs` (its page "Structured Outputs")."""
    if prompt.grammar is None:
        return None
    body = {"grammar": prompt.grammar}
    return {"structured_outputs": body} if how == "vllm" else body


class SampleResult(NamedTuple):
    """What became of the samples of a table, and how many have thinking."""

    samples: Account
    with_thinking: int


def write_attempts(
    target: Path,
    asked: Iterable[Ask],
    thinking: Thinking,
    model: Identified,
    sampling: Sampling,
    journal: Journal,
) -> SampleResult:
    """Write what the journal has of all that is asked as a table of attempts, whole or not, with
    their `thinking` dropped or kept. Raises `InputError` if there is no answer at all; an older
    table is then left as it is."""
    account, thought = Account(), 0
    with new_file(target) as part, pq.ParquetWriter(part, ATTEMPTS, compression="zstd") as out:
        rows = _rows(asked, thinking, model, sampling, journal, account)
        while chunk := list(islice(rows, BATCH_ROWS)):
            out.write_table(pa.Table.from_pylist(chunk, ATTEMPTS))
            thought += sum(row[Column.TEXT_ALONE] is not None for row in chunk)
        if not account.kept:
            raise InputError(
                f"{target}: is not written, as none of the {account.read:,} samples was answered"
            )
    return SampleResult(account, thought)


def _rows(
    asked: Iterable[Ask],
    thinking: Thinking,
    model: Identified,
    sampling: Sampling,
    journal: Journal,
    account: Account,
) -> Iterator[dict[str, Any]]:
    rest = iter(asked)
    while chunk := list(islice(rest, _CHUNK)):
        for ask, found, why in read_asks(chunk, model, sampling, journal):
            account.read += ask.count
            account.kept += len(found)
            account.lose(why, ask.count - len(found))
            for idx, completion in found:
                yield (
                    ask.about
                    | {Column.SAMPLE: idx}
                    | _response_columns(handle_thinking(completion, thinking))
                )


class Found(NamedTuple):
    """The samples of an ask that a journal has, by their number, and why there are no others."""

    ask: Ask
    samples: list[tuple[int, Completion]]
    why: str


def read_asks(
    asks: list[Ask], model: Identified, sampling: Sampling, journal: Journal
) -> Iterator[Found]:
    """What a journal has of some asks; they are looked up together."""
    keys = [ask.key(model, sampling) for ask in asks]
    most = max((ask.count for ask in asks), default=0)
    there, refused = journal.read_all(dict.fromkeys(keys, most)), journal.refused(keys)
    for key, ask in zip(keys, asks, strict=True):
        found = [sample for sample in there[key] if sample[0] < ask.count]
        yield Found(ask, found, refused[key].reason if key in refused else MISSING)


def _response_columns(handled: HandledCompletion) -> dict[str, Any]:
    return {
        Column.RESPONSE: handled.completion.text,
        Column.FINISH_REASON: handled.completion.finish_reason,
        Column.COMPLETION_TOKENS: handled.completion.completion_tokens,
        Column.TEXT_ALONE: handled.text_alone,
    }


def read_rows(path: Path, schema: pa.Schema) -> Iterator[dict[str, Any]]:
    """The rows of a table of ours, a batch in memory at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=schema.names):
            yield from batch.to_pylist()


def short_digest(text: str) -> str:
    """16 characters that name a text."""
    return xxh3_128_hexdigest(text.encode())[:16]

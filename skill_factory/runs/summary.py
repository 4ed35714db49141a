"""What a run tells of asking: what it will take, what is asked anew, and what has become of it."""

from __future__ import annotations

from collections.abc import Iterator

from skill_factory.asking.batch_files import Written
from skill_factory.asking.estimates import Estimate
from skill_factory.asking.missing_samples import Part
from skill_factory.asking.requests import Ask
from skill_factory.asking.tally import Tally
from skill_factory.stages.settings import ModelConfig


def of_estimate(about: Estimate, config: ModelConfig) -> str:
    """What asking will take, in lines."""
    most = about.completion_tokens
    limit = "no limit on" if most is None else f"at most {most:,}"
    parts = [f"{about.samples:,} samples to ask for in {about.requests:,} requests"]
    parts += [f"{about.had:,} are in the journal", *_left_out(about)]
    tokens = f"about {about.prompt_tokens:,} prompt tokens, {limit} completion tokens"
    lines = [f"{', '.join(parts)}; {tokens}{_cost(about, config)}"]
    lines += [f"  {count:,} of them anew, because {why}" for why, count in _reasons(about)]
    return "\n".join(lines)


def of_nothing_to_ask(about: Estimate) -> str:
    """Why nothing is asked for."""
    if about.total == 0:
        return "nothing to ask"
    parts = [f"{about.had:,} samples are in the journal", *_left_out(about)]
    return f"nothing to ask, {', '.join(parts)}"


def of_written(written: Written) -> str:
    """What a file for a batch service asks for."""
    left_out = [f"{written.had:,} are in the journal", *_left_out(written)]
    return f"{written.requests:,} requests for {written.samples:,} samples; {', '.join(left_out)}"


def _left_out(about: Estimate | Written) -> Iterator[str]:
    """The samples that are neither asked for nor in the journal."""
    if about.twice:
        yield f"{about.twice:,} are of prompts that stand there twice"
    if about.refused:
        yield f"{about.refused:,} were refused before and are left out (--retry-refused asks again)"


def _cost(about: Estimate, config: ModelConfig) -> str:
    """What it costs at most; prices are of a million tokens."""
    most, prices = about.completion_tokens, (config.prompt_price, config.completion_price)
    if most is None or prices == (None, None):
        return ""
    cost = about.prompt_tokens * (prices[0] or 0) + most * (prices[1] or 0)
    return f", at most about {cost / 1e6:,.2f}"


def _reasons(about: Estimate) -> Iterator[tuple[str, int]]:
    """Why samples are asked for anew, with their number; most of them first."""
    for parts, count in about.anew.most_common():
        yield f"{' and '.join(parts)} changed", count


def of_asked_before(about: Estimate, identity: str | None, at_most: bool) -> str:
    """That samples would be asked for anew, and what to add; `identity` is the one of the model
    that was asked before, None: not known. `at_most`: there may be fewer."""
    reasons = ", ".join(f"{count:,} because {why}" for why, count in _reasons(about))
    said = [
        f"{'at most ' if at_most else ''}{about.anew.total():,} samples would be asked for anew, "
        "though the journal has answers to what was asked before, or a file of requests asks for "
        f"them: {reasons}."
    ]
    if any(Part.MODEL in parts for parts in about.anew):
        known = repr(identity) if identity else "and what it was known by, its address and name"
        said.append(f"If the same model has moved, add --identity {known}.")
    said.append(
        "To ask anew, add --ask-again. In a config both are keys of `model`: identity, ask_again"
    )
    return " ".join(said)


def of_tally(tally: Tally) -> list[str]:
    """What has become of what was asked, in lines."""
    cost = f", cost {tally.cost:,.2f}" if tally.cost is not None else ""
    lines = [
        f"{tally.answered:,} answered, {tally.failed:,} failed; {tally.prompt_tokens:,} prompt and "
        f"{tally.completion_tokens:,} completion tokens in {tally.seconds:,.0f} s{cost}"
    ]
    for trouble, count in tally.troubles.most_common():
        lines.append(f"  sent again because of {trouble}: {count:,}")
    refused = tally.refused.total()
    if tally.failed > refused:
        lines.append(
            f"Note: {tally.failed - refused:,} samples failed and are asked for by the next "
            f"run; the last: {tally.last_failure}"
        )
    for reason, count in tally.refused.most_common():
        lines.append(f"  {reason}: {count:,}")
    if refused:
        lines.append(
            f"Note: {refused:,} samples were refused, and are asked for again with "
            f"--retry-refused only; the last: {tally.last_refusal}"
        )
    return lines


def of_prompt(ask: Ask) -> str:
    """A prompt for a person."""
    lines = [f"--- {' '.join(ask.name)}"]
    lines += [f"[{message['role']}]\n{message['content']}" for message in ask.messages]
    return "\n".join(lines)

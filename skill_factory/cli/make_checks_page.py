"""Print docs/checks.md: `python -m skill_factory.cli.make_checks_page > docs/checks.md`."""

from __future__ import annotations

import re
import textwrap

from skill_factory.checks import figures, leakage, wording
from skill_factory.checks.codes import CODES
from skill_factory.core.terminal import echo

_ABOUT = """\
# Checks

What `skill-factory check` looks for. This page is made from the code:
`python -m skill_factory.cli.make_checks_page > docs/checks.md`; `skill-factory list checks` shows
the same.

```bash
cp examples/data/smollm2_arithmetic_reflections.parquet annotated.parquet
skill-factory create -i annotated.parquet -o ./checked --attempts 3
skill-factory check ./checked
skill-factory check ./checked/sft_train --against annotated.parquet --ignore shared-question
```

It reads an SFT folder beside its plan and its input, or any chats with the same tags: a file, a
folder of files, or a dataset on the Hub with the column `conversations` or `messages` (`role` and
`content`, or `from` and `value`). Chats have no plan. So what is true of an attempt is not known
there, and only what their texts and columns say is looked at: rewards need `answer` or
`ground_truth`, and `task_source` or `data_source`, or `--task`.

- An **error** must be mended: the exit code is 1. A **warning** is to be looked at: the exit code
  is 1 only with `--strict`. A **note** tells how the data is.
- `--ignore CODE` leaves a code out, by its id or its name. `--json` prints all of it, with the ids
  of all traces; the ids and names of codes stay the same from version to version.
- A trace with an error of structure is looked at no further.
- `create` looks at structure as it weaves, and makes nothing where it finds an error: at all traces
  for empty turns, missing blocks and answers; the first of each label in a batch is read back.
  `--no-check` turns this off."""

_RULES = f"""\
phrase-share: in more than {wording.PHRASE_SHARE:.0%} of the traces, where there are \
{wording.FEW_TRACES} or more.
copied-reflection: the same reflection, of {wording.LONG_REFLECTION} characters or more, on \
attempts at two questions.
contradicts-verdict, given-answer, gold-leak, glue-doubtful: the words are those of \
[words.yaml](../skill_factory/checks/words.yaml). A sentence with a word that may take it back, as \
"if" and "but", says nothing. A gold answer that stands behind `=` was worked out, and is no leak.
shared-question: the same text but for case, spacing and punctuation at its ends; Countdown's \
numbers and target, letters and length; a stem with the same choices in any order.
near-copy: over {leakage.OVERLAP:.0%} of the words of the other set's question lie in runs of \
{leakage.GRAM} words that it shares with one of ours, the rule of Tulu 3 (arXiv 2411.15124, \
section 3.2) with the words and the longest runs of GPT-3's check (arXiv 2005.14165, appendix C). \
Ours: runs in more than {leakage.COMMON} questions of one set are a template and do not count; \
shorter questions, and those that a task knows by a key, are not compared so.
verdicts-by-chance: balanced accuracy below {figures.CHANCE}; 0.5 is chance.
one-sided-filter: the shares of right and of wrong attempts that lose all reflections differ by \
more than {figures.ONE_SIDED:.0%}.
right-at-once: over {figures.AT_ONCE:.0%} of the traces. one-verdict: over \
{figures.ONE_VERDICT:.0%} of the verdicts. other-difficulty: pass rates that differ by more than \
{figures.OTHER_DIFFICULTY:.0%}."""

_GROUPS = {
    "S": "Structure",
    "W": "Wording",
    "V": "Verdicts against the truth",
    "B": "Balance",
    "L": "Leakage",
    "R": "Rewards",
    "T": "Training, with --tokenizer",
}


def page() -> str:
    """The page, as Markdown."""
    parts = [_ABOUT]
    for letter, title in _GROUPS.items():
        rows = [
            f"| `{code.id}` `{code.name}` | {code.severity.value} | {_plain(code.about)} | "
            f"{_plain(code.advice)} |"
            for code in CODES.values()
            if code.id.startswith(letter)
        ]
        head = ["| code | severity | what it means | what to do |", "|---|---|---|---|"]
        parts.append("\n".join([f"## {title}", "", *head, *rows]))
    rules = (
        textwrap.fill(f"- {rule}", 110, subsequent_indent="  ") for rule in _RULES.splitlines()
    )
    return "\n\n".join([*parts, "## The rules behind some of them", "\n".join(rules)]) + "\n"


def _plain(text: str) -> str:
    """A text whose tags Markdown shows."""
    return re.sub(r"(<\w+>)", r"`\1`", text)


if __name__ == "__main__":
    echo(page().rstrip("\n"))

"""The codes that need more than chats have, a plan, the input, a tokenizer or other sets: each has
a fault that it finds, and a near miss that it leaves alone."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import test_codes
from chats import check, found
from conftest import REFLECTION, Row, attempt, run, write_rows, write_tokenizer

from skill_factory.checks.codes import CODES

Made = Callable[[Path], tuple[Path, list[str]]]
"""Makes what is checked, in a folder, and gives it with options."""


def spoil_folder(folder: Path, spoil: Callable[[Row, Row], Any]) -> Path:
    """Change the first trace of a folder, or its plan, as if it had been written so."""
    (path,) = folder.glob("sft_train/*.parquet")
    files = (path, folder / "plan.parquet")
    tables = [pq.read_table(file) for file in files]
    rows = [table.to_pylist() for table in tables]
    spoil(rows[0][0], rows[1][0])
    for table, changed, file in zip(tables, rows, files, strict=True):
        pq.write_table(pa.Table.from_pylist(changed, schema=table.schema), file)
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, said in manifest["output"]["files"].items():
        content = (folder / name).read_bytes()
        said |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def rows(questions: int, right: int = 2, wrong: int = 2) -> list[Row]:
    """Annotated rows: so many questions, each with so many right and wrong attempts."""
    return [
        attempt(n, n < right, f"What is {q} + 4 - {q}?", task_source="addition")
        for q in range(questions)
        for n in range(right + wrong)
    ]


def folder(place: Path, data: list[Row], *options: str) -> Path:
    """An SFT folder of rows."""
    write_rows(place / "rows.parquet", data, None)
    options = options or ("--attempts", "3")
    done = run("-i", place / "rows.parquet", "-o", place / "sft", *options)
    assert done.code == 0, done.err
    return place / "sft"


def verdicts(data: list[Row], said: Callable[[int, bool], str]) -> list[Row]:
    """Rows with other verdicts: of reflection i on an attempt that is right or not."""
    right = f"{REFLECTION.removesuffix('_reflection')}__eval_is_correct"
    for row in data:
        (correct,) = row[right]
        row[REFLECTION] = [
            f"Look {i}.\n<verdict>{said(i, correct)}</verdict>" for i in range(len(row[REFLECTION]))
        ]
    return data


def truth(correct: bool) -> str:
    return "Correct" if correct else "Incorrect"


def with_glue(phrase: str) -> Made:
    """A folder whose first trace says this after an incorrect attempt."""

    def spoil(row: Row, plan: Row) -> None:
        said = row["conversations"][1]["content"]
        head, _, rest = said.partition("</reflect>\n")
        assert "Incorrect" in head
        row["conversations"][1]["content"] = (
            f"{head}</reflect>\n{phrase}\n{rest.partition(chr(10))[2]}"
        )

    def made(place: Path) -> tuple[Path, list[str]]:
        data = rows(1, right=1, wrong=1)
        return spoil_folder(folder(place, data, "--attempts", "2", "--formats", "*C"), spoil), []

    return made


def changed(spoil: Callable[[Row, Row], Any], *options: str) -> Made:
    return lambda place: (spoil_folder(folder(place, rows(3)), spoil), list(options))


def plain(data: Callable[[], list[Row]], *create: str) -> Made:
    return lambda place: (folder(place, data(), *create), [])


def against(sets: list[Row], data: Callable[[], list[Row]] = lambda: rows(3)) -> Any:
    """A folder, and a set of questions that it must not share."""

    def made(place: Path) -> tuple[Path, list[str]]:
        write_rows(place / "other.jsonl", sets, None)
        return folder(place, data()), ["--against", str(place / "other.jsonl")]

    return made


def renamed(place: Path) -> tuple[Path, list[str]]:
    made = folder(place, rows(3))
    (place / "rows.parquet").rename(place / "gone.parquet")
    return made, []


def moved(place: Path) -> tuple[Path, list[str]]:
    """A folder that was moved with its input beside it."""
    made = folder(place, rows(3))
    (place / "there").mkdir()
    (place / "rows.parquet").rename(place / "there" / "rows.parquet")
    shutil.move(made, place / "there" / "sft")
    return place / "there" / "sft", []


def answered(text: str) -> Callable[[Row, Row], None]:
    def spoil(row: Row, plan: Row) -> None:
        head, _, _ = row["conversations"][1]["content"].rpartition("<answer>")
        row["conversations"][1]["content"] = f"{head}<answer>\n{text}\n</answer>"

    return spoil


def graded_by(code: str, *create: str) -> Made:
    """A folder, and a task of one's own that grades it."""

    def made(place: Path) -> tuple[Path, list[str]]:
        file = place / "lenient.py"
        file.write_text("from skill_factory.tasks import Task\n" + code)
        return folder(place, rows(3), "--attempts", "3", *create), ["--task", f"{file}:task"]

    return made


LENIENT = "task = Task('lenient{}', lambda answer, gold, facts: {} in answer)\n"


def countdown(numbers: list[int], target: int, text: str) -> Row:
    return {
        "question": text,
        "answer": " + ".join(map(str, numbers)),
        "task_source": "countdown",
        "metadata": json.dumps({"numbers": numbers, "target": target}),
    }


def puzzles(made: Callable[[], Row]) -> Callable[[], list[Row]]:
    """Attempts at one question."""

    def data() -> list[Row]:
        question = made()
        value = question["answer"]
        found = []
        for n in range(4):
            row = attempt(n, n < 2) | question
            said = value if n < 2 else f"{value} + 1"
            row["model_responses__mutated_prompts"] = [f"{n}: <answer>{said}</answer>"]
            row["model_responses__mutated_prompts__eval_extracted_answers"] = [said]
            found.append(row)
        return found

    return data


STORY = (
    "Anna carries seven baskets with nine green apples each up the steep hill to the old mill, "
    "where her brother eats {} of them. How many apples are left for the miller in the end?"
)


def story(text: str) -> Row:
    return {"question": text, "answer": "59", "task_source": "gsm8k"}


def choice(question: str, *options: str) -> Row:
    lines = [f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=False)]
    return {"question": "\n".join([question, *lines]), "answer": "A", "task_source": "choice"}


def tokens(*options: str) -> Made:
    def made(place: Path) -> tuple[Path, list[str]]:
        write_tokenizer(place / "model")
        return folder(place, rows(3)), ["--tokenizer", str(place / "model"), *options]

    return made


def special(word: str) -> Made:
    def made(place: Path) -> tuple[Path, list[str]]:
        folder_, options = tokens()(place)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            path = place / "model" / name
            path.write_text(path.read_text().replace("<|endoftext|>", word))
        return folder_, options

    return made


def with_template(content: str) -> Made:
    """A folder, and a tokenizer whose chat template writes this for a turn's content."""

    def made(place: Path) -> tuple[Path, list[str]]:
        folder_, options = tokens()(place)
        turns = "{% for m in messages %}{{ m.role }}: " + content + "\n{% endfor %}"
        (place / "model" / "chat_template.jinja").write_text(turns)
        return folder_, options

    return made


class Case(NamedTuple):
    """What makes a folder, with options for `check`, in which `code` is found, and one in which it
    is not."""

    code: str
    planted: Made
    near: Made


CASES = [
    Case(
        "W01",
        with_glue(
            "I believe this answer. Let me see whether another route leads to the same place."
        ),
        with_glue("This answer is wrong. Let me take another approach."),
    ),
    Case(
        "W03",
        with_glue("Let me try again from the top. Wait, let me redo this."),
        with_glue("Let me try again from the top."),
    ),
    Case("V01", renamed, moved),
    Case(
        "V02",
        plain(lambda: verdicts(rows(25), lambda i, right: ["Correct", "Incorrect"][i % 2])),
        plain(lambda: verdicts(rows(25), lambda i, right: truth(right if i else not right))),
    ),
    Case(
        "V03",
        plain(lambda: verdicts(rows(40), lambda i, right: "Correct"), "--attempts", "1"),
        plain(lambda: verdicts(rows(40), lambda i, right: truth(right if i else not right))),
    ),
    Case(
        "B03",
        plain(lambda: rows(20, right=3, wrong=0), "--attempts", "2"),
        plain(lambda: rows(20, right=3, wrong=1), "--attempts", "2"),
    ),
    Case(
        "B04",
        plain(lambda: [*rows(20), attempt(0, False, "Unsolved?", task_source="addition")]),
        plain(lambda: rows(20)),
    ),
    Case(
        "B05",
        plain(
            lambda: (
                rows(20)
                + [attempt(0, False, f"Unsolved {n}?", task_source="addition") for n in range(10)]
            )
        ),
        plain(lambda: [*rows(20), attempt(0, False, "Unsolved?", task_source="addition")]),
    ),
    Case(
        "L01",
        against([{"question": "  what is 1 + 4 - 1"}]),
        against([{"question": "What is 11 + 4 - 1?"}]),
    ),
    Case(
        "L01",
        against(
            [countdown([5, 3, 8], 16, "Make 16 of 8, 5 and 3.")],
            puzzles(lambda: countdown([3, 5, 8], 16, "Use 3, 5, 8 to reach 16.")),
        ),
        against(
            [countdown([5, 3, 9], 17, "Use 3, 5, 9 to reach 17.")],
            puzzles(lambda: countdown([3, 5, 8], 16, "Use 3, 5, 8 to reach 16.")),
        ),
    ),
    Case(
        "L01",
        against(
            [choice("Which one swims?", "a cat", "a whale", "a crow")],
            puzzles(lambda: choice("Which one swims?", "a whale", "a crow", "a cat")),
        ),
        against(
            [choice("Which one flies?", "a cat", "a whale", "a crow")],
            puzzles(lambda: choice("Which one swims?", "a whale", "a crow", "a cat")),
        ),
    ),
    Case(
        "L02",
        against([story(STORY.format("four"))], puzzles(lambda: story(STORY.format("three")))),
        against(
            [story(STORY.split(", where")[0] + ". How heavy are they, if one is 150 g, and why?")],
            puzzles(lambda: story("Long ago, " + STORY.split("steep ")[1])),
        ),
    ),
    Case("R01", changed(answered("5")), changed(answered("4.0"))),
    Case(
        "R01", changed(lambda row, plan: plan.update(ground_truth="1000")), changed(lambda *_: None)
    ),
    Case(
        "R02",
        graded_by(LENIENT.format("_2", "''"), "--formats", "random"),
        graded_by(LENIENT.format("_1", "'4'"), "--formats", "random"),
    ),
    Case("R03", graded_by(LENIENT.format("_3", "''")), graded_by(LENIENT.format("_4", "'4'"))),
    Case(
        "R04",
        changed(lambda row, plan: plan.update(ground_truth=None)),
        changed(lambda row, plan: plan.update(data_source="gsm8k")),
    ),
    Case("T01", tokens("--cutoff-len", "100"), tokens("--cutoff-len", "1000")),
    Case("T02", special("Attempt 0: it is 4"), special("<|endoftext|>")),
    Case(
        "T03",
        with_template("{{ m.content.split('</think>')[-1] }}"),
        with_template("{{ m.content }}"),
    ),
    Case("T04", tokens(), lambda place: (folder(place, rows(3)), [])),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=[case.code for case in CASES])
def test_a_planted_fault_is_found_and_a_near_miss_left_alone(case: Case, tmp_path: Path) -> None:
    for name, make in (("planted", case.planted), ("near", case.near)):
        place = tmp_path / name
        place.mkdir()
        what, options = make(place)
        codes = found(check(what, "--json", *options))
        assert (case.code in codes) == (name == "planted"), (name, codes)


def test_every_code_has_a_case() -> None:
    cases = [case.code for case in CASES] + [case.code for case in test_codes.CASES]
    assert set(cases) == set(CODES)

"""The settings of `measure` and `compare`: how responses are read, and what is written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from skill_factory.core.places import Place
from skill_factory.core.settings.fields import Section, SettingError, Settings
from skill_factory.core.settings.value_types import Between, KnownTask, Workers

PAGE = ".html"
"""How the name of a page ends."""

_FILES, _QUESTIONS = Section("The files"), Section("Questions and gold answers")
_MEASURING, _OUTPUT = Section("Measuring"), Section("Output")


def _pattern(text: Any) -> Any:
    from skill_factory.measure.rules import check_pattern  # heavy, and --help does not need it

    return check_pattern(text)


class ReadingSettings(Settings):
    """How responses are read and measured."""

    format: Literal["columns", "verl", "trl", "lm-eval", "inspect", "batch"] | None = _FILES(
        None, "What wrote the files.", unset="by their content"
    )
    question_column: str | None = _FILES(
        None, "Column of the question.", unset="question, problem, prompt or input", metavar="NAME"
    )
    response_column: str | None = _FILES(
        None,
        "Column of the response: a text, messages, or a list of texts.",
        unset="response, completion, output or generation",
        metavar="NAME",
    )
    model_column: str | None = _FILES(
        None, "Column that names the model.", unset="model", metavar="NAME"
    )
    step_column: str | None = _FILES(
        None, "Column of the training step.", unset="step or global_step", metavar="NAME"
    )
    model: str | None = _FILES(None, "Name of the model.", unset="as the files say", metavar="NAME")
    question_set: str | None = _FILES(
        None, "Name of the questions.", unset="the task, or the file's name", metavar="NAME"
    )
    requests: Path | None = _FILES(None, "Requests that `vllm run-batch` answered.", metavar="FILE")
    task: KnownTask | None = _QUESTIONS(
        None, "Task of all questions.", unset="what the files say", metavar="NAME"
    )
    questions: str | None = _QUESTIONS(
        None,
        "Questions with gold answers; joined by their text, or by --index-column.",
        metavar="PATH|REPO",
    )
    index_column: str | None = _QUESTIONS(
        None, "Column with the question's row in --questions, from 0.", metavar="NAME"
    )
    answer_column: str | None = _QUESTIONS(
        None,
        "Column of the gold answer.",
        unset="answer, ground_truth, gold or target",
        metavar="NAME",
    )
    task_column: str | None = _QUESTIONS(
        None, "Column of the task.", unset="task_source or data_source", metavar="NAME"
    )
    facts_column: str | None = _QUESTIONS(
        None, "Column of the grader's facts.", unset="metadata or extra_info", metavar="NAME"
    )
    correctness_column: str | None = _QUESTIONS(
        None, "Column that says whether a response is right; it is not graded.", metavar="NAME"
    )
    answer_pattern: Annotated[str | None, _pattern] = _MEASURING(
        None,
        "Answer of a response without <answer> tags: boxed, hashes, number, or a regular "
        "expression whose last match's first group it is.",
        unset="none",
        metavar="REGEX",
    )
    sft: tuple[Path, ...] = _MEASURING(
        (), "Look for the phrases of this SFT folder; again for more.", metavar="DIR"
    )
    word_rules: Path | None = _MEASURING(
        None, "YAML file of word rules.", unset="built in", metavar="FILE"
    )
    draws: Annotated[int, Between(100, 100_000)] = _MEASURING(
        1000, "Draws of questions for an interval."
    )
    seed: int = _MEASURING(0, "Which draws those are.")
    workers: Workers | None = _MEASURING(None, "Processes that read and grade.", unset="the cores")

    def __post_init__(self) -> None:
        if self.index_column and not self.questions:
            raise SettingError(("index_column",), "is a row of --questions, which is not given")


class MeasureSettings(ReadingSettings):
    """What `measure` reads and where it writes."""

    output: Place = _OUTPUT.required("Folder for what is measured.", metavar="DIR", short="-o")
    overwrite: bool = _OUTPUT(False, "Replace the folder.")


class CompareSettings(ReadingSettings):
    """How models are compared, and what is printed."""

    merge_seeds: bool = _MEASURING(
        False,
        "Folders whose names differ in the number at their end alone are seeds of one model: one "
        "column.",
    )
    paper: (
        Literal["countdown_3arg", "countdown_4arg", "gsm8k", "csqa", "countdown_4_to_6arg"] | None
    ) = _OUTPUT(None, "Put the paper's own figures beside.")
    measures: Literal["main", "all"] = _OUTPUT("main", "Which measures are shown.")
    examples: Annotated[int, Between(0, 100)] | None = _OUTPUT(
        None,
        "Questions to show that one got right and another did not, of each kind.",
        unset="none, 5 in a page",
    )
    json: bool = _OUTPUT(False, "Print JSON.")
    markdown: bool = _OUTPUT(False, "Print Markdown.")
    latex: bool = _OUTPUT(False, "Print LaTeX.")
    output: Place | None = _OUTPUT(
        None, "Write to this file: .html, a page, .json, .md or .tex.", metavar="FILE", short="-o"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.json + self.markdown + self.latex > 1:
            raise SettingError(("json",), "choose one of --json, --markdown and --latex")
        if self.output and self.output.suffix not in (PAGE, ".json", ".md", ".tex"):
            raise SettingError(
                ("output",), f"expected a .html, .json, .md or .tex file: {self.output}"
            )

    @property
    def is_page(self) -> bool:
        """Whether the file is a page, which has all measures."""
        return self.output is not None and self.output.suffix == PAGE

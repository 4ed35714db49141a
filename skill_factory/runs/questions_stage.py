"""The questions of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from skill_factory.core.ledger import account_table
from skill_factory.core.whole_files import new_file
from skill_factory.errors import OptionError
from skill_factory.runs.context import Context
from skill_factory.runs.fingerprint import code_of, files_at
from skill_factory.runs.folder import Stage
from skill_factory.runs.stage import Made, as_dicts
from skill_factory.stages.questions.making import make_questions
from skill_factory.stages.settings import QuestionsConfig


class QuestionsStage:
    """Makes questions.parquet."""

    stage = Stage.QUESTIONS

    def __init__(self, context: Context) -> None:
        self._context = context

    def settings(self) -> Any:
        """As `StageOfRun` has it: a local dataset's files belong to it, and code of the user's
        own."""
        asked = self._context.config.questions
        source = asked.source if asked and asked.kind == "dataset" else None
        code = code_of(asked.source, asked.task) if asked else []
        return asked and [asked.model_dump(), files_at(source), *code]

    def make(self) -> Made:
        """As `StageOfRun` has it. Raises `OptionError` if the settings name no questions."""
        made = make_questions(self._asked())
        with new_file(self._context.folder.path(self.stage)) as part:
            pq.write_table(made.table, part, compression="zstd")
        accounts = {"questions": made.account}
        self._context.tell_made(self.stage, accounts, made.notes)
        return Made(as_dicts(accounts))

    def preview(self, target: Path) -> None:
        """Write the questions elsewhere, and tell what would become of them."""
        made = make_questions(self._asked())
        pq.write_table(made.table, target)
        self._context.say(
            f"questions: would be written to {self._context.folder.path(self.stage)}\n"
            f"{account_table({'questions': made.account})}"
        )
        for note in made.notes:
            self._context.say(f"Note: {note}")

    def _asked(self) -> QuestionsConfig:
        if self._context.config.questions is None:
            raise OptionError(
                "there are no questions: name them under the key `questions` of the config, or "
                "begin with an annotated dataset: `skill-factory create`"
            )
        return self._context.config.questions

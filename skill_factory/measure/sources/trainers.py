"""What trainers write of their rollouts: verl's dumps, TRL's completions.

verl (0.9.1, trainer/ppo/ray_trainer.py, `_write_generations`; the same since 0.4): a file
`STEP.jsonl` a step in `trainer.rollout_data_dir` or `trainer.validation_data_dir`, with `input`,
`output`, `gts` (the gold answer; null: the data has none), `score`, `step` and what the reward
function gave besides. `input` is the whole prompt, decoded without special tokens.

TRL (1.16.0, trainer/grpo_trainer.py, `log`): a file `completions/completions_STEP.parquet` a step
with `log_completions`, with `step`, `prompt`, `completion` (texts or messages), a column a reward
function, those of `log_extra`, and `advantage`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from skill_factory.measure.sources.columns import choose_columns
from skill_factory.measure.sources.responses import (
    ColumnNames,
    FoundResponse,
    rows_of,
    text_of,
    user_text,
    whole_number,
)


def read_verl(path: Path, names: ColumnNames) -> Iterator[FoundResponse]:
    """The responses of a verl dump."""
    for row in rows_of(path):
        yield FoundResponse(
            text_of(row.get("output")) or "",
            question=text_of(row.get(names.question)) if names.question else None,
            prompt=text_of(row.get("input")),
            gold=row.get(names.answer or "gts"),
            task=text_of(row.get(names.task or "data_source")),
            facts=row.get(names.facts or "extra_info"),
            model=text_of(row.get(names.model)) if names.model else None,
            step=whole_number(row.get(names.step or "step")),
            row=row.get(names.row) if names.row else None,
            correct=row.get(names.correctness) if names.correctness else None,
        )


def read_trl(path: Path, names: ColumnNames) -> Iterator[FoundResponse]:
    """The completions of a TRL log."""
    chosen: ColumnNames | None = None
    for row in rows_of(path):
        if chosen is None:
            own = {"question": "prompt", "response": "completion"}
            given = {role: name for role, name in names._asdict().items() if name is not None}
            chosen = choose_columns(path, row, ColumnNames(**(own | given)))
        asked = row[str(chosen.question)]
        yield FoundResponse(
            text_of(row[str(chosen.response)]) or "",
            question=user_text(asked),
            prompt=asked if isinstance(asked, str) else None,
            gold=row.get(chosen.answer or ""),
            task=text_of(row.get(chosen.task or "")),
            facts=row.get(chosen.facts or ""),
            model=text_of(row.get(chosen.model or "")),
            step=whole_number(row.get(chosen.step or "")),
            row=row.get(chosen.row or ""),
            correct=row.get(chosen.correctness or ""),
        )

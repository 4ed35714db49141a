"""Which columns of an annotated dataset are read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Columns:
    """Names of the columns that step 2 reads; the defaults are the released reflection datasets'.

    `gold`, `task` and `facts` are read where they are there, for rewards and checks. Any other
    column is left alone.
    """

    question: str = "question"
    variant: str = "prompt_variant"
    response: str = "model_responses__mutated_prompts"
    correctness: str = "model_responses__mutated_prompts__eval_is_correct"
    extracted_answer: str = "model_responses__mutated_prompts__eval_extracted_answers"
    reflection: str = "model_responses__mutated_prompts_reflection"
    gold: str = "answer"
    task: str = "task_source"
    facts: str = "metadata"


COLUMN_OPTIONS = {
    "question": "--question-column",
    "variant": "--variant-column",
    "response": "--response-column",
    "correctness": "--correctness-column",
    "extracted_answer": "--extracted-answer-column",
    "reflection": "--reflection-column",
}
"""Which option names which column that must be there."""

LIST_ROLES = ("response", "correctness", "extracted_answer", "reflection")
"""The columns that may hold lists."""

OPTIONAL_COLUMNS = {
    "gold": "--answer-column",
    "task": "--task-column",
    "facts": "--facts-column",
}
"""Which option names which column that need not be there."""

"""The names of columns: those of our tables, and those of a dataset that is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


class Column:
    """Names of the columns of our tables; `core.tables` has their types."""

    QUESTION: Final = "question"
    GOLD: Final = "answer"
    TASK: Final = "task_source"
    FACTS: Final = "metadata"

    VARIANT: Final = "prompt_variant"
    SAMPLE: Final = "sample"
    RESPONSE: Final = "response"
    FINISH_REASON: Final = "finish_reason"
    COMPLETION_TOKENS: Final = "completion_tokens"
    TEXT_ALONE: Final = "text_alone"
    GRADE: Final = "grade"
    EXTRACTED_ANSWER: Final = "extracted_answer"

    # of responses that are measured
    QUESTION_SET: Final = "question_set"
    MODEL: Final = "model"
    STEP: Final = "step"

    # of the released reflection datasets
    RESPONSES: Final = "model_responses__mutated_prompts"
    CORRECTNESS: Final = "model_responses__mutated_prompts__eval_is_correct"
    EXTRACTED_ANSWERS: Final = "model_responses__mutated_prompts__eval_extracted_answers"
    REFLECTION: Final = "model_responses__mutated_prompts_reflection"
    REFLECTION_SAMPLES: Final = "reflection_samples"

    # of valid attempts
    QUESTION_ID: Final = "question_id"
    ATTEMPT_ID: Final = "attempt_id"
    ROW: Final = "row"
    ATTEMPT: Final = "attempt"
    CORRECT: Final = "correct"
    REFLECTIONS: Final = "reflections"
    REFLECTION_NUMBERS: Final = "reflection_numbers"

    # of SFT datasets and their plans
    CONVERSATIONS: Final = "conversations"
    MESSAGES: Final = "messages"
    LABEL: Final = "sft_template_type_idx"
    TRACE_ID: Final = "trace_id"
    STEPS: Final = "steps"
    ANSWER_OF: Final = "answer_of"
    DATA_SOURCE: Final = "data_source"
    GROUND_TRUTH: Final = "ground_truth"
    EXTRA_INFO: Final = "extra_info"


@dataclass(frozen=True)
class Columns:
    """Names of the columns that step 2 reads; the defaults are the released reflection datasets'.

    `gold`, `task` and `facts` are read where they are there, for rewards and checks. Any other
    column is left alone.
    """

    question: str = Column.QUESTION
    variant: str = Column.VARIANT
    response: str = Column.RESPONSES
    correctness: str = Column.CORRECTNESS
    extracted_answer: str = Column.EXTRACTED_ANSWERS
    reflection: str = Column.REFLECTION
    gold: str = Column.GOLD
    task: str = Column.TASK
    facts: str = Column.FACTS


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

"""SkillFactory: prime a language model with retry, reflect and verify, on traces made of its own
text.

    import skill_factory as sf

    questions = sf.questions("countdown", count=100)
    run = sf.run("configs/small.yaml", "outputs/x", samples=4)
    made = sf.create("annotated.parquet", "./sft", attempts=5)

The functions are those of `skill_factory.api`, imported when they are first used.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.3.0"

if TYPE_CHECKING:
    from skill_factory.api import (
        SFT,
        Run,
        check,
        compare,
        create,
        diff,
        evaluate,
        explain,
        grade,
        measure_files,
        push,
        questions,
        report,
        run,
        traces,
        verify,
    )
    from skill_factory.errors import SkillFactoryError

__all__ = [
    "SFT",
    "Run",
    "SkillFactoryError",
    "__version__",
    "check",
    "compare",
    "create",
    "diff",
    "evaluate",
    "explain",
    "grade",
    "measure_files",
    "push",
    "questions",
    "report",
    "run",
    "traces",
    "verify",
]


def __getattr__(name: str) -> Any:
    """A function of the API (PEP 562): nothing heavy is imported until it is used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from skill_factory import api, errors

    return getattr(errors if name == "SkillFactoryError" else api, name)


def __dir__() -> list[str]:
    return sorted(__all__)

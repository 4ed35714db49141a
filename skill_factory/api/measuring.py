"""From Python: `evaluate`, `measure_files`, `compare`, `grade`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skill_factory.api.common import PathLike, disk
from skill_factory.core.copies import all_fetched
from skill_factory.core.places import Place, place
from skill_factory.errors import InputError, OptionError
from skill_factory.tasks import Grade

if TYPE_CHECKING:
    from skill_factory.measure.comparison import Comparison
    from skill_factory.measure.figures import Measured
    from skill_factory.measure.files import MeasuredFiles


def evaluate(
    questions: PathLike | Iterable[PathLike],
    folder: PathLike,
    *,
    model: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = print,
    **settings: Any,
) -> list[Measured]:
    """Ask a model questions and measure what it answers: `skill-factory evaluate`. The figures of
    each set; `folder` has the responses and all figures.

    `questions` are sets, as the command takes them. `model` has the settings of the config's key
    `model` (`{"base_url": ..., "name": ...}`), `settings` are the command's other options. What is
    in the folder is gone on with. `progress` takes each line that is told; None: nothing is. Raises
    `SkillFactoryError`s.
    """
    from skill_factory.measure.evaluate import Evaluation
    from skill_factory.measure.evaluate_settings import EvaluateConfig
    from skill_factory.runs.config import load_settings
    from skill_factory.runs.keywords import as_texts

    sets = [questions] if isinstance(questions, str | Path) else questions
    asked = as_texts(settings) | {"questions": [str(one) for one in sets]}
    given = {"evaluate": asked, "model": as_texts(model or {})}
    with disk():
        config = load_settings(EvaluateConfig, None, given)
        return Evaluation(Path(folder), config, progress or (lambda line: None)).go()


def measure_files(
    files: PathLike | Iterable[PathLike], output: PathLike, **settings: Any
) -> MeasuredFiles:
    """Measure responses that are there: `skill-factory measure`. `output` is the folder for what is
    measured; what is returned has the figures as `groups`. Settings are the command's options.
    Raises `SkillFactoryError`s, as the command does."""
    from skill_factory.core.settings.checking import checked
    from skill_factory.measure import files as measuring
    from skill_factory.measure.settings import MeasureSettings
    from skill_factory.runs.keywords import as_texts

    asked = checked(MeasureSettings, as_texts(settings | {"output": output}))
    with disk(), all_fetched(_places(files)) as here:
        return measuring.measure_files(here, asked)


def compare(models: PathLike | Iterable[PathLike], **settings: Any) -> Comparison:
    """Compare models, a column each: `skill-factory compare`. Each is a measured folder, or a file
    that `measure_files` takes. Settings are the command's options; `output` is a file to write it
    to, as its name says. Raises `SkillFactoryError`s, as the command does."""
    from skill_factory.core.settings.checking import checked
    from skill_factory.look.report.build import write_comparison
    from skill_factory.measure import compare as comparing
    from skill_factory.measure.settings import CompareSettings
    from skill_factory.runs.keywords import as_texts

    if shown := {"json", "markdown", "latex"} & settings.keys():
        raise OptionError(
            f"{min(shown)}: is for the command; see what is returned, or name an output"
        )
    asked = checked(CompareSettings, as_texts(settings))
    with disk(), all_fetched(_places(models)) as here:
        found = comparing.compare(here, asked)
        if asked.output is not None:
            write_comparison(found, asked.output)
        return found


def _places(given: PathLike | Iterable[PathLike]) -> list[Place]:
    """One place, or several."""
    return list(map(place, [given] if isinstance(given, str | Path) else given))


def grade(task: str, answer: str, gold: Any, facts: Mapping[str, Any] | None = None) -> Grade:
    """Whether an answer is right, wrong or undecided. `gold` is the gold answer as a dataset has
    it, `facts` what the task needs besides (Countdown: `numbers`, `target`).

    Raises `TaskError` for a task that is not known, `InputError` for a gold answer that cannot be
    read.
    """
    from skill_factory.tasks import gold_of, graded, load_task, settled
    from skill_factory.tasks.golds import Gold

    known = load_task(settled(task))
    found = gold_of(known, gold, dict(facts or {}))
    if not isinstance(found, Gold):
        raise InputError(f"gold: {gold!r} cannot be read: {found}")
    return graded(known, answer, found.text, found.facts)

"""The commands that make an annotated dataset: sample, grade, reflect, and all stages: run."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from skill_factory.cli.common import COUNT, SETTINGS, clear_errors
from skill_factory.core.terminal import echo
from skill_factory.errors import OptionError

if TYPE_CHECKING:
    from skill_factory.stages.settings import RunConfig

_STAGES = ("questions", "sample", "grade", "reflect", "create")  # of `runs.Stage`, which is heavy
_PATH = click.Path(path_type=Path)
_F = TypeVar("_F", bound=Callable[..., Any])


class _OrNone(click.ParamType[Any]):
    """A number, or `none`: left to the server."""

    def __init__(self, kind: type[int] | type[float]) -> None:
        self.kind = kind
        self.name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | float | str:
        if value == "none":
            return "none"
        try:
            return self.kind(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor `none`", param, ctx)


def _json(ctx: click.Context, param: click.Parameter, value: str | None) -> dict[str, Any] | None:
    if value is None:
        return None
    try:
        said = json.loads(value)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise click.BadParameter('expected a JSON object, as {"min_p": 0.05}')
    return said


def _names(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...] | None:
    return tuple(name for value in values for name in value.split(",") if name) or None


_MODEL = (
    click.option("--base-url", metavar="URL", help="The server.  [default: $OPENAI_BASE_URL, else "
                 "http://localhost:8000/v1]"),
    click.option("--model", "name", metavar="NAME", help="[default: the server's only model]"),
    click.option("--local", metavar="GGUF", help="No server: a GGUF file, or smollm2, in process."),
    click.option("--context", type=COUNT, help="Tokens of a prompt and its answer together, in "
                 "process.  [default: 2048]"),
    click.option("--api-key-env", metavar="VARIABLE", help="Where the key is.  "
                 "[default: OPENAI_API_KEY]"),
    click.option("--identity", metavar="TEXT", help="What the journal knows the model by.  "
                 "[default: address and name]"),
    click.option("--timeout", type=float, help="Seconds for a request.  [default: 600]"),
    click.option("--concurrency", type=COUNT, help="Requests in flight at most.  [default: 256]"),
    click.option("--patience", type=float, help="Seconds that the server may be away.  "
                 "[default: 1800]"),
    click.option("--tries", type=COUNT, help="How often a request is sent.  [default: 6]"),
    click.option("--skip-too-long/--no-skip-too-long", default=None, help="Count questions that "
                 "do not fit the model's context, instead of ending the run."),
    click.option("--retry-refused/--no-retry-refused", default=None, help="Ask again what the "
                 "server refused before."),
    click.option("--grammar", type=click.Choice(["llama.cpp", "vllm"]), help="How the server "
                 "takes grammars.  [default: llama.cpp]"),
    click.option("--prompt-price", type=float, help="Of a million tokens."),
    click.option("--completion-price", type=float, help="Of a million tokens."),
)  # fmt: skip
_DRAWING = (
    click.option("--temperature", type=_OrNone(float), help="[default: 0.7]"),
    click.option("--top-p", type=_OrNone(float), help="[default: 0.8]"),
    click.option("--top-k", type=_OrNone(int), help="[default: 20]"),
    click.option("--repetition-penalty", type=_OrNone(float), help="[default: 1.1]"),
    click.option("--max-tokens", type=_OrNone(int), help="[default: 4096]"),
    click.option("--stop", multiple=True, metavar="TEXT", help="Text that ends an answer.",
                 callback=lambda ctx, param, values: values or None),
    click.option("--seed", type=int, help="Of each prompt's first sample; the next has the next."),
    click.option("--extra-body", metavar="JSON", callback=_json,
                 help="Anything else that the server takes."),
)  # fmt: skip


def _thinking(default: str) -> Callable[[_F], _F]:
    return click.option(
        "--thinking", type=click.Choice(["drop", "keep"]),
        help="What becomes of the thinking of a model that thinks before it answers.  "
             f"[default: {default}]",
    )  # fmt: skip


_PROMPTS = click.option(
    "--prompts", metavar="FILE", help="YAML file with other prompts, or more of them."
)
_CONFIG = click.option(
    "-c", "--config", "config_file", metavar="FILE", type=_PATH,
    help="YAML file with settings; flags win.  [default: the run's own config.yaml]",
)  # fmt: skip
_FILES = (
    click.option("--dry-run", is_flag=True, help="Show the first prompts and what all would take."),
    click.option("--write-requests", metavar="FILE", type=_PATH,
                 help="Ask nobody: write a file in the OpenAI batch format."),
    click.option("--read-responses", metavar="FILE", type=_PATH,
                 help="Take the answers of such a file."),
)  # fmt: skip
_FOLDER = click.argument("folder", metavar="RUN", type=_PATH)


def _with(*options: Callable[[_F], _F]) -> Callable[[_F], _F]:
    """Several options, shown in this order."""

    def decorate(function: _F) -> _F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _errors(folder: Path) -> AbstractContextManager[None]:
    return clear_errors(
        f"Stopped. All answers are kept in {folder}; the same command goes on from here."
    )


def _settings(folder: Path, config_file: Path | None, **stages: dict[str, Any]) -> RunConfig:
    """A run's settings: those it has, or a file's, under flags; a flag that is `none` is null."""
    from skill_factory.runs.config import load_run  # takes a quarter of a second

    own = folder / "config.yaml"
    flags = {
        stage: {
            name: None if value == "none" else value
            for name, value in given.items()
            if value is not None
        }
        for stage, given in stages.items()
    }
    file = config_file or (own if own.is_file() else None)
    return load_run(file, flags, trusted=config_file is not None)


def _split(given: dict[str, Any], options: tuple[Any, ...]) -> dict[str, Any]:
    """Take the values of some options out of all that were given."""
    probe = click.Command("probe")
    for option in options:
        option(probe)
    names = [str(param.name) for param in probe.params]
    return {name: given.pop(name) for name in names}


@click.command(context_settings=SETTINGS)
@click.argument("config_file", metavar="CONFIG", type=_PATH)
@click.option(
    "-o", "--output", metavar="RUN", type=_PATH,
    help="The run's folder.  [default: outputs/ and the config's name]",
)  # fmt: skip
@click.option("--from", "first", type=click.Choice(_STAGES), help="First stage; it is made anew.")
@click.option("--to", "last", type=click.Choice(_STAGES), default="create", help="Last stage.")
@click.option("--dry-run", is_flag=True, help="Show the first prompts and what all would take.")
def run(
    config_file: Path, output: Path | None, first: str | None, last: str, dry_run: bool
) -> None:
    """All stages of CONFIG in one folder: questions, sample, grade, reflect, create.

    Whatever stops it, the same command goes on from there: nothing is asked twice. A stage whose
    settings and input have not changed is not made again.
    """
    folder = output or Path("outputs") / config_file.stem
    with _errors(folder):
        config = _settings(folder, config_file)
        from skill_factory.runs.folder import Stage
        from skill_factory.runs.run import Run

        begin, end = Stage(first or "questions"), Stage(last)
        if _STAGES.index(begin) > _STAGES.index(end):
            raise OptionError(f"--from {begin} comes after --to {end}")
        going = Run(folder, config, echo)
        if dry_run:
            going.preview(begin, end)
            return
        going.go(begin, end, anew=first is not None)
        if end is Stage.CREATE and config.create.repository and config.create.push:
            from skill_factory.handoff import hub

            repo = config.create.repository
            echo(hub.push(going.folder.sft, repo, private=config.create.private).told())


@click.command(context_settings=SETTINGS)
@click.option(
    "-i", "--questions", metavar="PATH|REPO",
    help="Questions: a file that `skill-factory questions` made, or any with its columns.",
)  # fmt: skip
@click.option("-o", "--output", "folder", metavar="RUN", type=_PATH, required=True,
              help="The run's folder.")  # fmt: skip
@_CONFIG
@click.option("--samples", type=COUNT, help="Attempts under each prompt variant.  [default: 16]")
@click.option(
    "--prompt-variants", multiple=True, callback=_names, metavar="NAMES",
    help="With commas, or repeated.  [default: original,plan_and_execute,alternatively,rephrase]",
)  # fmt: skip
@_thinking("keep")
@_PROMPTS
@_with(*_DRAWING, *_MODEL, *_FILES)
def sample(folder: Path, config_file: Path | None, questions: str | None, **given: Any) -> None:
    """Ask a model for attempts at questions; what the run's journal has is not asked again."""
    with _errors(folder):
        files, model = _split(given, _FILES), _split(given, _MODEL)
        config = _settings(
            folder, config_file, questions={"source": questions}, model=model, sample=given
        )
        _see_key(config_file, config, model, files)
        _ask(folder, config, "sample", **files)


@click.command(context_settings=SETTINGS)
@_FOLDER
@_CONFIG
@click.option("--task", metavar="NAME", help="Task of all questions.  [default: each one's own]")
@click.option("--keep-cut-off/--no-keep-cut-off", default=None,
              help="Grade answers that a length limit ended like any other.")  # fmt: skip
@click.option("--hint-words", multiple=True, callback=_names, metavar="WORDS",
              help="What leaks a hint; with commas, or repeated.  [default: hint]")  # fmt: skip
@click.option("--workers", type=COUNT, help="Processes.  [default: cores, at most 8]")
def grade(folder: Path, config_file: Path | None, **given: Any) -> None:
    """Grade a run's attempts, again perhaps, without asking the model.

    Where they were reflected on, the annotated table follows.
    """
    with _errors(folder):
        config = _settings(folder, config_file, grade=given)
        from skill_factory.runs.run import Run

        Run(folder, config, echo).regrade()


@click.command(context_settings=SETTINGS)
@_FOLDER
@_CONFIG
@click.option("--reflections", type=COUNT, help="On each attempt.  [default: 4]")
@click.option("--until-valid/--no-until-valid", default=None,
              help="One after the other, until an attempt has a valid one.")  # fmt: skip
@click.option("--all-questions/--no-all-questions", default=None,
              help="Also at questions that no attempt got right.")  # fmt: skip
@_thinking("drop")
@_PROMPTS
@_with(*_DRAWING, *_MODEL, *_FILES)
def reflect(folder: Path, config_file: Path | None, prompts: str | None, **given: Any) -> None:
    """Ask a model for reflections on the attempts of a run that can be used."""
    with _errors(folder):
        files, model = _split(given, _FILES), _split(given, _MODEL)
        config = _settings(
            folder, config_file, model=model, reflect=given, sample={"prompts": prompts}
        )
        _see_key(config_file, config, model, files)
        _ask(folder, config, "reflect", **files)


def _see_key(
    config_file: Path | None, config: RunConfig, model: dict[str, Any], files: dict[str, Any]
) -> None:
    """As `run_settings.see_key`, where a server may be asked; a named config is the user's word."""
    if config_file or files["dry_run"] or files["read_responses"]:
        return
    from skill_factory.runs.settings import see_key

    see_key(config.model, {name for name, value in model.items() if value is not None})


def _ask(
    folder: Path,
    config: RunConfig,
    name: str,
    dry_run: bool,
    write_requests: Path | None,
    read_responses: Path | None,
) -> None:
    """One stage that asks: for real, by files, or only said."""
    if dry_run + (write_requests is not None) + (read_responses is not None) > 1:
        raise OptionError("choose one of --dry-run, --write-requests and --read-responses")
    from skill_factory.runs.folder import Stage
    from skill_factory.runs.run import Run

    stage, run = Stage(name), Run(folder, config, echo)
    first = Stage.QUESTIONS if stage is Stage.SAMPLE else stage
    if dry_run:
        run.preview(first, stage)
    elif write_requests is not None:
        written = run.write_requests(stage, write_requests)
        echo(
            f"{write_requests}: {written.requests:,} requests for {written.samples:,} samples; "
            f"{written.had:,} are in the journal"
        )
    elif read_responses is not None:
        run.read_responses(stage, read_responses)
    else:
        run.go(first, stage)

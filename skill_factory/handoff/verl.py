"""Hand a question dataset to verl: parquet files it reads, and the command that trains on them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from xxhash import xxh3_64_intdigest

import skill_factory.rewards
from skill_factory import __version__
from skill_factory.checks.traces import read_traces
from skill_factory.core.ledger import Account, account_table
from skill_factory.core.places import public
from skill_factory.core.sources.find_source import read_questions
from skill_factory.core.token_counts import TokenCounter
from skill_factory.core.whole_files import new_folder, resolved, verified_manifest
from skill_factory.errors import InputError, OptionError
from skill_factory.stages.questions.datasets import Loss as Loss
from skill_factory.stages.questions.datasets import Question, read_rows
from skill_factory.stages.questions.datasets import QuestionColumns as QuestionColumns
from skill_factory.stages.questions.datasets import QuestionRules as QuestionRules
from skill_factory.tasks import data_source_of, references
from skill_factory.tasks.facts import PACKED
from skill_factory.tasks.text import normal

NEWEST = (0, 9, 1)
"""The verl that the command is for where none is installed and none is chosen."""

NO_RULES = QuestionRules()


@dataclass
class VerlExport:
    """What was made: how many questions are in each file, and what became of the others."""

    folder: Path
    train: int
    val: int
    questions: Account
    notes: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """For a person."""
        lines = [account_table({"questions": self.questions})]
        lines += ["", f"train {self.train:,}, val {self.val:,}"]
        lines += [f"Note: {note}" for note in self.notes]
        return "\n".join([*lines, "", f"bash {self.folder / 'train_grpo.sh'}"])


def export(
    source: str,
    output: Path,
    *,
    columns: QuestionColumns,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    rules: QuestionRules = NO_RULES,
    exclude_sft: tuple[Path, ...] = (),
    val_size: int | None = None,
    seed: int = 0,
    system_prompt: str | None = None,
    tokenizer: str | None = None,
    max_prompt_length: int = 512,
    max_response_length: int = 4096,
    model: str | None = None,
    verl_version: str | None = None,
    gpus: int = 4,
    overwrite: bool = False,
) -> VerlExport:
    """Write train.parquet, val.parquet, train_grpo.sh and manifest.json into the folder `output`.

    Each question is in one file once, and in none if it is in an SFT folder of `exclude_sft`.
    `columns` and `rules` are as `questions.datasets.read_rows` has them. `val_size` None: a tenth,
    at most 500 and at least 1. With a `tokenizer`, prompts of over
    `max_prompt_length` tokens, which verl would drop unsaid, are counted. Raises `InputError`,
    `ColumnError` and `TaskError` for what cannot be read or graded, `OutputError` for a place that
    cannot be written.
    """
    for_version = _version(verl_version)
    if rules.task is not None:
        rules = replace(rules, task=data_source_of(rules.task))
    notes = list[str]()
    taken = {key for folder in exclude_sft for key in question_keys(folder, rules.task, notes)}
    counter = TokenCounter(tokenizer) if tokenizer else None
    rows = read_questions(source, config, split, revision)
    account, chosen = Account(read=rows.count), list[Question]()
    seen: set[str] = set()
    for found in read_rows(source, rows, columns, rules):
        if isinstance(found, Loss):
            account.lose(found)
            continue
        keys = set(found.keys())
        if loss := _loss(found, keys, seen, taken, counter, max_prompt_length, system_prompt):
            account.lose(loss)
        else:
            chosen.append(found)
        seen |= keys
    account.kept = len(chosen)
    if counter is None:
        notes.append(
            f"prompts were not checked against {max_prompt_length} tokens, and verl drops longer "
            "ones unsaid; name a --tokenizer"
        )
    wanted = max(1, min(len(chosen) // 10, 500)) if val_size is None else val_size
    if len(chosen) <= wanted:
        lost = "".join(f", {why}: {count:,}" for why, count in sorted(account.losses.items()))
        raise InputError(
            f"{source}: {len(chosen)} questions are left of {account.read:,}{lost}; too few for "
            f"{wanted} to validate on: lower --val-size, or bring more questions"
        )
    order = sorted(chosen, key=lambda q: xxh3_64_intdigest(f"{seed}\0{normal(q.text)}".encode()))
    val = set(map(id, order[:wanted]))
    train = [question for question in chosen if id(question) not in val]
    made = VerlExport(output, len(train), wanted, account, notes)
    with new_folder(output, overwrite, "train.parquet") as folder:
        for name, questions in (("train", train), ("val", order[:wanted])):
            _write_parquet(folder / f"{name}.parquet", name, questions, system_prompt)
        script = _script(
            resolved(output),
            for_version,
            len(train),
            model or "MODEL",
            gpus,
            max_prompt_length,
            max_response_length,
            references(question.task for question in chosen),
        )
        (folder / "train_grpo.sh").write_text(script, encoding="utf-8")
        manifest = {
            "skill_factory": __version__,
            "input": public(source),
            "excluded": [str(path) for path in exclude_sft],
            "seed": seed,
            "verl": ".".join(map(str, for_version)),
            "questions": {
                "read": account.read,
                "kept": account.kept,
                "losses": dict(sorted(account.losses.items())),
            },
            "train": len(train),
            "val": wanted,
        }
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    return made


# -- questions ------------------------------------------------------------------------------------


def question_keys(folder: Path, task: str | None, notes: list[str]) -> Iterator[str]:
    """The keys (`Question.keys`) of the questions in an SFT folder; notes if they can be known by
    their words only. `task` is theirs where the folder does not say."""
    verified_manifest(folder)
    unknown = 0
    for traces in read_traces(folder):
        for trace in traces:
            yield f"text: {normal(trace.question)}"
            data_source = trace.data_source or task
            if data_source is None or trace.ground_truth is None:
                unknown += 1
                continue
            found = Question(trace.question, trace.ground_truth, data_source, trace.extra_info)
            unknown += found.task.has_key and found.task.key(found.gold, found.facts) is None
            yield from found.keys()
    if unknown:
        notes.append(
            f"{folder}: {unknown:,} traces do not say their task, gold answer or facts, so their "
            "questions are known by their words only"
        )


def _loss(
    question: Question,
    keys: set[str],
    seen: set[str],
    taken: set[str],
    counter: TokenCounter | None,
    max_prompt_length: int,
    system_prompt: str | None,
) -> Loss | None:
    if keys & taken:
        return Loss.IN_SFT
    if keys & seen:
        return Loss.DUPLICATE
    if counter and counter.prompt(question.text, system_prompt) > max_prompt_length:
        return Loss.PROMPT_TOO_LONG
    return None


def _write_parquet(
    path: Path, split: str, questions: list[Question], system_prompt: str | None
) -> None:
    """The columns that verl's RLHFDataset and reward managers read
    (https://verl.readthedocs.io/en/latest/preparation/prepare_data.html)."""
    before = [{"role": "system", "content": system_prompt}] if system_prompt else []
    rows: list[dict[str, Any]] = [
        {
            "data_source": question.data_source,
            "prompt": [*before, {"role": "user", "content": question.text}],
            "ability": question.task.name,
            "reward_model": {"style": "rule", "ground_truth": question.gold},
            "extra_info": {"split": split, "index": index} | _facts(question),
        }
        for index, question in enumerate(questions)
    ]
    try:
        pq.write_table(pa.Table.from_pylist(rows), path)
    except pa.ArrowInvalid as error:
        raise InputError(f"the questions' facts have several types: {error}") from None


def _facts(question: Question) -> dict[str, Any]:
    """The facts as columns, which must be of one type in all rows; for a task that takes any JSON
    object, as its text."""
    if question.task.groups is not None:
        return question.facts
    return {PACKED: json.dumps(question.facts, ensure_ascii=False)}


# -- the command ----------------------------------------------------------------------------------


def _version(chosen: str | None) -> tuple[int, ...]:
    """The chosen verl, else the installed one, else the newest known."""
    try:
        text = chosen or version("verl")
    except PackageNotFoundError:
        return NEWEST
    try:
        return tuple(int(part) for part in text.split(".")[:3])
    except ValueError:
        raise OptionError(f"--verl-version {text}: expected a version, as 0.9.1") from None


def reward_settings(
    for_version: tuple[int, ...], path: str, plugins: Sequence[str] = ()
) -> list[str]:
    """The settings that name our reward to a version of verl, and the user's own tasks, `plugins`,
    to the reward.

    From 0.7.1 the keys begin with `reward.`; 0.9 accepts the old ones and ignores them, and then
    scores with its own function. Up to 0.7.0 there is the reward manager `batch`. (Measured with
    0.4.1 to 0.9.1.)
    """
    if for_version >= (0, 7, 1):
        return [
            f"reward.custom_reward_function.path={path}",
            "reward.custom_reward_function.name=compute_score",
            "reward.reward_manager.name=naive",
            *_plugin_setting("reward.custom_reward_function", plugins),
        ]
    return [
        f"custom_reward_function.path={path}",
        "custom_reward_function.name=compute_score_batch",
        "reward_model.reward_manager=batch",
        *(["reward_model.use_reward_loop=False"] if for_version >= (0, 7) else []),
        *_plugin_setting("custom_reward_function", plugins),
    ]


def _plugin_setting(key: str, plugins: Sequence[str]) -> list[str]:
    """The keyword `plugins` of the reward, as Hydra writes a list of texts; ++ also adds a key that
    this version's defaults do not have."""
    quoted = ",".join("'{}'".format(name.replace("'", r"\'")) for name in plugins)
    return [f"++{key}.reward_kwargs.plugins=[{quoted}]"] if plugins else []


def _script(
    folder: Path,
    for_version: tuple[int, ...],
    questions: int,
    model: str,
    gpus: int,
    max_prompt_length: int,
    max_response_length: int,
    plugins: Sequence[str],
) -> str:
    """GRPO as the paper trains: binary reward, no KL term, batches of 256 in mini-batches of 32,
    150 steps; what it does not say is the release's."""
    batch = min(256, questions)
    groups = {
        "GRPO, without a KL term": [
            "algorithm.adv_estimator=grpo",
            "algorithm.use_kl_in_reward=False",
            "actor_rollout_ref.actor.use_kl_loss=False",
        ],
        "the questions": [
            f"data.train_files={folder}/train.parquet",
            f"data.val_files={folder}/val.parquet",
            f"data.train_batch_size={batch}",
            f"data.max_prompt_length={max_prompt_length}",
            f"data.max_response_length={max_response_length}",
            "data.filter_overlong_prompts=True",
            "data.truncation=error",
        ],
        "the reward: 1.0 for a right final answer, else 0.0": reward_settings(
            for_version, str(resolved(skill_factory.rewards.__file__)), plugins
        ),
        "the model": [
            f"actor_rollout_ref.model.path={model}",
            "actor_rollout_ref.actor.strategy=fsdp2",
            "actor_rollout_ref.actor.optim.lr=1e-6",
            f"actor_rollout_ref.actor.ppo_mini_batch_size={min(32, batch)}",
            "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4",
        ],
        "rollouts": [
            "actor_rollout_ref.rollout.name=vllm",
            "actor_rollout_ref.rollout.n=16",
            "actor_rollout_ref.rollout.tensor_model_parallel_size=1",
            "actor_rollout_ref.rollout.gpu_memory_utilization=0.6",
            "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8",
        ],
        "the run": [
            f"trainer.n_gpus_per_node={gpus}",
            "trainer.nnodes=1",
            "trainer.total_training_steps=150",
            "trainer.total_epochs=1000",
            "trainer.save_freq=50",
            "trainer.test_freq=10",
            "trainer.logger=[console]",
            "trainer.project_name=skill-factory",
            "trainer.experiment_name=grpo",
        ],
    }
    lines = ["settings=("]
    for words, settings in groups.items():
        lines.append(f"    # {words}")
        lines += [f"    {shlex.quote(setting)}" for setting in settings]
    return "\n".join(
        [
            "#!/usr/bin/env bash",
            f"# GRPO with verl {'.'.join(map(str, for_version))}; more settings can follow.",
            "set -euo pipefail",
            "",
            *lines,
            ")",
            'exec python3 -m verl.trainer.main_ppo "${settings[@]}" "$@"',
            "",
        ]
    )

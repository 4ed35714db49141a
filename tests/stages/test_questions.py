"""Questions: made ones are different, solvable and always the same; a dataset's keep their
sense."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from conftest import ROOT, Make, Outcome, attempt, read_traces, write_rows

from skill_factory.checks.check import check
from skill_factory.cli.questions import questions
from skill_factory.core.settings.checking import checked
from skill_factory.core.settings.fields import SettingError
from skill_factory.core.tables import QUESTIONS
from skill_factory.errors import ColumnError, InputError, OptionError
from skill_factory.stages.questions.making import QuestionsResult, make_questions
from skill_factory.stages.settings import USES, QuestionsConfig
from skill_factory.tasks import task_of
from skill_factory.tasks.workers.gym_judge import decoded
from skill_factory.tasks.workers.gym_maker import encoded

MADE: dict[str, dict[str, Any]] = {
    "countdown_3arg": {"source": "countdown", "count": 2000},
    "countdown_6arg": {"source": "countdown", "numbers": 6, "count": 1000},
    "multiplication": {"source": "multiplication", "count": 1000},
    "addition": {"source": "addition", "count": 289},
    "letter_countdown_4": {"source": "letter-countdown", "count": 1000},
    "letter_countdown_5": {"source": "letter_countdown", "letters": 5, "count": 500},
    "acronym_4": {"source": "acronym", "count": 500},
    "acronym_5": {"source": "acronym", "letters": 5, "count": 500},
    "reasoning-gym:isomorphic_strings": {"source": "reasoning-gym:isomorphic_strings", "count": 60},
    "reasoning-gym:leg_counting": {"source": "reasoning-gym:leg_counting", "count": 60},
}


def make_of(**settings: Any) -> QuestionsResult:
    return make_questions(checked(QuestionsConfig, settings))


def rows_of(made: QuestionsResult) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = made.table.to_pylist()
    return rows


def digest(made: QuestionsResult) -> str:
    return hashlib.sha256(json.dumps(rows_of(made)).encode()).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_made_questions_are_different_solvable_and_in_order(name: str) -> None:
    made = make_of(**MADE[name])
    rows = rows_of(made)
    assert made.table.schema == QUESTIONS
    assert (len(rows), made.account.kept) == (MADE[name]["count"],) * 2
    assert made.account.read == made.account.kept + made.account.losses.total()
    assert len({row["question"] for row in rows}) == len(rows)
    keys = Counter()  # type: Counter[str]
    for row in rows:
        task, gold, facts = task_of(row["task_source"]), row["answer"], json.loads(row["metadata"])
        assert row["task_source"].startswith(name)
        assert task.grade(gold, gold, facts) is True, row
        assert task.grade(task.wrong(gold, gold, facts), gold, facts) is not True, row
        keys.update([task.key(gold, facts) or row["question"]])
    assert len(keys) == len(rows)
    few = make_of(**MADE[name] | {"count": 50})
    assert rows_of(few) == rows[:50]
    assert rows_of(make_of(**MADE[name] | {"count": 50, "seed": 1})) != rows[:50]


@pytest.mark.slow
def test_the_same_questions_come_out_under_another_hash_seed() -> None:
    code = (
        "import json, sys, test_questions as t\n"
        "few = {name: made | {'count': 30} for name, made in t.MADE.items()}\n"
        "print(json.dumps({name: t.digest(t.make_of(**made)) for name, made in few.items()}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    here = {name: digest(make_of(**made | {"count": 30})) for name, made in MADE.items()}
    assert json.loads(done.stdout) == here


def test_a_countdown_puzzle_keeps_to_its_settings() -> None:
    made = make_of(source="countdown", numbers=4, target_max=30, number_max=20, count=500)
    for row in rows_of(made):
        facts = json.loads(row["metadata"])
        assert len(facts["numbers"]) == 4
        assert all(1 <= number <= 20 for number in facts["numbers"])
        assert 1 <= facts["target"] <= 30
        assert facts["target"] not in facts["numbers"]
        assert str(facts["target"]) in row["question"]


@pytest.mark.slow
def test_words_asked_for_are_words_and_no_names() -> None:
    rows = rows_of(make_of(source="letter_countdown", letters=5, count=1500))
    gold = {row["answer"] for row in rows}
    assert len(gold) > 500
    assert {"above", "water", "brain"} <= gold
    assert not gold & {"peter", "paris", "intel", "james"}
    accepted = {word for row in rows for word in json.loads(row["metadata"])["words"]}
    assert {"stone", "notes", "moldy", "labor", "ropes"} <= accepted
    assert not accepted & {"sarah", "kevin", "texas"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"source": "countdown", "digits": 3}, "digits: countdown has no use for it"),
        ({"source": "addition", "task": "integers"}, "task: addition has no use for it"),
        ({"source": "q.jsonl", "numbers": 4}, "numbers: q.jsonl has no use for it"),
        ({"source": "multiplication", "digits": "5..2"}, "digits: expected"),
        ({"source": "multiplication", "digits": True}, "digits: expected"),
        ({"source": "addition", "low": 9, "high": 3}, "low: 9 is more than high, 3"),
        ({"source": "q.jsonl", "task": "chess"}, "task: no task is known as 'chess'"),
        ({"source": "reasoning-gym:"}, "source: name the dataset"),
        ({"source": "countdown", "count": 0}, "count: expected 1 to 10000000, not 0"),
        ({"source": "countdown", "lettres": 4}, "lettres"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        checked(QuestionsConfig, settings)


def test_digits_are_a_number_or_a_range() -> None:
    for written in ("2..5", [2, 5], (2, 5)):
        config = checked(QuestionsConfig, {"source": "multiplication", "digits": written})
        assert config.digits == (2, 5)
    only = make_of(source="multiplication", digits=3, count=50)
    assert {row["task_source"] for row in rows_of(only)} == {"multiplication_3"}


def test_every_setting_has_a_source_that_uses_it() -> None:
    used = {name for names in USES.values() for name in names}
    assert used | {"source", "count", "seed"} == set(QuestionsConfig.model_fields)


@pytest.mark.slow
def test_more_questions_than_there_are_is_an_error_that_says_how_many() -> None:
    with pytest.raises(OptionError, match="count: only 289 different questions were found"):
        make_of(source="addition", count=290)
    made = make_of(source="addition")
    assert made.account.kept == 289
    assert "only 289" in made.notes[0]
    with pytest.raises(OptionError, match="only 0 different"):
        make_of(source="countdown", number_max=1, target_max=1)


# -- reasoning-gym --------------------------------------------------------------------------------


def test_every_kind_of_entry_comes_through_json() -> None:
    entry = {
        "a": (1, [2, (3,)]),
        "b": {4: {5, 6}},
        "c": {"(tuple)": [1]},
        "d": {"(set)": 1, "e": 2},
    }
    assert decoded(json.loads(encoded(entry))) == entry


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["graph_color", "puzzle24", "propositional_logic", "simple_equations"]
)
def test_reasoning_gyms_questions_are_graded_by_their_own_scorer(name: str) -> None:
    rows = rows_of(make_of(source=f"reasoning-gym:{name}", count=3))
    assert {row["task_source"] for row in rows} == {f"reasoning-gym:{name}"}
    for row in rows:
        facts = json.loads(row["metadata"])
        assert facts.keys() == {"gym", "entry"}
        assert task_of(row["task_source"]).grade(row["answer"], row["answer"], facts) is True


def test_settings_of_a_dataset_of_reasoning_gym_are_its_own() -> None:
    parts: list[dict[str, Any]] = [
        {"name": "gcd", "config": {"min_numbers": 3, "max_numbers": 3}},
        {"name": "lcm"},
    ]
    rows = rows_of(
        make_of(source="reasoning-gym:composite", count=6, gym={"datasets": parts}, seed=3)
    )
    named = {row["task_source"] for row in rows}
    assert named == {"reasoning-gym:gcd", "reasoning-gym:lcm"}
    entries = [json.loads(json.loads(row["metadata"])["entry"]) for row in rows]
    assert parts[0]["config"] in [entry["settings"] for entry in entries]


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"source": "reasoning-gym:leg_count"}, OptionError, "it has leg_counting"),
        (
            {"source": "reasoning-gym:gcd", "gym": {"legs": 4}},
            OptionError,
            "gcd has no setting 'legs'; it has min_numbers",
        ),
        ({"source": "reasoning-gym:gcd", "gym": {"seed": 4}}, OptionError, "gym: seed is not set"),
        ({"source": "reasoning-gym:game_of_life_halting"}, InputError, "200 takes_any_answer"),
        ({"source": "reasoning-gym:boxnet"}, InputError, "200 no_gold_answer"),
    ],
)
def test_what_reasoning_gym_cannot_give_is_said(
    settings: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        make_of(**settings)


# -- datasets -------------------------------------------------------------------------------------


def read(tmp_path: Path, rows: list[dict[str, Any]], **settings: Any) -> QuestionsResult:
    path = write_rows(tmp_path / "questions.jsonl", rows)
    return make_of(source=str(path), **settings)


def test_gold_answers_are_what_is_graded(tmp_path: Path) -> None:
    gsm = [{"question": "6 * 3?", "answer": "6 * 3 = <<6*3=18>>18\n#### 18"}]
    (row,) = rows_of(read(tmp_path, gsm, task="gsm8k"))
    assert row == {"question": "6 * 3?", "answer": "18", "task_source": "gsm8k", "metadata": "{}"}
    solution = r"First \boxed{2}, but then $\boxed{\frac{1}{\sqrt{2}}}$."
    maths = [{"problem": "x?", "solution": solution}, {"problem": "y?", "solution": r"\frac12"}]
    columns = {"question_column": "problem", "answer_column": "solution"}
    found = rows_of(read(tmp_path, maths, task="math", **columns))
    assert [row["answer"] for row in found] == [r"\frac{1}{\sqrt{2}}", r"\frac12"]


@pytest.mark.parametrize(
    ("choices", "gold", "letter"),
    [
        ({"label": ["A", "B", "C"], "text": ["bank", "shop", "mall"]}, "B", "B"),
        ({"label": ["1", "2", "3"], "text": ["bank", "shop", "mall"]}, "2", "B"),
        (["bank", "shop", "mall"], 1, "B"),
        (["bank", "shop", "mall"], "1", "B"),
        (["bank", "shop", "mall"], "b", "B"),
        (["bank", "shop", "mall"], "Shop.", "B"),
        (["3", "0", "1"], 2, "C"),
        (["3", "0", "1"], "1", "C"),
        (json.dumps(["bank", "shop"]), "shop", "B"),
        ([{"label": "A", "text": "bank"}, {"label": "B", "text": "shop"}], "B", "B"),
        ({"A": "bank", "B": "shop"}, "B", "B"),
        ({"A": "bank", "B": "shop", "C": None}, "shop", "B"),
        (["A. bank", "B. shop"], "B", "B"),
        (["A)5", "B)0", "C)7"], "B", "B"),
        (["(a) bank", "(b) shop"], "(b)", "B"),
        (["bank", "shop"], "B. shop", "B"),
    ],
)
def test_choices_become_lettered_lines(
    tmp_path: Path, choices: Any, gold: str | int, letter: str
) -> None:
    rows = [{"question": "Where?", "choices": choices, "answerKey": gold}]
    (row,) = rows_of(read(tmp_path, rows, task="csqa", answer_column="answerKey"))
    assert json.loads(row["metadata"])["options"][1] in ("shop", "0")
    lines = row["question"].splitlines()
    assert lines[:2] == ["Where?", ""]
    assert [line[:3] for line in lines[2:4]] == ["A. ", "B. "]
    assert row["answer"] == letter


def test_a_question_that_cannot_be_used_is_counted(tmp_path: Path) -> None:
    good: dict[str, Any] = {"question": "1 + 1?", "answer": "2", "task_source": "addition"}
    rows = [
        good,
        good | {"question": " 1 +  1?"},
        good | {"question": None},
        good | {"question": "?", "answer": " "},
        good | {"question": "Many?", "answer": "many"},
        good | {"question": "Which?", "task_source": "csqa", "choices": ["a"], "answer": "A"},
        good | {"question": "What?", "task_source": "csqa", "choices": ["a", "b"], "answer": "Q"},
        good | {"question": "Why?", "answer": "3"},
    ]
    made = read(tmp_path, [{"choices": None} | row for row in rows])
    assert made.account.losses == {
        "duplicate": 1,
        "no_question": 1,
        "no_gold_answer": 1,
        "cannot_be_graded": 2,
        "bad_choices": 1,
    }
    assert [row["question"] for row in rows_of(made)] == ["1 + 1?", "Why?"]


def test_some_questions_of_a_dataset_are_drawn_by_the_seed(tmp_path: Path) -> None:
    rows = [
        {"question": f"{n} + 1?", "answer": str(n + 1), "task_source": "addition"}
        for n in range(40)
    ]
    all_of = [row["question"] for row in rows_of(read(tmp_path, rows))]
    assert all_of == [row["question"] for row in rows]
    ten, five = (read(tmp_path, rows, count=count) for count in (10, 5))
    assert rows_of(ten)[:5] == rows_of(five)
    assert ten.account.losses == {"not_drawn": 30}
    assert rows_of(read(tmp_path, rows[::-1], count=5)) == rows_of(five)
    assert rows_of(read(tmp_path, rows, count=5, seed=1)) != rows_of(five)
    with pytest.raises(OptionError, match="has only 40 questions"):
        read(tmp_path, rows, count=41)


ASKED = {"question": "?", "answer": "4"}
CSQA = {"task": "csqa", "choices_column": "listed"}


@pytest.mark.parametrize(
    ("row", "settings", "error", "said"),
    [
        (
            {"text": "?", "answer": "4"},
            {},
            ColumnError,
            r"is missing\. Columns there are: text, answer",
        ),
        (ASKED, {}, ColumnError, "no column 'task_source'"),
        (ASKED, CSQA, ColumnError, "'listed' is missing.*--choices-column"),
        (ASKED | {"answer": ""}, {"task": "gsm8k"}, InputError, "2 no_gold_answer"),
        (ASKED, CSQA | {"task": "gsm8k"}, OptionError, "gsm8k has no choices"),
    ],
)
def test_a_dataset_that_is_of_no_use_is_one_clear_line(
    tmp_path: Path,
    row: dict[str, Any],
    settings: dict[str, Any],
    error: type[Exception],
    said: str,
) -> None:
    with pytest.raises(error, match=said):
        read(tmp_path, [row, row], **settings)


def test_made_questions_come_back_from_their_file(tmp_path: Path) -> None:
    made = make_of(source="acronym", count=20)
    pq.write_table(made.table, tmp_path / "q.parquet")
    assert make_of(source=str(tmp_path / "q.parquet")).table == made.table


# -- on, to traces and rewards --------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "as_text"),
    [
        ("countdown", True),
        ("letter_countdown", True),
        ("letter_countdown", False),
        ("acronym", True),
        ("acronym", False),
        ("reasoning-gym:gcd", True),
    ],
)
def test_facts_reach_the_plan_and_rewards_are_replayed_on_them(
    make: Make, tmp_path: Path, name: str, as_text: bool
) -> None:
    rows = []
    for question in rows_of(make_of(source=name, count=3)):
        facts = json.loads(question["metadata"])
        for number in range(6):
            gold = question["answer"] if number < 3 else "zzz"
            row = attempt(number, number < 3, question["question"]) | {
                "answer": question["answer"],
                "task_source": question["task_source"],
                "metadata": question["metadata"] if as_text else facts,
                "model_responses__mutated_prompts": [f"{number}: <answer>{gold}</answer>"],
                "model_responses__mutated_prompts__eval_extracted_answers": [gold],
            }
            rows.append(row)
    folder = make(write_rows(tmp_path / "annotated.parquet", rows, None))
    assert len(read_traces(folder)) == 15
    plan = pq.read_table(folder / "plan.parquet").to_pylist()
    asked = {json.dumps(json.loads(row["extra_info"]), sort_keys=True) for row in plan}
    assert len(asked) == 3
    assert all(json.loads(said) for said in asked)
    assert not check(folder).errors


# -- the command ----------------------------------------------------------------------------------


def command(place: Path, *words: str | Path) -> Outcome:
    code = "from skill_factory.cli.questions import questions; questions()"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def in_process(*words: str | Path) -> Outcome:
    done = CliRunner().invoke(questions, list(map(str, words)))
    return Outcome(done.exit_code, done.stdout, done.stderr)


def test_the_command_writes_a_file_and_says_what_became_of_the_rest(tmp_path: Path) -> None:
    words = ("countdown", "--numbers", "3", "--target-max", "100", "--count", "50", "--seed", "0")
    done = command(tmp_path, *words, "-o", "q.parquet")
    assert done.code == 0, done.err
    assert done.out.count("countdown_3arg: ") == 3
    assert "questions" in done.out
    table = pq.read_table(tmp_path / "q.parquet")
    assert table == make_of(source="countdown", count=50).table
    again = in_process(*words, "-o", tmp_path / "q.parquet")
    assert again.code == 1
    assert "exists already" in again.err
    assert in_process(*words, "-o", tmp_path / "q.parquet", "--overwrite").code == 0
    assert in_process(*words, "-o", tmp_path / "q.jsonl").code == 0
    lines = (tmp_path / "q.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == table.to_pylist()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["q.jsonl", "q.parquet"]


def test_the_command_passes_settings_on_and_shows_without_writing(tmp_path: Path) -> None:
    settings = ("--gym", "min_numbers=3", "--gym", "max_numbers=3", "--count", "4")
    done = in_process("reasoning-gym:gcd", *settings, "--dry-run", "-o", tmp_path / "q.parquet")
    assert done.code == 0, done.err
    assert done.out.count("reasoning-gym:gcd: ") == 3
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("countdown",), 2, "name a file to write with -o"),
        (("countdown", "-o", "q.txt"), 2, "expected a .parquet or .jsonl file"),
        (("countdown", "-o", "q.parquet", "--digits", "3"), 2, "digits: countdown has no use"),
        (("countdown", "-o", "q.parquet", "--numbers", "7"), 2, "expected 2 to 6, not 7"),
        (("reasoning-gym:gcd", "-o", "q.parquet", "--gym", "x"), 2, "expected KEY=VALUE"),
        (("./nowhere.parquet", "-o", "q.parquet"), 1, "no such file or folder"),
    ],
)
def test_the_command_refuses_in_one_clear_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = in_process(*words)
    assert done.code == code
    assert said in done.err
    assert "Traceback" not in done.err
    assert not list(tmp_path.iterdir())


def test_words_that_cannot_be_had_name_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "spellchecker.py").write_text("raise ModuleNotFoundError(name='spellchecker')")
    code = "from skill_factory.cli.questions import questions; questions()"
    done = subprocess.run(
        [sys.executable, "-c", code, "acronym", "--dry-run"],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'skill-factory[questions]'" in done.stderr

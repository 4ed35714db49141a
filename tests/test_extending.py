"""Parts of a user's own: a task, a format, a source and a check, named as files and installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import BUNDLED, ROOT, Outcome, read_manifest, run
from model_server import Server, serve
from tutor import speak

from skill_factory.plugins import file_of, is_reference, shown

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```python\n(?=# (\w+\.py)\n)(.*?)```", PAGE, re.DOTALL))
POINTS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0]
LIMITS = {"within.py": 15, "climb.py": 10}
"""Lines of code that a part may take at most on the page."""

SUMS = """
from skill_factory.stages.questions import Asked, Source
from skill_factory.tasks import Task


def grade(answer, gold, facts):
    return int(answer) == sum(facts["terms"]) if answer.isdigit() else None


def make(seed):
    for n in range(12):
        a, b = n + 3, (n * 7 + seed) % 17 + 3
        yield Asked(f"What is {a} + {b}?", str(a + b), {"terms": [a, b], "note": {"seed": seed}})


task = Task("total", grade)
source = Source("totals", make)
"""


def command(place: Path, *words: str | Path, **environment: str) -> Outcome:
    path = os.pathsep.join([str(ROOT), *filter(None, [environment.pop("PYTHONPATH", "")])])
    return run(*words, module="skill_factory", cwd=place, **environment, PYTHONPATH=path)


def done(place: Path, *words: str | Path, **environment: str) -> str:
    found = command(place, *words, **environment)
    assert found.code == 0, found.err
    return found.out


def refused(place: Path, *words: str | Path, code: int, **environment: str) -> str:
    """The one line that a command ends in."""
    found = command(place, *words, **environment)
    assert found.code == code, found.out + found.err
    assert "Traceback" not in found.err
    (line,) = [line for line in found.err.splitlines() if line.startswith("Error: ")]
    return line


def rows(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the page's files, and estimates to grade."""
    for name, code in FILES.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    (tmp_path / "estimates.jsonl").write_text(
        "".join(
            json.dumps(
                {
                    "question": f"About {n}?",
                    "answer": str(n),
                    "metadata": {"tolerance": n, "x": [n]},
                }
            )
            + "\n"
            for n in range(1, 6)
        )
    )
    return tmp_path


def install(place: Path) -> str:
    """The page's files as an installed package; where Python finds it."""
    site = place / "site"
    info = site / "parts-1.0.dist-info"
    info.mkdir(parents=True)
    for name in FILES:
        (place / name).rename(site / name)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parts\nVersion: 1.0\n")
    points = POINTS.replace('[project.entry-points."', "[").replace('"]', "]").replace('"', "")
    (info / "entry_points.txt").write_text(points)
    return str(site)


def test_the_parts_on_the_page_are_short() -> None:
    assert FILES.keys() == {"within.py", "climb.py", "products.py", "modest.py"}
    for name, most in LIMITS.items():
        lines = [line for line in FILES[name].splitlines() if line and not line.startswith("#")]
        assert len(lines) <= most, name


@pytest.mark.slow
@pytest.mark.parametrize("installed", [False, True])
def test_the_parts_on_the_page_go_the_whole_way(place: Path, installed: bool) -> None:
    there = {"PYTHONPATH": install(place)} if installed else {}

    def named(file: str) -> str:
        what = {"within": "task", "climb": "format", "products": "source", "modest": "check"}
        return file if installed else f"{file}.py:{what[file]}"

    done(
        place, "questions", "estimates.jsonl", "--task", named("within"), "-o", "q.parquet", **there
    )
    assert {row["task_source"] for row in rows(place / "q.parquet")} == {"within"}
    assert json.loads(rows(place / "q.parquet")[1]["metadata"]) == {"tolerance": 2, "x": [2]}
    done(
        place, "questions", named("products"), "--task", named("within"), "--count", "7",
        "-o", "made.parquet", **there,
    )  # fmt: skip
    assert len(rows(place / "made.parquet")) == 7
    done(
        place, "create", "-i", BUNDLED, "-o", "./sft", "--task", named("within"),
        "--formats", named("climb"), "*C", "--attempts", "2", **there,
    )  # fmt: skip
    plan = rows(place / "sft" / "plan.parquet")
    assert {row["format"] for row in plan} == {"climb", "*C"}
    assert {row["data_source"] for row in plan} == {"within"}
    climbs = [row["steps"] for row in plan if row["format"] == "climb"]
    assert all([step["correct"] for step in steps] == [False, True] for steps in climbs)
    settings = read_manifest(place / "sft")["settings"]
    assert settings["formats"] == [named("climb"), "*C"], "no path of this machine"
    own = () if installed else ("--task", named("within"))
    said = done(place, "check", "./sft", *own, "--check", named("modest"), **there)
    assert "0 errors" in said
    done(place, "export", "verl", "-i", "q.parquet", "-o", "./rl", *own, **there)
    script = (place / "rl" / "train_grpo.sh").read_text()
    path = str((place / "within.py").resolve())
    assert (f"{path}:task" in script) is not installed
    (first, *_) = rows(place / "rl" / "train.parquet")
    assert json.loads(first["extra_info"]["facts"])["tolerance"] > 0
    for kind, part in (("tasks", "within"), ("formats", "climb"), ("sources", "products")):
        named_there = {line.split()[0] for line in done(place, "list", kind, **there).splitlines()}
        assert (part in named_there) is installed


def test_the_reward_called_by_its_path_finds_the_task(place: Path) -> None:
    code = f"""
import importlib.util, json
spec = importlib.util.spec_from_file_location("reward", {str(ROOT / "skill_factory/rewards.py")!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
plugins = [{str(place / "within.py")!r} + ":task"]
given = dict(data_source="within", ground_truth="10", plugins=plugins)
for answer, facts in (("12", {{"tolerance": 2}}), ("13", {{"tolerance": 2}}), ("11", {{}})):
    extra = {{"index": 0, "facts": json.dumps(facts)}}
    text = f"<answer>{{answer}}</answer>"
    print(module.compute_score(solution_str=text, extra_info=extra, **given))
print(module.compute_score_batch(["within"], ["<answer>11</answer>"], [10], [{{"tolerance": 1}}]))
print(module.answer_reward([""], ["<answer>11</answer>"], data_source=["within"], answer=["10"],
                           metadata=['{{"tolerance": 1}}']))
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd="/", env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.stdout.split() == ["1.0", "0.0", "0.0", "[1.0]", "[1.0]"], found.stderr


@pytest.mark.slow
def test_a_run_asks_grades_and_makes_traces_of_a_task_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "sums.py").write_text(SUMS)
    with serve(Server(speak=speak)) as server:
        settings = {
            "questions": {"source": "sums.py:source", "task": "sums.py:task"},
            "model": {"base_url": server.url},
            "sample": {"samples": 4, "seed": 0},
            "reflect": {"reflections": 3, "seed": 0},
            "create": {"attempts": 3},
        }
        config = tmp_path / "totals.yaml"
        config.write_text(yaml.safe_dump(settings))
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        folder, named = tmp_path / "run", f"{tmp_path / 'sums.py'}:task"
        done(elsewhere, "run", config, "-o", folder)  # its parts lie beside it
        graded = rows(folder / "graded.parquet")
        assert {row["grade"] for row in graded} == {"right", "wrong"}
        assert {row["task_source"] for row in graded} == {"total"}
        assert json.loads(graded[0]["metadata"]) == {"terms": [3, 3], "note": {"seed": 0}}
        (plan, *_) = rows(folder / "sft" / "plan.parquet")
        assert json.loads(plan["extra_info"]).keys() == {"terms", "note"}
        said = done(elsewhere, "check", folder / "sft", "--task", named)
        assert "No fault found." in said
        line = refused(elsewhere, "grade", folder, code=1)
        assert "only a run's own config.yaml names it" in line
        done(elsewhere, "grade", folder, "-c", folder / "config.yaml")
        # A grader that was changed is another grader.
        (tmp_path / "sums.py").write_text(SUMS.replace("int(answer) ==", "1 + int(answer) =="))
        done(elsewhere, "grade", folder, "-c", folder / "config.yaml")
        assert rows(folder / "graded.parquet") != graded


@pytest.mark.slow
def test_a_grader_that_raises_is_told_once(tmp_path: Path) -> None:
    raises = SUMS.replace("return int(answer)", "assert not answer.isdigit(); return int(answer)")
    (tmp_path / "sums.py").write_text(raises)
    with serve(Server(speak=speak, latency=0.02)) as server:
        settings = {
            "questions": {"source": "addition", "count": 12},
            "model": {"base_url": server.url},
            "sample": {"samples": 4, "prompt_variants": ["original"]},
            "grade": {"task": "./sums.py:task"},
            "create": {"attempts": 2},
        }
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
        line = refused(tmp_path, "run", "run.yaml", "-o", "run", code=1)
    assert "raised AssertionError" in line
    assert len(rows(tmp_path / "run" / "attempts.parquet")) == 12 * 4


@pytest.mark.slow
def test_other_processes_that_grade_find_the_task(tmp_path: Path) -> None:
    (tmp_path / "sums.py").write_text(SUMS)
    code = f"""
from collections import Counter
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
from skill_factory.core.tables import ATTEMPTS
from skill_factory.stages.grade import IN_PROCESSES, grade_file
if __name__ == "__main__":
    row = dict(question="What is 1 + 2?", answer="3", task_source="countdown", sample=0,
               prompt_variant="original", finish_reason="stop",
               metadata='{{"terms": [1, 2]}}')
    rows = [row | dict(response=f"<answer>{{n % 4}}</answer>") for n in range(IN_PROCESSES)]
    pq.write_table(pa.Table.from_pylist(rows, schema=ATTEMPTS), "attempts.parquet")
    made = grade_file(Path("attempts.parquet"), Path("graded.parquet"), hints=frozenset(), words=(),
                      task={str(tmp_path / "sums.py")!r} + ":task", workers=2)
    print(made == Counter(right=IN_PROCESSES // 4, wrong=3 * IN_PROCESSES // 4))
"""
    (tmp_path / "work.py").write_text(code)
    found = subprocess.run(
        [sys.executable, "work.py"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.stdout == "True\n", found.stderr
    table = pq.read_table(tmp_path / "graded.parquet", columns=["task_source"])
    assert table.column(0).unique().to_pylist() == ["total"]


GOOD = FILES["within.py"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "name", "told"),
    [
        (None, "gone.py:task", "there is no file gone.py"),
        (None, "gone:task", "there is no module gone; install it, or name its file"),
        (None, "within.py:tusk", "has no 'tusk'; it has task"),
        (None, "within.py:grade", "expected a Task of skill_factory (docs/extending.md)"),
        (None, "within.py", "expected module:NAME or file.py:NAME"),
        ("x = 1 / 0", "bad.py:task", "raised ZeroDivisionError: division by zero (bad.py, line 1)"),
        ("def (", "bad.py:task", "raised SyntaxError: invalid syntax"),
        ("raise SystemExit(3)", "bad.py:task", "raised SystemExit: 3"),
        ("import nothing_there", "bad.py:task", "No module named 'nothing_there'"),
        (GOOD.replace('"within"', '"Within 1"'), "bad.py:task", "name: expected small letters"),
        (GOOD.replace('"within"', '"gsm8k"'), "bad.py:task", "a built-in task is called 'gsm8k'"),
        (GOOD.replace(", facts)", ")"), "bad.py:task", "a function of (answer, gold, facts)"),
        (GOOD.replace(', grade)', ', grade, facts="x")'), "bad.py:task", "facts: expected a tuple"),
    ],
)  # fmt: skip
def test_a_task_that_cannot_be_used_is_one_line(
    place: Path, code: str | None, name: str, told: str
) -> None:
    if code is not None:
        (place / "bad.py").write_text(code)
    line = refused(place, "questions", "estimates.jsonl", "--task", name, "--dry-run", code=2)
    assert told in line
    assert name in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("abs(float(answer)", "abs(facts['none']", "raised KeyError: 'none' (bad.py, line 8)"),
        ("return miss <=", "return 'yes' or", "returned 'yes', expected True, False or None"),
    ],
)
def test_a_grader_that_raises_or_says_something_else_is_one_line_with_the_question(
    place: Path, old: str, new: str, told: str
) -> None:
    (place / "bad.py").write_text(GOOD.replace(old, new))
    words = ("questions", "estimates.jsonl", "--task", "bad.py:task", "--dry-run")
    line = refused(place, *words, code=1)
    assert "task bad.py:task: grade('1', '1', {'tolerance': 1" in line
    assert told in line
    assert line.endswith("question: 'About 1?'")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        (
            "climb.py",
            "return Recipe(",
            "raise OSError(",
            "attempts) raised OSError",
        ),
        ("climb.py", "[*before, last]", "[last, last]", "expected no attempt twice"),
        ("climb.py", "n - 1)\n\n", "n)\n\n", "answer_of and restated to be places in attempts"),
        ("climb.py", "[*before, last]", "[99]", "expected attempts to be a list of numbers"),
        ("climb.py", "n - 1)\n\n", "n - 1, reflects=1)\n\n", "reflects to be True or False"),
        (
            "climb.py",
            "return Recipe(",
            "return Recipe('\\n' + ",
            "the label to be text in one line",
        ),
        ("climb.py", '"climb"', '"*C"', "a built-in format is called '*C'"),
        ("climb.py", '"climb", climb', '"climb"', "expected a slot or a planner"),
        ("climb.py", "(pool, draws, n)", "(pool)", "expected a function of (pool, draws, n)"),
        ("modest.py", "if ", "if trace.none or ", "has no attribute 'none'"),
        ("modest.py", "if ", "yield 3\n    if ", "expected texts"),
        ("products.py", "a, b = ", "a, b = 1 / 0, ", "raised ZeroDivisionError"),
        ("products.py", "Asked(", "(", "expected skill_factory.stages.questions.Asked"),
        ("products.py", "yield Asked(", "yield None and (", "returned None, expected skill_fac"),
        ("products.py", 'Asked(f"', 'Asked(f"\\ud800', "to be text in UTF-8"),
        (
            "products.py",
            '{"tolerance": 9}',
            "{'a': '\\ud800'}",
            "expected facts to be a JSON object",
        ),
        ("products.py", '{"tolerance": 9}', "{1: {2}}", "expected facts to be a JSON object"),
        ("products.py", "make(seed)", "make()", "expected a function of (seed)"),
    ],
)
def test_any_other_part_that_does_what_it_must_not_is_one_line(
    place: Path, file: str, old: str, new: str, told: str
) -> None:
    assert old in FILES[file]
    (place / file).write_text(FILES[file].replace(old, new))
    create = ("create", "-i", BUNDLED, "-o", "./sft", "--attempts", "2")
    words: tuple[str | Path, ...] = {
        "climb.py": (*create, "--formats", "climb.py:format"),
        "modest.py": ("check", "./sft", "--check", "modest.py:check"),
        "products.py": (
            *("questions", "products.py:source", "--task", "within.py:task"),
            *("--count", "3", "--dry-run"),
        ),
    }[file]
    if file == "modest.py":
        done(place, *create)
    found = command(place, *words)
    assert found.code in (1, 2)
    assert "Traceback" not in found.err
    (line,) = [line for line in found.err.splitlines() if line.startswith("Error: ")]
    assert file in line
    assert told in line
    assert file != "climb.py" or not (place / "sft").exists()


def test_what_a_check_of_ones_own_finds_is_a_fault(place: Path) -> None:
    code = FILES["modest.py"].replace('"as an ai"', '"<answer>"')
    (place / "modest.py").write_text(code)
    done(place, "create", "-i", BUNDLED, "-o", "./sft", "--attempts", "2")
    found = command(place, "check", "./sft", "--check", "modest.py:check")
    assert found.code == 1
    assert "Error modest: " in found.out
    assert ": speaks of itself as an AI\n" in found.out


@pytest.mark.slow
def test_an_installed_part_that_cannot_be_loaded_is_an_error_only_where_it_is_named(
    place: Path,
) -> None:
    there = {"PYTHONPATH": install(place)}
    (place / "site" / "within.py").write_text("x = 1 / 0")
    words = ("questions", "estimates.jsonl", "--dry-run")
    assert "integers: 1" in done(place, *words, "--task", "integers", **there)
    line = refused(place, *words, "--task", "within", code=2, **there)
    assert "within (installed, within:task): importing it raised ZeroDivisionError" in line
    assert "cannot be used:" in done(place, "list", "tasks", **there)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "use"),
    [
        ("within.py", "sf.grade('within.py:task', '4', '5', {'tolerance': 1})"),
        ("products.py", "sf.questions('products.py:source', count=3, task='within.py:task')"),
        (
            "products.py",
            "sf.run({'questions': {'source': 'products.py:source', 'task': 'within.py:task'}}, "
            "'run', count=3, last='questions')",
        ),
        ("climb.py", f"sf.create({str(BUNDLED)!r}, dry_run=True, formats=['climb.py:format'])"),
        ("modest.py", "sf.check('sft', checks=['modest.py:check'])"),
    ],
)
def test_code_that_was_changed_after_it_was_loaded_is_not_taken_for_the_new_one(
    place: Path, file: str, use: str
) -> None:
    done(place, "create", "-i", BUNDLED, "-o", "./sft")
    code = (
        "import pathlib, os, skill_factory as sf\n"
        f"{use}\n{use}\n"
        f"file = pathlib.Path({file!r})\nwords = file.read_text()\n"
        f"os.utime(file)\n{use}\n"
        "file.write_text(words + '# changed')\n"
        f"try:\n    {use}\nexcept sf.SkillFactoryError as error:\n    print('said:', error)\n"
        f"file.write_text(words)\n{use}\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=place, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    (line,) = [line for line in ran.stdout.splitlines() if line.startswith("said:")]
    assert f"{file} was changed after it was loaded; start Python anew" in line


@pytest.mark.slow
def test_a_source_that_only_repeats_itself_is_left_with_a_note(place: Path) -> None:
    (place / "same.py").write_text(
        "from itertools import repeat\n"
        "from skill_factory.stages.questions import Asked, Source\n"
        "asked = Asked('1 + 1?', '2', {}, 'integers')\n"
        "endless = Source('endless', lambda seed: repeat(asked))\n"
        "twice = Source('twice', lambda seed: [asked, asked])\n"
    )
    said = "Note: stopped after 30,000 in a row"
    assert said in done(place, "questions", "same.py:endless", "--dry-run")
    assert said not in done(place, "questions", "same.py:twice", "--dry-run")


def test_data_never_loads_code(place: Path) -> None:
    (place / "evil.py").write_text("open('ran', 'w').close()\n" + GOOD)
    table = [{"question": "1?", "answer": "1", "task_source": "evil.py:task"}]
    pq.write_table(pa.Table.from_pylist(table), place / "data.parquet")
    line = refused(place, "questions", "data.parquet", "--dry-run", code=1)
    assert "no task is known as 'evil.py:task'" in line
    assert not (place / "ran").exists()


def test_a_reference_is_told_from_a_name() -> None:
    names = (
        "countdown",
        "org/name",
        "org/name:x",
        "data.parquet",
        "reasoning-gym:sums",
        "hf://a/b",
    )
    assert not any(map(is_reference, names))
    assert all(map(is_reference, ("a:b", "a.b:c", "./a-b.py:c", "/x y/a.py:b")))
    assert shown("/home/me/a.py:b") == "a.py:b"
    assert file_of("a.b:c") is None

"""The functions of `import skill_factory`: what the commands make, from Python."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import BUNDLED, ROOT, read_manifest, read_traces, run
from model_server import Server, serve
from tutor import speak

import skill_factory as sf

NOTHING: Any = None
SETTINGS: dict[str, Any] = {"attempts": 3, "formats": ["*C_full", "*CC"]}


def digest(folder: Path) -> Any:
    return read_manifest(folder)["output"]["digest"]


@pytest.fixture(scope="module")
def by_command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("command")
    words = ["-i", str(BUNDLED), "-o", "./sft", "--attempts", "3", "--formats", "*C_full", "*CC"]
    assert run(*words, cwd=place).code == 0
    return place / "sft"


@pytest.mark.parametrize("kind", ["text", "path", "table", "frame", "dataset"])
def test_create_makes_what_the_command_makes_of_whatever_holds_the_rows(
    kind: str, by_command: Path, tmp_path: Path
) -> None:
    table = pq.read_table(BUNDLED)
    data: Any = {
        "text": lambda: str(BUNDLED),
        "path": lambda: BUNDLED,
        "table": lambda: table,
        "frame": table.to_pandas,
        "dataset": lambda: datasets.Dataset.from_parquet(
            str(BUNDLED), cache_dir=str(tmp_path / "cache")
        ).select(range(table.num_rows)),
    }[kind]()
    made = sf.create(data, tmp_path / "sft", **SETTINGS)
    assert digest(tmp_path / "sft") == digest(by_command)
    assert made.folder == tmp_path / "sft"
    assert made.dataset()[0] == read_traces(by_command)[0]
    assert len(made.to_pandas()) == made.ledger["traces"]["kept"] == made.plan().num_rows
    assert "traces" in made.summary
    named = read_manifest(tmp_path / "sft")["input"]["name"]
    assert named == (str(BUNDLED) if kind in ("text", "path") else "rows in memory")


def test_a_dataset_whose_rows_were_chosen_or_mapped_is_read_as_it_is_seen(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_parquet(str(BUNDLED), cache_dir=str(tmp_path / "cache"))
    few = rows.filter(lambda row: row["question"] < "What is 14", load_from_cache_file=False)
    made = sf.create(few, tmp_path / "sft", attempts=2)
    asked = {row["conversations"][0]["content"] for row in made.dataset()}
    assert asked <= set(few["question"])
    assert read_manifest(tmp_path / "sft")["input"]["rows"] == len(few)


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    made = sf.create(BUNDLED, dry_run=True, **SETTINGS)
    assert made.folder is None
    assert made.ledger["traces"]["kept"] > 0
    with pytest.raises(sf.SkillFactoryError, match="dry run"):
        made.dataset()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (lambda place: sf.create(BUNDLED, place / "x", attemps=3), "unknown key"),
        (lambda place: sf.create(BUNDLED, place / "x", attempts="3"), "expected a whole number"),
        (lambda place: sf.create(BUNDLED), "no folder"),
        (lambda place: sf.create(place / "none.parquet", place / "x"), "none.parquet"),
        (lambda place: sf.create([1, 2], place / "x"), "data: list"),
        (lambda place: sf.create(pa.table({"a": [1]}), place / "x"), "question"),
        (lambda place: sf.questions("countdown", count=0), "count"),
        (lambda place: sf.check(place), "no SFT folder"),
        (lambda place: sf.create("", place / "x"), "data: expected a path"),
        (lambda place: sf.create(BUNDLED, place / "x", push=True), "push: nothing is pushed here"),
        (lambda place: sf.create(BUNDLED, place / "x", private=True), "private: nothing is pushed"),
        (lambda place: sf.create(BUNDLED, place / "x", input_dataset="y"), "is the argument data"),
        (lambda place: sf.create(BUNDLED, place / "x", output_dataset="y"), "the argument folder"),
        (
            lambda place: sf.create(pq.read_table(BUNDLED), place / "x", input_split="test"),
            "input_split: is for a path or a dataset on the Hub",
        ),
        (lambda place: sf.questions(" "), "source: expected a name"),
        (lambda place: sf.check(place, cutoff_len=-1, tokenizer="x"), "cutoff_len: expected 1"),
        (lambda place: sf.check(place, cutoff_len=0), "cutoff_len: expected 1 or more"),
        (lambda place: sf.check(place, cutoff_len=9), "cutoff_len: counts tokens"),
        (lambda place: sf.check(place, task="countdwn"), "did you mean countdown"),
        (lambda place: sf.push(place, "name"), "is written as org/name"),
        (lambda place: sf.push(place, "org/name", create_pr=True, revision="x"), "leave --rev"),
        (lambda place: sf.push(place, "hf://datasets/org/name"), "no SFT folder"),
        (lambda place: sf.push(place, "org/name"), "no SFT folder"),
        (lambda place: sf.grade("countdwn", "1", "1"), "no task"),
        (lambda place: sf.grade("text", "1", None), "cannot be read"),
        (lambda place: sf.run({}, place / "x"), "no questions"),
        (lambda place: sf.run({}, place / "x", seed=1), "seed: say which"),
        (lambda place: sf.run({}, place / "x", sead=1), "no stage has"),
        (
            lambda place: sf.run({"questions": {"source": "addition", "sauce": 1}}, place / "x"),
            "unknown key",
        ),
        (lambda place: sf.run(place / "none.yaml", place / "x"), "none.yaml"),
        (lambda place: sf.run(NOTHING, place / "x"), "config: expected a path or a mapping"),
        (lambda place: sf.run({"smaple": {}}, place / "x"), "smaple: unknown key.*sample?"),
        (lambda place: sf.run({"sample": {"samples": 0}}, place / "x"), "sample.samples: expected"),
        (lambda place: sf.run({"questions": "addition"}, place / "x"), "questions: expected setti"),
        (lambda place: sf.run({"questions": None, "model": None}, place / "x"), "no questions"),
        (lambda place: sf.run({}, place / "x", model="tiny"), "model: expected a mapping"),
        (lambda place: sf.run({}, place / "x", first="smaple"), "first: .*did you mean sample"),
        (lambda place: sf.run({}, place / "x", last="all"), "last: expected one of questions"),
        (
            lambda place: sf.run({}, place / "x", first="create", last="sample"),
            "first: create comes after last, sample",
        ),
        (lambda place: sf.Run(place).manifest, "manifest.json: is missing"),
        (lambda place: sf.Run(place).table("graded"), "graded.parquet: is missing"),
    ],
)
def test_what_is_wrong_is_an_error_of_ours(work: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(sf.SkillFactoryError, match=words):
        work(tmp_path)
    assert not (tmp_path / "x" / "sft").exists()


def test_questions_are_those_of_the_command(tmp_path: Path) -> None:
    out = tmp_path / "q.parquet"
    done = run("questions", "countdown", "--count", "9", "-o", out, module="skill_factory")
    assert done.code == 0
    made = sf.questions("countdown", count=9)
    assert made.to_list() == pq.read_table(out).to_pylist()
    assert "questions" in made.info.description


def test_an_answer_is_graded() -> None:
    facts = {"numbers": [3, 5, 3], "target": 24}
    assert sf.grade("countdown", "(3 + 5) * 3", "24", facts) == "right"
    assert sf.grade("countdown", "(3 + 5) * 2", "24", facts) == "wrong"
    assert sf.grade("countdown", "perhaps", "24", facts) == "undecided"
    assert sf.grade("mathematics", "0.5", r"\frac{1}{2}") == "right"


def settings(server: Server) -> dict[str, Any]:
    return {
        "questions": {"source": "countdown", "count": 6},
        "model": {"base_url": server.url},
        "sample": {"samples": 3},
        "reflect": {"until_valid": True},
        "create": {"attempts": 2},
    }


def test_a_run_goes_the_whole_way_and_on(tmp_path: Path) -> None:
    told: list[str] = []
    with serve(Server(speak=speak)) as server:
        made = sf.run(settings(server), tmp_path / "run", progress=told.append)
        assert made.sft.table().num_rows > 0
        assert set(made.to_pandas("graded")["grade"]) <= {"right", "wrong", "undecided"}
        assert made.manifest["stages"]["sample"]["whole"]
        asked = server.asked
        sf.run(settings(server), str(tmp_path / "run"), progress=None)
        assert server.asked == asked
        sf.run(settings(server), tmp_path / "run", samples=4, last="sample", progress=None)
        assert server.asked > asked
    assert any("sample" in line for line in told)


def test_a_mapping_is_what_a_config_file_would_be(tmp_path: Path) -> None:
    source = tmp_path / "asked.jsonl"
    source.write_text('{"question": "1 + 1?", "answer": "2", "task_source": "addition"}\n')
    given = {"questions": {"source": source}, "model": None, "sample": {"temperature": None}}
    made = sf.run(given, tmp_path / "run", last="questions", progress=None)
    assert made.table("questions")["question"].to_pylist() == ["1 + 1?"]
    again = sf.run(
        given, tmp_path / "run", questions={"source": "addition"}, count=3, last="questions"
    )
    assert again.table("questions").num_rows == 3


def test_the_first_stage_that_is_named_is_made_anew(tmp_path: Path) -> None:
    given, told = {"questions": {"source": "addition", "count": 3}}, list[str]()
    for first in (None, None, "questions"):
        sf.run(given, tmp_path / "run", first=first, last="questions", progress=told.append)
    assert ["up to date" in line for line in told] == [False, True, False]


def test_the_folder_of_another_run_is_opened(tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    sf.run({"questions": {"source": "addition", "count": 3}}, folder, last="questions")
    made = sf.Run(folder)  # type: ignore[arg-type]  # a notebook says it so
    assert made.table("questions").num_rows == 3
    assert "questions" in made.manifest["stages"]


def test_a_run_works_where_an_event_loop_runs_already(tmp_path: Path) -> None:
    async def cell() -> sf.Run:
        return sf.run(settings(server), tmp_path / "run", progress=None)

    with serve(Server(speak=speak)) as server:
        made = asyncio.run(cell())
    assert made.sft.table().num_rows > 0


def test_a_model_is_evaluated(tmp_path: Path) -> None:
    told: list[str] = []
    sets = [tmp_path / "sums.parquet"]
    sf.questions("addition", count=5, seed=1).to_parquet(sets[0])
    with serve(Server(speak=speak)) as server:
        model = {"base_url": server.url}
        for samples in (1, 2):
            found = sf.evaluate(
                sets, tmp_path / "e", model=model, progress=told.append, samples=samples
            )
    assert [(one.group.question_set, one.responses) for one in found] == [("sums", 10)]
    assert 0 < (found[0].figures["accuracy"].value or 0) < 1
    assert any("5 samples to ask for in 5 requests, 5 are in the journal" in line for line in told)
    with pytest.raises(sf.SkillFactoryError, match=r"^sampels: unknown key"):
        sf.evaluate(sets, tmp_path / "e", sampels=3)


def test_responses_are_measured_compared_and_reported(tmp_path: Path) -> None:
    rows = [{"question": f"{n} + 1?", "answer": str(n + 1)} for n in range(6)]
    for name, right in (("before", 2), ("after", 5)):
        said = [str(n + 1 if n < right else 0) for n in range(6)]
        responses = [
            row | {"response": f"<answer>{text}</answer>"}
            for row, text in zip(rows, said, strict=True)
        ]
        pq.write_table(pa.Table.from_pylist(responses), tmp_path / f"{name}.parquet")
        made = sf.measure_files(tmp_path / f"{name}.parquet", tmp_path / name, task="integers")
        assert made.groups[0].figures["accuracy"].value == right / 6
    models = [tmp_path / "before", tmp_path / "after"]
    found = sf.compare(models, output=tmp_path / "page.html", measures="all")
    (accuracy,) = [row for row in found.rows if row.measure.name == "accuracy"]
    cell = accuracy.cells[1]
    assert cell is not None
    assert cell.difference is not None
    assert cell.difference.value == pytest.approx(0.5)
    assert "SkillFactory comparison" in (tmp_path / "page.html").read_text()
    drawn = sf.report(tmp_path / "after", output=tmp_path / "report.html")
    assert (drawn.traces, drawn.of) == (6, 6)
    assert [one.label for one in sf.traces(tmp_path / "after", label="wrong")] == ["wrong"]
    with pytest.raises(sf.SkillFactoryError, match="json: is for the command"):
        sf.compare(models, json=True)
    with pytest.raises(sf.SkillFactoryError, match="no such file or folder"):
        sf.report(tmp_path / "nowhere")


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, skill_factory; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    heavy = {"pyarrow", "numpy", "pydantic", "datasets", "aiohttp", "click", "pandas"}
    assert not heavy & set(done.stdout.split())

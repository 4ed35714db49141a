"""Explaining traces: every word has its origin, and the origin says it."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import (
    ANSWER,
    BUNDLED,
    CORRECT,
    REAL,
    REFLECTION,
    RESPONSE,
    Make,
    attempt,
    read_traces,
    run,
)
from model_server import Server, serve
from test_golden import FORMATS, generated
from test_runs import config, go
from tutor import speak

from skill_factory.look.diff import sft_of
from skill_factory.look.explain import Explanation, explain_all
from skill_factory.look.origins import SourceText
from skill_factory.look.spans import Kind

ALL = ["--formats", *FORMATS, "--attempts", "3", "--repeats", "2"]


def explanations(folder: Path) -> list[Explanation]:
    sft = sft_of(folder)
    return explain_all(sft, list(sft.read(range(sft.count))))


def several_responses(path: Path, folder: Path) -> Path:
    """The rows of a file, several responses a row, shuffled into several files; the reflections
    are lists of lists."""
    table = pq.read_table(generated(path)).to_pylist()
    by_question: dict[str, list[dict[str, Any]]] = {}
    for row in table:
        by_question.setdefault(row["question"], []).append(row)
    rng, rows = random.Random(3), []
    for found in by_question.values():
        while found:
            some = [found.pop() for _ in range(min(len(found), rng.randrange(1, 4)))]
            lists = {name: [row[name][0] for row in some] for name in (RESPONSE, CORRECT, ANSWER)}
            rows.append(some[0] | lists | {REFLECTION: [row[REFLECTION] for row in some]})
    rng.shuffle(rows)
    folder.mkdir()
    for number in range(3):
        part = pa.Table.from_pylist(rows[number::3])
        pq.write_table(part, folder / f"part-{number}.parquet", row_group_size=7)
    return folder


@pytest.mark.parametrize("source", ["bundled", "real", "generated", "several", "json lines"])
def test_spans_join_to_the_trace_and_each_is_what_its_source_says(
    source: str, make: Make, tmp_path: Path
) -> None:
    data = {
        "bundled": lambda: BUNDLED,
        "real": lambda: REAL,
        "generated": lambda: generated(tmp_path / "generated.parquet"),
        "several": lambda: several_responses(tmp_path / "one.parquet", tmp_path / "several"),
        "json lines": lambda: as_lines(tmp_path / "rows.jsonl"),
    }[source]()
    folder = make(data, *ALL)
    traces, plan = read_traces(folder), pq.read_table(folder / "plan.parquet").to_pylist()
    found = explanations(folder)
    assert len(found) == len(traces) > 100
    kinds = set()
    for one, row, planned in zip(found, traces, plan, strict=True):
        question, answer = (turn["content"] for turn in row["conversations"])
        assert "".join(span.origin.span.text for span in one.spans) == answer
        assert (one.trace.question, one.question.text) == (question, question)
        assert one.question.digest == planned["question_id"]
        assert one.holds is True
        for span, _ in one.spans:
            kinds.add(span.span.kind)
            assert span.holds is (None if span.span.kind is Kind.TAG else True), span
        steps = [step["row"] for step in planned["steps"]]
        assert {row_of(span) for span, _ in one.spans} - {None} == set(steps)
    assert kinds == set(Kind) - {Kind.OTHER, Kind.RESPONSE}


def row_of(origin: Any) -> int | None:
    row: int | None = getattr(origin.source, "row", None)
    return row


def as_lines(path: Path) -> Path:
    rows = pq.read_table(generated(path.with_suffix(".parquet"))).to_pylist()
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_a_source_is_the_place_in_its_file(make: Make, tmp_path: Path) -> None:
    folder = make(several_responses(tmp_path / "one.parquet", tmp_path / "several"), *ALL)
    files: dict[str, list[dict[str, Any]]] = {}
    seen = set()
    for one in explanations(folder):
        for origin, _ in one.spans:
            source = origin.source
            if origin.span.kind not in (Kind.ATTEMPT, Kind.REFLECTION, Kind.ANSWER):
                continue
            assert isinstance(source, SourceText)
            assert source.file is not None
            assert source.file_row is not None
            rows = files.setdefault(source.file, pq.read_table(source.file).to_pylist())
            value = rows[source.file_row][source.column][source.response]
            value = value if source.reflection is None else value[source.reflection]
            assert value == origin.span.text
            seen.add(source.file)
    assert len(seen) == 3


def explained(folder: Path, name: str, code: int = 0) -> dict[str, Any]:
    done = run("explain", folder, name, "--json", module="skill_factory")
    assert done.code == code, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_what_is_printed_names_every_source(make: Make) -> None:
    folder = make(BUNDLED, "--formats", "*C*IC", "--attempts", "3")
    name = read_traces(folder)[0]["trace_id"]
    done = run("explain", folder, name[:12], module="skill_factory")
    assert done.code == 0, done.err
    for words in (f"trace {name}", "backtrack phrase ", "closing phrase ", "restated attempt ",
                  f"column {RESPONSE}, response 0, XXH3 ", f"column {REFLECTION}, response 0, refl",
                  f"column {ANSWER}, response 0", "answer, right of attempt ",
                  "All of it is what its sources say; the spans join"):  # fmt: skip
        assert words in done.out, words
    found = explained(folder, name)
    assert "".join(span["text"] for span in found["spans"]) == found["text"]
    assert found["holds"] is True
    assert {span["request"] for span in found["spans"]} == {None}


def test_json_has_each_text_as_it_is(make: Make) -> None:
    odd = "\x1b[2J \x7f \x85 \u202e txt \u2028 é 🙂 \t end"
    rows = [
        attempt(n, n < 2) | {RESPONSE: [f"{odd} {n}\n<answer>{n}</answer>"], ANSWER: [str(n)]}
        for n in range(4)
    ]
    folder = make(rows, "--attempts", "3")
    for row in read_traces(folder):
        found = explained(folder, row["trace_id"])
        assert found["text"] == row["conversations"][1]["content"]
        assert "".join(span["text"] for span in found["spans"]) == found["text"]
        done = run("explain", folder, row["trace_id"], module="skill_factory")
        assert "\\x1b[2J \\x7f \\x85 <U+202E> txt <U+2028> é 🙂" in done.out
        assert not set("\x1b\x7f\x85\u202e\u2028") & set(done.out)


def test_a_source_that_says_something_else_is_told(make: Make, tmp_path: Path) -> None:
    data = shutil.copy(BUNDLED, tmp_path / "data.parquet")
    folder = make(data, "--attempts", "3")
    trace = read_traces(folder)[-1]
    step = pq.read_table(folder / "plan.parquet").to_pylist()[-1]["steps"][0]
    rows = pq.read_table(data).to_pylist()
    rows[step["row"]][RESPONSE] = ["\x1b[2JSomething else."]
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(data)), data)
    done = run("explain", folder, trace["trace_id"], module="skill_factory")
    assert done.code == 1
    assert "its source says something else: \\x1b[2JSomething else." in done.out
    assert "Not all of it is what its sources say." in done.out
    held = [span["holds"] for span in explained(folder, trace["trace_id"], 1)["spans"]]
    assert held.count(False) == 1


def test_a_source_that_is_gone_is_told(make: Make, tmp_path: Path) -> None:
    data = shutil.copy(BUNDLED, tmp_path / "data.parquet")
    folder = make(data, "--attempts", "3")
    Path(data).unlink()
    done = run("explain", folder, read_traces(folder)[0]["trace_id"], module="skill_factory")
    assert done.code == 0
    assert f"Note: {folder}: was made from {data}, which is not here" in done.out
    assert "which is not there any more" in done.out
    assert "Some of its sources are gone." in done.out
    assert "closing phrase" in done.out


def test_a_trace_that_was_written_over_has_text_of_no_origin(make: Make) -> None:
    folder = make(BUNDLED, "--attempts", "3")
    (file,) = (folder / "sft_train").glob("*.parquet")
    rows = pq.read_table(file).to_pylist()
    rows[0]["conversations"][1]["content"] = "By hand.\n" + rows[0]["conversations"][1]["content"]
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(file)), file)
    done = run("explain", folder, rows[0]["trace_id"], module="skill_factory")
    assert done.code == 1
    assert "text of no known origin\n    By hand." in done.out


def test_the_traces_of_a_row_are_found(make: Make, tmp_path: Path) -> None:
    source = several_responses(tmp_path / "one.parquet", tmp_path / "several")
    folder = make(source, *ALL)
    plan = pq.read_table(folder / "plan.parquet").to_pylist()
    row = plan[5]["steps"][0]["row"]
    using = {
        trace["trace_id"]: [n for n, step in enumerate(trace["steps"]) if step["row"] == row]
        for trace in plan
    }
    using = {name: steps for name, steps in using.items() if steps}
    done = run("explain", folder, "--source", str(row), "--json", module="skill_factory")
    found = json.loads(done.out)
    assert {one["trace_id"]: one["steps"] for one in found["traces"]} == using
    first = pq.read_metadata(source / "part-0.parquet").num_rows
    there = row - first if row >= first else row
    file = "part-1.parquet" if row >= first else "part-0.parquet"
    if row < 2 * first:
        again = run("explain", folder, "--source", f"{file}:{there}", module="skill_factory")
        assert f"row {row} is used in {len(using)} traces" in again.out


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["--source", "999999"], 1, "there is no such row; the last one is"),
        (["--source", "other.parquet:1"], 1, "no one file of the input is 'other.parquet'"),
        (["--source", "x"], 2, "source: expected a row, from 0: 12, or FILE:12"),
        ([], 2, "name a trace, or a row with --source"),
        (["abc", "--source", "1"], 2, "name a trace, or a row with --source"),
        (["nothing"], 1, "no trace has the id 'nothing'"),
    ],
)
def test_what_is_not_there_is_one_clear_error(
    make: Make, words: list[str], code: int, problem: str
) -> None:
    folder = make(BUNDLED, "--attempts", "3")
    done = run("explain", folder, *words, module="skill_factory")
    assert done.code == code
    assert problem in done.err


def test_only_what_we_made_can_be_explained(tmp_path: Path) -> None:
    shutil.copy(BUNDLED, tmp_path / "data.parquet")
    done = run("explain", tmp_path, "abc", module="skill_factory")
    assert done.code == 1
    assert f"{tmp_path}: is no SFT folder" in done.err


# -- a run of ours --------------------------------------------------------------------------------


Sent = dict[tuple[str, str], dict[str, Any]]
"""What a server was sent, by the messages and the answer that it gave."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sent]:
    """A run that was moved since, and what its server was sent."""
    folder, sent = tmp_path_factory.mktemp("explain") / "run", Sent()

    def heard(request: dict[str, Any], sample: int) -> str:
        said = speak(request, sample)
        sent[json.dumps(request["messages"]), said] = dict(request)
        return said

    with serve(Server(speak=heard)) as server:
        sample = {"samples": 4, "seed": 5, "temperature": 0.5}
        go(folder, config(server, sample=sample, create={"attempts": 3, "formats": ["*C*IC"]}))
    return folder.rename(folder.with_name("moved")), sent


def test_requests_are_those_that_were_sent(made: tuple[Path, Sent]) -> None:
    folder, sent = made
    found = explanations(folder)
    assert len(found) > 3
    with sqlite3.connect(folder / "journal.sqlite") as journal:
        said = {
            (key.hex(), idx): (text, at)
            for key, idx, text, at in journal.execute("SELECT key, idx, text, at FROM samples")
        }
    journal.close()
    annotated = pq.read_table(folder / "annotated.parquet").to_pylist()
    for one in found:
        assert one.problems == []
        for origin, request in one.spans:
            asked = origin.span.kind in (Kind.ATTEMPT, Kind.REFLECTION, Kind.RESTATED)
            assert (request is not None) is asked
            if request is None:
                continue
            assert said[request.key, request.sample] == (origin.span.text, request.at)
            assert request.holds is True
            body = sent[json.dumps(request.messages), origin.span.text]
            assert {name: body[name] for name in request.sampling if name != "seed"} == {
                name: value for name, value in request.sampling.items() if name != "seed"
            }
            assert request.sampling["seed"] <= body["seed"] <= request.sampling["seed"] + 3
            assert request.model.endswith(f" {body['model']}")
            assert isinstance(origin.source, SourceText)
            row = annotated[origin.source.row]
            if origin.span.kind is Kind.REFLECTION:
                assert (request.stage, request.variant) == ("reflect", None)
                assert origin.source.reflection is not None
                assert request.sample == row["reflection_samples"][origin.source.reflection]
            else:
                assert (request.stage, request.variant) == ("sample", row["prompt_variant"])
                assert request.sample == row["sample"]
                assert request.sampling["temperature"] == 0.5


def test_the_request_is_printed(made: tuple[Path, Sent]) -> None:
    folder, _ = made
    name = read_traces(folder / "sft")[0]["trace_id"]
    done = run("explain", folder, name, module="skill_factory")
    assert done.code == 0, done.err
    assert "  sample as " in done.out
    assert "  reflect, sample " in done.out
    assert "UTC\n  request " in done.out
    assert "  user:\n        " in done.out


def test_a_journal_in_use_is_one_clear_line(made: tuple[Path, Sent]) -> None:
    from skill_factory.asking.journal import Journal

    folder, _ = made
    name = read_traces(folder / "sft")[0]["trace_id"]
    with Journal(folder / "journal.sqlite"):
        done = run("explain", folder, name, module="skill_factory")
    assert done.code == 0
    assert done.out.count("is in use by another process") == 1
    assert "  request " in done.out
    assert "answered" not in done.out


def test_a_journal_that_is_gone_is_one_clear_line(made: tuple[Path, Sent], tmp_path: Path) -> None:
    folder = shutil.copytree(made[0], tmp_path / "run")
    (folder / "journal.sqlite").unlink()
    name = read_traces(folder / "sft")[0]["trace_id"]
    done = run("explain", folder, name, module="skill_factory")
    assert done.code == 0
    assert "journal.sqlite: is missing; when it was answered is not known" in done.out
    assert not (folder / "journal.sqlite").exists()


def test_prompts_that_have_changed_since_are_told(made: tuple[Path, Sent], tmp_path: Path) -> None:
    folder = shutil.copytree(made[0], tmp_path / "run")
    settings = (folder / "config.yaml").read_text("utf-8")
    (folder / "config.yaml").write_text(settings.replace("temperature: 0.5", "temperature: 0.6"))
    found = explanations(folder)
    lacking = {
        request.stage for one in found for _, request in one.spans if request and not request.at
    }
    assert lacking == {"sample"}
    assert "the prompts, the sampling or the model's name are others now" in found[0].problems[0]

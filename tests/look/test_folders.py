"""What a user may name to look at, and what is in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import BUNDLED, REAL, ROOT, Make, attempts, read_traces

from skill_factory.core.columns import Columns
from skill_factory.errors import InputError
from skill_factory.look.folders import ChatFiles, RunView, SftFolder, Trace
from skill_factory.look.opening import open_folder
from skill_factory.runs.folder import Stage

ANSWER = "<think>\n<sample>\nIt is {}.\n<answer>{}</answer>\n</sample>\n</think>\n\nSo:\n\n" \
    "<answer>\n{}\n</answer>"  # fmt: skip


def chat(value: int, keys: tuple[str, str] = ("role", "content"), **more: Any) -> dict[str, Any]:
    """A chat of an attempt that says this value."""
    names = ("user", "assistant") if keys[0] == "role" else ("human", "gpt")
    texts = ("What is 2 + 2?", ANSWER.format(value, value, value))
    turns = [dict(zip(keys, turn, strict=True)) for turn in zip(names, texts, strict=True)]
    return {"messages": turns} | more


def traces(path: Path) -> list[Trace]:
    found = open_folder(path)
    assert isinstance(found, ChatFiles)
    return list(found.read(range(found.count)))


@pytest.fixture(scope="module")
def sft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Traces of the bundled data in every layout of the end."""
    from conftest import run

    folder = tmp_path_factory.mktemp("made") / "sft"
    done = run("-i", BUNDLED, "-o", folder, "--attempts", "3", "--formats", "*C_full", "*C*IC")
    assert done.code == 0, done
    return folder


def test_an_sft_folder_gives_its_traces_with_their_plan(sft: Path) -> None:
    rows, plans = read_traces(sft), pq.read_table(sft / "plan.parquet").to_pylist()
    found = traces(sft)
    assert [trace.id for trace in found] == [row["trace_id"] for row in rows]
    assert [trace.plan for trace in found] == plans
    for trace, row in zip(found, rows, strict=True):
        texts = [turn["content"] for turn in row["conversations"]]
        assert [trace.question, trace.text] == texts
        assert "".join(span.text for span in trace.spans()) == trace.text
        named = {span.correct for span in trace.spans() if span.kind == "answer"}
        assert named == {trace.steps[(trace.plan or {})["answer_of"]]["correct"]}


def test_some_traces_are_read_without_the_others(sft: Path) -> None:
    folder, everything = open_folder(sft), traces(sft)
    assert isinstance(folder, SftFolder)
    assert list(folder.read([7, 2, 7])) == [everything[2], everything[7]]
    assert not list(folder.read([]))


def test_a_sample_depends_on_seed_and_ids_alone(sft: Path, tmp_path: Path) -> None:
    folder = open_folder(sft)
    assert isinstance(folder, SftFolder)
    drawn = {trace.id for trace in folder.read(folder.sample(5, seed=1))}
    assert len(drawn) == 5
    assert drawn != {trace.id for trace in folder.read(folder.sample(5, seed=2))}
    assert folder.sample(10_000) == list(range(folder.count))
    assert set(folder.sample(3, among=np.array([1, 4, 5, 9]))) < {1, 4, 5, 9}
    # the same rows in another order, in small row groups
    table = pq.read_table(sft / "sft_train")
    other = tmp_path / "other.parquet"
    pq.write_table(table.take(list(range(table.num_rows))[::-1]), other, row_group_size=10)
    turned = open_folder(other)
    assert isinstance(turned, ChatFiles)
    assert {trace.id for trace in turned.read(turned.sample(5, seed=1))} == drawn


def test_chats_of_any_make_are_read_alike(tmp_path: Path) -> None:
    rows = [chat(value, note=value) for value in range(40)]
    shared = [{"conversations": chat(value, ("from", "value"))["messages"]} for value in range(40)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=7)
    pq.write_table(pa.Table.from_pylist(shared), tmp_path / "b.parquet")
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "d.json").write_text(json.dumps(shared))
    for name in ("a.parquet", "b.parquet", "c.jsonl", "d.json"):
        found = traces(tmp_path / name)
        assert [trace.id for trace in found] == [f"{name}:{row}" for row in range(40)]
        assert [trace.text for trace in found] == [ANSWER.format(v, v, v) for v in range(40)]
        assert {trace.question for trace in found} == {"What is 2 + 2?"}
        assert {(trace.plan, trace.correct) for trace in found} == {(None, ())}
        part = open_folder(tmp_path / name)
        assert isinstance(part, ChatFiles)
        assert [trace.number for trace in part.read([33, 8])] == [8, 33]


def test_a_folder_of_files_counts_rows_through_each(tmp_path: Path) -> None:
    for name in ("x", "y"):
        rows = [chat(value) for value in range(3)]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
    found = traces(tmp_path)
    assert [trace.id for trace in found][2:4] == ["x.parquet:2", "y.parquet:0"]
    assert [trace.number for trace in found] == list(range(6))


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_attempts_are_graded_where_the_data_says_how(tmp_path: Path, kind: str) -> None:
    facts: dict[str, Any] = {"data_source": "integers", "ground_truth": "4"}
    rows = [chat(4, **facts), chat(5, **facts), chat(5, **facts | {"data_source": "no task"})]
    path = tmp_path / f"chats.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [trace.correct for trace in traces(path)] == [(True,), (False,), ()]


def test_odd_turns_are_no_error(tmp_path: Path) -> None:
    user, said = {"role": "user", "content": "q"}, {"role": "assistant", "content": None}
    rows = [[], [user], [said], [user, said], [said, user], None]
    schema = pa.schema(
        {"messages": pa.list_(pa.struct({"role": pa.string(), "content": pa.string()}))}
    )
    table = pa.Table.from_pylist([{"messages": row} for row in rows], schema)
    pq.write_table(table, tmp_path / "odd.parquet")
    (tmp_path / "odd.jsonl").write_text(
        "".join(json.dumps({"messages": row}) + "\n" for row in rows[:-1])
    )
    wanted = [("", ""), ("q", ""), ("", ""), ("q", ""), ("", ""), ("", "")]
    for name, count in (("odd.parquet", 6), ("odd.jsonl", 5)):
        found = [(trace.question, trace.text) for trace in traces(tmp_path / name)]
        assert found == wanted[:count]


def test_half_a_surrogate_pair_is_shown_as_what_is_no_text(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "q \ud800"}, {"role": "assistant", "content": "\ud800 a"}]
    path = tmp_path / "chats.jsonl"
    path.write_text(json.dumps({"messages": turns, "trace_id": "t\ud800"}) + "\n")
    (found,) = traces(path)
    shown = [text.replace("\ufffd", "") for text in (found.id, found.question, found.text)]
    assert shown == ["t", "q ", " a"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"question": "q"}, "no column conversations or messages"),
        ({"messages": [{"who": "me"}]}, "expected turns with role and content"),
        ({"messages": [{"role": "user", "content": ["q"]}]}, "content of a turn to be text"),
    ],
)
def test_what_is_no_chat_is_named_with_its_row(
    tmp_path: Path, content: dict[str, Any], words: str
) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_text(json.dumps(chat(1)) + "\n" + json.dumps(content) + "\n")
    with pytest.raises(InputError, match=words) as error:
        traces(path)
    assert f"{path}: row 1" in str(error.value)
    pq.write_table(pa.Table.from_pylist([content]), tmp_path / "chats.parquet")
    with pytest.raises(InputError, match=r"chats\.parquet: (holds no chats|column 'messages')"):
        traces(tmp_path / "chats.parquet")


def test_what_cannot_be_looked_at_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no PAR1")
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "a.jsonl").write_text('{"messages": [{"role": "user", "content": "\\ud8')
    for name, words in {
        "cut": "a.jsonl: line 1",
        "nowhere": "no such file or folder",
        "a.csv": "expected a .parquet, .jsonl or .json file",
        "empty": "no parquet, jsonl, json or csv file",
        "broken.parquet": "cannot be read",
    }.items():
        with pytest.raises(InputError, match=words):
            traces(tmp_path / name)


def test_a_run_gives_the_tables_that_are_there(tmp_path: Path) -> None:
    old = shutil.copytree(ROOT / "tests" / "data" / "old_run", tmp_path / "run")
    run = open_folder(old)
    assert isinstance(run, RunView)
    assert run.sft is None
    assert run.table(Stage.GRADE) == old / "graded.parquet"
    assert run.accounts(Stage.GRADE)["attempts"]["read"] > 0
    (old / "graded.parquet").unlink()
    (old / "manifest.json").rename(old / ".lock")  # as when the first stage is at work
    begun = open_folder(old)
    assert isinstance(begun, RunView)
    assert begun.table(Stage.GRADE) is None
    assert begun.accounts(Stage.GRADE) == {}


def test_the_input_of_an_sft_folder_is_found_where_it_was_or_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Make
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(REAL, "annotated.parquet")
    folder = SftFolder(made := make(Path("annotated.parquet"), "--attempts", "3"))
    found = folder.input()
    assert (found.columns, found.run) == (Columns(), None)
    assert sum(batch.table.num_rows for batch in found.source.batches(found.columns)) > 100
    assert folder.config().attempts == 3
    assert len(folder.phrases.texts) > 10
    monkeypatch.chdir("/")
    assert folder.input().source.name == str(made.parent / "annotated.parquet")
    pq.write_table(pq.read_table(REAL).slice(1), tmp_path / "annotated.parquet")
    with pytest.raises(InputError, match="was made from"):
        folder.input()
    (tmp_path / "annotated.parquet").unlink()
    with pytest.raises(InputError, match="which is not here"):
        folder.input()


def test_the_input_in_a_run_is_the_run_s(tmp_path: Path) -> None:
    from conftest import run

    old = shutil.copytree(ROOT / "tests" / "data" / "old_run", tmp_path / "run")
    done = run("-i", old, "-o", old / "sft", "--attempts", "2")
    assert done.code == 0, done
    view = open_folder(old.rename(tmp_path / "moved"))
    assert isinstance(view, RunView)
    assert view.sft is not None
    found = view.sft.input()
    assert found.run is not None
    assert found.run.path == tmp_path / "moved"


def test_a_missing_file_of_an_sft_folder_is_named(make: Make) -> None:
    folder = make(attempts(5, 5))
    (folder / "plan.parquet").unlink()
    with pytest.raises(InputError, match=r"plan\.parquet: is missing"):
        open_folder(folder)

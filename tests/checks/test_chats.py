"""Any dataset of chats can be checked, and what cannot be read is one line."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from chats import QUESTION, chat, chats, check, codes, found, look, text
from conftest import BUNDLED, REAL, ROOT, Row, run
from hypothesis import given
from hypothesis import strategies as st

from skill_factory.checks.codes import CODES
from skill_factory.checks.words import conclusion, says


def shared(row: Row) -> Row:
    """A row as ShareGPT has it."""
    speakers = {"user": "human", "assistant": "gpt"}
    turns = [{"from": speakers[t["role"]], "value": t["content"]} for t in row["messages"]]
    return {"conversations": turns}


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet", "rows.json"])
@pytest.mark.parametrize("as_shared", [True, False])
def test_chats_of_every_shape_are_read(tmp_path: Path, name: str, as_shared: bool) -> None:
    rows = [chat(), chat("No tags here.")]
    rows = [shared(row) for row in rows] if as_shared else rows
    path = tmp_path / name
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
        left = found(check(path, "--json"))
    else:
        left = codes(path, rows)
    assert left["S04"]["traces"] == ["row 1"]
    assert set(left) == {"S04", "S05", "S06", "R07"}


def test_the_files_of_an_sft_folder_are_chats_too(tmp_path: Path) -> None:
    assert run("-i", BUNDLED, "-o", tmp_path / "sft", "--attempts", "3").code == 0
    done = check(tmp_path / "sft" / "sft_train", "--json")
    assert (done.code, set(found(done))) == (0, {"R07"})
    named = json.loads(done.out)
    assert named["traces"] == 81
    assert named["balance"]["attempts"] == {"1": 27, "2": 27, "3": 27}


def test_columns_of_verl_say_what_is_right(tmp_path: Path) -> None:
    verl: Row = {"data_source": "openai/gsm8k", "reward_model": {"ground_truth": "43"}}
    left = codes(tmp_path / "rows.jsonl", [chat(**verl)])
    assert left["R06"]["examples"][0]["excerpt"] == "42, where 43 is right"
    assert set(codes(tmp_path / "ours.jsonl", [chat(**verl | {"ground_truth": 42})])) == set()


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"text": "Hi."}, "row 0: has no column conversations or messages; columns: text"),
        ({"messages": "Hi."}, "column 'messages': expected a list of turns"),
        ({"messages": ["Hi."]}, "expected turns with role and content, or from and value"),
        ({"messages": [{"role": "user", "content": 5}]}, "content of a turn to be text, not 5"),
        ({"messages": [{"role": [], "content": "5"}]}, "role of a turn to be text, not []"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "row 0: a text is not UTF-8"),
    ],
)
def test_what_is_no_chat_is_one_line(tmp_path: Path, row: Row, problem: str) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    done = check(tmp_path / "rows.jsonl")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert problem in done.err


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 99])
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rows.parquet").write_bytes(content)
    done = check(tmp_path / "rows.parquet")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)


def test_a_text_that_is_not_utf8_in_parquet_is_one_line(tmp_path: Path) -> None:
    turn = pa.struct({"role": pa.string(), "content": pa.binary()})
    rows = [[{"role": "user", "content": b"\xff"}, {"role": "assistant", "content": b"-"}]]
    plain = pa.array(rows, pa.list_(turn))
    texts = pa.StringArray.from_buffers(2, *plain.values.field(1).buffers()[1:])
    turns = pa.StructArray.from_arrays([plain.values.field(0), texts], ["role", "content"])
    table = pa.table({"messages": pa.ListArray.from_arrays(plain.offsets, turns)})
    pq.write_table(table, tmp_path / "rows.parquet")
    done = check(tmp_path / "rows.parquet")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "rows.parquet: row 0: a text is not UTF-8" in done.err


def test_csv_files_hold_no_chats(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("messages,answer\n[],4\n")
    done = check(tmp_path / "rows.csv")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "expected a parquet or JSON file of chats" in done.err


def test_what_a_model_said_steers_no_terminal(tmp_path: Path) -> None:
    row = chat(text(answer="\x1b[2J\u202eno"), "\x1b]52;c;AAAA\x07" + QUESTION)
    done = look(tmp_path / "rows.jsonl", [row | {"trace_id": "\x1b[31mred"}])
    assert "\\x1b[2J" in done.out
    assert not set("\x1b\x07\u202e") & set(done.out + done.err)
    assert json.loads(check(tmp_path / "rows.jsonl", "--json").out)["traces"] == 1


def test_warnings_fail_only_when_they_are_meant_to(tmp_path: Path) -> None:
    rows = [chat(text(answer="32"))]
    path = tmp_path / "rows.jsonl"
    assert look(path, rows).code == 0
    assert check(path, "--strict").code == 1
    assert check(path, "--strict", "--ignore", "other-answer").code == 0
    assert check(path, "--strict", "--ignore", "s09", "R07").out.endswith("No fault found.\n")
    done = check(path, "--ignore", "other-anwser")
    assert (done.code, "did you mean other-answer" in done.err) == (2, True)


def test_three_examples_stand_before_what_to_do(tmp_path: Path) -> None:
    rows = [chat("No tags.", f"{n}?") for n in range(5)]
    out = look(tmp_path / "rows.jsonl", rows).out
    lines = out[out.index("Error S04") :].splitlines()
    assert lines[0].endswith(": 5")
    assert [line.split(",")[0].strip() for line in lines[1:4]] == ["row 0", "row 1", "row 2"]
    assert "2 more" in lines[4]
    assert lines[5] == f"  What to do: {CODES['S04'].advice}"
    assert "row 4" in check(tmp_path / "rows.jsonl", "--verbose").out


def test_the_list_shows_every_code() -> None:
    out = run("list", "checks", module="skill_factory").out
    for code in CODES.values():
        assert any(line.startswith(f"{code} ") and code.about in line for line in out.splitlines())


def test_a_template_is_no_near_copy(tmp_path: Path) -> None:
    story = "A shop in our town sells {} of {} each day of the week and never on a Sunday. {}"
    rest = "How many does it sell in a month that begins on a Monday and has thirty days?"
    ours = [chat(question=story.format(n, "pens", rest)) for n in range(30, 34)]
    theirs = [{"question": story.format(n, "cups", rest)} for n in range(40, 44)]
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps(row) + "\n" for row in theirs))
    assert "L02" not in codes(tmp_path / "rows.jsonl", ours, "--against", other)
    other.write_text("".join(json.dumps(row) + "\n" for row in theirs[:1]))
    assert "L02" in codes(tmp_path / "few.jsonl", ours[:1], "--against", other)


@pytest.mark.parametrize(("shared", "found"), [(14, False), (15, True)])
def test_more_than_half_of_the_words_in_shared_runs_are_a_near_copy(
    tmp_path: Path, shared: int, found: bool
) -> None:
    words = [f"w{n}o" for n in range(28)]
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"question": " ".join(words)}) + "\n")
    ours = ", ".join(words[:shared]).upper() + " and so on."  # case and punctuation are no words
    left = codes(tmp_path / "rows.jsonl", [chat(question=ours)], "--against", other)
    assert ("L02" in left) is found
    if found:
        assert left["L02"]["examples"][0]["excerpt"].startswith("54% of one in ")


def test_questions_of_verl_files_and_sft_folders_are_compared(tmp_path: Path) -> None:
    sft, rl = tmp_path / "sft", tmp_path / "rl"
    assert run("-i", BUNDLED, "-o", sft, "--attempts", "3").code == 0
    words = ("export", "verl", "-i", BUNDLED, "-o", rl, "--val-size", "4")
    assert run(*words, module="skill_factory").code == 0
    assert len(found(check(sft, "--json", "--against", rl))["L01"]["traces"]) == 81
    assert run(*words[:3], REAL, *words[4:], "--exclude-sft", sft, "--overwrite",
               module="skill_factory").code == 0  # fmt: skip
    assert "L01" not in found(check(sft, "--json", "--against", rl))
    assert len(found(check(sft, "--json", "--against", sft))["L01"]["traces"]) == 81
    done = check(sft, "--against", tmp_path / "nowhere")
    assert (done.code, done.err.count("\n")) == (1, 1)


def test_no_phrase_of_ours_seems_not_to_fit() -> None:
    phrases = yaml.safe_load((ROOT / "skill_factory/stages/create/phrases.yaml").read_text())
    for kind, opposite in (("correct", "after_wrong"), ("incorrect", "after_right")):
        assert not [text for text in phrases[kind] if says(opposite, text)]
        assert not [text for text in phrases["generic"] if says(opposite, text)]


@given(st.text(max_size=300))
def test_any_text_can_be_read_for_its_conclusion(said: str) -> None:
    conclusion(said)


@given(st.text(max_size=300), st.text(max_size=100))
def test_anything_that_a_model_writes_is_a_finding_and_no_error(said: str, asked: str) -> None:
    from skill_factory.checks.check import Checks, _Looks
    from skill_factory.checks.findings import Report
    from skill_factory.checks.traces import Trace

    said, asked = (one.encode(errors="replace").decode() for one in (said, asked))
    looks, report = _Looks(Checks(), None), Report()
    for words in (said, text(closing="So:", answer=said or "4")):
        turns: list[tuple[str | None, str | None]] = [("user", asked), ("assistant", words)]
        looks.add([Trace("1", "", turns, None, "gsm8k", said, {})], report)
    looks.tell(report)
    report.summary()


def test_all_is_counted_once(tmp_path: Path) -> None:
    rows = chats(40)
    out = look(tmp_path / "rows.parquet", rows, "--json").out
    read = json.loads(out)
    assert (read["traces"], read["errors"], read["warnings"]) == (40, 0, 0)
    assert read["balance"]["attempts"] == {"2": 20, "3": 20}
    assert read["balance"]["verdicts"] == {"Correct": 40, "Incorrect": 60}

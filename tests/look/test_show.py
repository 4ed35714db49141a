"""`show`: traces in the terminal, each part named, nothing in them obeyed."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import (
    ANSWER,
    BUNDLED,
    REFLECTION,
    RESPONSE,
    Make,
    Outcome,
    attempts,
    read_traces,
    run,
    run_apart,
    write_rows,
)
from test_terminal import EVIL, ORDERS, written_to_terminal

import skill_factory as sf
from skill_factory.core.markup import Step, Trace, write

COLORS = re.compile(r"\x1b\[(?:[0-9]+(?:;[0-9]+)*)m")
TRACE = write(
    Trace(
        (
            Step("It is 5.\n<answer>5</answer>", "No.\n<verdict>Incorrect</verdict>"),
            Step("It is 4.\n<answer>4</answer>", "Yes.\n<verdict>Correct</verdict>"),
        ),
        ("Once more.",),
        "So:",
        "4",
    )
)


def show(*words: str | Path, code: int = 0, **environment: str) -> Outcome:
    run_it = run_apart if environment else run
    done = run_it("show", *words, module="skill_factory", cwd=None, **environment)
    assert done.code == code, done
    return done


@pytest.fixture(scope="module")
def sft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "sft"
    assert run("-i", BUNDLED, "-o", folder, "--attempts", "3").code == 0
    return folder


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One chat, with what is needed to grade it."""
    path = tmp_path_factory.mktemp("chats") / "chats.jsonl"
    turns = [{"from": "human", "value": "What is 2 + 2?"}, {"from": "gpt", "value": TRACE}]
    row = {"conversations": turns, "task_source": "integers", "answer": "4"}
    path.write_text(json.dumps(row) + "\n")
    return path


def test_every_part_is_named_and_its_text_stands_below(chats: Path) -> None:
    assert show(chats).out == (
        "trace chats.jsonl:0  1 of 1\n"
        "question\n  What is 2 + 2?\n"
        "attempt 1, wrong\n  It is 5.\n  <answer>5</answer>\n"
        "reflection on attempt 1, true: Incorrect\n  No.\n  <verdict>Incorrect</verdict>\n"
        "glue\n  Once more.\n"
        "attempt 2, right\n  It is 4.\n  <answer>4</answer>\n"
        "reflection on attempt 2, true: Correct\n  Yes.\n  <verdict>Correct</verdict>\n"
        "closing\n  So:\n"
        "answer\n  4\n"
        "\n"
        "1 of 1 traces\n"
    )


def test_colours_say_no_more_than_the_words(chats: Path) -> None:
    plain, colored = show(chats), show(chats, "--color")
    assert "\x1b" not in plain.out
    assert "\x1b[31m  It is 5." not in colored.out  # the indent has no colour
    assert "  \x1b[31mIt is 5.\x1b[0m\n" in colored.out
    assert "  \x1b[32mIt is 4.\x1b[0m\n" in colored.out
    assert COLORS.sub("", colored.out) == plain.out


def test_where_an_attempt_came_from_stands_beside_it(sft: Path) -> None:
    trace = pq.read_table(sft / "plan.parquet", filters=[("label", "=", "3C")]).to_pylist()[5]
    shown = show(sft, "--trace", trace["trace_id"]).out
    rows = pq.read_table(BUNDLED).to_pylist()
    for number, step in enumerate(trace["steps"], 1):
        row = rows[step["row"]]
        truth = "right" if step["correct"] else "wrong"
        text = row[RESPONSE][step["response"]].replace("\n", "\n  ")
        assert (
            f"attempt {number}, {truth}  {row['prompt_variant']}, row {step['row']}, "
            f"response {step['response']}\n  {text}\n"
        ) in shown
        place = f"reflection {step['reflection']} of row {step['row']}\n  "
        assert place + row[REFLECTION][step["reflection"]].replace("\n", "\n  ") in shown
    assert f"answer, right\n  {rows[trace['steps'][-1]['row']][ANSWER][0]}\n" in shown


def test_traces_are_chosen_by_id_label_question_and_text(sft: Path) -> None:
    plans = pq.read_table(sft / "plan.parquet").to_pylist()
    one = plans[3]
    assert f"trace {one['trace_id']}" in show(sft, "--trace", one["trace_id"][:9]).out
    assert show(sft, "--label", "2C", "-n", "2").out.count("  2C, ") == 2
    same = [plan["trace_id"] for plan in plans if plan["question_id"] == one["question_id"]]
    shown = show(sft, "--question", one["question_id"], "-n", "99").out
    assert re.findall(r"^trace (\w+)", shown, re.M) == same
    question = re.findall(r"question\n  (.*)\n", shown)[0]
    assert (
        re.findall(r"^trace (\w+)", show(sft, "--question", question, "-n", "99").out, re.M) == same
    )
    found = show(sft, "--grep", "ALTERNATIVELY, 1", "-n", "2")
    assert found.out.count("Alternatively, 1") >= 2
    marked = show(sft, "--grep", "ALTERNATIVELY, 1", "-n", "1", "--color").out
    assert "\x1b[7mAlternatively, 1\x1b[0m" in marked


def test_another_seed_draws_others_and_the_same_one_the_same(sft: Path) -> None:
    assert show(sft).out == show(sft).out
    assert show(sft).out != show(sft, "--seed", "1").out
    assert "3 of 105 traces" in show(sft).out or "; others with --seed" in show(sft).out


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--trace", "zz"], "no trace has the id 'zz'"),
        (["--trace", ""], "is blank"),
        (["--label", "9C"], "no trace has the label '9C'; there are: 1C, 2C, 3C"),
        (["--question", "Why?"], "no trace is of a question 'Why?'"),
        (["--question", "0" * 32], "no trace is of a question"),
        (["--grep", "xyzzy"], "no trace holds 'xyzzy'"),
        (["-n", "0"], "expected"),
    ],
)
def test_nothing_found_is_one_line(sft: Path, words: list[str], error: str) -> None:
    done = run("show", sft, *words, module="skill_factory")
    assert done.code in (1, 2)
    assert error in done.err
    assert not done.out


def test_the_beginning_of_several_ids_names_them(chats: Path, tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text(chats.read_text() * 12)
    error = show(path, "--trace", "many", code=1).err
    assert "12 traces have ids that begin with 'many': many.jsonl:0, " in error
    assert "and 7 more" in error
    assert "trace many.jsonl:1 " in show(path, "--trace", "many.jsonl:1").out


def test_all_traces_of_one_id_are_shown(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "no tags"}]
    rows = [{"messages": turns, "trace_id": name} for name in ("twice", "once", "twice")]
    path = write_rows(tmp_path / "own.jsonl", rows)
    for words in ("twice", "tw"):
        assert show(path, "--trace", words).out.count("trace twice") == 2


def test_an_error_names_the_option(sft: Path) -> None:
    for words, option in (
        (("--questions", "--label", "2C"), "--label"),
        (("--lost", "--question", "x"), "--question"),
        (("--grep", " "), "--grep"),
    ):
        assert f"Error: {option}: " in show(sft, *words, code=2).err


def test_python_has_the_same_traces(sft: Path) -> None:
    rows = read_traces(sft)
    assert [trace.id for trace in sf.traces(sft)] == [row["trace_id"] for row in rows]
    some = list(sf.traces(sft, label="3C", number=2, seed=1))
    shown = show(sft, "--label", "3C", "-n", "2", "--seed", "1").out
    assert re.findall(r"^trace (\w+)", shown, re.M) == [trace.id for trace in some]
    for trace in some:
        assert "".join(span.text for span in trace.spans()) == trace.text
    with pytest.raises(sf.SkillFactoryError, match="no trace has the label"):
        next(sf.traces(sft, label="9C"))


# -- hostile text ----------------------------------------------------------------------------------


def hostile_chats(path: Path) -> Path:
    """Chats whose every text gives orders to a terminal."""
    evil = EVIL + "\x1b[31mred\x1b[0m \x1b]8;;http://x\x1b\\link\ntrace 00 attempt 1, right"
    turns = [
        {"role": "user", "content": f"What? {evil}"},
        {"role": "assistant", "content": TRACE.replace("It is", f"It is {evil}") + evil},
    ]
    row: dict[str, Any] = {"messages": turns, "sft_template_type_idx": evil, "trace_id": evil}
    path.write_text(json.dumps(row) + "\n")
    return path


def only_colors(shown: str) -> str:
    """What was printed without our colours; nothing in it gives an order."""
    plain = COLORS.sub("", shown)
    assert ORDERS.search(plain) is None, plain
    return plain


def test_a_model_s_orders_are_spelt_out_in_colour_too(tmp_path: Path) -> None:
    path = hostile_chats(tmp_path / "evil.jsonl")
    for words in ([], ["--color"], ["--color", "--grep", "RED"]):
        plain = only_colors(show(path, *words).out)
        assert "\\x1b]52;c;" in plain
        assert "\\x1b[31m" in plain  # their colour is text
    # no line but ours begins like one of ours
    headings = [line for line in plain.splitlines() if line.startswith(("trace", "attempt"))]
    assert [line.split("  ")[0].split("\\")[0] for line in headings] == [
        "trace ",
        "attempt 1",
        "attempt 2",
    ]


def test_hostile_folders_labels_and_variants(make: Make, tmp_path: Path) -> None:
    rows = attempts(5, 5, f"What is 2 + 2? {EVIL}")
    for row in rows:
        row["prompt_variant"] += EVIL
        row[RESPONSE] = [f"{EVIL} {row[RESPONSE][0]}"]
    folder = make(rows).rename(tmp_path / EVIL.replace("\x00", ""))
    assert "\\x1b[2J" in only_colors(show(folder, "--color", "-n", "9").out)
    for words in (["--label", EVIL[1:9]], ["--grep", f"x{EVIL}y".replace("\x00", "")]):
        only_colors(show(folder, *words, code=1).err)


def test_secrets_of_the_environment_are_not_shown(tmp_path: Path, chats: Path) -> None:
    path = tmp_path / "secret.jsonl"
    path.write_text(chats.read_text().replace("Once more.", "The key is abcdef123456."))
    done = show(path, "--color", MY_API_KEY="abcdef123456")
    assert "The key is ***." in done.out


# -- a terminal ------------------------------------------------------------------------------------


def on_a_terminal(*words: str | Path, rows: int = 24, **environment: str) -> str:
    """What `show` writes to a terminal that is typed at."""
    not_theirs = ("PAGER", "NO_COLOR", "COLUMNS", "LINES")
    clean = {name: value for name, value in os.environ.items() if name not in not_theirs}
    around = clean | {"TERM": "xterm", **environment}
    return written_to_terminal(("show", *words), around, rows, typed=True)


def test_a_terminal_has_colours_unless_it_says_no(chats: Path) -> None:
    assert "\x1b[32m" in on_a_terminal(chats, rows=60)
    assert "\x1b" not in on_a_terminal(chats, rows=60, NO_COLOR="1")
    assert "\x1b" not in on_a_terminal(chats, rows=60, TERM="dumb")
    assert "\x1b" not in on_a_terminal(chats, "--no-color", rows=60)
    assert "\x1b[32m" in on_a_terminal(chats, "--color", rows=60, NO_COLOR="1")


def test_what_is_longer_than_the_screen_goes_through_the_pager(tmp_path: Path) -> None:
    path = hostile_chats(tmp_path / "evil.jsonl")
    seen = tmp_path / "seen"
    pager = tmp_path / "pager"
    pager.write_text(f"#!/bin/sh\ntee {seen}\n")
    pager.chmod(0o755)
    on_a_terminal(path, rows=400, PAGER=str(pager))
    assert not seen.exists()
    shown = on_a_terminal(path, "--color", rows=10, PAGER=str(pager))
    assert "answer" in only_colors(shown)
    assert "\x1b[" in seen.read_text()
    only_colors(seen.read_text())
    on_a_terminal(path, "--no-color", rows=10, PAGER=str(pager))
    assert ORDERS.search(seen.read_text()) is None
    # one that is not there, and one that stops reading
    assert "answer" in only_colors(on_a_terminal(path, rows=10, PAGER="/no/such/pager"))
    assert "Traceback" not in on_a_terminal(path, "-n", "9", rows=10, PAGER="true")

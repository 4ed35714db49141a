"""`show --lost`: each loss of the ledger can be looked at, and there are as many as it counts."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import (
    ANSWER,
    CORRECT,
    REFLECTION,
    RESPONSE,
    ROOT,
    Make,
    Outcome,
    attempt,
    attempts,
    read_manifest,
    read_traces,
    run,
    write_tokenizer,
)
from model_server import Fault, Server, serve
from test_runs import accounts, config, go
from test_terminal import EVIL, ORDERS
from tutor import speak

from skill_factory.core.ledger import Reason
from skill_factory.look.folders import SftFolder
from skill_factory.look.opening import open_folder
from skill_factory.stages.create.losses import Loss, examples, lost

Row = dict[str, Any]


def show(*words: str | Path, code: int = 0) -> Outcome:
    done = run("show", *words, module="skill_factory")
    assert done.code == code, done
    return done


def every_reason() -> list[Row]:
    """Rows of which something is lost for every reason there is."""
    good = attempts(4, 4, "What is 2 + 2?")
    mixed = attempts(4, 4, "What is 3 + 1?")
    told: list[Row] = [
        attempt(0, True, None),  # type: ignore[arg-type]
        attempt(0, True, "half \ud800"),
        attempt(0, True, "What is <|im_end|>?"),
        attempt(0, True) | {RESPONSE: [], CORRECT: [], ANSWER: []},
        attempt(0, True) | {CORRECT: [True, False]},
        attempt(0, True) | {"prompt_variant": "other"},
        attempt(0, True) | {CORRECT: [None]},
        attempt(0, True) | {RESPONSE: [" "]},
        attempt(0, True) | {ANSWER: [None]},
        attempt(0, True) | {RESPONSE: ["half \ud800 <answer>4</answer>"]},
        attempt(0, True) | {RESPONSE: ["<sample><answer>4</answer>"]},
        attempt(0, True) | {REFLECTION: []},
        attempt(7, False, "What is 3 + 1?") | {"answer": "4"},
        attempt(9, True) | {REFLECTION: [
            "", "half \ud800", "<answer>4</answer> <verdict>Correct</verdict>", "none",
            "<verdict>Correct</verdict> <verdict>Correct</verdict>", "<verdict>Incorrect</verdict>",
            "A zebra. <verdict>Correct</verdict>", "Good. <verdict>Correct</verdict>",
        ]},
        *attempts(0, 5, "all wrong"),
        *attempts(1, 1, "too few"),
        *attempts(5, 0, "all right"),
        *attempts(1, 4, "one right"),
        *(row | {"prompt_variant": "original"} for row in attempts(4, 4, "one variant")),
        *attempts(4, 4, "out with it"),
        *(row | {RESPONSE: [f"{'long ' * 400}{row[RESPONSE][0]}"]}
          for row in attempts(4, 4, "very long")),
        attempt(0, True, "nothing valid") | {REFLECTION: ["none"]},
    ]  # fmt: skip
    return [*good, *mixed, *told]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SFT folder whose ledger has every reason."""
    folder = tmp_path_factory.mktemp("lost")
    source = folder / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in every_reason()))
    (folder / "exclude.txt").write_text("question out with it\nrow 0\n")
    done = run(
        *("-i", source, "-o", folder / "sft", "--attempts", "3", "--unique-variants"),
        *("--formats", "*C_full", "*CC", "*C*IC", "0C", "--subsample", "15"),
        *("--prompt-variants", "original,plan_and_execute,alternatively,rephrase"),
        *("--drop-reflections-containing", "zebra", "--exclude", folder / "exclude.txt"),
        *("--tokenizer", write_tokenizer(folder / "model"), "--max-tokens", "1000"),
    )
    assert done.code == 0, done
    return folder / "sft"


def rows_of(folder: Path) -> list[Row]:
    return list(map(json.loads, (folder.parent / "rows.jsonl").read_text().splitlines()))


def ledger_of(folder: Path) -> dict[tuple[str, str], int]:
    return {
        (kind, reason): count
        for kind, account in read_manifest(folder)["ledger"].items()
        for reason, count in account["losses"].items()
    }


def all_lost(folder: Path) -> Iterator[tuple[tuple[str, str], list[Loss]]]:
    found = open_folder(folder)
    assert isinstance(found, SftFolder)
    for group in lost(found.config(), found.input().source, found.phrases):
        yield (group.kind, group.reason), group.losses(group.size)


def test_the_losses_are_as_many_as_the_ledger_counts_for_every_reason(everything: Path) -> None:
    counted = Counter[tuple[str, str]]()
    for name, losses in all_lost(everything):
        counted[name] += len(losses)
    assert counted == ledger_of(everything)
    assert {reason.rpartition(": ")[2] for _, reason in counted} == set(Reason)


def test_each_loss_is_the_thing_in_the_input(everything: Path) -> None:
    rows = rows_of(everything)
    seen = set()
    for (kind, _), losses in all_lost(everything):
        for loss in losses:
            row = rows[loss.row]
            assert (loss.question or "").replace("?", "") == (row["question"] or "").replace(
                "\ud800", ""
            ).replace("?", "") or "\ud800" in row["question"]
            if kind == "attempts":
                text, truth = row[RESPONSE][loss.response or 0], row[CORRECT][loss.response or 0]
                assert loss.text == text or "\ud800" in text
                assert loss.correct == truth
            if kind == "reflections":
                text = row[REFLECTION][loss.reflection or 0]
                assert loss.text == text or "\ud800" in text
                assert loss.attempt == row[RESPONSE][0] or "\ud800" in row[RESPONSE][0]
            place = (kind, loss.row, loss.response, loss.reflection, loss.trace)
            assert place not in seen or kind == "questions"
            seen.add(place)
    traced = {row["trace_id"] for row in read_traces(everything)}
    assert not traced & {trace for kind, *_, trace in seen if kind == "traces"}


def test_some_examples_of_all_reasons_come_at_once(everything: Path) -> None:
    found = open_folder(everything)
    assert isinstance(found, SftFolder)
    shown = examples(found.config(), found.input().source, found.phrases, 2)
    assert {name: min(2, count) for name, count in ledger_of(everything).items()} == {
        name: len(losses) for name, losses in shown.items()
    }


def test_every_reason_can_be_shown(everything: Path) -> None:
    listed = show(everything, "--lost").out
    for (kind, reason), count in ledger_of(everything).items():
        assert re.search(rf"^  {re.escape(reason)} +{count}$", listed, re.M)
        shown = show(everything, "--lost", reason, "-n", "1000").out
        assert f"create: {count:,} {kind}: {reason}\n" in shown
        assert f"{count:,} of {count:,} {kind}: {reason}\n" in shown
        assert ORDERS.search(shown) is None


def test_a_loss_is_shown_with_its_text(everything: Path) -> None:
    shown = show(everything, "--lost", "several_verdicts").out
    assert shown == (
        "create: 1 reflections: several_verdicts\n\n"
        "several_verdicts  row 29, response 0, reflection 4, plan_and_execute\n"
        "question\n  What is 2 + 2?\n"
        "attempt, right\n  Attempt 9: it is 4.\n  <answer>4</answer>\n"
        "reflection\n  <verdict>Correct</verdict> <verdict>Correct</verdict>\n\n"
        "create: 1 of 1 reflections: several_verdicts\n"
    )
    some = show(everything, "--lost", "not_drawn", "--grep", "ATTEMPT 1:", "-n", "1").out
    assert "Attempt 1:" in some
    assert "Attempt 0:" not in some


def test_a_reason_that_nothing_was_lost_for_names_those_there_are(everything: Path) -> None:
    error = show(everything, "--lost", "undecidd", code=2).err
    assert "--lost undecidd: nothing was lost for it; the reasons are no_question" in error or (
        "nothing was lost for it; the reasons are" in error
    )
    assert "did you mean undecided?" in error
    show(everything, "--lost", "--questions", code=2)
    show(everything, "--lost", "--label", "3C", code=2)


def test_an_input_that_is_another_one_is_refused(make: Make, tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    rows = [*attempts(4, 4), attempt(0, True) | {ANSWER: [None]}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = make(source, "--attempts", "3")
    source.write_text("".join(json.dumps(row) + "\n" for row in rows[:-1]))
    error = show(folder, "--lost", "no_answer", code=1).err
    assert f"rows.jsonl: is not what {folder} was made from" in error
    source.unlink()
    assert "which is not here" in show(folder, "--lost", "no_answer", code=1).err
    assert "no_answer" in show(folder, "--lost").out  # the manifest has the counts


# -- questions -------------------------------------------------------------------------------------


def test_a_line_for_each_question_says_why_there_is_no_trace(everything: Path) -> None:
    lines = show(everything, "--questions").out.splitlines()
    found = {line.rpartition("  ")[2]: line.split() for line in lines[1:-1]}
    rows = rows_of(everything)
    counts = read_manifest(everything)["ledger"]["questions"]
    assert len(found) == counts["read"]
    assert found["all wrong"][:7] == ["0", "5", "0", "15", "15", "0", "no_correct_attempt"]
    assert found["nothing valid"][:7] == ["1", "0", "0", "0", "3", "0", "no_valid_attempt"] or (
        found["nothing valid"][:7] == ["1", "0", "0", "0", "1", "0", "no_valid_attempt"]
    )
    assert found["out with it"][5:7] == ["0", "excluded"]
    traces = Counter(row["conversations"][0]["content"] for row in read_traces(everything))
    for question, count in traces.items():
        assert found[question][5] == str(count)
    of_sum = [row for row in rows if row["question"] == "What is 3 + 1?"]
    right = sum(row[CORRECT] == [True] for row in of_sum)
    assert found["What is 3 + 1?"][:2] == [str(right), str(len(of_sum) - right)]
    assert Counter(cells[6] for cells in found.values() if cells[5] == "0") == counts["losses"]


def test_questions_are_found_by_text_and_cut_to_a_number(everything: Path) -> None:
    assert len(show(everything, "--questions", "--grep", "ALL").out.splitlines()) == 4
    assert len(show(everything, "--questions", "-n", "2").out.splitlines()) == 4
    assert (
        "no question holds 'xyzzy'"
        in show(everything, "--questions", "--grep", "xyzzy", code=1).err
    )
    show(everything, "--questions", "--label", "1C", code=2)


# -- runs ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def a_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which some answers are cut off, some undecided, and some verdicts false."""
    folder = tmp_path_factory.mktemp("run") / "run"
    with serve(Server(speak=speak)) as server:
        server.faults.append(Fault("length", every=7))
        go(folder, config(server))
    return folder


def test_the_losses_of_each_stage_of_a_run_are_shown(a_run: Path) -> None:
    found = accounts(a_run)
    listed = show(a_run, "--lost").out
    assert [stage for stage in ("sample", "grade", "reflect", "create") if stage in listed] == [
        "sample", "grade", "reflect", "create",
    ]  # fmt: skip
    for stage in ("grade", "reflect", "create"):
        for kind, account in found[stage].items():
            for reason, count in account.get("losses", {}).items():
                shown = show(a_run, "--lost", reason, "-n", "1000").out
                assert f"{count:,} of {count:,} {kind}: {reason}\n" in shown


def test_what_was_refused_or_not_answered_is_shown_by_its_question(tmp_path: Path) -> None:
    with serve(Server(speak=speak)) as server:
        server.faults += [
            Fault(422, message="this prompt I do not like", every=13),
            Fault(500, holds="What is 7 + 12?"),
        ]
        go(tmp_path / "run", config(server, model={"tries": 1}))
    found = accounts(tmp_path / "run")
    assert set(found["sample"]["samples"]["losses"]) == {"missing", "refused"}
    assert "refused" in found["reflect"]["reflections"]["losses"]
    for stage, kind in (("sample", "samples"), ("reflect", "reflections")):
        for reason, count in found[stage][kind]["losses"].items():
            shown = show(tmp_path / "run", "--lost", reason, "-n", "1000").out
            assert f"{count:,} of {count:,} {kind}: {reason}\n" in shown
    missing = show(tmp_path / "run", "--lost", "missing", "-n", "1").out
    assert "question\n  What is 7 + 12?\n" in missing
    (tmp_path / "run" / "journal.sqlite").unlink()
    assert "is missing, and with it" in show(tmp_path / "run", "--lost", "missing", code=1).err


def test_the_questions_of_a_run_that_is_not_done(tmp_path: Path, a_run: Path) -> None:
    run_folder = shutil.copytree(a_run, tmp_path / "run")
    whole = show(run_folder, "--questions").out.splitlines()
    assert "traces" in whole[0]
    shutil.rmtree(run_folder / "sft")
    reflected = show(run_folder, "--questions").out.splitlines()
    assert [line.split()[:5] for line in reflected[1:-1]] == [
        line.split()[:5] for line in whole[1:-1]
    ]
    assert "traces" not in reflected[0]
    (run_folder / "annotated.parquet").unlink()
    graded = show(run_folder, "--questions").out.splitlines()
    assert [line.split()[:3] for line in graded[1:-1]] == [line.split()[:3] for line in whole[1:-1]]
    (run_folder / "graded.parquet").unlink()
    assert "no graded attempts yet" in show(run_folder, "--questions", code=1).err
    assert "has no traces yet" in show(run_folder, code=1).err


def test_files_of_chats_have_no_ledger(everything: Path) -> None:
    for words in (["--lost"], ["--lost", "undecided"], ["--questions"]):
        error = show(everything / "sft_train", *words, code=1).err
        assert "name an SFT folder or a run's" in error


def test_hostile_rows_and_an_old_run(make: Make, tmp_path: Path) -> None:
    rows = attempts(3, 3, f"What? {EVIL}")
    for row in rows:
        row[REFLECTION].append(f"{EVIL} nothing")
        row["prompt_variant"] += EVIL
    folder = make(rows, "--attempts", "2")
    for words in (["--questions"], ["--lost", "no_verdict"], ["--lost", EVIL[1:]]):
        done = run("show", folder, *words, "--color", module="skill_factory")
        plain = re.sub(r"\x1b\[[0-9;]*m", "", done.out + done.err)
        assert ORDERS.search(plain) is None
    old = ROOT / "tests" / "data" / "old_run"
    assert "grade" in show(old, "--lost").out
    assert pq.read_metadata(old / "questions.parquet").num_rows == (
        len(show(old, "--questions").out.splitlines()) - 2
    )

"""The `create` command: what it makes, and that it makes the same again."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import (
    ANSWER,
    REAL,
    REFLECTION,
    RESPONSE,
    ROOT,
    Make,
    Row,
    attempt,
    attempts,
    read_manifest,
    read_traces,
    run,
    write_rows,
)

from skill_factory.core.markup import Step, Trace, read, write
from skill_factory.stages.create.formats import FORMATS
from skill_factory.stages.create.phrases import Kind, load_phrases

ALL_FORMATS = ("--formats", *FORMATS)


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All formats of the bundled data, twice over."""
    folder = tmp_path_factory.mktemp("bundled") / "sft"
    done = run("-i", REAL, "-o", folder, *ALL_FORMATS, "--repeats", "2")
    assert done.code == 0, done.err
    return folder


# -- what a trace is -------------------------------------------------------------------------------


def rebuilt(plan: Row, source: list[Row], phrases: list[str]) -> Trace:
    """A trace made by hand from its row of the plan and the input."""
    rows = [source[step["row"]] for step in plan["steps"]]
    numbers = [step["reflection"] for step in plan["steps"]]
    shown = zip(rows, numbers, strict=True)
    reflections = [None if n is None else row[REFLECTION][n] for row, n in shown]
    said = [row[RESPONSE][0] for row in rows]
    return Trace(
        steps=tuple(map(Step, said, reflections)),
        glue=tuple(phrases[step["glue"]] for step in plan["steps"][:-1]),
        lead=None if plan["lead"] is None else phrases[plan["lead"]],
        restated=None if plan["restated"] is None else said[plan["restated"]],
        closing=phrases[plan["closing"]],
        answer=rows[plan["answer_of"]][ANSWER][0],
    )


def test_the_plan_and_the_input_give_every_trace(bundled: Path) -> None:
    source = pq.read_table(REAL).to_pylist()
    phrases = [text for texts in read_manifest(bundled)["phrases"].values() for text in texts]
    plans = pq.read_table(bundled / "plan.parquet").to_pylist()
    traces = read_traces(bundled)
    assert [row["trace_id"] for row in traces] == [row["trace_id"] for row in plans]
    assert len({row["trace_id"] for row in traces}) == len(traces) > 1500
    for row, plan in zip(traces, plans, strict=True):
        user, assistant = row["conversations"]
        trace = rebuilt(plan, source, phrases)
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        assert assistant["content"] == write(trace)
        assert read(assistant["content"]).trace == trace
        assert row["sft_template_type_idx"] == plan["label"]
        for step in plan["steps"]:
            assert source[step["row"]]["question"] == user["content"]
            assert source[step["row"]][f"{RESPONSE}__eval_is_correct"] == [step["correct"]]


def test_reflections_judge_truly_and_traces_end_right(bundled: Path) -> None:
    gold = {row["question"]: row["answer"] for row in pq.read_table(REAL).to_pylist()}
    for row, plan in zip(
        read_traces(bundled), pq.read_table(bundled / "plan.parquet").to_pylist(), strict=True
    ):
        reading = read(row["conversations"][1]["content"])
        assert reading.answer is not None
        if row["sft_template_type_idx"] != "random":
            assert reading.answer.text == gold[row["conversations"][0]["content"]]
        if row["sft_template_type_idx"] == "no_reflection":
            assert not reading.reflections
            continue
        verdicts = [r.verdict.verdict == "Correct" for r in reading.reflections if r.verdict]
        assert verdicts == [step["correct"] for step in plan["steps"]]


def test_glue_fits_the_attempt_before_it(bundled: Path) -> None:
    bank = load_phrases()
    kinds = {text: kind for kind in Kind for text in bank.phrases[kind]}
    used: Counter[tuple[Any, Kind]] = Counter()
    for plan in pq.read_table(bundled / "plan.parquet").to_pylist():
        bare = plan["format"] == "no_reflection"
        for step in plan["steps"][:-1]:
            used["bare" if bare else step["correct"], kinds[bank.texts[step["glue"]]]] += 1
        assert plan["steps"][-1]["glue"] is None
        assert kinds[bank.texts[plan["closing"]]] is Kind.CLOSING
        lead = {"*C*IC": Kind.BACKTRACK, "*CC": Kind.CONFIRMATION}.get(plan["format"])
        assert (plan["lead"] is None) == (lead is None)
        assert lead is None or kinds[bank.texts[plan["lead"]]] is lead
    assert set(used) == {
        (True, Kind.CORRECT),
        (True, Kind.GENERIC),
        (False, Kind.INCORRECT),
        (False, Kind.GENERIC),
        ("bare", Kind.GENERIC),
    }


def test_texts_come_through_byte_for_byte(make: Make) -> None:
    odd = "{a} %s %% \\n \\ \r\n\u2028\u0085\x00 \U0001f600 好 é e\u0301 <b> & \t  "
    rows = []
    for number in range(5):
        row = attempt(number, True, f"What?{odd}", prompt_variant=odd)
        row[RESPONSE] = [f"{number} {odd}\n<answer>{odd}</answer>{odd}"]
        row[REFLECTION] = [f"{odd}<verdict>Correct</verdict>{odd}"]
        row[ANSWER] = [odd]
        rows.append(row)
    traces = read_traces(make(rows))
    assert len(traces) == 5
    for row in traces:
        user, assistant = (turn["content"] for turn in row["conversations"])
        assert user == f"What?{odd}".strip()
        reading = read(assistant)
        assert reading.problems == ()
        assert {part.text[2:] for part in reading.attempts} == {rows[0][RESPONSE][0][2:]}
        assert {r.part.text for r in reading.reflections} == set(rows[0][REFLECTION])
        assert reading.answer is not None
        assert reading.answer.text == odd


# -- what a folder is ------------------------------------------------------------------------------


def test_datasets_loads_the_folder(bundled: Path, tmp_path: Path) -> None:
    import datasets

    loaded = datasets.load_dataset(
        str(bundled), "sft_train", split="train", cache_dir=str(tmp_path)
    )
    assert loaded.column_names == ["conversations", "sft_template_type_idx", "trace_id"]
    assert loaded.to_list() == read_traces(bundled)


@pytest.mark.slow
def test_a_folder_that_is_made_again_is_not_loaded_from_a_cache(tmp_path: Path) -> None:
    """`datasets` keeps what it has read of a local folder under the folder's name and configs."""
    code = "import sys, datasets; print(len(datasets.load_dataset(*sys.argv[1:], split='train')))"
    for place, number in (("a", 1), ("b", 2), ("b", 3)):
        folder = tmp_path / place / "sft"
        done = run("-i", REAL, "-o", folder, "--attempts", str(number), "--overwrite")
        assert done.code == 0, done.err
        loaded = subprocess.run(
            [sys.executable, "-c", code, folder, "sft_train"],
            env=os.environ | {"HF_HOME": str(tmp_path / "hf")},
            stdout=subprocess.PIPE,
            check=True,
        )
        assert int(loaded.stdout) == len(read_traces(folder))


def test_the_folder_describes_itself(bundled: Path) -> None:
    import hashlib
    import json

    manifest = read_manifest(bundled)
    files = {str(p.relative_to(bundled)) for p in bundled.rglob("*") if p.is_file()}
    changeable = {"README.md", "dataset_info.json"}
    assert files == {*manifest["output"]["files"], *changeable, "manifest.json"}
    for name, said in manifest["output"]["files"].items():
        content = (bundled / name).read_bytes()
        assert said == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    traces = read_traces(bundled)
    labels = Counter(row["sft_template_type_idx"] for row in traces)
    assert manifest["counts"]["labels"] == dict(sorted(labels.items()))
    assert manifest["counts"]["traces"] == manifest["ledger"]["traces"]["kept"] == len(traces)
    assert manifest["settings"]["formats"] == list(FORMATS)
    assert manifest["input"]["files"] == {str(REAL): 720}
    card = (bundled / "README.md").read_text()
    assert f"{len(traces):,} traces" in card
    assert any(row["conversations"][1]["content"] in card for row in traces)
    entry = json.loads((bundled / "dataset_info.json").read_text())["sft"]
    assert entry["columns"] == {"messages": "conversations"}
    assert (bundled / entry["file_name"]).is_dir()


def test_the_ledger_counts_what_is_used(bundled: Path) -> None:
    ledger = read_manifest(bundled)["ledger"]
    plans = pq.read_table(bundled / "plan.parquet").to_pylist()
    steps = [step for plan in plans for step in plan["steps"]]
    assert ledger["attempts"]["kept"] == len({step["row"] for step in steps})
    told = {(s["row"], s["reflection"]) for s in steps if s["reflection"] is not None}
    assert ledger["reflections"]["kept"] == len(told)
    assert ledger["questions"]["kept"] == len({plan["question_id"] for plan in plans})
    assert ledger["questions"]["read"] == 60


def test_a_question_without_a_valid_attempt_is_counted(make: Make) -> None:
    hopeless = [row | {REFLECTION: []} for row in attempts(3, 3, "Why?")]
    ledger = read_manifest(make([*attempts(3, 3), *hopeless]))["ledger"]
    assert ledger["questions"] == {"read": 2, "kept": 1, "losses": {"no_valid_attempt": 1}}


# -- the same again --------------------------------------------------------------------------------


def content(folder: Path) -> tuple[str, list[Row]]:
    return read_manifest(folder)["output"]["digest"], read_traces(folder)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A thousand questions with attempts that are equal, or equal but for their reflections."""
    draw = random.Random(0)
    rows: list[Row] = []
    for question in range(1000):
        some = attempts(draw.randint(0, 5), draw.randint(2, 6), f"What is {question} + 1?")
        double = draw.choice(some)
        rows += [*some, double, double | {REFLECTION: double[REFLECTION][::-1]}]
    return write_rows(tmp_path / "many.parquet", rows)


@pytest.mark.slow
def test_two_runs_are_the_same_to_the_byte(tmp_path: Path, many: Path) -> None:
    folders = [tmp_path / name / "sft" for name in ("one", "two")]
    for folder, seed in zip(folders, ("1", "2"), strict=True):
        done = run("-i", many, "-o", folder, *ALL_FORMATS, PYTHONHASHSEED=seed)
        assert done.code == 0, done.err
    files = [{p.name: p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in folders]
    assert files[0] == files[1]


@pytest.mark.slow
def test_the_order_of_rows_does_not_matter(make: Make, many: Path, tmp_path: Path) -> None:
    expected = content(make(many, *ALL_FORMATS))
    for seed in range(3):
        rows = pq.read_table(many).to_pylist()
        random.Random(seed).shuffle(rows)
        shuffled = write_rows(tmp_path / f"shuffled-{seed}.parquet", rows)
        folder = make(shuffled, *ALL_FORMATS)
        assert content(folder) == expected
        assert read_manifest(folder)["input"]["digest"] == input_digest(make(many))


def input_digest(folder: Path) -> str:
    return str(read_manifest(folder)["input"]["digest"])


@pytest.mark.slow
@pytest.mark.parametrize("pieces", [2, 3, 7])
@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_the_number_of_files_does_not_matter(
    make: Make, many: Path, tmp_path: Path, pieces: int, suffix: str
) -> None:
    rows = pq.read_table(many).to_pylist()
    folder = tmp_path / "pieces"
    folder.mkdir()
    for piece in range(pieces):
        write_rows(folder / f"{piece}{suffix}", rows[piece::pieces])
    made, expected = make(folder, *ALL_FORMATS), make(many, *ALL_FORMATS)
    assert content(made) == content(expected)
    assert input_digest(made) == input_digest(expected)


def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let little be held at a time: batches of the input, parts, woven traces."""
    from skill_factory.stages.create import memory

    monkeypatch.setattr(memory, "MOST", memory.Sizes(50_000, 70_000, 20_000, 3_000, 500))


@pytest.mark.slow
def test_workers_parts_and_shards_do_not_matter(
    make: Make, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skill_factory.stages.create import shards

    expected = content(make(many, *ALL_FORMATS))
    # Sizes as a large input would have; the real ones need gigabytes to come to several shards.
    small_pieces(monkeypatch)
    monkeypatch.setattr(shards, "SHARD_BYTES", 300_000)
    for workers in ("1", "2", "5"):
        folder = make(many, *ALL_FORMATS, "--workers", workers)
        assert len(list((folder / "sft_train").iterdir())) > 3
        assert content(folder) == expected


def test_another_seed_is_another_dataset(make: Make, many: Path) -> None:
    assert content(make(many))[0] != content(make(many, "--seed", "1"))[0]


@pytest.mark.slow
def test_a_trace_does_not_depend_on_the_other_questions_and_formats(make: Make, many: Path) -> None:
    rows = pq.read_table(many).to_pylist()
    few = [row for row in rows if row["question"] in {"What is 3 + 1?", "What is 5 + 1?"}]
    everything = read_traces(make(many, *ALL_FORMATS, "--repeats", "2"))
    for row in read_traces(make(few, "--formats", "*C_full")):
        assert row in everything


# -- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spelling",
    [
        ["--formats", "0C", "*C", "*CC"],
        ["--formats", "0C,*C,*CC"],
        ["--formats", "0C", "--formats", "*C", "*CC"],
        ["--formats=0C,*C", "--formats", "*CC"],
        ["--formats=0C", "*C", "*CC"],
    ],
)
def test_formats_in_every_spelling(make: Make, spelling: list[str]) -> None:
    labels = read_manifest(make(attempts(3, 3), *spelling))["counts"]["labels"]
    assert labels == {"0C": 1, "5C": 1, "*CC": 1}


def test_the_command_line_of_the_release(tmp_path: Path) -> None:
    folder = tmp_path / "sft"
    done = run(
        *("--input_reflection_dataset_name", REAL, "--output_dataset_name", folder),
        *("--num_responses_ignore_correctness", "5", "--num_repeats_per_question", "1"),
        *("--formats", "*C_full"),
    )
    assert done.code == 0, done.err
    assert read_manifest(folder)["counts"]["labels"] == {f"{n}C": 52 for n in range(1, 6)}


def test_all_option_names_of_the_release(tmp_path: Path) -> None:
    folder = tmp_path / "sft"
    done = run(
        *("--input_reflection_dataset_name", REAL, "--output_dataset_name", folder),
        *("--num_responses_ignore_correctness", "3", "--num_repeats_per_question", "2"),
        *("--formats", "*C", "*C*IC", "--subsample_size", "40", "--sampling_response_counts"),
        *("--force_unique_prompting_types", "--prompt_variants_to_use", "original", "rephrase"),
        *("alternatively", "--response_column", RESPONSE),
        *("--extracted_answer_column", ANSWER, "--reflection_column", REFLECTION),
        *("--responses_correctness_column", f"{RESPONSE}__eval_is_correct"),
    )
    assert done.code == 0, done.err
    settings = read_manifest(folder)["settings"]
    assert settings["attempts"] == 3
    assert settings["repeats"] == 2
    assert settings["formats"] == ["*C", "*C*IC"]
    assert settings["subsample"] == 40
    assert settings["sample_lengths"] is True
    assert settings["unique_variants"] is True
    assert settings["prompt_variants"] == ["original", "rephrase", "alternatively"]
    assert len(read_traces(folder)) == 40


@pytest.mark.slow
def test_a_subsample_is_whole_traces_of_the_full_set(make: Make, many: Path) -> None:
    full = read_traces(make(many, *ALL_FORMATS))
    some = read_traces(make(many, *ALL_FORMATS, "--subsample", "500"))
    assert len(some) == 500
    assert [row for row in full if row in some] == some
    share = Counter(row["sft_template_type_idx"] for row in some)
    assert share["random"] > 60
    other = read_traces(make(many, *ALL_FORMATS, "--subsample", "500", "--seed", "1"))
    assert {row["trace_id"] for row in some}.isdisjoint(row["trace_id"] for row in other)


def test_a_subsample_larger_than_all_is_all_and_says_so(tmp_path: Path) -> None:
    done = run("-i", REAL, "-o", tmp_path / "sft", "--subsample", "1000")
    assert done.code == 0
    assert "a subsample of 1,000 traces was asked for, but there are only 260" in done.out
    assert len(read_traces(tmp_path / "sft")) == 260


def test_unique_variants(make: Make) -> None:
    rows = [row | {"prompt_variant": f"v{i % 3}"} for i, row in enumerate(attempts(4, 4))]
    folder = make(rows, "--unique-variants", "--repeats", "20")
    ledger = read_manifest(folder)["ledger"]
    assert ledger["traces"]["losses"] == {"*C_full: too_few_prompt_variants": 40}
    plans = pq.read_table(folder / "plan.parquet").to_pylist()
    assert {plan["label"] for plan in plans} == {"1C", "2C", "3C"}
    for plan in plans:
        used = [step["row"] % 3 for step in plan["steps"]]
        assert len(set(used)) == len(used)


def test_phrases_of_a_file_are_used(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "phrases.yaml"
    path.write_text("".join(f"{kind}: [Only {kind}.]\n" for kind in Kind))
    traces = read_traces(make(attempts(3, 3), "--formats", *FORMATS, "--phrases", path))
    glue = {part.text for row in traces for part in read(row["conversations"][1]["content"]).glue}
    assert glue == {"Only correct.", "Only incorrect.", "Only generic."}


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path, many: Path) -> None:
    before = set(tmp_path.rglob("*"))
    dry = run("-i", many, "--dry-run", *ALL_FORMATS, "--subsample", "300", cwd=tmp_path)
    assert dry.code == 0, dry.err
    assert set(tmp_path.rglob("*")) == before
    wet = run("-i", many, "-o", tmp_path / "sft", *ALL_FORMATS, "--subsample", "300")
    assert dry.out.replace("Dry run: nothing was written.", "") == re.sub("SFT.*", "", wet.out)


def test_settings_without_effect_are_noted(tmp_path: Path) -> None:
    done = run(
        *("-i", REAL, "--dry-run", "--sample-lengths", "--prompt-variants", "orignal,original"),
        *("--drop-reflections-containing", "Zzz", "--attempts", "2"),
    )
    assert "Note: no attempt has the prompt variant 'orignal'; there are: altern" in done.out
    assert "Note: no valid reflection contains 'Zzz'" in done.out
    assert "Note: sample_lengths has no effect on the formats *C_full" in done.out
    failed = run("-i", REAL, "--dry-run", "--prompt-variants", "orignal")
    assert failed.code == 1
    assert "Note: no attempt has the prompt variant 'orignal'" in failed.out


def test_a_pipe_sees_no_progress_bar(tmp_path: Path) -> None:
    assert run("-i", REAL, "-o", tmp_path / "sft").err == ""


def test_a_terminal_sees_progress(tmp_path: Path) -> None:
    import fcntl
    import os
    import pty
    import struct
    import termios

    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "skill_factory", "create", "-i", str(REAL)]
    subprocess.run(
        [*command, "-o", str(tmp_path / "sft")],
        stderr=child,
        stdout=subprocess.DEVNULL,
        check=True,
        cwd=ROOT,
    )
    seen = os.read(parent, 65536)
    os.close(child)
    os.close(parent)
    assert b"0/720" in seen
    assert b"weave" in seen


def test_an_existing_folder_is_replaced_only_when_asked(tmp_path: Path) -> None:
    folder = tmp_path / "sft"
    assert run("-i", REAL, "-o", folder).code == 0
    (folder / "mine.txt").write_text("keep")
    refused = run("-i", REAL, "-o", folder, "--seed", "1")
    assert refused.code == 1
    assert "exists already" in refused.err
    assert "--overwrite" in refused.err
    assert (folder / "mine.txt").exists()
    assert run("-i", REAL, "-o", folder, "--seed", "1", "--overwrite").code == 0
    assert not (folder / "mine.txt").exists()
    assert read_manifest(folder)["settings"]["seed"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["sft"]


def test_only_an_sft_folder_is_ever_replaced(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("keep")
    for output in (mine, tmp_path, tmp_path / "mine" / "..", Path(".")):
        done = run("-i", REAL, "-o", f"{output}/", "--overwrite", cwd=mine)
        assert done.code == 1
        assert "so it is not replaced" in done.err
    assert (mine / "thesis.txt").read_text() == "keep"


def test_an_empty_folder_and_a_link_to_one_are_filled(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert run("-i", REAL, "-o", tmp_path / "link").code == 0
    assert (tmp_path / "link").is_symlink()
    assert read_manifest(tmp_path / "real")["counts"]["traces"] == 260


def test_a_failed_run_leaves_the_old_folder(tmp_path: Path) -> None:
    folder = tmp_path / "sft"
    assert run("-i", REAL, "-o", folder).code == 0
    before = content(folder)
    assert run("-i", REAL, "-o", folder, "--attempts", "500", "--overwrite").code == 1
    assert content(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["sft"]


def test_both_names_are_one_command() -> None:
    names = {"skill_factory": ["create", "--help"], "skill_factory.sft_data_creation": ["--help"]}
    texts = [run(*words, module=module).out for module, words in names.items()]
    assert texts[0].partition("\n")[2] == texts[1].partition("\n")[2] != ""


@pytest.mark.parametrize("words", [["--help"], ["create", "--help"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = f"""
import sys
from skill_factory.cli.main import main
try:
    main({words!r})
except SystemExit:
    pass
heavy = ("pyarrow", "numpy", "pandas", "datasets", "fsspec")
print([name for name in heavy if name in sys.modules])
"""
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert out.stdout.splitlines()[-1] == "[]"


def test_a_run_on_local_files_imports_neither_pandas_nor_datasets(tmp_path: Path) -> None:
    code = f"""
import sys
from skill_factory.cli.create import create
create(["-i", {str(REAL)!r}, "-o", {str(tmp_path / "sft")!r}], standalone_mode=False)
print([name for name in ("pandas", "datasets", "fsspec", "s3fs") if name in sys.modules])
"""
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert out.stdout.splitlines()[-1] == "[]", out.stderr


def test_schemas_are_as_documented(bundled: Path) -> None:
    from skill_factory.core.tables import PLAN, SFT

    (shard,) = (bundled / "sft_train").iterdir()
    assert pq.read_schema(shard).equals(SFT)
    assert pq.read_schema(bundled / "plan.parquet").equals(PLAN)
    assert SFT.names[:2] == ["conversations", "sft_template_type_idx"]
    message = pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())])
    assert SFT.field(0).type.value_type == message


@pytest.mark.slow
def test_text_that_is_larger_than_its_file_is_cut_finer(
    make: Make, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = content(make(many, *ALL_FORMATS))
    small_pieces(monkeypatch)
    monkeypatch.setattr("skill_factory.core.sources.local_files.FileSource.size", lambda self: 0)
    assert content(make(many, *ALL_FORMATS)) == expected

"""Input that is damaged or made to do harm: one line, no traceback, and nothing half-made."""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from conftest import REAL, ROOT, read_traces
from model_server import Server, serve
from tutor import speak

from skill_factory.cli.main import main
from skill_factory.core.yaml_files import MOST, UNREADABLE, parse

pytestmark = pytest.mark.slow


def command(*words: str | Path, codes: tuple[int, ...] = (1, 2)) -> str:
    """Run a command; its errors, which are one line, but for how a command is used."""
    result = CliRunner().invoke(main, [*map(str, words)])
    assert isinstance(result.exception, SystemExit | None), repr(result.exception)
    assert result.exit_code in codes, result.output
    if result.exit_code == 1:
        assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small run that is done; its server is still there."""
    folder = tmp_path_factory.mktemp("made") / "run"
    with serve(Server(speak=speak)) as server:
        config = {
            "questions": {"source": "addition", "count": 4},
            "model": {"base_url": server.url, "name": "tiny", "api_key_env": "NOT_THERE"},
            "sample": {"samples": 2, "seed": 0},
            "reflect": {"reflections": 2, "seed": 0},
            "create": {"attempts": 2},
        }
        folder.with_suffix(".yaml").write_text(yaml.safe_dump(config))
        command("run", folder.with_suffix(".yaml"), "-o", folder, codes=(0,))
        yield folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "run"))


# -- bytes -----------------------------------------------------------------------------------------


def flipped(content: bytes, draw: random.Random) -> bytes:
    """A file with a few wrong bits, half of the time near its end, where parquet describes it."""
    damaged = bytearray(content)
    start = max(0, len(content) - 2000) if draw.random() < 0.5 else 0
    for _ in range(draw.choice([1, 3, 30])):
        damaged[draw.randrange(start, len(content))] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def plain(path: Path) -> bytes:
    """A parquet file's content without compression, so that wrong bits reach its texts."""
    pq.write_table(pq.read_table(path), path, compression="none", use_dictionary=False)
    return path.read_bytes()


@pytest.mark.parametrize("words", [["questions"], ["create", "--attempts", "2", "-i"]])
def test_a_dataset_with_wrong_bits(tmp_path: Path, words: list[str]) -> None:
    draw, path = random.Random(0), tmp_path / "rows.parquet"
    shutil.copy(REAL, path)
    for content in (REAL.read_bytes(), plain(path)):
        for _ in range(25):
            path.write_bytes(flipped(content, draw))
            command(*words, path, "--dry-run", codes=(0, 1))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("questions.parquet", ["sample", "--dry-run", "--samples", "3", "-o"]),
        ("attempts.parquet", ["grade", "--workers", "1"]),
        ("graded.parquet", ["reflect", "--dry-run"]),
        ("graded.parquet", ["reflect"]),
        ("journal.sqlite", ["sample", "-o"]),
        ("manifest.json", ["sample", "--dry-run", "-o"]),
        ("sft/plan.parquet", ["check"]),
    ],
)
def test_a_run_with_wrong_bits(folder: Path, name: str, words: list[str]) -> None:
    draw, path = random.Random(0), folder / name
    whole = shutil.copytree(folder, folder.with_name("whole"))
    content = plain(path) if path.suffix == ".parquet" else path.read_bytes()
    for _ in range(12):
        shutil.copytree(whole, folder, dirs_exist_ok=True)
        path.write_bytes(flipped(content, draw))
        command(*words, folder / "sft" if words == ["check"] else folder, codes=(0, 1, 2))


DEEP = '{"a": ' * 930 + "1" + "}" * 930
"""JSON that can just be read near the top of the stack."""


@pytest.mark.parametrize("value", ["{bad", "[1]", "null", '"x"', "[" * 100_000, DEEP])
def test_metadata_of_a_run_that_is_no_json_object(folder: Path, value: str) -> None:
    path = folder / "attempts.parquet"
    table = pq.read_table(path)
    values = pa.array([value] * table.num_rows)
    field = table.schema.field("metadata")
    pq.write_table(table.set_column(table.schema.names.index("metadata"), field, values), path)
    assert "column 'metadata' holds what is no JSON object" in command("grade", folder)


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ('{"a": ' * 30_000, "is no SFT folder"),
        ('{"output": {"files": [1]}}', "versions: is missing"),
        ("[]", "is no SFT folder"),
        ("7", "is no SFT folder"),
    ],
)
def test_a_manifest_that_is_none(folder: Path, said: str, fault: str) -> None:
    (folder / "manifest.json").write_text(said)
    assert "is no run's folder" in command("sample", "-o", folder, "--dry-run")
    (folder / "sft" / "manifest.json").write_text(said)
    sft, config = folder / "sft", folder / "x.yaml"
    assert fault in command("check", sft)
    assert fault in command("push", sft, "me/x")
    assert fault in command("export", "llama-factory", sft, "-o", config)


def test_settings_and_entries_that_are_nested_too_deeply(folder: Path) -> None:
    deep = '{"a": ' * 30_000
    command("sample", "-o", folder, "--extra-body", deep)
    (folder / "sft" / "dataset_info.json").write_text(deep)
    words: list[str | Path] = ["export", "llama-factory", folder / "sft", "-o", folder / "x.yaml"]
    said = command(*words)
    assert "dataset_info.json: " in said


def test_a_damaged_journal_that_cannot_be_written_is_named(folder: Path) -> None:
    (folder / "journal.sqlite").write_bytes(b"no journal" * 999)
    folder.chmod(0o555)
    try:
        words: list[str | Path] = ["sample", "-o", folder, "--samples", "3", "--dry-run"]
        code, said = apart(*words, cwd=folder)
        assert (code, said.count("\n")) == (1, 1)
        assert f"{folder / 'journal.sqlite'} is not a journal" in said
    finally:
        folder.chmod(0o755)


def test_dates_that_python_does_not_have(tmp_path: Path) -> None:
    rows = {"question": ["What?"], "answer": pa.array([2**62], pa.timestamp("us"))}
    pq.write_table(pa.table(rows), tmp_path / "rows.parquet")
    said = command("questions", tmp_path / "rows.parquet", "--task", "text", "--dry-run")
    assert "column 'answer' cannot be read" in said


# -- YAML ------------------------------------------------------------------------------------------

LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)
MERGED = "a0: &a0 {k: v}\n" + "".join(
    f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)


@pytest.mark.parametrize("text", [LAUGHS, MERGED, f"a: &a {'x' * 100_000}\nb: [{'*a, ' * 900}]"])
def test_aliases_that_stand_for_too_much_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_text(text)
    asked = "questions: {source: addition, count: 2}\n"
    (tmp_path / "prompts.yaml").write_text(asked + "sample: {prompts: bomb.yaml}\n")
    (tmp_path / "phrases.yaml").write_text(asked + f"create: {{phrases: {path}}}\n")
    for name in ("bomb", "prompts", "phrases"):
        said = command("run", tmp_path / f"{name}.yaml", "-o", tmp_path / "run", "--dry-run")
        assert "bomb.yaml: not a YAML file" in said
        assert "too large, with its aliases written out" in said
    command("questions", "addition", "--gym", f"k={{{text!r}}}", "--dry-run")
    assert len(command("create", "-c", path, "-i", REAL, "--dry-run")) < 1000


def test_a_card_with_too_many_aliases_is_none(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    shutil.copy(REAL, tmp_path / "data")
    card = f"---\n{LAUGHS}configs: [{{config_name: *a29}}, {{config_name: *a29}}]\n---\n"
    (tmp_path / "data" / "README.md").write_text(card)
    command("create", "-i", tmp_path / "data", "--dry-run", codes=(0,))


def test_aliases_for_a_few_values_are_read() -> None:
    content, _ = parse("a: &a {k: 1}\nb: [*a, *a]\nc: {<<: *a, l: 2}\n")
    assert content == {"a": {"k": 1}, "b": [{"k": 1}] * 2, "c": {"k": 1, "l": 2}}
    for text in ("a: &a [*a]", "&a {k: *a}", "&a [b, [*a]]", f"[{'x,' * (MOST // 100)}]"):
        with pytest.raises(UNREADABLE):
            parse(text)


@pytest.mark.parametrize("text", [r'"a\0b"', r'"\ud800"', r'"x\udc00y"'])
@pytest.mark.parametrize(
    "config",
    [
        "questions: {{source: {}}}", "sample: {{prompts: {}}}", "sample: {{stop: [{}]}}",
        "model: {{local: {}}}", "model: {{name: {}}}", "model: {{base_url: {}}}",
        "create: {{phrases: {}}}", "create: {{output_dataset: {}}}", "{}: {{}}",
    ],
)  # fmt: skip
def test_text_that_no_file_can_hold_is_refused(tmp_path: Path, config: str, text: str) -> None:
    (tmp_path / "run.yaml").write_text("# one\n" + config.format(text))
    commands: list[list[str | Path]] = [
        ["run", "-o", tmp_path / "run"],
        ["create", "-i", REAL, "-o", tmp_path, "-c"],
    ]
    for words in commands:
        said = command(*words, tmp_path / "run.yaml")
        assert "line 2: holds NUL or half a surrogate pair" in said


def test_arguments_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    for option in ("--license", "--prompt-variants", "--model", "-o"):
        assert "is not UTF-8" in command("create", "-i", REAL, "-o", "./x", option, "./x\udcff")
    for option in ("--stop", "--model", "--extra-body"):
        command("sample", "-i", "addition", "-o", tmp_path, option, '{"x": "\udcff"}')
    command("sample", "-i", "addition", "-o", tmp_path / "\udcff", "--model", "x")


# -- numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "setting"),
    [
        ("sample", "samples"), ("reflect", "reflections"), ("create", "attempts"),
        ("create", "repeats"), ("create", "workers"), ("grade", "workers"),
        ("model", "concurrency"), ("model", "tries"), ("questions", "count"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("number", [300_000_000, 10**30])
def test_numbers_that_no_machine_holds_are_refused(
    tmp_path: Path, key: str, setting: str, number: int
) -> None:
    config: dict[str, Any] = {"questions": {"source": "addition"}}
    config.setdefault(key, {})[setting] = number
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    said = command("run", tmp_path / "run.yaml", "-o", tmp_path / "run", "--dry-run")
    assert f"{key}.{setting}: expected 1 to " in said


# -- places ----------------------------------------------------------------------------------------


def test_a_link_in_the_place_of_the_traces_is_not_written_through(folder: Path) -> None:
    other = folder.with_name("other")
    (folder / "sft").rename(other)
    (folder / "sft").symlink_to(other)
    before = read_traces(other)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["create"]["seed"] = 1
    folder.with_suffix(".yaml").write_text(yaml.safe_dump(config))
    words: list[str | Path] = ["run", folder.with_suffix(".yaml"), "-o", folder]
    assert "run/sft: is a link, and is not written through; remove it" in command(*words)
    (other / "plan.parquet").unlink()
    assert "is a link" in command(*words)
    assert read_traces(other) == before
    (folder / "sft").unlink()
    command(*words, codes=(0,))
    assert (folder / "sft").is_dir()


@pytest.mark.parametrize("place", ["a/..", "none/..", "..", ".", "./none/..", "none/../."])
def test_places_written_with_dots(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "up" / "here"
    (here / "a").mkdir(parents=True)
    monkeypatch.chdir(here)
    (here / "run.yaml").write_text("questions: {source: addition, count: 2}\n")
    command("create", "-i", REAL, "-o", place)
    command("questions", "addition", "--count", "2", "-o", place)
    command("run", "run.yaml", "-o", place)
    command("sample", "-i", "addition", "-o", place)
    command("export", "llama-factory", place, "-o", place)
    command("export", "verl", "-i", REAL, "-o", place)
    command("push", place, place)
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == [
        "up", "up/here", "up/here/a", "up/here/run.yaml",
    ]  # fmt: skip


def _obey_permissions() -> None:
    """Even as root: without CAP_DAC_OVERRIDE, from the program on that is now started."""
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP


def apart(*words: str | Path, cwd: Path, limit: str = "unlimited") -> tuple[int, str]:
    """What `shown` gives, without what was printed besides errors."""
    code, _, said = shown(*words, cwd=cwd, limit=limit)
    return code, said


def shown(*words: str | Path, cwd: Path, limit: str = "unlimited") -> tuple[int, str, str]:
    """A command in a process that obeys permissions, with a limit on the size of files."""
    script = f'ulimit -f {limit}; exec "$0" -m skill_factory "$@"'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable, *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=cwd,
        preexec_fn=_obey_permissions,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_a_folder_that_cannot_be_written_is_told_of_in_one_line(
    made: Path, folder: Path, tmp_path: Path
) -> None:
    for path in (folder, tmp_path):
        path.chmod(0o555)
    try:
        config = made.with_suffix(".yaml")
        for words, works in (
            (["run", config, "-o", tmp_path / "new", "--dry-run"], True),
            (["create", "-i", folder / "annotated.parquet", "--dry-run", "--attempts", "2"], True),
            (["run", config, "-o", folder, "--dry-run"], True),
            (["sample", "-o", folder, "--samples", "3", "--dry-run"], True),
            (["reflect", folder, "--dry-run"], True),
            (["grade", folder], False),
            (["questions", "addition", "--count", "2", "-o", "q.parquet"], False),
        ):
            code, said = apart(*words, cwd=tmp_path)
            assert (code, said.count("\n")) == ((0, 0) if works else (1, 1)), said
            assert works or "cannot be written" in said
    finally:
        for path in (folder, tmp_path):
            path.chmod(0o755)


def test_a_dry_run_reads_a_journal_that_cannot_be_written(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    folder.chmod(0o555)
    try:
        code, out, said = shown("sample", "-o", folder, "--samples", "3", "--dry-run", cwd=folder)
        assert (code, said) == (0, "")
        assert "16 samples to ask for in 16 requests, 32 are in the journal" in out
    finally:
        folder.chmod(0o755)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_device_and_a_folder_are_not_replaced_by_a_file(folder: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jsonl"  # stands for /dev/full and /dev/stdout
    os.mkfifo(pipe)
    (tmp_path / "place.jsonl").mkdir()
    more: list[str | Path] = ["sample", "-o", folder, "--samples", "3", "--write-requests"]
    for path in (pipe, tmp_path / "place.jsonl", tmp_path, Path("."), Path("/")):
        assert "is not a file; choose another path" in command(*more, path, codes=(1,))
        command("questions", "addition", "--count", "2", "-o", path)
        command("export", "llama-factory", folder / "sft", "--overwrite", "-o", path)
    assert pipe.is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pipe.jsonl", "place.jsonl", "run"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    # A limit on the size of files makes writes fail as a full disk does.
    for name in ("q.parquet", "q.jsonl"):
        words = ["questions", "addition", "--high", "999", "--count", "2000", "-o", name]
        code, said = apart(*words, cwd=tmp_path, limit="4")
        assert (code, said.count("\n")) == (1, 1)
        assert f"{name}: cannot be written" in said
    assert not list(tmp_path.iterdir())

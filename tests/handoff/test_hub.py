"""Pushing, with the real clients against a Hub of ours on the loopback."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import REAL, ROOT, Outcome, read_manifest, read_traces, run
from hub import Fault, Repo, Request, User, serve

pytestmark = pytest.mark.slow

TOKEN = "hf_right"
REPO = "org/traces"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sft") / "sft"
    done = run("-i", REAL, "-o", folder, "--license", "apache-2.0")
    assert done.code == 0, done.err
    return folder


class Place:
    """A Hub, and a user before it with caches of their own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.repos: dict[str, Repo] = {}
        self.faults: list[Fault] = []
        self.log: list[Request] = []
        self.address = ""

    def asked(self, pattern: str) -> int:
        """How many requests match."""
        return sum(bool(re.search(pattern, f"{r.method} {r.path}")) for r in self.log)

    def command(
        self, *words: str | Path, token: str = TOKEN, module: str = "skill_factory"
    ) -> Outcome:
        return run(*words, module=module, cwd=self.home, **self.environment(token))

    def environment(self, token: str = TOKEN) -> dict[str, str]:
        return {
            "HF_ENDPOINT": self.address,
            "HF_HOME": str(self.home / "hf"),
            "HF_TOKEN": token,
            "HF_HUB_DISABLE_XET": "1",
        }

    def load(self, *arguments: str, token: str = TOKEN) -> list[dict[str, object]]:
        """What `load_dataset` gives to a user who has nothing in their cache."""
        home = self.home / f"reader-{len(self.log)}"
        code = (
            "import sys, json, datasets\n"
            "rows = datasets.load_dataset(*sys.argv[1:3], split='train', "
            "revision=sys.argv[3] if len(sys.argv) > 3 else None)\n"
            "json.dump(rows.to_list(), sys.stdout)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=os.environ | self.environment(token) | {"HF_HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        rows: list[dict[str, object]] = json.loads(done.stdout)
        return rows


def parquet(value: int) -> bytes:
    """A file of one row."""
    out = io.BytesIO()
    pq.write_table(pa.table({"x": [value]}), out)
    return out.getvalue()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    users = {TOKEN: User("me", ("org",)), "hf_other": User("someone")}
    with serve(place.repos, users=users, faults=place.faults, log=place.log) as place.address:
        yield place


def test_a_dataset_on_the_hub_can_be_checked(place: Place, folder: Path) -> None:
    assert place.command("push", folder, REPO).code == 0
    done = place.command("check", REPO, "--json")
    assert done.code == 0, done.err
    left = json.loads(done.out)
    assert (left["traces"], left["errors"]) == (len(read_traces(folder)), 0)
    done = place.command("check", folder, "--json", "--against", REPO, "--no-rewards")
    shared = next(one for one in json.loads(done.out)["findings"] if one["code"] == "L01")
    assert (done.code, shared["count"]) == (1, left["traces"])
    done = place.command("check", REPO, "--revision", "nosuch")
    assert (done.code, done.err.count("\n")) == (1, 1)


def test_what_is_pushed_is_what_is_loaded(place: Place, folder: Path) -> None:
    done = place.command("push", folder, REPO)
    assert done.code == 0, done.err
    assert place.load(REPO, "sft_train") == read_traces(folder)
    there = place.repos[REPO].files
    assert set(there) - {".gitattributes"} == {
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    }
    for name in ("manifest.json", "plan.parquet"):
        assert there[name] == (folder / name).read_bytes()
    card = there["README.md"].decode()
    assert f'load_dataset("{REPO}", "sft_train"' in card
    assert f'"hf_hub_url": "{REPO}"' in card
    assert "license: apache-2.0" in card
    assert place.asked("POST .*/commit/") == 1


def test_pushed_again_nothing_is_sent(place: Place, folder: Path) -> None:
    assert place.command("push", folder, REPO).code == 0
    done = place.command("push", folder, REPO)
    assert done.code == 0
    assert "there already" in done.out
    assert place.asked("POST .*/commit/") == 1


def test_the_report_is_pushed_beside_the_data_and_the_card_says_so(
    place: Place, folder: Path
) -> None:
    done = place.command("push", folder, REPO, "--report")
    assert done.code == 0, done.err
    page = place.repos[REPO].files["report.html"].decode()
    assert read_manifest(folder)["output"]["digest"] in page
    card = place.repos[REPO].files["README.md"].decode()
    assert "[report.html](report.html) has all of this as one page" in card
    assert "`skill-factory report`" not in card
    assert place.load(REPO, "sft_train") == read_traces(folder)
    assert not (folder / "report.html").exists()


def test_a_report_stays_as_long_as_it_is_of_the_dataset(
    place: Place, folder: Path, tmp_path: Path
) -> None:
    assert place.command("push", folder, REPO, "--report").code == 0
    done = place.command("push", folder, REPO)
    assert "everything was there already" in done.out
    made = run("-i", REAL, "-o", tmp_path / "other", "--attempts", "2")
    assert made.code == 0, made.err
    done = place.command("push", tmp_path / "other", REPO)
    assert done.code == 0, done.err
    there = place.repos[REPO].files
    assert "report.html" not in there
    assert "report.html" not in there["README.md"].decode()


def test_a_page_of_others_stays_and_the_card_does_not_name_it(place: Place, folder: Path) -> None:
    assert place.command("push", folder, REPO).code == 0
    place.repos[REPO].push(place.repos[REPO].files | {"report.html": b"<html>theirs</html>"})
    assert place.command("push", folder, REPO).code == 0
    there = place.repos[REPO].files
    assert there["report.html"] == b"<html>theirs</html>"
    assert "report.html" not in there["README.md"].decode()


def test_create_pushes_what_it_makes(place: Place) -> None:
    done = place.command("create", "-i", REAL, "-o", REPO, "--private")
    assert done.code == 0, done.err
    assert place.repos[REPO].private
    assert "the card names no license; name one with --license" in done.out
    made = place.home / "outputs" / REPO
    assert place.load(REPO, "sft_train") == read_traces(made)
    assert read_manifest(made)["counts"]["traces"] == 260


def test_create_need_not_push(place: Place) -> None:
    done = place.command("create", "-i", REAL, "-o", REPO, "--no-push", token="")
    assert done.code == 0, done.err
    assert (place.home / "outputs" / REPO / "manifest.json").exists()
    assert not place.log


def test_older_traces_go_and_other_configs_and_the_card_stay(place: Place, folder: Path) -> None:
    card = (
        "---\nlicense: mit\npretty_name: Mine\ntags: [mine]\nconfigs:\n"
        "- config_name: other\n  data_files: other/*.parquet\n"
        "- config_name: sft_train\n  data_files: sft_train/old-*.parquet\n"
        "dataset_info:\n- config_name: sft_train\n  splits:\n"
        "  - name: train\n    num_bytes: 1\n    num_examples: 1\n"
        "- config_name: other\n  features:\n  - name: x\n    dtype: int64\n---\n\n# Mine\n\nKept.\n"
    )
    place.repos[REPO] = Repo(
        {
            "README.md": card.encode(),
            "other/a.parquet": parquet(1),
            "sft_train/old-0.parquet": b"old",
            "dataset_info.json": b'{"theirs": {"file_name": "x.json"}}',
        }
    )
    for _ in range(2):  # the second finds a card of its own
        done = place.command("push", folder, REPO)
        assert done.code == 0, done.err
    there = place.repos[REPO].files
    assert "sft_train/old-0.parquet" not in there
    assert place.load(REPO, "other") == [{"x": 1}]
    assert place.load(REPO, "sft_train") == read_traces(folder)
    merged = there["README.md"].decode()
    assert "# Mine\n\nKept." in merged
    assert merged.count("# SFT traces made") == 1
    for line in ("pretty_name: Mine", "- mine", "- skill-factory", "license: mit"):
        assert line in merged
    assert set(json.loads(there["dataset_info.json"])) == {"theirs", "sft"}
    assert place.asked("POST .*/commit/") == 1


def test_a_repository_without_named_configs_keeps_what_it_had(place: Place, folder: Path) -> None:
    place.repos[REPO] = Repo({"data/train.parquet": parquet(1), "data/test.parquet": parquet(2)})
    done = place.command("push", folder, REPO)
    assert done.code == 0, done.err
    assert place.load(REPO, "default") == [{"x": 1}]
    assert place.load(REPO, "sft_train") == read_traces(folder)


def test_a_repository_in_another_format_is_refused(place: Place, folder: Path) -> None:
    place.repos[REPO] = Repo({"data.jsonl": b'{"x": 1}\n'})
    assert "data in the format json" in fails(place, folder)
    assert set(place.repos[REPO].files) == {"data.jsonl"}


def test_another_configs_pattern_may_not_take_our_files(place: Place, folder: Path) -> None:
    for pattern in ("'*.parquet'", "[{split: train, path: '**/*.parquet'}]"):
        card = f"---\nconfigs:\n- config_name: other\n  data_files: {pattern}\n---\n"
        place.repos[REPO] = Repo({"README.md": card.encode(), "a.parquet": parquet(1)})
        assert "its config 'other' takes" in fails(place, folder)
        assert set(place.repos[REPO].files) == {"README.md", "a.parquet"}


def test_what_cannot_be_looked_up_is_not_taken_for_nothing(place: Place, folder: Path) -> None:
    place.repos[REPO] = Repo({"data/train.parquet": parquet(1)})
    offline = place.environment() | {"HF_DATASETS_OFFLINE": "1"}
    done = run("push", folder, REPO, module="skill_factory", cwd=place.home, **offline)
    assert done.code == 1
    assert "README.md" not in place.repos[REPO].files


def test_files_that_are_no_data_are_left_alone(place: Place, folder: Path) -> None:
    place.repos[REPO] = Repo({"LICENSE.txt": b"mine", "notes.md": b"mine"})
    done = place.command("push", folder, REPO)
    assert done.code == 0, done.err
    assert place.load(REPO, "sft_train") == read_traces(folder)
    assert {"LICENSE.txt", "notes.md"} <= set(place.repos[REPO].files)


def test_no_word_of_a_card_is_lost_or_doubled(place: Place, folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(folder, mine)
    with (mine / "README.md").open("a") as card:
        card.write("\nA word of mine.\n")
    for _ in range(2):
        done = place.command("push", mine, REPO)
        assert done.code == 0, done.err
    assert "there already" in done.out
    there = place.repos[REPO].files["README.md"].decode()
    cut = there.partition("<!-- end of")[0] + "\nTheirs.\n"
    place.repos[REPO].push(place.repos[REPO].files | {"README.md": b"\xef\xbb\xbf" + cut.encode()})
    assert place.command("push", mine, REPO).code == 0
    merged = place.repos[REPO].files["README.md"].decode()
    assert "Theirs." in merged
    assert merged.count("\nlicense: ") == 1


def test_a_card_that_cannot_be_read_is_not_replaced(place: Place, folder: Path) -> None:
    place.repos[REPO] = Repo({"README.md": b"---\na: [\n---\n", "a.parquet": parquet(1)})
    assert "header of its README.md" in fails(place, folder)


def test_a_branch_and_a_pull_request_can_be_pushed_to(place: Place, folder: Path) -> None:
    assert place.command("push", folder, REPO, "--revision", "next").code == 0
    assert set(place.repos[REPO].files) == {".gitattributes"}
    assert len(place.load(REPO, "sft_train", "next")) == 260
    done = place.command("push", folder, REPO, "--create-pr", "--commit-message", "Mine")
    assert done.code == 0, done.err
    assert f"{REPO}/discussions/1" in done.out
    assert set(place.repos[REPO].files) == {".gitattributes"}
    assert len(place.load(REPO, "sft_train", "refs/pr/1")) == 260


def fails(place: Place, folder: Path, *options: str, token: str = TOKEN) -> str:
    """A push that must fail in one clear line; returns it."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    done = place.command("push", folder, REPO, *options, token=token)
    assert done.code == 1, done
    assert "Traceback" not in done.err
    assert done.err.count("\n") == 1
    assert done.err.startswith(f"Error: {REPO}: ")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    go_on = f"to go on: skill-factory push {folder} {REPO}"
    assert " ".join([go_on, *options]) in done.err
    return done.err


def test_without_a_token_the_error_says_how_to_get_one(place: Place, folder: Path) -> None:
    assert "no token to push with" in fails(place, folder, token="")


def test_a_bad_token_is_named(place: Place, folder: Path) -> None:
    assert "does not accept the token" in fails(place, folder, token="hf_wrong")


def test_somebody_elses_organisation_is_named(place: Place, folder: Path) -> None:
    assert "no user or organisation 'org'" in fails(place, folder, token="hf_other")


def test_private_on_a_public_repository_is_refused_before_anything_is_sent(
    place: Place, folder: Path
) -> None:
    place.repos[REPO] = Repo({})
    assert "exists and is public" in fails(place, folder, "--private")
    assert place.asked("PUT ") == 0


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("POST", "/api/repos/create", 429, None), "slow down"),
        (Fault("POST", "/api/repos/create", 503, None), "out of order"),
        (Fault("POST", "/preupload/", 403, None), "no right to write"),
        (Fault("PUT", "/lfs/", 403, None), "no right to write"),
        (Fault("POST", "/commit/", 412, None), "changed by someone else"),
        (Fault("POST", "/commit/", 400, None, "bad card"), "bad card"),
        (Fault("POST", "/commit/", "cut", None), "connection to the Hub failed"),
        (Fault("POST", "/commit/", 429, None, headers={"Retry-After": "0"}), "slow down"),
    ],
    ids=lambda value: f"{value.path}-{value.status}" if isinstance(value, Fault) else None,
)
def test_a_push_that_failed_goes_on_where_it_was(
    place: Place, folder: Path, fault: Fault, said: str
) -> None:
    place.faults.append(fault)
    assert said in fails(place, folder)
    place.faults.clear()
    sent = place.asked("PUT ")
    held = len(place.repos[REPO].blobs) if REPO in place.repos else 0
    done = place.command("push", folder, REPO)
    assert done.code == 0, done.err
    assert place.asked("PUT ") == sent + 2 - held  # two files are large
    assert place.load(REPO, "sft_train") == read_traces(folder)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_hub_is_asked_again(place: Place, folder: Path, status: int) -> None:
    place.faults.append(Fault("POST", "/commit/", status, 2, headers={"Retry-After": "0"}))
    done = place.command("push", folder, REPO)
    assert done.code == 0, done.err
    assert place.asked("POST .*/commit/") == 3


def test_a_commit_whose_answer_was_lost_is_found(place: Place, folder: Path) -> None:
    place.faults.append(Fault("POST", "/commit/", "cut", late=True))
    done = place.command("push", folder, REPO)
    assert done.code == 0, done.err
    assert place.asked("POST .*/commit/") == 1
    assert place.load(REPO, "sft_train") == read_traces(folder)


def test_a_folder_that_was_changed_is_not_pushed(
    place: Place, folder: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "plan.parquet").write_bytes(b"")
    done = place.command("push", broken, REPO)
    assert done.code == 1
    assert "plan.parquet: is not the file that manifest.json names" in done.err
    done = place.command("push", ROOT, REPO)
    assert done.code == 1
    assert "is no SFT folder" in done.err
    assert not place.log

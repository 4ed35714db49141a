"""Secrets of the environment: sent to whom the user names, and shown to nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from conftest import REAL, run
from hub import Fault as HubFault
from hub import Repo, User
from hub import serve as serve_hub
from hypothesis import given
from hypothesis import strategies as st
from model_server import Fault, Server, serve
from tutor import speak

from skill_factory.cli.main import main
from skill_factory.core.redaction import address_secrets, redact

pytestmark = pytest.mark.slow

KEYS = {
    "OPENAI_API_KEY": "canary-openai-4fb1c7",
    "HF_TOKEN": "hf_canaryTokenOfTheHub",
    "MINE": "canary/own+key=81",
    "AWS_SECRET_ACCESS_KEY": "canaryOfAnotherService",
}
PASSWORD, QUERY = "canary-pass-word", "canary-in-query"


@dataclass
class Listening(Server):
    """A server that notes what it is sent besides the body."""

    heard: list[str] = field(default_factory=list)

    async def _answer(
        self, writer: asyncio.StreamWriter, line: str, headers: dict[str, str], body: bytes
    ) -> None:
        self.heard.append(f"{line} {headers}")
        if "?" in line:  # the SDK sets its paths behind an address's query
            line = "POST /v1/chat/completions" if body else "GET /v1/models"
        await super()._answer(writer, line, headers, body)


@pytest.fixture
def server() -> Iterator[Listening]:
    server = Listening(speak=speak)
    with serve(server):
        yield server


def settings(**model: Any) -> dict[str, Any]:
    return {
        "questions": {"source": "addition", "count": 3},
        "model": {"tries": 1} | model,
        "sample": {"samples": 2, "seed": 0},
        "reflect": {"reflections": 2, "seed": 0},
        "create": {"attempts": 2},
    }


def command(*words: str | Path, code: int | None = 0, **environment: str | None) -> str:
    """Run a command with all canaries in its environment; all that it printed."""
    env: dict[str, str | None] = {**KEYS, "OPENAI_BASE_URL": None, **environment}
    result = CliRunner(env=env).invoke(main, [*map(str, words)])
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert code is None or result.exit_code == code, result.output
    return result.output


def go(folder: Path, config: dict[str, Any], code: int | None = 0, **env: str | None) -> str:
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(config))
    return command("run", path, "-o", folder, code=code, **env)


def see_no_secret(folder: Path, *said: str) -> None:
    """No canary, nor most of one, is in what was said or in any file of a folder."""
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    for secret in (*KEYS.values(), PASSWORD, QUERY):
        for part in (secret, secret[:-2], secret[2:]):
            assert not any(part in text for text in said)
            assert not any(part.encode() in content for content in files)


def test_a_run_keeps_and_shows_no_secret(server: Listening, tmp_path: Path) -> None:
    server.key = KEYS["MINE"]
    said = go(tmp_path / "run", settings(base_url=server.url, api_key_env="MINE"))
    assert "SFT dataset" in said
    assert any(KEYS["MINE"] in heard for heard in server.heard)
    see_no_secret(tmp_path / "run", said)


def test_what_is_secret_in_an_address_is_neither_kept_nor_shown(
    server: Listening, tmp_path: Path
) -> None:
    url = server.url.replace("://", f"://me:{PASSWORD}@") + f"?token={QUERY}"
    server.faults.append(Fault(400, message=f"no {url}"))
    said = go(tmp_path / "run", settings(base_url=url), code=1)
    assert "refuses the request" in said
    see_no_secret(tmp_path / "run", said)
    server.faults.clear()
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(settings()))
    words: list[str | Path] = ["sample", "-c", config, "-o", tmp_path / "run"]
    said = command(*words, "--dry-run", OPENAI_BASE_URL=url)
    for wrong in ("me:pw@h", "http://me:pw@[h", "http://me:pw@h:port/v1"):
        for more in ([], ["--dry-run"]):
            told = command(*words, *more, code=2, OPENAI_BASE_URL=wrong)
            assert "$OPENAI_BASE_URL: is no address of a server" in told
            assert "pw@" not in told
            said += told
    see_no_secret(tmp_path / "run", said)


@pytest.mark.parametrize("status", [401, 400, 404, 429, 500, 503])
def test_a_server_that_repeats_its_key_is_not_repeated(
    server: Listening, tmp_path: Path, status: int
) -> None:
    server.faults.append(Fault(status, message=f"Bad key: {KEYS['MINE']}; {KEYS['HF_TOKEN']}"))
    config = settings(base_url=server.url, api_key_env="MINE", patience=0.5)
    said = go(tmp_path / "run", config, code=1)
    assert "Bad key: ***" in said
    see_no_secret(tmp_path, said)


def test_a_key_is_masked_before_a_message_is_cut(server: Listening, tmp_path: Path) -> None:
    for length in range(275, 305, 6):
        server.faults[:] = [Fault(400, message="x" * length + KEYS["MINE"])]
        said = go(tmp_path / "run", settings(base_url=server.url, api_key_env="MINE"), code=1)
        assert "canary" not in said


def test_a_refusal_is_kept_without_secrets(server: Listening, tmp_path: Path) -> None:
    # One of them would straddle the place where the message is cut.
    words = f"a content filter {' '.join(KEYS.values())} "
    words += "x" * (290 - len(words)) + KEYS["AWS_SECRET_ACCESS_KEY"]
    server.faults.append(Fault(400, code="content_filter", message=words, holds="What is 1"))
    config = settings(base_url=server.url, api_key_env="MINE")
    config["questions"] |= {"count": 30, "high": 30}
    said = go(tmp_path / "run", config)
    assert "filters a prompt" in said
    see_no_secret(tmp_path / "run", said)


def test_an_error_in_a_batch_file_is_taken_without_secrets(
    server: Listening, tmp_path: Path
) -> None:
    folder, requests = tmp_path / "run", tmp_path / "requests.jsonl"
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(settings(base_url=server.url, name="tiny")))
    command("sample", "-c", path, "-o", folder, "--write-requests", requests)
    lines = [json.loads(line) for line in requests.read_text().splitlines()]
    error = {"code": "content_filter", "message": f"bad {KEYS['HF_TOKEN']}"}
    (tmp_path / "answers.jsonl").write_text(
        "".join(
            json.dumps({"custom_id": line["custom_id"], "response": None, "error": error}) + "\n"
            for line in lines
        ).replace("content_filter", "server_error", 1)
    )
    said = command(
        "sample", "-o", folder, "--read-responses", tmp_path / "answers.jsonl", code=None
    )
    assert "requests failed: bad ***" in said
    see_no_secret(folder, said)


@given(st.text(min_size=1), st.text(), st.text())
def test_nothing_is_left_of_a_secret(secret: str, before: str, after: str) -> None:
    shown = redact(f"{before}{secret}{after}", [secret])
    assert secret in "***" or secret not in shown.replace("***", "")


def test_an_address_has_its_secrets_in_every_spelling() -> None:
    found = address_secrets("https://me:p%40ss@host/v1?key=a%20b")
    assert {"me", "p%40ss", "p@ss", "bWU6cEBzcw==", "a b"} <= set(found)


@pytest.mark.parametrize("path", ["/api/repos/create", "/commit/", "/tree/", "/api/datasets/"])
def test_a_hub_that_repeats_its_token_is_not_repeated(tmp_path: Path, path: str) -> None:
    made = run("-i", REAL, "-o", tmp_path / "sft", "--attempts", "2")
    assert made.code == 0, made.err
    token = KEYS["HF_TOKEN"]
    message = f"bad token {token} in your request"
    faults = [HubFault(method, path, 400, None, message) for method in ("POST", "GET")]
    with serve_hub({"me/x": Repo({})}, users={token: User("me")}, faults=faults) as address:
        environment = {
            **KEYS, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_XET": "1",
        }  # fmt: skip
        words = "push", tmp_path / "sft", "me/x"
        done = run(*words, module="skill_factory", cwd=None, **environment)
        read = run("-i", "me/x", "--dry-run", cwd=None, **environment)
    assert done.code == 1
    assert "bad token ***" in done.err
    see_no_secret(tmp_path / "sft", done.out, done.err, read.out, read.err)


# -- a folder of another's -------------------------------------------------------------------------


@pytest.fixture
def shared(server: Listening, tmp_path: Path) -> Path:
    """A run's folder that somebody else has made."""
    go(tmp_path / "run", settings(base_url=server.url))
    server.heard.clear()
    return tmp_path / "run"


def rewrite(folder: Path, **model: Any) -> None:
    """Change what a folder's own config says of the model."""
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["model"] |= model
    config["sample"]["samples"] += 1
    path.write_text(yaml.safe_dump(config))


@pytest.mark.parametrize("variable", KEYS)
def test_a_shared_folder_sends_no_key_to_its_server(
    server: Listening, shared: Path, variable: str
) -> None:
    rewrite(shared, api_key_env=variable)
    commands: list[list[str | Path]] = [
        ["sample", "-o", shared],
        ["sample", "-o", shared, "--write-requests", shared / "requests.jsonl"],
        ["reflect", shared, "--reflections", "3"],
    ]
    for words in commands:
        said = command(*words, code=2)
        assert f"--api-key-env {variable}" in said
        assert said.count("Error: ") == 1
    assert not server.heard
    command("sample", "-o", shared, "--dry-run")
    command("grade", shared)
    assert not any(secret in heard for heard in server.heard for secret in KEYS.values())


@pytest.mark.parametrize("variable", sorted(set(KEYS) - {"OPENAI_API_KEY"}))
def test_nor_to_a_server_of_the_users(server: Listening, shared: Path, variable: str) -> None:
    rewrite(shared, api_key_env=variable, base_url="http://127.0.0.1:9/v1")
    command("sample", "-o", shared, "--base-url", server.url, code=2)
    command("sample", "-o", shared, code=2, OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    assert not server.heard


def test_a_run_goes_on_with_the_key_that_its_user_names(server: Listening, shared: Path) -> None:
    rewrite(shared, api_key_env="MINE")
    server.key = KEYS["MINE"]
    command("sample", "-o", shared, "--api-key-env", "MINE")
    command("grade", shared)
    command("reflect", shared, "-c", shared.with_suffix(".yaml"), "--api-key-env", "MINE")
    assert any(KEYS["MINE"] in heard for heard in server.heard)


@pytest.mark.parametrize("place", ["environment", "flag", "config"])
def test_a_run_goes_on_by_itself_at_the_users_own_server(
    server: Listening, shared: Path, place: str
) -> None:
    rewrite(shared)
    server.key = KEYS["OPENAI_API_KEY"]
    named: dict[str, list[str | Path]] = {
        "environment": [], "flag": ["--base-url", server.url],
        "config": ["-c", shared / "config.yaml"],
    }  # fmt: skip
    url = server.url if place == "environment" else None
    command("sample", "-o", shared, *named[place], OPENAI_BASE_URL=url)
    assert any(server.key in heard for heard in server.heard)


def test_a_server_without_a_key_needs_no_word(server: Listening, shared: Path) -> None:
    rewrite(shared, api_key_env="NOT_THERE")
    command("sample", "-o", shared)
    assert server.heard


def test_a_password_in_the_environments_address_is_found_again(
    server: Listening, tmp_path: Path
) -> None:
    url = server.url.replace("://", f"://me:{PASSWORD}@")
    config = settings()
    go(tmp_path / "run", config, OPENAI_BASE_URL=url, OPENAI_API_KEY=None)
    server.heard.clear()
    command(
        "sample", "-o", tmp_path / "run", "--samples", "3", OPENAI_BASE_URL=url, OPENAI_API_KEY=None
    )
    assert all("Basic " in heard for heard in server.heard)
    see_no_secret(tmp_path / "run")


def test_a_key_in_place_of_its_variables_name_is_not_shown(tmp_path: Path) -> None:
    key = "sk-canary-in-the-wrong-place"
    by_option = command("sample", "-o", tmp_path / "run", "--api-key-env", key, code=2)
    by_config = go(tmp_path / "run", settings(api_key_env=key), code=1)
    for said in (by_option, by_config):
        assert "expected the name of a variable, and no key" in said
        assert "canary" not in said

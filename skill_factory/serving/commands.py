"""What is started: the commands of vLLM, SGLang and llama.cpp's server, or the user's own."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from skill_factory.core.did_you_mean import did_you_mean
from skill_factory.core.settings.value_types import Origin
from skill_factory.errors import OptionError

MODEL, PORT = "{model}", "{port}"
"""What stands for the model and the port in a command."""

KEY_VARIABLES = ("SERVE_API_KEY", "VLLM_API_KEY", "LLAMA_API_KEY")
"""Environment variables with the key that a server is to ask for: for a command of the user's own,
vLLM's (vllm/envs.py) and llama.cpp's (tools/server/README.md). SGLang takes none from there: a key
on its command line would be seen by all users of the machine, so it is given none."""

HOST = "127.0.0.1"

_OURS = ("--host", "--port", "--api-key", "--served-model-name", "--alias", "-a")
"""What each server is given by the run."""


def _vllm(model: str, port: str) -> list[str]:
    """https://docs.vllm.ai/en/latest/cli/serve/ (v0.18 to v0.30)"""
    where = ["--host", HOST, "--port", port]
    return ["vllm", "serve", model, *where, "--served-model-name", model]


def _sglang(model: str, port: str) -> list[str]:
    """https://docs.sglang.io/docs/advanced_features/server_arguments"""
    here = importlib.util.find_spec("sglang") is not None
    python = sys.executable if here else "python3"
    where = ["--host", HOST, "--port", port]
    launch = [python, "-m", "sglang.launch_server", "--model-path", model]
    return [*launch, *where, "--served-model-name", model]


def _llama_server(model: str, port: str) -> list[str]:
    """https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md

    A file is loaded, and anything else is a repository on the Hub: USER/MODEL[:QUANT].
    """
    is_file = model.endswith(".gguf") or Path(model).exists()
    chosen = ["--model" if is_file else "--hf-repo", model]
    return ["llama-server", *chosen, "--host", HOST, "--port", port, "--alias", model]


PRESETS: dict[str, Callable[[str, str], list[str]]] = {
    "vllm": _vllm,
    "sglang": _sglang,
    "llama-server": _llama_server,
}
"""The servers that are known by name; each makes a command of a model and a port."""


def command_of(serve: str, model: str, port: int, arguments: str) -> list[str]:
    """The words of the command that serves a model at a port. Raises `OptionError` if there is no
    such program, on the PATH or beside this Python."""
    if serve in PRESETS:
        words = PRESETS[serve](model, str(port))
    else:
        filled = [(MODEL, model), (PORT, str(port))]
        words = shlex.split(serve)
        for sign, value in filled:
            words = [word.replace(sign, value) for word in words]
    program = shutil.which(words[0]) or shutil.which(words[0], path=Path(sys.executable).parent)
    if program is None:
        raise OptionError(
            f"serve: there is no program {words[0]!r} on the PATH; install it, activate its "
            "environment, or give a whole command"
        )
    return [program, *words[1:], *shlex.split(arguments)]


# -- as settings ----------------------------------------------------------------------------------


def validate_serve(text: str, origin: Origin) -> str:
    """A setting that names what is started; raises `ValueError`. A run's folder may be another's,
    and a command in its config.yaml is not run."""
    if not origin.trusted:
        raise ValueError("only the run's own config.yaml says so: give it as --serve")
    if text in PRESETS:
        return text
    words = _words(text)
    if not any(PORT in word for word in words):
        names = ", ".join(PRESETS)
        raise ValueError(
            f"expected {names}, or a command with {PORT} in it{did_you_mean(text, PRESETS)}"
        )
    return text


def validate_arguments(text: str) -> str:
    """More arguments of a server, as a shell has them; raises `ValueError`."""
    for word in _words(text):
        if word.partition("=")[0] in _OURS:
            raise ValueError(f"{word.partition('=')[0]} is given by the run itself: leave it out")
    return text


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"cannot be read as a command: {error}") from None

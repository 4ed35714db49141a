"""llama.cpp, through its C functions (llama.h): nothing else here calls it."""

from __future__ import annotations

import ctypes
import importlib
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from skill_factory.models import Messages, ModelError, Sampling, turn_of

INSTALL = "pip install 'skill-factory[local]'"

KEPT = 8
"""Prompts that stay in memory after their answers. A run has five kinds of prompts, each with its
own worked examples: four variants and the reflection."""

BATCH = 512
"""Tokens of a prompt that are computed in one call; nothing else is decoded meanwhile."""

_ERROR = 4
"""GGML_LOG_LEVEL_ERROR, in ggml.h."""

_ANY_SEED = 0xFFFFFFFF
"""LLAMA_DEFAULT_SEED, in llama.h: a seed by chance."""

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""`llama_token_data`, in llama.h."""


class Samplers(NamedTuple):
    """llama.cpp's: all but the grammar, and the grammar; None: there is none."""

    chain: Any
    grammar: Any


NO_SAMPLERS = Samplers(None, None)


class Llama:
    """llama.cpp, through its C functions: a model, a memory for several sequences, samplers.

    `context` is the most tokens of one sequence, `cells` what all of them have room for together.
    """

    def __init__(self, path: Path, parallel: int, context: int, threads: int) -> None:
        self.name = path.name
        self.parallel = parallel
        self._lib = _library()
        self._grammars: dict[str, Any] = {}
        self._pieces: dict[int, bytes | None] = {}
        self._model = self._load(path)
        self._context: Any = None
        try:
            self._check_kind()
            self.context = min(context, self._lib.llama_model_n_ctx_train(self._model))
            self.cells = (parallel + 1) * self.context
            self._vocab = self._lib.llama_model_get_vocab(self._model)
            self._template = self._read_template()
            self._context = self._new_context(threads)
        except ModelError:
            self.free()
            raise
        self._memory = self._lib.llama_get_memory(self._context)
        self._batch = self._lib.llama_batch_init(max(BATCH, parallel), 0, 1)
        self._candidates = np.empty(self._lib.llama_vocab_n_tokens(self._vocab), _CANDIDATE)

    def free(self) -> None:
        """Give all memory back; nothing may be called afterwards."""
        lib, self._lib = self._lib, None
        if lib is None:
            return
        for grammar in self._grammars.values():
            lib.llama_sampler_free(grammar)
        if self._context:
            lib.llama_batch_free(self._batch)
            lib.llama_free(self._context)
        lib.llama_model_free(self._model)

    def _load(self, path: Path) -> Any:
        settings = self._lib.llama_model_default_params()
        model = self._lib.llama_model_load_from_file(os.fsencode(path), settings)
        if not model:
            raise ModelError(f"{path}: llama.cpp cannot load this file ({_reason()})")
        return model

    def _check_kind(self) -> None:
        """See that a prompt can be cut anywhere and lent: not so where a state sums it up."""
        for kind in ("is_recurrent", "is_hybrid", "is_diffusion", "has_encoder"):
            if getattr(self._lib, f"llama_model_{kind}")(self._model):
                raise ModelError(f"{self.name}: run this kind of model with a server ({kind})")

    def _new_context(self, threads: int) -> Any:
        settings = self._lib.llama_context_default_params()
        settings.n_ctx = self.cells
        settings.n_batch = settings.n_ubatch = BATCH
        settings.n_seq_max = self.parallel + KEPT
        settings.n_threads = settings.n_threads_batch = threads
        settings.kv_unified = True  # sequences can own the same cells
        settings.no_perf = True
        context = self._lib.llama_init_from_model(self._model, settings)
        if not context:
            raise ModelError(f"{self.name}: llama.cpp cannot set up its memory ({_reason()})")
        return context

    def _read_template(self) -> Any:
        """The chat template in the file, which makes a prompt of messages."""
        lib = self._lib
        text = lib.llama_model_chat_template(self._model, None)
        if text is None:
            raise ModelError(f"{self.name}: no chat model: there is no chat template in the file")
        special = [
            (lib.llama_vocab_get_text(self._vocab, token) or b"").decode() if token >= 0 else ""
            for token in (lib.llama_vocab_eos(self._vocab), lib.llama_vocab_bos(self._vocab))
        ]
        formats = importlib.import_module("llama_cpp.llama_chat_format")
        try:
            return formats.Jinja2ChatFormatter(text.decode(), *special)
        except _template_errors() as error:
            raise ModelError(f"{self.name}: its chat template is broken ({error})") from None

    # -- what goes in -----------------------------------------------------------------------------

    def check(self, sampling: Sampling) -> None:
        """Raises `ModelError` for what is not known, and for a grammar that cannot be read."""
        unknown = sampling.extra_body.keys() - {"grammar"}
        if unknown:
            raise ModelError(f"{self.name}: unknown settings: {', '.join(sorted(unknown))}")
        grammar = sampling.extra_body.get("grammar")
        if grammar is None or (isinstance(grammar, str) and grammar in self._grammars):
            return
        self._grammars[grammar] = self._read_grammar(grammar)

    def _read_grammar(self, text: object) -> Any:
        if not isinstance(text, str) or not text.strip():
            raise ModelError(f"{self.name}: a grammar must be a text, in GBNF")
        read = self._lib.llama_sampler_init_grammar
        # The parser does not use the log: of what it prints, the first line says what is wrong.
        grammar, said = _stderr_of(lambda: read(self._vocab, text.encode(), b"root"))
        logged = _reason()
        if not grammar:
            why = said.split("\n")[0].removeprefix("parse: error parsing grammar: ") or logged
            raise ModelError(f"{self.name}: llama.cpp cannot read the grammar ({why})")
        return grammar

    def tokens(self, messages: Messages) -> list[int]:
        """The tokens of a prompt, up to where the answer goes on. Raises `ModelError`."""
        turn = turn_of(messages)
        try:
            text = f"{self._template(messages=turn.before).prompt}{turn.begun}".encode()
        except _template_errors() as error:
            raise ModelError(
                f"{self.name}: its chat template refuses the messages ({error})"
            ) from None
        most = len(text) + 1  # a token has a byte at least
        found = (ctypes.c_int32 * most)()
        # The template writes the special tokens, the first one included.
        count = self._lib.llama_tokenize(self._vocab, text, len(text), found, most, False, True)
        return found[:count]

    # -- memory -----------------------------------------------------------------------------------

    def cut(self, sequence: int, start: int) -> None:
        """Take a sequence's tokens from a position on away from it."""
        self._lib.llama_memory_seq_rm(self._memory, sequence, start, -1)

    def share(self, source: int, target: int, count: int) -> None:
        """Have a sequence's first tokens in another one as well."""
        self._lib.llama_memory_seq_cp(self._memory, source, target, 0, count)

    def decode(self, feeds: Sequence[tuple[int, int, int]], *, answer: bool) -> None:
        """Compute tokens, each with its position and its sequence; with what would follow each of
        them if an `answer` is wanted. Raises `ModelError`."""
        batch = self._batch
        batch.n_tokens = len(feeds)
        for row, (token, position, sequence) in enumerate(feeds):
            batch.token[row] = token
            batch.pos[row] = position
            batch.n_seq_id[row] = 1
            batch.seq_id[row][0] = sequence
            batch.logits[row] = answer
        status = self._lib.llama_decode(self._context, batch)
        if status:
            raise ModelError(f"{self.name}: llama.cpp failed (status {status}: {_reason()})")

    # -- what comes out ---------------------------------------------------------------------------

    def samplers(self, sampling: Sampling, seed: int | None, prompt: list[int]) -> Samplers:
        """New samplers, for `release`."""
        lib = self._lib
        chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        for link in self._links(sampling, seed):
            lib.llama_sampler_chain_add(chain, link)
        if sampling.repetition_penalty is not None:
            for token in prompt:
                lib.llama_sampler_accept(chain, token)
        grammar = self._grammars.get(sampling.extra_body.get("grammar", ""))
        return Samplers(chain, grammar and lib.llama_sampler_clone(grammar))

    def _links(self, sampling: Sampling, seed: int | None) -> Iterator[Any]:
        lib, given = self._lib, sampling
        if given.repetition_penalty is not None:
            size = len(self._candidates)
            yield lib.llama_sampler_init_penalties(
                size, self.context, given.repetition_penalty, 0.0, 0.0
            )
        if given.top_k is not None:
            yield lib.llama_sampler_init_top_k(given.top_k)
        if given.top_p is not None:
            yield lib.llama_sampler_init_top_p(given.top_p, 1)
        if given.temperature is not None:
            yield lib.llama_sampler_init_temp(given.temperature)
        yield lib.llama_sampler_init_dist(_ANY_SEED if seed is None else seed % _ANY_SEED)

    def release(self, samplers: Samplers) -> None:
        """Free samplers."""
        self._lib.llama_sampler_free(samplers.chain)
        if samplers.grammar:
            self._lib.llama_sampler_free(samplers.grammar)

    def draw(self, row: int, samplers: Samplers) -> int:
        """The token to follow the one in this row of the last `decode`.

        As llama.cpp's server does it, the grammar is asked about the token that was drawn, and only
        if it refuses that one about all of them: that takes as long as decoding some tokens.
        Raises `ModelError` where the grammar leads to nothing the model could write.
        """
        chain, grammar = samplers
        token = self._pick(row, chain)
        if grammar and not self._fits(token, grammar):
            token = self._pick(row, grammar, chain)
            if not self._fits(token, grammar):
                raise ModelError(f"{self.name}: the grammar wants what the model has no token for")
        for sampler in filter(None, samplers):
            # An answer that is at its end is not continued, and a grammar refuses to.
            if self.piece(token) is not None:
                self._lib.llama_sampler_accept(sampler, token)
        return token

    def _pick(self, row: int, *samplers: Any) -> int:
        """Put all tokens through samplers, the last of which selects one."""
        logits = self._lib.llama_get_logits_ith(self._context, row)
        candidates = self._candidates
        candidates["id"] = np.arange(len(candidates))
        candidates["logit"] = np.ctypeslib.as_array(logits, candidates.shape)
        chosen = self._apply(candidates, samplers)
        return int(candidates["id"][chosen.selected])

    def _fits(self, token: int, grammar: Any) -> bool:
        """Whether the grammar lets a token follow."""
        one = np.array([(token, 0.0, 0.0)], _CANDIDATE)
        self._apply(one, [grammar])
        return bool(one["logit"][0] == 0.0)

    def _apply(self, candidates: Any, samplers: Sequence[Any]) -> Any:
        lib = self._lib
        start = candidates.ctypes.data_as(ctypes.POINTER(lib.llama_token_data))
        array = lib.llama_token_data_array(start, len(candidates), -1, False)
        for sampler in samplers:
            lib.llama_sampler_apply(sampler, ctypes.byref(array))
        return array

    def piece(self, token: int) -> bytes | None:
        """What a token writes; None: it ends the answer."""
        if token not in self._pieces:
            self._pieces[token] = self._piece(token)
        return self._pieces[token]

    def _piece(self, token: int) -> bytes | None:
        if self._lib.llama_vocab_is_eog(self._vocab, token):
            return None
        text = ctypes.create_string_buffer(256)
        size = self._lib.llama_token_to_piece(self._vocab, token, text, len(text), 0, False)
        return text.raw[: max(size, 0)]


@cache
def _library() -> Any:
    """The package `llama_cpp`, silent. Raises `ModelError` if it is not installed."""
    # Threads that wait sleep: with a second busy program on two cores, spinning OpenMP threads make
    # a tenth of the tokens (7 a second instead of 63). Read once, when OpenMP is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        lib = importlib.import_module("llama_cpp")
    except ImportError as error:
        raise ModelError(f"llama.cpp is not installed ({error}): {INSTALL}") from None
    # It prints hundreds of lines by default. Kept alive by the cache: C has no count of it.
    lib.llama_log_set(_listener(lib), None)
    lib.llama_backend_init()
    return lib


_said: deque[str] = deque(maxlen=8)
"""llama.cpp's last errors."""


@cache
def _listener(lib: Any) -> Any:
    def listen(level: int, text: bytes, _: object) -> None:
        if level == _ERROR:
            _said.append(text.decode(errors="replace"))

    return lib.llama_log_callback(listen)


def _reason() -> str:
    """What llama.cpp said last of what went wrong, in one line."""
    lines = [" ".join(line.split()) for line in _said]
    _said.clear()
    return "; ".join(lines)[:300] or "no reason given"


def _template_errors() -> tuple[type[Exception], ...]:
    """What a chat template raises: jinja2's errors, and those of Python in its expressions."""
    error: type[Exception] = importlib.import_module("jinja2").TemplateError
    return (error, ValueError, TypeError)


def _stderr_of(work: Callable[[], Any]) -> tuple[Any, str]:
    """What some work gives, and what C code wrote to stderr meanwhile.

    That goes for the whole process, so only for moments.
    """
    with tempfile.TemporaryFile() as file:
        before = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            result = work()
        finally:
            os.dup2(before, 2)
            os.close(before)
        file.seek(0)
        return result, file.read().decode(errors="replace").strip()

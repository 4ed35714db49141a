"""The rows of a journal's samples: each with a checksum, long texts packed."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import zstandard

from skill_factory.models import Completion

COLUMNS = (
    "key, idx, text, finish_reason, prompt_tokens, completion_tokens, seconds, reasoning, checksum"
)

_LONG = 512
"""Bytes from which on a text is packed. Measured with zstd's level 1: of attempts of 90 bytes 98 %
are left, of prose of 800 bytes 52 %, of 2,000 bytes 38 to 59 %, for 10 to 25 µs each."""

_LARGEST = 1 << 30
"""Bytes that a text can have: a size that is damaged does not fill the memory."""


Row = tuple[object, ...]


class Sample(NamedTuple):
    """A row: sample number `idx` of a key."""

    key: bytes
    idx: int
    completion: Completion


class Rows:
    """Makes rows of samples, and samples of rows; for one thread at a time.

    A text that is held as bytes is a frame of zstd, which says how long it is. There is no
    dictionary for all of them: its loss would be the loss of every text.
    """

    def __init__(self) -> None:
        self._packer = zstandard.ZstdCompressor(level=1)
        self._unpacker = zstandard.ZstdDecompressor()

    def rows(self, samples: Sequence[Sample]) -> list[Row]:
        """Their rows, in the order of `COLUMNS`. All texts are packed by one call, in which other
        threads can work."""
        texts = [text for _, _, said in samples for text in (said.text, said.reasoning)]
        data = [text.encode() for text in texts]
        held = self._packed(texts, data)
        return [
            (
                *(key, idx, held[at], *said[1:5], held[at + 1]),
                _checksum(key, idx, data[at], said.finish_reason, data[at + 1]),
            )
            for at, (key, idx, said) in zip(range(0, len(held), 2), samples, strict=True)
        ]

    def sample(self, row: tuple[Any, ...]) -> Sample:
        """The sample of a row; raises `sqlite3.DatabaseError` if it is not as it was written."""
        key, idx, text, finish_reason, prompt, completion, seconds, reasoning, checksum = row
        try:
            text, reasoning = self._unpack(text), self._unpack(reasoning)
            found = _checksum(key, idx, text.encode(), finish_reason, reasoning.encode())
            if checksum in (None, found):  # None: of version 0
                said = Completion(text, finish_reason, prompt, completion, seconds, reasoning)
                return Sample(key, idx, said)
        except (AttributeError, TypeError, UnicodeDecodeError, zstandard.ZstdError, MemoryError):
            pass  # a text that has become something else
        raise sqlite3.DatabaseError(f"sample {idx} of {key.hex()} has changed")

    def _packed(self, texts: list[str], data: list[bytes]) -> list[str | bytes]:
        """The texts, whose UTF-8 is `data`, as they are held."""
        held: list[str | bytes] = [*texts]
        long = [at for at, one in enumerate(data) if len(one) >= _LONG]
        if not long:
            return held
        frames = self._packer.multi_compress_to_buffer([data[at] for at in long])
        for number, at in enumerate(long):
            if len(frames[number]) < len(data[at]):
                held[at] = frames[number].tobytes()
        return held

    def _unpack(self, held: str | bytes) -> str:
        if isinstance(held, str):
            return held
        if zstandard.frame_content_size(held) > _LARGEST:
            raise zstandard.ZstdError("too large")
        return self._unpacker.decompress(held).decode()


def _checksum(key: bytes, idx: int, text: bytes, finish_reason: str, reasoning: bytes) -> int:
    """Of all that names a sample, and its texts: a disk may change a bit."""
    found = zlib.crc32(b"%b\0%d\0" % (key, idx))
    found = zlib.crc32(text, found)
    return zlib.crc32(b"\0%b\0%b" % (finish_reason.encode(), reasoning), found)

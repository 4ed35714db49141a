"""Questions that one model got right and another one did not, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from skill_factory.core.columns import Column
from skill_factory.measure.compared_models import AnsweredSet, ComparedModel
from skill_factory.measure.comparison import Example, ExampleResponse
from skill_factory.stages.grade import Outcome


def examples_of(models: Sequence[ComparedModel], most: int) -> Iterator[Example]:
    """Of each set and other model, up to `most` questions that the first got right and it did not,
    and as many of the reverse."""
    first = models[0]
    for other in models[1:] if most else ():
        for name, mine in first.sets.items():
            if (theirs := other.sets.get(name)) is not None:
                pairs = [*_turns(mine, theirs, most), *_turns(theirs, mine, most, reverse=True)]
                titles = first.title, other.title
                yield from _example_texts(name, titles, (mine.responses, theirs.responses), pairs)


_Pair = tuple[int, int]
"""The places of two responses in their tables."""


def _turns(one: AnsweredSet, other: AnsweredSet, most: int, reverse: bool = False) -> list[_Pair]:
    """Where `one` is right and `other` is not; ids are digests, so their order is any."""
    right, wrong = _places(one, True), _places(other, False)
    found = [(right[key], wrong[key]) for key in sorted(right.keys() & wrong.keys())[:most]]
    return [(b, a) for a, b in found] if reverse else found


def _places(one: AnsweredSet, right: bool) -> dict[tuple[str, int], int]:
    """The places of the first samples that are right, or that are wrong or cut off."""
    wanted = (Outcome.RIGHT,) if right else (Outcome.WRONG, Outcome.CUT_OFF)
    rows = zip(
        *(one.rows[name].to_pylist() for name in (Column.QUESTION_ID, Column.SAMPLE, Column.GRADE)),
        one.places,
        strict=True,
    )
    return {(q, sample): at for q, sample, grade, at in rows if grade in wanted and sample == 0}


def _example_texts(
    name: str, titles: tuple[str, str], tables: tuple[Path, Path], pairs: list[_Pair]
) -> Iterator[Example]:
    mine = _texts_at(tables[0], [a for a, _ in pairs])
    theirs = _texts_at(tables[1], [b for _, b in pairs])
    for a, b in pairs:
        row, rival = mine[a], theirs[b]
        yield Example(
            name,
            row[Column.QUESTION],
            row[Column.GOLD],
            row[Column.TASK],
            row[Column.FACTS],
            tuple(
                ExampleResponse(title, one[Column.RESPONSE], one[Column.GRADE])
                for title, one in zip(titles, (row, rival), strict=True)
            ),
        )


def _texts_at(path: Path, places: list[int]) -> dict[int, dict[str, str]]:
    """The rows at some places of a table, which is read a piece at a time."""
    wanted, start, found = sorted(set(places)), 0, dict[int, dict[str, str]]()
    columns = [
        *(Column.QUESTION, Column.GOLD, Column.TASK, Column.FACTS),
        *(Column.RESPONSE, Column.GRADE),
    ]
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(1024, columns=columns):
            inside = [at for at in wanted if start <= at < start + batch.num_rows]
            rows = batch.take(pa.array([at - start for at in inside], pa.int64())).to_pylist()
            found |= dict(zip(inside, rows, strict=True))
            start += batch.num_rows
    return found

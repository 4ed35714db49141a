"""The ledger's own arithmetic."""

from __future__ import annotations

import pytest

from skill_factory.core.ledger import Account, Ledger
from skill_factory.errors import LedgerError


def account(read: int, kept: int, **losses: int) -> Account:
    out = Account(read, kept)
    for reason, count in losses.items():
        out.lose(reason, count)
    return out


def test_parts_of_a_run_add_up() -> None:
    ledger = Ledger(rows=account(5, 3, blank=2))
    ledger.add(Ledger(rows=account(4, 1, blank=1, undecided=2), traces=account(7, 7)))
    ledger.check()
    assert ledger.as_dict()["rows"] == {
        "read": 9,
        "kept": 4,
        "losses": {"blank": 3, "undecided": 2},
    }
    assert ledger.traces == account(7, 7)


@pytest.mark.parametrize(
    "wrong", [account(5, 3, blank=1), account(5, 6), account(5, 6, blank=-1), account(1, 0)]
)
def test_what_does_not_add_up_is_an_error(wrong: Account) -> None:
    with pytest.raises(LedgerError, match="reflections"):
        Ledger(reflections=wrong).check()


def test_the_table_has_the_largest_loss_first() -> None:
    lines = Ledger(rows=account(1500, 0, blank=500, undecided=1000)).table().splitlines()
    assert lines[1].split() == ["rows", "1,500", "0", "1,500"]
    assert [line.split() for line in lines[2:4]] == [["undecided", "1,000"], ["blank", "500"]]

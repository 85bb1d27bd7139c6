"""A short part of `make crash` on both stores: daemons are cut while they heal real containers, and their ledger must be true."""

from pathlib import Path

import pytest

from tests.lab import crash


@pytest.mark.abuse("1", "15")
@pytest.mark.live
@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_what_is_cut_in_the_middle_loses_repeats_and_leaves_nothing(tmp_path: Path, store: str) -> None:
    tally = crash.run(kills=3, seed=11, folder=tmp_path, store=store)
    assert tally.clean, str(tally)

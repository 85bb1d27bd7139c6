"""A short part of `make crash`: the daemon is killed while it heals real containers, and its ledger must be true."""

from pathlib import Path

import pytest

from tests.lab import crash


@pytest.mark.abuse("1", "15")
@pytest.mark.live
def test_what_is_killed_in_the_middle_loses_repeats_and_leaves_nothing(tmp_path: Path) -> None:
    tally = crash.run(kills=4, seed=11, folder=tmp_path)
    assert tally.clean, str(tally)

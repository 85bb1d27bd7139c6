"""Medic is upgraded while a heal waits for a person's word: the store of the older version goes on where it was."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from agent import answering
from agent.model import HoldCode, IncidentState, Outcome, Risk
from agent.store import migrations
from agent.store.store import open_store
from tests.fakes import FakeClock
from tests.stories.world import RECREATE, RESTART, START, Ward, service

OLDEST = next(number for number, steps in enumerate(migrations.MIGRATIONS, 1) if any("TABLE approvals" in s for s in steps))
"""The first version that knew approvals."""


def as_version(version: int, newest: Path, old: Path) -> None:
    """Make at `old` the store that a Medic of that version would have left: its schema, with what the newest one holds in it."""
    words = migrations._WORDS["sqlite"]
    with closing(sqlite3.connect(old)) as database, database:
        database.execute("CREATE TABLE schema_version (version INTEGER PRIMARY KEY)")
        database.execute("INSERT INTO schema_version VALUES (?)", (version,))
        for statement in (each for steps in migrations.MIGRATIONS[:version] for each in steps):
            database.execute(statement.format(**words))
        database.commit()
        database.execute("ATTACH ? AS newest", (str(newest),))
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            if table != "schema_version" and not table.startswith("sqlite_"):
                columns = ", ".join(f'"{row[1]}"' for row in database.execute(f"PRAGMA table_info({table})"))
                database.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM newest.{table}")
    Path(f"{old}.made").touch()


@pytest.mark.abuse("89")
@pytest.mark.parametrize("version", range(OLDEST, len(migrations.MIGRATIONS) + 1))
def test_what_waited_for_a_word_goes_on_with_it_after_the_upgrade(tmp_path: Path, version: int) -> None:
    clock, asks = FakeClock(), replace(START, risk=Risk.DESTRUCTIVE)
    newest, old = tmp_path / "newest.db", tmp_path / "medic.db"
    before = open_store(f"sqlite:///{newest}", clock)
    ward = Ward(tmp_path, (service("web"),), runbooks=(asks, RESTART, RECREATE), clock=clock, store=before)
    ward.beat(2)
    ward.machine.crash("web")
    ward.beat()
    hold = ward.incident("web").hold
    assert hold is not None
    assert hold.code is HoldCode.AWAITING_APPROVAL
    before.close()

    as_version(version, newest, old)
    after = open_store(f"sqlite:///{old}", clock)
    try:
        ward.store = after
        ward.reboot()
        ward.beat(2)
        assert ward.incident("web").state is IncidentState.HELD, "nothing happens without the word"
        (asked,) = after.approvals.waiting(clock.now())
        assert answering.approve(asked.id, by="ann", why="go on", store=after, clock=clock).accepted
        ward.beat_until(lambda: ward.incident("web").state is IncidentState.CLOSED)
        assert [attempt.outcome for attempt in ward.incident("web").attempts] == [Outcome.HEALED]
        assert len(ward.incidents()) == 1
        assert after.database.read("look", migrations.version) == len(migrations.MIGRATIONS)
    finally:
        after.close()

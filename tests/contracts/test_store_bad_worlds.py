"""What the store says, and what it never does, when the world around its database is bad."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, event, inspect, text

from agent.errors import ConfigError, StoreError
from agent.model import IncidentId, Outcome, ServiceName, StoryKind
from agent.ports import Store
from agent.store import migrations, tables
from agent.store.database import PATIENCE
from agent.store.store import OpenStore, open_store
from tests.contracts.test_store import NOTICE, RESTART, WEB, WELL, asked, opened, report
from tests.fakes import START, FakeClock

NOBODY = 65_534
"""A user id without rights: root would be let through everywhere."""


@contextmanager
def opened_at(path: Path, clock: FakeClock | None = None) -> Iterator[OpenStore]:
    store = open_store(f"sqlite:///{path}", clock or FakeClock())
    try:
        yield store
    finally:
        store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "medic.db"


def refusal(url: str) -> str:
    with pytest.raises(ConfigError) as refused:
        open_store(url, FakeClock())
    assert "\n" not in str(refused.value)
    return str(refused.value)


# -------------------------------------------------------------------------------------------------------------- the URL


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "its URL cannot be read"),
        ("/var/lib/medic.db", "its URL cannot be read"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("mysql://root:hunter2@db/medic", "'mysql' is no kind of database that Medic knows"),
        ("postgresql+asyncpg://root:hunter2@db/medic", "no kind of database"),
        ("postgresql://root:hunter2@db:port/medic", "its URL cannot be read"),
    ],
)
def test_a_wrong_url_is_one_sentence_without_its_password(url: str, says: str) -> None:
    sentence = refusal(url)
    assert says in sentence
    assert "postgresql://user@host/name" in sentence
    assert "hunter2" not in sentence


def test_a_missing_postgres_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert "pip install medic-agent[postgres]" in refusal("postgresql://ann@127.0.0.1/medic")


@pytest.mark.abuse("12")
def test_a_postgres_that_is_down_is_waited_for_and_then_named() -> None:
    clock = FakeClock()
    with pytest.raises(StoreError, match="cannot open the store: ") as refused:
        open_store("postgresql://ann:hunter2@127.0.0.1:1/medic", clock)
    assert refused.value.transient
    assert "hunter2" not in str(refused.value)
    assert clock.monotonic() == PATIENCE.total_seconds()


# ------------------------------------------------------------------------------------------------------------- the path


@pytest.fixture
def sealed_folder() -> Iterator[Path]:
    """A folder that this process, without root's rights for the moment, may read and not write."""
    # Not under tmp_path: its parents may be entered by their owner only.
    with tempfile.TemporaryDirectory(prefix="medic-store-") as name:
        folder = Path(name)
        with opened_at(folder / "medic.db") as store:
            opened(store)
        (folder / "medic.db").chmod(0o444)
        folder.chmod(0o555)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            if is_root:
                os.seteuid(0)
            folder.chmod(0o755)


@pytest.mark.abuse("14")
@pytest.mark.parametrize("name", ["new.db", "medic.db"])
def test_a_folder_that_cannot_be_written_is_one_sentence(sealed_folder: Path, name: str) -> None:
    sentence = refusal(f"sqlite:///{sealed_folder}/{name}")
    assert sentence.startswith(f"cannot open the store {sealed_folder}/{name}: ")
    assert "writable" in sentence
    assert sorted(file.name for file in sealed_folder.iterdir()) == ["medic.db", "medic.db.made"]


def test_a_folder_that_is_missing_is_one_sentence(tmp_path: Path) -> None:
    assert f"the folder {tmp_path}/none does not exist" in refusal(f"sqlite:///{tmp_path}/none/medic.db")


def test_a_folder_in_the_place_of_the_file_is_one_sentence(path: Path) -> None:
    path.mkdir()
    assert "cannot open the store" in refusal(f"sqlite:///{path}")


# ------------------------------------------------------------------------------------------------------------- the file


@pytest.mark.abuse("9")
def test_a_file_that_is_no_database_is_left_as_it_is(path: Path) -> None:
    path.write_bytes(b"shopping list\n" * 1_000)
    assert "the file is damaged or no database" in refusal(f"sqlite:///{path}")
    assert path.read_bytes() == b"shopping list\n" * 1_000


@pytest.mark.abuse("9")
def test_a_damaged_database_is_refused_and_left_as_it_is(path: Path) -> None:
    with opened_at(path) as store:
        incident = opened(store)
        for number in range(200):
            store.story.tell(incident, WEB.name, StoryKind.TASK, f"{number} " * 100, now=START)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 8_192] = os.urandom(8_192)
    path.write_bytes(content)
    assert "the file is damaged" in refusal(f"sqlite:///{path}")
    assert path.read_bytes() == bytes(content)


@pytest.mark.abuse("10")
@pytest.mark.parametrize("loss", ["deleted", "emptied"])
def test_a_lost_database_is_not_made_anew(path: Path, loss: str) -> None:
    with opened_at(path) as store:
        opened(store)
    path.unlink()
    if loss == "emptied":
        path.touch()
    sentence = refusal(f"sqlite:///{path}")
    assert "would forget every attempt already made" in sentence
    assert f"delete {path}.made to begin anew" in sentence
    assert not path.exists() or path.read_bytes() == b""


def test_a_person_may_begin_anew_by_deleting_the_marker(path: Path) -> None:
    with opened_at(path) as store:
        opened(store)
    path.unlink()
    Path(f"{path}.made").unlink()
    with opened_at(path) as store:
        assert store.incidents.recent() == ()


def test_a_database_whose_first_opening_was_cut_short_gets_its_marker_at_the_next(path: Path) -> None:
    with opened_at(path) as store:
        incident = opened(store)
    Path(f"{path}.made").unlink()
    with opened_at(path) as store:
        assert store.incidents.get(incident) is not None
    assert Path(f"{path}.made").exists()


def test_a_value_that_medic_did_not_write_is_a_store_error(path: Path) -> None:
    with opened_at(path) as store:
        incident = opened(store)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("""UPDATE incidents SET diagnosis = '{"_": "os.system"}'""")
            connection.commit()
        with pytest.raises(StoreError, match="cannot read a row of the store") as failed:
            store.incidents.get(incident)
    assert not failed.value.transient


# ----------------------------------------------------------------------------------------------------------- the schema


def test_a_store_of_a_newer_version_is_refused_and_left_as_it_is(path: Path) -> None:
    with opened_at(path):
        pass
    newer = len(migrations.MIGRATIONS) + 1
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE schema_version SET version = ?", (newer,))
        connection.commit()
    assert f"it has version {newer} and this Medic knows versions up to {newer - 1}" in refusal(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(newer,)]


def test_an_older_store_is_brought_up_to_date_and_keeps_its_rows(path: Path) -> None:
    with opened_at(path) as store:
        incident = opened(store)
        later = (*migrations.MIGRATIONS, ("CREATE TABLE moods (id {counted_key}, at {time})", "DROP TABLE streaks"))
        store.database.write("upgrade", lambda connection: migrations.upgrade(connection, later))
        assert store.database.read("look", migrations.version) == len(later)
        assert store.incidents.get(incident) is not None
    assert "install the newer Medic again" in refusal(f"sqlite:///{path}")


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    with opened_at(path) as store:
        broken = (*migrations.MIGRATIONS, ("DROP TABLE streaks", "CREATE TABLE services (name TEXT)"))
        with pytest.raises(StoreError):
            store.database.write("upgrade", lambda connection: migrations.upgrade(connection, broken))
        assert store.database.read("look", migrations.version) == len(migrations.MIGRATIONS)
        assert store.services.streaks(WEB.name) == ()


def test_the_queries_see_the_columns_that_the_migrations_make(path: Path) -> None:
    with opened_at(path) as store:
        made = store.database.read("look", lambda c: inspect(c).get_table_names())
        columns = store.database.read("look", lambda c: {name: inspect(c).get_columns(name) for name in made})
    assert {name: {column["name"] for column in table} for name, table in columns.items()} == {
        table.name: set(table.columns.keys()) for table in tables.metadata.tables.values()
    }


def every_lookup(store: Store) -> None:
    """Each query whose time must not grow with the incidents, sweeps, notices and requests of the past."""
    incident = opened(store)
    store.incidents.get(incident)
    store.incidents.unclosed()
    store.incidents.unclosed(WEB.name)
    store.incidents.recent()
    store.incidents.recent(service=WEB.name)
    store.incidents.heals_since(WEB.name, START)
    store.attempts.begin(incident, 1, RESTART, now=START)
    store.attempts.started(incident, 1, place="")
    store.attempts.end(incident, 1, Outcome.HEALED, WELL, now=START)
    store.story.tell(incident, WEB.name, StoryKind.SEEN, "sick", now=START, key="k")
    store.story.since(0, incident=incident)
    store.story.since(0)
    store.outbox.post(NOTICE, ["file"])
    store.outbox.due(START)
    store.outbox.undelivered()
    store.outbox.put_off(1, error="e", next_try=START)
    store.requests.ask(asked("r"))
    store.requests.claim(START)
    store.requests.answered("r")
    store.sweeps.keep(report(1))
    store.sweeps.latest()
    store.sweeps.prune(before=START, most_bytes=1_000)


@pytest.mark.abuse("13")
def test_no_lookup_reads_through_the_past(path: Path) -> None:
    asked_for: list[tuple[str, tuple[str | int, ...]]] = []
    with opened_at(path) as store:
        event.listen(
            store.database._engine,
            "before_cursor_execute",
            lambda _c, _cursor, statement, parameters, _context, _many: asked_for.append((statement, parameters)),
        )
        every_lookup(store)
    with closing(sqlite3.connect(path)) as connection:
        plans = {
            statement: [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            for statement, parameters in asked_for
            if statement.startswith(("SELECT", "UPDATE", "DELETE"))
        }
    # A walk along an index or the key is bounded by its LIMIT or by a partial index; sorting or a bare scan is not.
    in_order = ("ORDER BY incidents.number DESC", "ORDER BY sweeps.id DESC")
    scans = {
        statement: plan
        for statement, plan in plans.items()
        if any("TEMP B-TREE" in step or (step.startswith("SCAN") and "INDEX" not in step) for step in plan)
        and not any(order in statement for order in in_order)
    }
    assert len(plans) > 15
    assert scans == {}


# ------------------------------------------------------------------------------------------------- while it is being used


@pytest.mark.abuse("6")
def test_a_lock_held_by_another_writer_is_waited_for_and_then_named(path: Path) -> None:
    clock = FakeClock()
    with opened_at(path, clock) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        incident = opened(store)
        before = clock.monotonic()
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="cannot begin attempt 1 of I1: database is locked") as failed:
            store.attempts.begin(incident, 1, RESTART, now=START)
        assert failed.value.transient
        assert clock.monotonic() - before == PATIENCE.total_seconds()
        assert store.incidents.get(incident) is not None, "readers are not held up"
        other.execute("ROLLBACK")
        assert store.attempts.begin(incident, 1, RESTART, now=START).number == 1


@pytest.mark.abuse("10")
@pytest.mark.parametrize("loss", ["deleted", "emptied by a copy", "replaced by an older one"])
def test_a_database_lost_while_it_is_open_is_refused_and_not_made_anew(path: Path, loss: str) -> None:
    older = path.with_name("backup.db")
    with opened_at(path) as store:
        incident = opened(store)
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(older)) as target:
            source.backup(target)
        match loss:
            case "deleted":
                path.unlink()
            case "replaced by an older one":
                older.replace(path)
            case _:
                fresh = path.with_name("fresh")
                fresh.touch()
                fresh.replace(path)
        for call in (
            lambda: store.attempts.begin(incident, 1, RESTART, now=START),
            lambda: store.incidents.get(incident),
            lambda: store.outbox.due(START),
        ):
            with pytest.raises(StoreError, match="stop Medic, bring the file back from a backup") as failed:
                call()
            assert not failed.value.transient
            assert "\n" not in str(failed.value)
    assert path.exists() is (loss != "deleted")
    assert loss != "emptied by a copy" or path.read_bytes() == b""


@pytest.mark.abuse("9")
def test_a_database_damaged_while_it_is_open_is_said_and_begins_no_attempt(path: Path) -> None:
    with opened_at(path) as store:
        incident = opened(store)
        for number in range(200):
            store.story.tell(incident, WEB.name, StoryKind.TASK, f"{number} " * 100, now=START)
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with path.open("r+b") as file:
            file.seek(100)  # behind SQLite's own header
            file.write(os.urandom(path.stat().st_size - 100))
        damaged = path.read_bytes()
        store.database._engine.dispose()  # a connection of the pool may still know the pages by heart
        with pytest.raises(StoreError, match="cannot begin attempt 1 of I1: ") as failed:
            store.attempts.begin(incident, 1, RESTART, now=START)
        assert not failed.value.transient
        with pytest.raises(StoreError, match=r"^cannot "):
            store.incidents.unclosed()
    assert path.read_bytes() == damaged


class LettingGo(FakeClock):
    """A clock during whose first wait the other writer commits."""

    def __init__(self, let_go: Callable[[], object]) -> None:
        super().__init__()
        self._let_go = let_go

    def sleep(self, span: object) -> None:
        self._let_go()


def test_who_comes_to_read_does_not_wait_for_a_writer(path: Path) -> None:
    with opened_at(path) as store:
        incident = opened(store)
    clock = FakeClock()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with opened_at(path, clock) as store:
            assert store.incidents.get(incident) is not None
    assert clock.monotonic() == FakeClock().monotonic()


def test_a_writer_goes_on_when_the_other_one_is_done(path: Path) -> None:
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        opened_at(path, LettingGo(lambda: other.execute("COMMIT"))) as store,
    ):
        other.execute("BEGIN IMMEDIATE")
        assert opened(store) == "I1"


def fill(store: Store, incident: IncidentId) -> None:
    """Write without end."""
    while True:
        store.story.tell(incident, WEB.name, StoryKind.TASK, "x" * 5_000, now=START)


@pytest.mark.abuse("7")
def test_a_full_disk_is_a_store_error_and_what_was_written_stays(path: Path) -> None:
    with opened_at(path) as store:
        incident = opened(store)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
        try:
            with pytest.raises(StoreError, match="cannot tell the story of I1: ") as failed:
                fill(store, incident)
            assert failed.value.transient
            written = len(store.story.since(0))
            assert written > 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        store.story.tell(incident, WEB.name, StoryKind.TASK, "room again", now=START)
        assert len(store.story.since(0)) == written + 1
    with opened_at(path) as store:
        assert len(store.story.since(0)) == written + 1


_ON_A_LITTLE_DISK = """
import subprocess, sys
from pathlib import Path
from agent.adapters import state_folder
from agent.errors import StoreError
from agent.store.store import open_store
from tests.contracts.test_store import RESTART, START, opened
from tests.fakes import FakeClock

folder, trouble, end = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=40", "little", str(folder)], check=True)
store = open_store(f"sqlite:///{folder}/medic.db", FakeClock())
incident = opened(store)
store.database._engine.dispose()  # the next transaction opens its files anew, as after a quiet night
subprocess.run(["sh", "-c", trouble], cwd=folder)
for write in (
    lambda: store.attempts.begin(incident, 1, RESTART, now=START),
    lambda: state_folder.write(folder / "incidents" / "I1" / "evidence-1.json", b"x" * 100_000),
):
    try:
        write()
        print("written")
    except StoreError as refused:
        print(refused)
subprocess.run(["sh", "-c", end], cwd=folder, check=True)
print(store.attempts.begin(incident, 1, RESTART, now=START).number)
"""


@pytest.mark.abuse("14")
@pytest.mark.parametrize(
    ("trouble", "end"),
    [
        ("mount -o remount,ro .", "mount -o remount,rw ."),
        ("i=0; while : 2>/dev/null >f$i; do i=$((i+1)); done", "rm f*"),
        ("cat /dev/zero > f", "rm f"),
    ],
    ids=["read-only", "no inodes", "full"],
)
def test_a_file_system_that_takes_nothing_more_is_a_sentence_and_then_works_again(
    tmp_path: Path, trouble: str, end: str
) -> None:
    words = ["unshare", "--mount", "--map-root-user", sys.executable, "-c", _ON_A_LITTLE_DISK, str(tmp_path), trouble, end]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    if "unshare failed" in ended.stderr:
        pytest.skip(f"no mount namespace here: {ended.stderr.strip()}")
    begin, bundle, number = ended.stdout.splitlines()
    assert begin.startswith("cannot begin attempt 1 of I1: "), ended.stdout + ended.stderr
    assert bundle.startswith(("cannot write ", "cannot make folder "))
    assert number == "1"


_WRITER = """
import sys
from tests.contracts.test_store import RESTART, START, opened
from tests.fakes import FakeClock
from agent.store.store import open_store

store = open_store(sys.argv[1], FakeClock())
incident = opened(store)
for number in range(1, 100_000):
    store.attempts.begin(incident, number, RESTART, now=START)
    print(number, flush=True)
"""


@pytest.mark.live
def test_a_writer_killed_at_once_loses_no_acknowledged_row(path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, f"sqlite:///{path}"], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    with writer.stdout as acknowledged:
        for line in acknowledged:
            if int(line) >= 50:
                os.kill(writer.pid, signal.SIGKILL)
                break
        last = max([50, *(int(line) for line in acknowledged if line.endswith("\n"))])
    assert writer.wait(timeout=10) == -signal.SIGKILL
    with opened_at(path) as store:
        found = store.incidents.get(IncidentId("I1"))
        assert found is not None
        numbers = [attempt.number for attempt in found.attempts]
        # One more may have been committed and not yet said.
        assert numbers in (list(range(1, last + 1)), list(range(1, last + 2)))
        store.services.enrol(WEB, now=START)
        assert store.services.service(ServiceName("web")) == WEB


@pytest.mark.abuse("12")
@pytest.mark.live
def test_a_postgres_that_cuts_every_connection_is_found_again(postgres_url: str) -> None:
    store = open_store(postgres_url, FakeClock())
    incident = opened(store)
    with psycopg.connect(postgres_url, autocommit=True) as other:
        cut = other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cut.fetchall() == [(True,)]
    assert store.attempts.begin(incident, 1, RESTART, now=START).number == 1
    store.close()


@pytest.mark.abuse("12")
@pytest.mark.live
def test_a_postgres_that_is_cut_inside_a_transaction_runs_it_again(postgres_url: str) -> None:
    store = open_store(postgres_url, FakeClock())
    tries: list[int] = []

    def begin_and_be_cut(connection: Connection) -> int:
        tries.append(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
        if len(tries) == 1:
            with psycopg.connect(postgres_url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s)", (tries[0],))
        connection.execute(text("INSERT INTO streaks VALUES ('web', '[]')"))
        return len(connection.execute(text("SELECT * FROM streaks")).all())

    assert store.database.write("keep a streak", begin_and_be_cut) == 1
    assert len(set(tries)) == 2
    store.close()

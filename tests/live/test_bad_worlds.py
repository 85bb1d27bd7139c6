"""The daemon where the world around it is broken: one clear sentence or an UNKNOWN, the beat goes on, nothing is lost."""

import contextlib
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from agent.model import NoticeKind, Outcome, RefusalCode
from tests.live.daemon import CONTAINER, Daemon, Site, until
from tests.receiver import Receiver, receiving

pytestmark = pytest.mark.live

REAL_DOCKER = "/var/run/docker.sock"
LITTLE_DISK = 4 * 1024 * 1024


@contextlib.contextmanager
def silent_engine(path: Path) -> Iterator[None]:
    """A Docker engine that takes every connection and never says a word."""
    held: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen(64)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    held.append(server.accept()[0])

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for each in held:
                each.close()


@contextlib.contextmanager
def no_engine(path: Path) -> Iterator[None]:
    """A Docker engine that is not there."""
    yield


@pytest.mark.abuse("39")
@pytest.mark.parametrize("engine", [no_engine, silent_engine])
def test_an_engine_that_cannot_be_asked_is_one_incident_of_its_host_and_no_remedy(
    site: Site, engine: Callable[[Path], AbstractContextManager[None]]
) -> None:
    services = {name: site.http_service(name) for name in ("web", "api")}
    link, bad = site.folder / "docker.sock", site.folder / "bad.sock"
    link.symlink_to(bad)
    site.write(services, interval="500ms", hosts={"local": {"docker": f"unix://{link}"}})
    with engine(bad), Daemon(site) as daemon:
        site.send(services["web"]["container"], signal.SIGKILL)
        daemon.wait("host:local", "escalated", within=40)
        beat = site.beat()
        until(lambda: site.beat() > beat, 15, daemon.said)
        (sweep, *_) = site.ask("sweeps", "--limit", "1")
        assert sorted(sweep["unknown"]) == ["api", "web"]
        assert not sweep["sick"]
        (incident,) = site.incidents()
        assert incident.refusal is not None
        assert incident.refusal.code is RefusalCode.CANNOT_SEE
        assert not incident.attempts

        # The engine is back: the host's incident ends, and what happened meanwhile is healed.
        (site.folder / "docker.new").symlink_to(REAL_DOCKER)
        (site.folder / "docker.new").replace(link)
        daemon.wait("host:local", "recovered", within=20)
        daemon.wait("web", "healed", within=20)
        assert "Traceback" not in daemon.said()


def test_an_nginx_that_is_not_there_is_said_and_healthy_containers_are_left_alone(site: Site) -> None:
    service = site.http_service("web")
    nginx = {"kind": "nginx", "nginx": f"medic-watch-{site.run}-proxy", "port": 8000}
    site.write({"web": {**service, "checks": [*service["checks"], nginx]}})
    started = site.look(service["container"])["StartedAt"]
    with Daemon(site) as daemon:
        assert "is missing" in daemon.wait("web", "seen")["text"]
        daemon.wait("web", "escalated")
    assert site.look(service["container"])["StartedAt"] == started
    assert not site.incidents("web")[0].attempts


@pytest.mark.abuse("14")
@pytest.mark.parametrize("words", [("watch",), ("heal", "web"), ("sweeps",), ("incident", "list")])
def test_a_state_folder_that_cannot_be_written_is_one_sentence(site: Site, words: tuple[str, ...]) -> None:
    (site.folder / "state").write_text("a file where the folder should be")
    site.write({"web": {"container": "nobody"}})
    ended = site.medic(*words)
    assert ended.returncode in (1, 2, 3)
    assert "cannot" in ended.stderr
    assert str(site.state) in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr


@pytest.mark.abuse("89")
def test_a_store_of_a_newer_medic_is_refused_in_one_sentence(site: Site) -> None:
    site.write({"web": {"container": "nobody"}})
    assert site.medic("sweeps").returncode == 0
    with contextlib.closing(sqlite3.connect(site.state / "medic.db")) as database, database:
        database.execute("UPDATE schema_version SET version = version + 1")
    ended = site.medic("watch")
    assert ended.returncode == 2
    assert "install the newer Medic again" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


@pytest.mark.abuse("40")
def test_a_huge_line_and_a_binary_log_neither_stop_the_diagnosis_nor_fill_the_memory(site: Site) -> None:
    line = "yes AAAAAAAAAAAAAAA | tr -d '\\n' | head -c 100000000; echo"
    once = f"[ -f /ran ] && exec sleep 600; {line}; head -c 2000000 /dev/urandom; touch /ran; exit 3"
    container = site.container("web", ("/bin/busybox", "sh", "-c", once))
    site.engine.wait(container, timeout=60)
    site.write({"web": site.declared(container)})
    with Daemon(site) as daemon:
        daemon.wait("web", "healed")
        peak = _peak(daemon.process.pid)
        print(f"peak of the daemon: {peak / 1024**2:.0f} MiB")
        assert peak < 300 * 1024**2
    (incident,) = site.incidents("web")
    bundle = sum(file.stat().st_size for file in (site.state / "incidents" / incident.id).iterdir())
    assert bundle < 2 * 1024 * 1024


def _peak(pid: int) -> int:
    """The most bytes that a process ever had in memory."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM:")).split()[1]) * 1024


def test_an_answer_without_an_end_is_judged_on_what_came(site: Site) -> None:
    with _endless() as port:
        url = f"http://127.0.0.1:{port}/"
        endless = {"kind": "http", "name": "endless", "url": url, "timeout": "1s"}
        service = site.declared(site.container("web"), checks=[CONTAINER, endless])
        site.write({"web": service})
        with Daemon(site) as daemon:
            beat = site.beat()
            until(lambda: site.beat() >= beat + 4, 15, daemon.said)
            (sweep, *_) = site.ask("sweeps", "--limit", "1")
            assert (sweep["checked"], sweep["sick"]) == (["web"], [])
            assert _peak(daemon.process.pid) < 300 * 1024**2


@contextlib.contextmanager
def _endless() -> Iterator[int]:
    """An HTTP server whose body never ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def pour(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    connection.sendall(b"x" * 65536)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=pour, args=(server.accept()[0],), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@pytest.mark.abuse("6")
def test_a_store_that_somebody_else_holds_delays_a_heal_and_counts_it_once(site: Site) -> None:
    service = site.http_service("web")
    site.write({"web": service})
    with Daemon(site) as daemon, contextlib.closing(sqlite3.connect(site.state / "medic.db", isolation_level=None)) as other:
        site.send(service["container"], signal.SIGKILL)
        until(site.playbook_is_at_work, 15, daemon.said)
        other.execute("BEGIN IMMEDIATE")
        time.sleep(4)
        other.execute("ROLLBACK")
        daemon.wait("web", "healed")
    (incident,) = site.incidents("web")
    assert [(attempt.outcome, attempt.runs) for attempt in incident.attempts] == [(Outcome.HEALED, 1)]


@pytest.mark.abuse("7")
def test_on_a_full_disk_nothing_is_changed_and_with_space_again_the_heal_goes_on(site: Site) -> None:
    service = site.http_service("web")
    site.state.mkdir()
    mount = f'mount -t tmpfs -o size={LITTLE_DISK} little {site.state} && exec "$@"'
    before = ("unshare", "--mount", "sh", "-c", mount, "sh")
    with receiving(Receiver()) as receiver:
        site.write({"web": service}, channels={"ops": {"kind": "webhook", "url": receiver.url()}})
        with Daemon(site, before=before, beats=False) as daemon:
            _die_on_a_full_disk_and_live_again(site, daemon, receiver, service["container"])


def _die_on_a_full_disk_and_live_again(site: Site, daemon: Daemon, receiver: Receiver, container: str) -> None:
    inside = Path(f"/proc/{daemon.process.pid}/root{site.state}")
    until((inside / "beat").exists, 60, daemon.said)
    time.sleep(2)
    filler = inside / "filler"
    _fill(filler)
    site.send(container, signal.SIGKILL)
    until(lambda: bool(receiver.notices), 60, daemon.said)
    assert [notice["dedup_key"].split(":")[:2] for notice in receiver.notices] == [["medic", "distress"]]
    assert daemon.process.poll() is None, daemon.said()
    assert not site.look(container)["Running"], "it was changed without a record"
    assert "cannot finish a beat" in daemon.said()
    assert "full" in daemon.said()
    assert "Traceback" not in daemon.said()

    filler.unlink()
    daemon.wait("web", "healed", within=40)
    assert site.look(container)["Running"]


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (65536, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)


@pytest.mark.abuse("77")
@pytest.mark.abuse("10", "69")
def test_a_store_deleted_under_a_running_watch_is_told_and_nothing_is_changed_or_made_anew(site: Site) -> None:
    service = site.http_service("web")
    with receiving(Receiver()) as receiver:
        site.write({"web": service}, channels={"ops": {"kind": "webhook", "url": receiver.url()}})
        with Daemon(site) as daemon:
            for file in site.state.glob("medic.db*"):
                if not file.name.endswith(".made"):
                    file.unlink()
            site.send(service["container"], signal.SIGKILL)
            until(lambda: bool(receiver.notices), 60, daemon.said)
            (notice,) = receiver.notices
            assert "medic.db is gone" in notice["body"]
            assert not site.look(service["container"])["Running"], "it was changed without a record"
            assert not (site.state / "medic.db").exists()
            assert site.medic("halt", "the store is away").returncode == 0, "people can say stop all the same"
            assert "Traceback" not in daemon.said()


def test_notices_wait_for_a_receiver_that_is_down(site: Site) -> None:
    service = site.http_service("web")
    receiver = Receiver()
    with receiving(receiver):
        pass  # it has a port now, and is gone
    site.write({"web": service}, channels={"ops": {"kind": "webhook", "url": receiver.url()}})
    with Daemon(site) as daemon:
        site.send(service["container"], signal.SIGKILL)
        daemon.wait("web", "healed")
        with receiving(receiver):
            until(lambda: len(receiver.notices) >= 2, 20, daemon.said)
            time.sleep(1.5)
    kinds = [notice["kind"] for notice in receiver.notices]
    assert sorted(kinds) == [NoticeKind.OPENED.value, NoticeKind.RESOLVED.value]

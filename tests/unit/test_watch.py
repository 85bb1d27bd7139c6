"""Which Docker events make the daemon look at a service at once, and that a burst of them is few looks."""

import queue
import threading
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from agent import metrics, watch
from agent.errors import OutsideError
from agent.model import ContainerEvent, HostName, Service, ServiceName

LOCAL = HostName("local")


def service(name: str, *, host: str = "local", container: str | None = None) -> Service:
    return Service(name=ServiceName(name), host=HostName(host), container=container or name, checks=())


SERVICES = (service("web"), service("api", container="api-1"), service("far", host="elsewhere", container="web"))


@pytest.mark.parametrize(
    ("container", "action", "expected"),
    [
        ("web", "die", ["web"]),
        ("web", "oom", ["web"]),
        ("web", "destroy", ["web"]),
        ("web", "start", ["web"]),
        ("web", "pause", ["web"]),
        ("web", "unpause", ["web"]),
        ("web", "health_status: unhealthy", ["web"]),
        ("api-1", "die", ["api"]),
        ("api", "die", []),
        ("web2", "die", []),
        ("web", "kill", []),
        ("web", "rename", []),
        ("web", "exec_create: nginx -T", []),
    ],
)
def test_an_event_concerns_the_services_of_its_container_on_its_host(container: str, action: str, expected: list[str]) -> None:
    event = ContainerEvent(container=container, action=action, at=datetime(2026, 3, 1, tzinfo=UTC))
    assert watch._concerned(event, LOCAL, lambda: SERVICES) == expected


class Looks:
    """A sweep that notes who was looked at; the first look waits until it is released, as a slow one does."""

    def __init__(self) -> None:
        self.at: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.begun, self.released = threading.Event(), threading.Event()

    def nudge(self, name: ServiceName) -> None:
        self.at.put(name)
        self.begun.set()
        assert self.released.wait(5)
        if name == "gone":
            raise OutsideError("cannot look at 'gone': the engine is away", transient=True)


def test_a_burst_of_events_is_one_look_per_service_and_one_that_fails_is_not_the_last() -> None:
    looks, nudges = Looks(), queue.SimpleQueue[ServiceName | None]()
    parts = SimpleNamespace(sweep=looks, stop=threading.Event(), tally=metrics.Tally())
    thread = threading.Thread(target=watch._nudge_each, args=(parts, nudges))
    nudges.put(ServiceName("web"))
    thread.start()
    assert looks.begun.wait(5)
    for name in ("web", "gone", "web", "web", "gone"):
        nudges.put(ServiceName(name))
    looks.released.set()
    looked_at = [looks.at.get(timeout=5) for _ in range(3)]
    parts.stop.set()
    nudges.put(None)
    thread.join(5)
    assert not thread.is_alive()
    assert looked_at == ["web", "gone", "web"]
    assert looks.at.empty()

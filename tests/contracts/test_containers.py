"""What every `ports.Containers` does: the engine in memory, a real one, and a real one of a host that is reached over SSH, or
through SSM (a stand-in: moto's wire before a real shell)."""

import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import docker
import pytest

from agent.adapters import ssm_engine
from agent.adapters.aws_clients import AwsClients
from agent.adapters.docker_engine import DockerEngine
from agent.adapters.ssh_ways import SshWays
from agent.adapters.ssm_link import SsmLink
from agent.adapters.system_clock import SystemClock
from agent.errors import OutsideError
from agent.model import COMPOSE_PROJECT, ContainerFacts, ContainerState, Host, HostName
from agent.ports import Clock, Containers
from tests import ssm_hosts
from tests.fakes_docker import FakeContainers
from tests.far_hosts import far_host
from tests.live.conftest import Make, container, docker_client, tiny_image  # noqa: F401  # fixtures

LOCAL = HostName("local")
WAIT = 30.0
"""Seconds that an engine under load may take to show what was just done to it."""


@dataclass(frozen=True)
class Engine:
    """One implementation, and how a test does things to its containers."""

    containers: Containers
    clock: Clock
    start: Callable[[], str]
    crash: Callable[[str, int], None]
    pause: Callable[[str], None]
    remove: Callable[[str], None]
    say: Callable[[str, bytes], None]

    def shown(self, name: str, state: ContainerState) -> ContainerFacts:
        """Return the listed facts of a container once it is in `state`."""
        until = self.clock.monotonic() + WAIT
        while True:
            found = [facts for facts in self.containers.list(LOCAL) if facts.name == name]
            if found and found[0].state is state:
                return found[0]
            assert self.clock.monotonic() < until, f"{name} is not {state}: {found}"
            self.clock.sleep(timedelta(milliseconds=20))


FOLLOWED = ["memory", *(pytest.param(each, marks=pytest.mark.live) for each in ("docker", "docker over SSH"))]
"""Those whose events can be followed."""
SSM = pytest.param("docker through SSM", marks=pytest.mark.live)


@pytest.fixture(scope="module")
def ssh_ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshWays]:
    """The way to a host that has this machine's own engine."""
    with far_host(tmp_path_factory.mktemp("containers") / "sshd", "127.0.1.5") as host:
        over = SshWays([host.host(LOCAL)])
        yield over
        over.close()


@pytest.fixture(scope="module")
def ssm_link() -> Iterator[SsmLink]:
    """The way to an instance that has this machine's own engine."""
    with ssm_hosts.ssm():
        yield SsmLink(LOCAL, ssm_hosts.instance().access(), AwsClients(ssm_hosts.REGION))


@pytest.fixture(params=[*FOLLOWED, SSM])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "memory":
        yield _in_memory()
        return
    far, late = {}, {}
    if request.param == "docker over SSH":
        far = request.getfixturevalue("ssh_ways").engines
    if request.param == "docker through SSM":
        # Longer than the real way's patience: a machine that is busy with other things takes its time.
        far = {LOCAL: ssm_engine.dial(LOCAL, request.getfixturevalue("ssm_link"), "unix:///var/run/docker.sock")}
        late = {LOCAL: timedelta(seconds=60)}
    real = DockerEngine((Host(name=LOCAL),), SystemClock(), far=far, late=late)
    yield _real(real, request.getfixturevalue("docker_client"), request.getfixturevalue("container"))
    real.close()


def _in_memory() -> Engine:
    clock = SystemClock()
    fake = FakeContainers(clock)
    return Engine(fake, clock, lambda: fake.start("web").name, fake.crash, fake.pause, fake.remove, fake.say)


def _real(real: DockerEngine, client: docker.APIClient, make: Make) -> Engine:
    def inside(name: str, script: str, word: str) -> None:
        client.exec_start(client.exec_create(name, ["sh", "-c", script, "sh", word])["Id"])

    return Engine(
        containers=real,
        clock=SystemClock(),
        start=lambda: make(["sh", "-c", "while [ ! -s /crash ]; do sleep 0.02; done; exit $(cat /crash)"]),
        crash=lambda name, code: inside(name, 'echo "$1" > /crash', str(code)),
        pause=client.pause,
        remove=lambda name: client.remove_container(name, force=True),
        say=lambda name, text: inside(name, 'printf %s "$1" > /proc/1/fd/1', text.decode()),
    )


def test_lists_a_running_container_with_what_identifies_it(engine: Engine) -> None:
    name = engine.start()
    seen = engine.shown(name, ContainerState.RUNNING)
    assert len(seen.id) == 64
    assert seen.image_id.startswith("sha256:")
    assert seen.exit_code is None


def test_inspects_the_container_that_it_lists(engine: Engine) -> None:
    name = engine.start()
    listed, inspected = engine.shown(name, ContainerState.RUNNING), engine.containers.inspect(LOCAL, name)
    assert (inspected.id, inspected.state, inspected.started_at) == (listed.id, listed.state, listed.started_at)
    assert inspected.started_at is not None


# Where Medic only looks (SSM) nobody asks: each right would be a command of a second.
@pytest.mark.parametrize("engine", FOLLOWED, indirect=True)
def test_an_engine_without_a_door_before_it_refuses_nothing(engine: Engine) -> None:
    assert engine.containers.refuses(LOCAL) == ()


def test_a_crashed_container_is_listed_with_its_exit_code_and_end(engine: Engine) -> None:
    name = engine.start()
    engine.crash(name, 3)
    seen = engine.shown(name, ContainerState.EXITED)
    assert (seen.exit_code, seen.oom_killed) == (3, False)
    assert seen.finished_at is not None


def test_a_paused_container_is_listed_as_paused(engine: Engine) -> None:
    name = engine.start()
    engine.pause(name)
    assert engine.shown(name, ContainerState.PAUSED).name == name


def test_a_removed_container_is_listed_no_more_and_inspected_as_missing(engine: Engine) -> None:
    name = engine.start()
    engine.remove(name)
    assert name not in {facts.name for facts in engine.containers.list(LOCAL)}
    assert engine.containers.inspect(LOCAL, name).state is ContainerState.MISSING


def test_the_log_is_cut_to_its_last_bytes(engine: Engine) -> None:
    name = engine.start()
    engine.say(name, b"first line\n")
    engine.say(name, b"last line\n")
    assert engine.containers.logs(LOCAL, name, limit=1000) == b"first line\nlast line\n"
    assert engine.containers.logs(LOCAL, name, limit=4).endswith(b"ne\n")


def test_the_log_can_be_read_from_a_moment_on(engine: Engine) -> None:
    name = engine.start()
    engine.say(name, b"of an earlier life\n")
    engine.clock.sleep(timedelta(milliseconds=20))
    moment = engine.clock.now()
    engine.say(name, b"of this life\n")
    assert engine.containers.logs(LOCAL, name, limit=1000, since=moment) == b"of this life\n"


def test_the_log_of_a_missing_container_cannot_be_read(engine: Engine) -> None:
    with pytest.raises(OutsideError, match="cannot read the log of container 'no-such'") as raised:
        engine.containers.logs(LOCAL, "no-such", limit=10)
    assert not raised.value.transient


def test_remembered_events_tell_how_it_died(engine: Engine) -> None:
    name, since = engine.start(), engine.clock.now() - timedelta(minutes=1)
    engine.crash(name, 4)
    engine.shown(name, ContainerState.EXITED)
    events = engine.containers.events(LOCAL, name, since=since)
    assert ("die", 4) in [(event.action, event.exit_code) for event in events]
    assert "start" in [event.action for event in events]
    assert {event.container for event in events} == {name}


@pytest.mark.parametrize("engine", FOLLOWED, indirect=True)
def test_followed_events_come_as_they_happen_and_end_with_stop(engine: Engine) -> None:
    name = engine.start()
    stopping = threading.Event()
    crash = threading.Timer(0.3, engine.crash, (name, 5))
    crash.start()
    deaths = []
    for event in engine.containers.follow(LOCAL, stopping.is_set):
        if (event.container, event.action) == (name, "die"):
            deaths.append(event.exit_code)
            stopping.set()
    crash.join()
    assert deaths == [5]


@pytest.mark.parametrize("engine", [SSM], indirect=True)
def test_what_never_ends_cannot_be_followed_through_ssm(engine: Engine) -> None:
    with pytest.raises(OutsideError, match="cannot follow the events of host 'local': its answers come whole"):
        next(engine.containers.follow(LOCAL, lambda: False))


@pytest.mark.parametrize("engine", [*FOLLOWED[1:], SSM], indirect=True)
def test_a_program_inside_a_container_ends_with_its_code_and_output(engine: Engine) -> None:
    name = engine.start()
    run = engine.containers.exec  # type: ignore[attr-defined]  # real engines have it beside the port
    said = run(LOCAL, name, ("sh", "-c", "echo out; echo err >&2; exit 7"), timeout=timedelta(seconds=30), limit=100)
    assert (said[0], sorted(said[1].split())) == (7, [b"err", b"out"])


@pytest.mark.parametrize(
    "ask",
    [
        lambda containers: containers.list(HostName("elsewhere")),
        lambda containers: containers.inspect(HostName("elsewhere"), "web"),
        lambda containers: containers.logs(HostName("elsewhere"), "web", limit=1),
    ],
)
def test_a_host_nobody_declared_cannot_be_asked(engine: Engine, ask: Callable[[Containers], object]) -> None:
    with pytest.raises(OutsideError, match="elsewhere"):
        ask(engine.containers)


@pytest.mark.live
def test_a_compose_project_is_told_by_the_labels_of_its_containers_also_when_they_are_gone(
    docker_client: docker.APIClient,  # noqa: F811  # fixtures
    container: Make,  # noqa: F811  # fixtures
) -> None:
    project = "medic-" + uuid.uuid4().hex[:8]
    since = SystemClock().now() - timedelta(seconds=1)
    names = [container(["sleep", "60"], labels={COMPOSE_PROJECT: project}) for _ in range(2)]
    real = DockerEngine((Host(name=LOCAL),), SystemClock())
    try:
        assert real.project(LOCAL, project, since=since).containers == tuple(sorted(names))
        for name in names:
            docker_client.remove_container(name, force=True)
        seen = real.project(LOCAL, project, since=since)
        assert seen.containers == ()
        assert {(event.container, event.action) for event in seen.events} >= {(name, "destroy") for name in names}
        assert {event.project for event in real.events(LOCAL, names[0], since=since)} == {project}
    finally:
        real.close()

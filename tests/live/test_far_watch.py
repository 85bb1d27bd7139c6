"""Hosts that are reached over SSH, as people meet them: a network of their own, and `medic watch` over what lives there."""

import signal
from datetime import timedelta
from pathlib import Path

import docker
import pytest

from agent.adapters.docker_engine import DockerEngine
from agent.adapters.prober import BatchProber
from agent.adapters.ssh_ways import SshWays
from agent.adapters.system_clock import SystemClock
from agent.adapters.ways import Ways
from agent.model import Closing, HostName, HttpRequest, HttpSeen, IncidentState, Outcome, TcpRequest, TcpSeen
from tests.far_hosts import far_host
from tests.lab.socket_proxy import SocketProxy
from tests.live.conftest import Make
from tests.live.daemon import CONTAINER, Daemon, Site, until

pytestmark = pytest.mark.live

FAR = HostName("far")
SECOND = timedelta(seconds=1)


def test_a_loopback_address_is_the_loopback_of_the_host_and_not_of_this_machine(
    docker_client: docker.APIClient, container: Make, tmp_path: Path
) -> None:
    """A container lends its network to the host: what listens on 127.0.0.1 there, nobody here can reach."""
    name = container(["/bin/busybox", "httpd", "-f", "-p", "127.0.0.1:8000"], host={"network_mode": "bridge"})
    found = docker_client.inspect_container(name)
    address = found["NetworkSettings"]["IPAddress"] or found["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    within = ("nsenter", f"--net=/proc/{found['State']['Pid']}/ns/net")
    with far_host(tmp_path / "sshd", address, port=2222, within=within) as server:
        ways = SshWays([server.host(FAR)])
        engine = DockerEngine([server.host(FAR)], SystemClock(), far=ways.engines)
        prober = BatchProber(engine, Ways(machines=ways.machines, engines=ways.engines, doors=ways.doors))
        there = HttpRequest(url="http://127.0.0.1:8000/", timeout=SECOND, via=FAR)
        here = HttpRequest(url="http://127.0.0.1:8000/", timeout=SECOND)
        port = TcpRequest(address="localhost:8000", timeout=SECOND, via=FAR)
        seen = prober.ask([there, here, port], 5 * SECOND)
        engine.close()
        ways.close()
    found_there, found_here, found_port = seen[there], seen[here], seen[port]
    assert isinstance(found_there, HttpSeen)
    assert isinstance(found_here, HttpSeen)
    assert isinstance(found_port, TcpSeen)
    assert (found_there.status, found_here.error, found_port.connected) == (404, "connection-refused", True)


def test_an_engine_that_hangs_on_a_far_host_is_one_incident_of_the_host_and_holds_up_nobody(site: Site, tmp_path: Path) -> None:
    (tmp_path / "door").mkdir()
    names = [site.container(service) for service in ("web", "api")]
    near = site.container("near")
    with far_host(tmp_path / "sshd", "127.0.1.11") as server, SocketProxy(tmp_path / "door"):
        far = {"docker": f"unix://{tmp_path}/door/docker.sock", "ssh": server.words()}
        services = {"near": site.declared(near), **{name: site.declared(name, host="far") for name in names}}
        site.write(services, hosts={"local": {}, "far": far})
        with Daemon(site) as daemon:
            beat = site.beat()
            (tmp_path / "door" / "docker.mute").touch()
            daemon.wait("host:far", "escalated", within=90)
            site.send(names[0], signal.SIGKILL)
            site.send(near, signal.SIGKILL)
            daemon.wait("near", "healed", within=90)
            assert site.beat() > beat
            assert not site.look(names[0])["Running"], "nobody may act on what nobody can see"
            (tmp_path / "door" / "docker.mute").unlink()
            until(lambda: bool(site.look(names[0])["Running"]), 60, daemon.said)
            until(lambda: site.incidents("host:far")[0].closing is Closing.RECOVERED, 60)
            until(lambda: all(each.state is IncidentState.CLOSED for each in site.incidents()), 30)
    assert sorted(each.service for each in site.incidents()) == sorted(["host:far", "near", names[0]])


@pytest.mark.abuse("42")
def test_what_lives_on_a_far_host_is_healed_there_and_left_alone_while_the_host_is_away(site: Site, tmp_path: Path) -> None:
    http = {"kind": "http", "plane": "direct", "url": "http://container:8000/", "timeout": "1s", "status": ["200-404"]}
    name = site.container("web")
    service = site.declared(name, checks=[CONTAINER, http], host="far")
    with far_host(tmp_path / "sshd", "127.0.1.10") as server:
        site.write({"web": service}, hosts={"far": {"ssh": server.words()}})  # its engine is this machine's
        with Daemon(site) as daemon:
            site.send(name, signal.SIGKILL)
            daemon.wait("web", "healed")
            assert site.look(name)["Running"]

            server.stop()
            daemon.wait("host:far", "escalated")
            site.send(name, signal.SIGKILL)
            beat = site.beat()
            until(lambda: site.beat() >= beat + 3, 15)
            assert not site.look(name)["Running"], "nobody may act on what nobody can see"
            assert len(site.incidents("web")) == 1

            server.start()
            until(lambda: bool(site.look(name)["Running"]), 90, lambda: str(daemon.events[-15:]))
            until(lambda: site.incidents("host:far")[0].closing is Closing.RECOVERED, 20)
            until(lambda: site.incidents("web")[0].state is IncidentState.CLOSED, 30)
    healed = site.incidents("web")
    assert [incident.closing for incident in healed] == [Closing.HEALED, Closing.HEALED]
    assert [[attempt.outcome for attempt in incident.attempts] for incident in healed] == [[Outcome.HEALED], [Outcome.HEALED]]

"""The prober and the checks on real containers behind a real nginx, through `look` as everyone uses it."""

import io
import tarfile
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta

import docker
import pytest

from agent import look
from agent.adapters.docker_engine import DockerEngine
from agent.adapters.prober import BatchProber
from agent.adapters.system_clock import SystemClock
from agent.model import (
    ContainerCheck,
    Health,
    Host,
    HostName,
    HttpCheck,
    NginxCheck,
    Plane,
    Service,
    ServiceName,
    TcpCheck,
    Thresholds,
    Verdict,
)
from tests.lab import images

pytestmark = pytest.mark.live

LOCAL = HostName("local")
SECOND = timedelta(seconds=1)
LABELS = {"medic.test": "probes"}
SERVE = ["sh", "-c", "mkdir /srv/www; echo all fine > /srv/www/health; exec python3 -m http.server 8000 --directory /srv/www"]
CONFIG = """
events {}
http {
  include /etc/nginx/conf.d/*.conf;
}
"""
SITE = "server { listen 80; server_name shop.example; location / { proxy_pass http://%s; } }"


class Lab:
    """Containers of one test on a network of its own."""

    def __init__(self, client: docker.APIClient, image: str) -> None:
        self.client = client
        self._image = image
        self.name = f"medic-probes-{uuid.uuid4().hex[:8]}"
        self._made: list[str] = []
        self._network = client.create_network(self.name, labels=LABELS)["Id"]

    def run(self, role: str, command: list[str], files: dict[str, str] | None = None) -> str:
        name = f"{self.name}-{role}"
        networks = self.client.create_networking_config({self.name: self.client.create_endpoint_config(aliases=[role])})
        made = self.client.create_container(self._image, command, name=name, labels=LABELS, networking_config=networks)["Id"]
        self._made.append(made)
        self.write(name, files or {})
        self.client.start(made)
        return name

    def write(self, name: str, files: dict[str, str]) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for path, text in files.items():
                member = tarfile.TarInfo(path)
                member.size = len(text.encode())
                tar.addfile(member, io.BytesIO(text.encode()))
        if files:
            self.client.put_archive(name, "/etc/nginx", packed.getvalue())

    def address(self, name: str) -> str:
        return str(self.client.inspect_container(name)["NetworkSettings"]["Networks"][self.name]["IPAddress"])

    def close(self) -> None:
        for made in self._made:
            self.client.remove_container(made, force=True, v=True)
        self.client.remove_network(self._network)


@pytest.fixture
def lab(docker_client: docker.APIClient) -> Iterator[Lab]:
    made = Lab(docker_client, images.ensure(images.BASE))
    yield made
    made.close()


@pytest.fixture
def see() -> Iterator[Callable[[Service], Verdict]]:
    """Look until the picture is the same twice: containers and nginx take a moment to come up."""
    clock = SystemClock()
    engine = DockerEngine((Host(name=LOCAL),), clock)
    prober = BatchProber(engine)

    def until_settled(service: Service) -> Verdict:
        before: list[object] = []
        for _ in range(40):
            verdict = look.at(service, prober, clock)
            now: list[object] = [(judgement.health, judgement.symptoms) for judgement in verdict.judgements]
            if now == before:
                return verdict
            before = now
            clock.sleep(timedelta(milliseconds=500))
        raise AssertionError(before)

    yield until_settled
    engine.close()


def service(name: str, nginx: str) -> Service:
    limits = Thresholds()
    return Service(
        name=ServiceName("shop"),
        host=LOCAL,
        container=name,
        checks=(
            ContainerCheck(name="up", every=SECOND, thresholds=limits),
            TcpCheck(
                name="port", every=SECOND, thresholds=limits, plane=Plane.DIRECT, address="container:8000", timeout=2 * SECOND
            ),
            HttpCheck(
                name="health",
                every=SECOND,
                thresholds=limits,
                plane=Plane.DIRECT,
                url="http://container:8000/health",
                timeout=2 * SECOND,
                body="all fine",
            ),
            NginxCheck(name="route", every=SECOND, thresholds=limits, nginx=nginx, port=8000, server_name="shop.example"),
        ),
    )


def words(verdict: Verdict) -> set[str]:
    return {symptom.word for symptom in verdict.symptoms}


def test_a_service_behind_nginx_is_seen_well_and_then_sick_in_every_way(lab: Lab, see: Callable[[Service], Verdict]) -> None:
    web = lab.run("web", SERVE)
    other = lab.run("other", ["sleep", "600"])
    front = lab.run(
        "front",
        ["nginx", "-g", "daemon off;"],
        {"nginx.conf": CONFIG, "conf.d/shop.conf": SITE % f"{lab.address(web)}:8000"},
    )
    shop = service(web, front)

    verdict = see(shop)
    assert (verdict.health, verdict.reasons) == (Health.WELL, ())

    for site, expected in (
        (SITE % "web:8000", set()),
        (SITE % f"{web}:8000", set()),
        (SITE % f"{lab.address(other)}:8000", {"nginx-wrong-service"}),
        (SITE % "198.51.100.7:8000", {"nginx-ghost-route"}),
        ("", {"nginx-missing-route"}),
        (SITE % "no-such-upstream:8000", set()),  # nginx reads no route at all: unknown, and no symptom of this service
        ("server { listen nonsense }", {"nginx-invalid-config"}),
    ):
        lab.write(front, {"conf.d/shop.conf": site})
        assert words(see(shop)) == expected, site

    lab.client.stop(front, timeout=0)
    assert words(see(shop)) == {"nginx-down"}

    lab.client.pause(web)
    assert words(see(shop)) == {"nginx-down", "container-paused", "http-timeout"}
    lab.client.unpause(web)

    lab.client.kill(web)
    lab.client.start(front)
    lab.write(front, {"conf.d/shop.conf": SITE % "web:8000"})
    assert "container-exited" in words(see(shop))

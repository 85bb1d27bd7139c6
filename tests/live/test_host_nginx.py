"""A real nginx on the host itself, in front of real containers: seen by this machine's own prober and by one over SSH.

The program comes out of the lab's image and keeps its configuration in the test's folder: nothing is installed here.
"""

import io
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import docker
import pytest

from agent import look
from agent.adapters.docker_engine import DockerEngine
from agent.adapters.local_machine import LocalMachine
from agent.adapters.prober import BatchProber
from agent.adapters.ssh_ways import SshWays
from agent.adapters.system_clock import SystemClock
from agent.adapters.ways import Ways
from agent.model import (
    Health,
    Host,
    HostName,
    HttpCheck,
    Identity,
    NginxCheck,
    Plane,
    Service,
    ServiceName,
    Thresholds,
    Verdict,
)
from tests.far_hosts import FarHost, far_host
from tests.lab import images

pytestmark = pytest.mark.live

LABELS = {"medic.test": "host-nginx"}
SECOND = timedelta(seconds=1)
MAIN = """
daemon off; pid {folder}/nginx.pid; error_log stderr;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  include {folder}/sites/*.conf;
}}
"""
SITE = "server {{ listen 127.0.0.1:{port}; server_name shop.example; location / {{ proxy_pass http://127.0.0.1:{to}; }} }}"


class HostNginx:
    """One nginx of this machine, found by the name `nginx` in a folder of programs of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "bin"
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        for each in (self.programs, folder / "sites"):
            each.mkdir(parents=True)
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
        (self.programs / "nginx").write_text(f'#!/bin/sh\nexec {folder}/nginx -c {folder}/nginx.conf -e stderr "$@"\n')
        (self.programs / "nginx").chmod(0o755)

    def route(self, to: int) -> None:
        (self.folder / "sites/shop.conf").write_text(SITE.format(port=self.port, to=to))
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def start(self) -> None:
        self._process = subprocess.Popen((str(self.programs / "nginx"),), stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def served(docker_client: docker.APIClient) -> Iterator[dict[str, int]]:
    """Two containers and the ports of this host that they publish."""
    image, run = images.ensure(images.BASE), uuid.uuid4().hex[:8]
    names = {role: f"medic-host-nginx-{run}-{role}" for role in ("shop", "blog")}
    try:
        for role, name in names.items():
            command = ["sh", "-c", f"mkdir /w; echo ok {role} > /w/who; exec python3 -m http.server 8000 --directory /w"]
            published = docker_client.create_host_config(port_bindings={8000: ("127.0.0.1", None)})
            docker_client.create_container(image, command, name=name, labels=LABELS, ports=[8000], host_config=published)
            docker_client.start(name)
        yield {name: int(docker_client.port(name, 8000)[0]["HostPort"]) for name in names.values()}
    finally:
        for name in names.values():
            docker_client.remove_container(name, force=True, v=True)


@pytest.fixture
def nginx(docker_client: docker.APIClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostNginx]:
    if os.geteuid() != 0:
        pytest.skip("nginx keeps files that only root may read")
    if shutil.which("nginx") is not None:
        pytest.skip("this machine has an nginx of its own, and its processes could not be told from the test's")
    made = HostNginx(tmp_path / "nginx")
    lent = docker_client.create_container(images.ensure(images.BASE), ["true"], labels=LABELS)["Id"]
    try:
        packed, _ = docker_client.get_archive(lent, "/usr/sbin/nginx")
        with tarfile.open(fileobj=io.BytesIO(b"".join(packed))) as tar:
            tar.extractall(made.folder, filter="fully_trusted")
    finally:
        docker_client.remove_container(lent, force=True)
    monkeypatch.setenv("PATH", f"{made.programs}:{os.environ['PATH']}")
    yield made
    made.stop()


@contextmanager
def by_ssh(sshd: FarHost) -> Iterator[BatchProber]:
    hosts = [sshd.host(HostName("here"))]
    ways = SshWays(hosts)
    with closing(ways), closing(DockerEngine(hosts, SystemClock(), far=ways.engines)) as engine:
        yield BatchProber(engine, Ways(machines=ways.machines, engines=ways.engines, doors=ways.doors))


@contextmanager
def by_itself() -> Iterator[BatchProber]:
    here = HostName("here")
    with closing(DockerEngine((Host(name=here),), SystemClock())) as engine:
        yield BatchProber(engine, Ways(machines={here: LocalMachine()}, engines={}, doors={}))


def until(seen: Callable[[], Verdict], health: Health, words: set[str]) -> None:
    """Return once that is what is seen: nginx takes a moment to start, to reload and to end."""
    for _ in range(40):
        verdict = seen()
        if verdict.health is health and {symptom.word for symptom in verdict.symptoms} == words:
            return
        SystemClock().sleep(timedelta(milliseconds=250))
    raise AssertionError(verdict)


def test_an_nginx_on_the_host_is_judged_alike_from_here_and_over_ssh(
    served: dict[str, int], nginx: HostNginx, tmp_path: Path
) -> None:
    shop, blog = served
    service = Service(
        name=ServiceName("shop"),
        host=HostName("here"),
        container=shop,
        checks=(
            NginxCheck(name="route", every=SECOND, thresholds=Thresholds(), nginx=None, port=8000, server_name="shop.example"),
            HttpCheck(
                name="routed",
                every=SECOND,
                thresholds=Thresholds(),
                plane=Plane.NGINX,
                url=f"http://127.0.0.1:{nginx.port}/who",
                timeout=SECOND,
                headers=(("Host", "shop.example"),),
                identity=Identity(text="ok shop"),
            ),
        ),
    )
    path = f"PATH={nginx.programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    with far_host(tmp_path / "sshd", "127.0.1.11", environment=path) as sshd, by_itself() as own, by_ssh(sshd) as far:
        looks = [lambda prober=prober: look.at(service, prober, SystemClock()) for prober in (own, far)]

        def all_see(health: Health, *words: str) -> None:
            for seen in looks:
                until(seen, health, set(words))

        nginx.route(served[shop])
        nginx.start()
        all_see(Health.WELL)
        nginx.route(served[blog])
        all_see(Health.SICK, "nginx-wrong-service")
        nginx.route(_free_port())
        all_see(Health.SICK, "nginx-ghost-route", "http-status")
        nginx.route(served[shop])
        all_see(Health.WELL)
        (nginx.folder / "sites/odd.conf").write_text("server { listen 127.0.0.1:99999; }")
        all_see(Health.SICK, "nginx-invalid-config")  # and what runs goes on with the one it accepted
        (nginx.folder / "sites/odd.conf").unlink()
        nginx.stop()
        all_see(Health.SICK, "nginx-down", "http-refused")

"""The prober and the checks on real containers behind a real nginx, through `look` as everyone uses it."""

import io
import tarfile
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import repeat

import docker
import pytest

from agent import look
from agent.adapters.docker_engine import DockerEngine
from agent.adapters.local_machine import LocalMachine
from agent.adapters.prober import BatchProber
from agent.adapters.system_clock import SystemClock
from agent.adapters.ways import Ways
from agent.model import (
    Check,
    CommandCheck,
    ContainerCheck,
    DnsCheck,
    Health,
    Host,
    HostName,
    HttpCheck,
    Identity,
    LogCheck,
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

    def run(self, role: str, command: list[str], files: dict[str, str] | None = None, volume: str | None = None) -> str:
        name = f"{self.name}-{role}"
        networks = self.client.create_networking_config({self.name: self.client.create_endpoint_config(aliases=[role])})
        made = self.client.create_container(
            self._image,
            command,
            name=name,
            labels=LABELS,
            networking_config=networks,
            host_config=self.client.create_host_config(binds=[volume] if volume else None),
        )["Id"]
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
        while self._made:
            self.client.remove_container(self._made.pop(), force=True, v=True)
        if self._network:
            self.client.remove_network(self._network)
            self._network = ""


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
    prober = BatchProber(engine, Ways(machines={LOCAL: LocalMachine()}, engines={}, doors={}))

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


@pytest.mark.abuse("27")
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


def of(container: str, *asked: Check) -> Service:
    return Service(name=ServiceName("shop"), host=LOCAL, container=container, checks=asked)


def serving(name: str) -> list[str]:
    return ["sh", "-c", f"mkdir /srv/www; echo ok {name} > /srv/www/who; exec python3 -m http.server 8000 --directory /srv/www"]


MAIN = """
worker_processes 1;   # { not a block
events { worker_connections 64; }
http {
    map $http_upgrade $connection_upgrade { default upgrade; '' close; }
    log_format odd '{"a": "$request";}';
    include conf.d/*.conf;
    include sites/*;
}
"""
UPSTREAMS = "upstream shop { least_conn; server %s:8000 weight=2 max_fails=3; server 198.51.100.7:8000 down; keepalive 4; }"
SITES = {
    "sites/shop": "server { listen 80; server_name shop.example *.shop.example; location / { proxy_pass http://shop; } }",
    "sites/blog": "server {\r\n  listen 80 default_server;\r\n  resolver 127.0.0.11;\r\n  set $up blog:8000;\r\n"
    "  location / { proxy_pass http://$up; }\r\n}",
    "sites/api": "server { listen 80; listen unix:/run/api.sock; server_name ~^api[0-9]*[.]example$; "
    "location / { proxy_pass http://api:8000; } }",
}


def test_a_routed_probe_proves_which_of_three_services_answers(lab: Lab, see: Callable[[Service], Verdict]) -> None:
    names = {role: lab.run(role, serving(role)) for role in ("shop", "blog", "api")}
    files = {"nginx.conf": MAIN, "conf.d/up.conf": UPSTREAMS % lab.address(names["shop"]), **SITES}
    front = lab.run("front", ["nginx", "-g", "daemon off;"], files)
    limits, via = Thresholds(), f"http://{lab.address(front)}/who"

    def asked(role: str, host: str) -> Service:
        return of(
            names[role],
            NginxCheck(name="route", every=SECOND, thresholds=limits, nginx=front, port=8000, server_name=host),
            HttpCheck(
                name="routed",
                every=SECOND,
                thresholds=limits,
                plane=Plane.NGINX,
                url=via,
                timeout=2 * SECOND,
                headers=(("Host", host),),
                identity=Identity(text=f"ok {role}"),
            ),
        )

    for role, host in (
        ("shop", "shop.example"),
        ("shop", "eu.shop.example"),
        ("blog", "nobody.example"),
        ("api", "api7.example"),
    ):
        verdict = see(asked(role, host))
        assert (verdict.health, verdict.reasons) == (Health.WELL, ()), host

    lab.write(front, {"sites/blog": SITES["sites/blog"].replace("blog:8000", "$host_of_blog")})
    lab.write(front, {"conf.d/map.conf": "map $host $host_of_blog { default shop:8000; }"})
    lab.client.kill(front, signal="SIGHUP")
    verdict = see(asked("blog", "nobody.example"))
    by_name = {judgement.check: judgement.health for judgement in verdict.judgements}
    assert by_name == {"route": Health.UNKNOWN, "routed": Health.SICK}
    assert words(verdict) == {"nginx-wrong-service"}


LISTEN = """
import http.server, os, socketserver
class Here(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("X-Service", "shop")
        self.end_headers()
    def address_string(self): return "nginx"
server = socketserver.UnixStreamServer("/run/shop/web.sock", Here)
os.chmod("/run/shop/web.sock", 0o666)
server.serve_forever()
"""
BEHIND_A_SOCKET = """
upstream shop { server unix:/run/shop/web.sock; server unix:/run/shop/web-2.sock backup; }
server { listen 80; server_name shop.example; location / { proxy_pass http://shop/; } }
server { listen 80; server_name direct.example; location / { proxy_pass http://unix:/run/shop/web.sock:/; } }
server { listen 80; server_name astray.example; location / { proxy_pass http://unix:/run/shop/blog.sock; } }
"""


def test_a_service_behind_a_unix_socket_is_told_by_the_route_and_by_its_header(
    lab: Lab, see: Callable[[Service], Verdict], docker_client: docker.APIClient
) -> None:
    volume = docker_client.create_volume(f"{lab.name}-run", labels=LABELS)["Name"]
    try:
        web = lab.run("web", ["python3", "-c", LISTEN], volume=f"{volume}:/run/shop")
        files = {"nginx.conf": CONFIG, "conf.d/shop.conf": BEHIND_A_SOCKET}
        front = lab.run("front", ["nginx", "-g", "daemon off;"], files, volume=f"{volume}:/run/shop")
        limits = Thresholds()

        def asked(host: str) -> Service:
            return of(
                web,
                NginxCheck(
                    name="route", every=SECOND, thresholds=limits, nginx=front, socket="/run/shop/web.sock", server_name=host
                ),
                HttpCheck(
                    name="routed",
                    every=SECOND,
                    thresholds=limits,
                    plane=Plane.NGINX,
                    url=f"http://{lab.address(front)}/",
                    timeout=2 * SECOND,
                    headers=(("Host", host),),
                    identity=Identity(text="shop", header="x-service"),
                ),
            )

        for host in ("shop.example", "direct.example"):
            verdict = see(asked(host))
            assert (verdict.health, verdict.reasons) == (Health.WELL, ()), host
        assert words(see(asked("astray.example"))) == {"nginx-wrong-service", "http-status"}
    finally:
        lab.close()
        docker_client.remove_volume(volume, force=True)


REPLICAS = "upstream shop { server %s:8000; server %s:8000; } server { listen 80; location / { proxy_pass http://shop; } }"


def test_replicas_in_one_upstream_are_each_others_and_a_strangers_address_is_not(
    lab: Lab, see: Callable[[Service], Verdict]
) -> None:
    one, two, blog = (lab.run(role, serving("shop")) for role in ("shop-1", "shop-2", "blog"))
    files = {"nginx.conf": CONFIG, "conf.d/shop.conf": REPLICAS % (lab.address(one), lab.address(two))}
    front = lab.run("front", ["nginx", "-g", "daemon off;"], files)
    shop = of(one, NginxCheck(name="route", every=SECOND, thresholds=Thresholds(), nginx=front, port=8000))
    assert see(shop).health is Health.WELL
    lab.client.stop(two, timeout=0)
    assert see(shop).health is Health.WELL  # its address is nobody's now; nginx goes on to the other
    lab.write(front, {"conf.d/shop.conf": REPLICAS % (lab.address(one), lab.address(blog))})
    assert words(see(shop)) == {"nginx-wrong-service"}


def test_what_runs_inside_a_container_is_ended_there(
    lab: Lab, see: Callable[[Service], Verdict], docker_client: docker.APIClient
) -> None:
    web = lab.run("web", ["sh", "-c", "echo hello; exec sleep 600"])
    limits, inside = Thresholds(), {"every": SECOND, "thresholds": Thresholds()}

    def command(name: str, *argv: str, **more: object) -> CommandCheck:
        return CommandCheck(name=name, command=argv, timeout=SECOND, **inside, **more)  # type: ignore[arg-type]

    looks = repeat(
        of(
            web,
            command("right", "echo", "$(reboot); PONG", output="$(reboot); PONG"),
            command("wrong", "false"),
            command("missing", "no-such-program"),
            command("hangs", "sh", "-c", "sleep 431 & sleep 432"),
            DnsCheck(name="known", lookup="web", timeout=SECOND, every=SECOND, thresholds=limits),
            LogCheck(name="log", most_bytes=3, every=SECOND, thresholds=limits),
        ),
        10,
    )
    # Where many containers run beside this one, the file of its log is known after some lists only.
    verdict = next(seen for seen in map(see, looks) if seen.judgements[-1].health is not Health.UNKNOWN)
    assert {judgement.check: judgement.health for judgement in verdict.judgements} == {
        "right": Health.WELL,
        "wrong": Health.SICK,
        "missing": Health.UNKNOWN,
        "hangs": Health.SICK,
        "known": Health.WELL,
        "log": Health.SICK,
    }
    assert words(verdict) == {"command-failed", "command-timeout", "log-large"}
    left = [row[-1] for row in docker_client.top(web)["Processes"]]
    assert left == ["sleep 600"]

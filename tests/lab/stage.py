"""The lab's little site: six web services and a redis, a real nginx in front, and the medic.yaml for all of them.

One description per service (`Part.run`, in the words of a `run:` block) is both what `docker run` makes the container from
and what medic.yaml declares, so the two cannot disagree. Everything carries the label `medic.demo=<run>`.
"""

import json
import socket
import subprocess
import urllib.error
import urllib.request
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any  # what Docker and YAML hold has no narrower type here

import yaml

from tests import canaries
from tests.lab import images

APP = Path(__file__).with_name("app.py")
BEHIND_NGINX = ("shop", "search", "embed", "api", "billing", "reports")
PATIENCE = timedelta(seconds=60)
NETWORK_TRIES = 5


class StageError(Exception):
    """Docker did not do what the lab asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One service of the site."""

    name: str
    container: str
    run: Mapping[str, Any]
    checks: tuple[Mapping[str, Any], ...]
    flags: tuple[str, ...] = ()
    """Words for `docker run` that a `run:` block has none for."""
    is_declared: bool = True
    """Medic knows of it."""
    host: str = "local"
    engine: tuple[str, ...] = ()
    """Words before every docker command about it: `--host ...`, where its engine is not this machine's own."""

    def docker(self, *words: str) -> str:
        """Run one docker command on the engine that it lives on."""
        return docker(*self.engine, *words)

    def inspect(self) -> dict[str, Any]:
        """Return what `docker inspect` says of its container. Raises StageError when there is none."""
        seen: dict[str, Any] = json.loads(self.docker("container", "inspect", self.container))[0]
        return seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The whole site of one run: what is declared, and where it lives."""

    run: str
    folder: Path
    port: int
    """nginx's published port on loopback."""
    parts: tuple[Part, ...]

    @property
    def network(self) -> str:
        """Return the name of the site's own network."""
        return f"medic-demo-{self.run}"

    @property
    def medic_yaml(self) -> Path:
        """Return the path of the configuration that `medic` is started with."""
        return self.folder / "medic.yaml"

    def part(self, name: str) -> Part:
        """Return one service."""
        return next(part for part in self.parts if part.name == name)

    def url(self, name: str) -> str:
        """Return the address of one service of BEHIND_NGINX as its users have it."""
        return f"http://127.0.0.1:{self.port}/{name}/health"


def docker(*words: str, timeout: timedelta = PATIENCE) -> str:
    """Run one docker command to its end and return what it printed. Raises StageError with Docker's own sentence."""
    return run(("docker", *words), f"docker {' '.join(words[:2])}", timeout).strip()


def run(command: Sequence[str | Path], named: str, timeout: timedelta) -> str:
    """Run one command to its end and return what it printed. Raises StageError with the command's own words."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout.total_seconds(), check=False
        )
    except subprocess.TimeoutExpired:
        raise StageError(f"cannot run {named}: no end after {timeout.total_seconds():.0f} s") from None
    if done.returncode != 0:
        raise StageError(f"cannot run {named}: {(done.stderr or done.stdout).strip()[-400:]}")
    return done.stdout


def inspect(container: str) -> dict[str, Any]:
    """Return what `docker inspect` says of one container. Raises StageError when there is none."""
    seen: dict[str, Any] = json.loads(docker("container", "inspect", container))[0]
    return seen


def address(container: str, network: str) -> str:
    """Return a container's address on one network."""
    return str(inspect(container)["NetworkSettings"]["Networks"][network]["IPAddress"])


def answers(url: str, timeout: timedelta = timedelta(seconds=2)) -> bool:
    """Say whether a GET of `url` answers 200 in time."""
    try:
        with urllib.request.urlopen(url, timeout=timeout.total_seconds()) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def plan(run: str, folder: Path) -> Stage:
    """Describe the site of one run and write its files (nginx.conf, billing.env, medic.yaml) into `folder`."""
    stage = Stage(run=run, folder=folder, port=free_port(), parts=())
    parts = (*(_web_service(stage, name) for name in BEHIND_NGINX), _cache(stage), _nginx(stage))
    stage = Stage(run=run, folder=folder, port=stage.port, parts=parts)
    (folder / "app.py").write_bytes(APP.read_bytes())
    (folder / "billing.env").write_text("CURRENCY=EUR\n")
    canaries.write(folder)
    (folder / "nginx.conf").write_text(_nginx_conf(stage))
    stage.medic_yaml.write_text(yaml.safe_dump(_medic_yaml(stage), sort_keys=False, width=120))
    return stage


def make_network(name: str, label: str, engine: tuple[str, ...] = ()) -> None:
    """Make a network with a label (`key=value`) and addresses that no other one of this engine has. Raises StageError.

    Docker's own pools hold about thirty networks, fewer than a lab has at once. The addresses come of the name; where another
    network has them already (a hundred networks meet about once in seven), the next ones are tried. engine: as of a `Part`.
    """
    for number in range(NETWORK_TRIES):
        try:
            docker(*engine, "network", "create", "--label", label, "--subnet", _subnet(name, number), name)
        except StageError as refused:
            if "overlaps" not in str(refused) or number + 1 == NETWORK_TRIES:
                raise
        else:
            return


def _subnet(network: str, number: int) -> str:
    drawn = zlib.crc32(f"{network}/{number}".encode())
    return f"10.{64 + drawn % 128}.{drawn // 128 % 256}.0/24"


def raise_all(stage: Stage) -> None:
    """Make the network on every engine and start every container, nginx last: it resolves its upstreams when it starts."""
    for engine in sorted({(), *(part.engine for part in stage.parts)}):
        make_network(stage.network, f"medic.demo={stage.run}", engine)
    for part in stage.parts:
        create(stage, part)


def create(stage: Stage, part: Part, *, start: bool = True) -> None:
    """Make and start one container from its declaration, as a person's deploy script does."""
    words = (*_flags(part.run), *part.flags, part.run["image"], *part.run["command"])
    part.docker(*(("run", "--detach") if start else ("create",)), "--name", part.container, *words)


def strike_all(stage: Stage) -> None:
    """Remove everything that carries this run's label, whoever made it (`recreate` keeps the declared labels)."""
    label = f"label=medic.demo={stage.run}"
    containers = docker("ps", "--all", "--quiet", "--filter", label).split()
    if containers:
        docker("rm", "--force", "--volumes", *containers)
    for kind in ("network", "volume", "image"):
        found = docker(kind, "ls", "--quiet", "--filter", label).split()
        if found:
            docker(kind, "rm", *found)


def left_over(stage: Stage) -> tuple[str, ...]:
    """Return what of this run is still in Docker."""
    label = f"label=medic.demo={stage.run}"
    containers = docker("ps", "--all", "--filter", label, "--format", "container {{.Names}}").splitlines()
    return (*containers, *docker("network", "ls", "--filter", label, "--format", "network {{.Name}}").splitlines())


def free_port() -> int:
    """Return a port of loopback that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _common(stage: Stage, name: str) -> dict[str, Any]:
    labels = {"medic.demo": stage.run, "medic.lab": "true", "medic.test": "lab"}
    return {
        "image": images.BASE,
        "networks": [stage.network],
        "labels": labels,
        "stop_timeout": "1s",
        "env_files": [f"{stage.folder}/{canaries.FILE}"],
    }


def _web_service(stage: Stage, name: str) -> Part:
    run = _common(stage, name) | {
        "command": ["python3", "/srv/app.py"],
        "volumes": [f"{stage.folder}/app.py:/srv/app.py:ro"],
        "env": {"NAME": name},
    }
    if name == "embed":
        run["memory"] = "64m"
    if name == "billing":
        run["env_files"] = [*run["env_files"], f"{stage.folder}/billing.env"]
    checks: tuple[Mapping[str, Any], ...] = (
        {"kind": "container"},
        {"kind": "http", "name": "direct", "plane": "direct", "url": "http://container:8080/health", "body": f"ok {name}"},
    )
    if name == "api":
        public = {"kind": "http", "name": "through-nginx", "plane": "nginx", "url": stage.url(name), "body": f"ok {name}"}
        checks = (*checks, public, {"kind": "nginx", "nginx": _container(stage, "web"), "port": 8080, "location": f"/{name}/"})
    return Part(name=name, container=_container(stage, name), run=run, checks=checks)


def _cache(stage: Stage) -> Part:
    command = ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""]
    checks = ({"kind": "container"}, {"kind": "tcp", "address": "container:6379"})
    return Part(
        name="cache", container=_container(stage, "cache"), run=_common(stage, "cache") | {"command": command}, checks=checks
    )


def _nginx(stage: Stage) -> Part:
    run = _common(stage, "web") | {
        "command": ["nginx", "-g", "daemon off;"],
        "ports": [f"127.0.0.1:{stage.port}:80"],
        "volumes": [f"{stage.folder}/nginx.conf:/etc/nginx/nginx.conf:ro"],
    }
    checks = ({"kind": "container"}, {"kind": "http", "plane": "host-port", "url": f"http://127.0.0.1:{stage.port}/up"})
    return Part(name="web", container=_container(stage, "web"), run=run, checks=checks)


def _container(stage: Stage, name: str) -> str:
    return f"medic-demo-{stage.run}-{name}"


def _flags(run: Mapping[str, Any]) -> list[str]:
    """Return the `docker run` flags that make a container as its `run:` block declares it."""
    flags: list[str] = []
    for key, flag in (("networks", "--network"), ("volumes", "--volume"), ("ports", "--publish"), ("env_files", "--env-file")):
        flags += [word for value in run.get(key, ()) for word in (flag, value)]
    for key, flag in (("labels", "--label"), ("env", "--env")):
        flags += [word for name, value in run.get(key, {}).items() for word in (flag, f"{name}={value}")]
    for key, flag in (("memory", "--memory"), ("restart_policy", "--restart"), ("user", "--user")):
        flags += [flag, run[key]] if key in run else []
    return [*flags, "--stop-timeout", run["stop_timeout"].removesuffix("s")]


def _nginx_conf(stage: Stage) -> str:
    """Return a configuration that asks Docker's DNS per request, but for `api`, which is routed as most people write it.

    A plain name is resolved once, when nginx starts or reloads: that is how a recreated backend is lost. And one plain name
    that does not resolve makes nginx refuse every reload, so the services that end the demo down must not have one.
    """
    locations = "".join(
        f"    location /api/ {{ proxy_pass http://{part.container}:8080/; }}\n"
        if part.name == "api"
        # `set` first: `break` ends the rewrite module's directives, and `set` is one of them.
        else f"    location /{part.name}/ {{\n      set $backend {part.container};\n"
        f"      rewrite ^/{part.name}/(.*)$ /$1 break;\n      proxy_pass http://$backend:8080;\n    }}\n"
        for part in stage.parts
        if part.name in BEHIND_NGINX
    )
    return (
        "worker_processes 1;\nerror_log stderr warn;\nevents { worker_connections 256; }\n"
        "http {\n  access_log off;\n  resolver 127.0.0.11 valid=1s;\n"
        "  proxy_connect_timeout 1s;\n  proxy_read_timeout 3s;\n"
        "  server {\n    listen 80;\n    location = /up { return 200 'up'; }\n"
        f"{locations}  }}\n}}\n"
    )


def _medic_yaml(stage: Stage) -> dict[str, Any]:
    limits = {"start_grace": "2s", "verify_within": "10s"}
    services = {
        part.name: {"container": part.container, "checks": list(part.checks), "run": part.run, "limits": limits}
        for part in stage.parts
    }
    document = {
        "interval": "1s",
        "state_dir": str(stage.folder / "state"),
        # Labels of other containers on this machine are no business of the demo.
        "discover_labels": False,
        "channels": {"notices": {"kind": "file", "path": str(stage.folder / "notices.jsonl")}},
        "services": services,
    }
    # Through JSON: values used twice would come out as YAML aliases, which medic.yaml may not hold.
    copied: dict[str, Any] = json.loads(json.dumps(document))
    return copied

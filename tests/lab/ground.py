"""What one scenario stands on: its containers, its network, its nginx and its medic.yaml, apart from every other run's.

In: a `Scenario`. Out: a `Stage` whose parts `docker run` and medic.yaml are both made of, so that the two cannot disagree.
`{folder}`, `{run}`, `{nginx}`, `{port}` and `{<service>}` in a scenario's texts stand for this run's folder and id, nginx's
published port, one for a service to publish, and the names of its containers; `{<host>}` for the address of another host, `{image}` for the digest of the base image.
"""

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any  # what YAML holds has no narrower type here

import yaml

from tests import canaries
from tests.lab import fleet_ground, images, stage
from tests.lab.fleet_ground import FleetHost
from tests.lab.scenario import Member, Scenario
from tests.lab.stage import Part, Stage, StageError

NGINX = "web"
FAR_APP = Path(__file__).with_name("far_app.sh")
FAR_HEALTH = {"kind": "http", "name": "health", "url": "http://container:8080/cgi-bin/health", "body": "ok"}
IMAGES = {"base": images.BASE, "tiny": images.TINY}


Check = Mapping[str, Any]
"""One check, in the words of medic.yaml."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site(Stage):
    """A stage with other hosts beside this machine."""

    hosts: tuple[FleetHost, ...] = ()

    def host(self, name: str) -> FleetHost:
        """Return one of them. Raises StageError where there is none of that name."""
        found = next((host for host in self.hosts if host.name == name), None)
        if found is None:
            raise StageError(f"there is no host {name!r} beside this machine")
        return found

    @contextlib.contextmanager
    def seen(self) -> Iterator[None]:
        """Let every engine answer for as long as the lab looks, whatever was done to it."""
        with contextlib.ExitStack() as open_:
            for host in self.hosts:
                open_.enter_context(host.seen())
            yield


def raise_all(site: Site) -> None:
    """Make every host, then start every container."""
    if site.hosts:
        fleet_ground.raise_all(site.hosts, site.folder)
    stage.raise_all(site)


def strike_all(site: Site) -> None:
    """Remove everything of this run, the hosts with all that is on them, also where this machine's engine is away."""
    try:
        stage.strike_all(site)
    finally:
        if site.hosts:
            fleet_ground.strike_all(site.hosts)


def plan(scenario: Scenario, run: str, folder: Path, extra: Callable[[Part], tuple[str, ...]] | None = None) -> Site:
    """Describe what one run of a scenario stands on and write its files into `folder`.

    extra: the words for `docker run` that a rival wants to see on a container (its HEALTHCHECK, a restart policy).
    """
    hosts = tuple(
        FleetHost(run=run, number=number, folder=folder / name, called=name, disk=host.disk)
        for number, (name, host) in enumerate(scenario.hosts.items(), start=1)
    )
    site = Site(run=run, folder=folder, port=stage.free_port(), parts=(), hosts=hosts)
    parts = [_part(scenario, site, name, member) for name, member in scenario.services.items()]
    if scenario.routes:
        parts.append(_nginx(scenario, site))
    if extra is not None:
        parts = [replace(part, flags=(*part.flags, *extra(part))) if part.is_declared else part for part in parts]
    site = replace(site, parts=tuple(parts))
    (folder / "app.py").write_bytes(stage.APP.read_bytes())
    (folder / FAR_APP.name).write_bytes(FAR_APP.read_bytes())
    for name, member in scenario.services.items():
        _keep(folder / name, member.files)
    for host in hosts:
        _keep(host.files, filled(scenario.hosts[host.name].files, scenario, site))
    (folder / "nginx.conf").write_text(_nginx_conf(scenario, site))
    canaries.write(folder)
    site.medic_yaml.write_text(yaml.safe_dump(_medic_yaml(scenario, site), sort_keys=False, width=120))
    return site


def _keep(folder: Path, files: Mapping[str, str]) -> None:
    folder.mkdir(mode=0o777, parents=True)
    for file, text in files.items():
        (folder / file).write_text(text)
        (folder / file).chmod(0o755 if text.startswith("#!") else 0o644)


def container(site: Stage, name: str) -> str:
    """Return the name of a service's container."""
    return f"medic-lab-{site.run}-{name}"


def is_well(site: Stage, name: str) -> bool:
    """Say whether a service is well, seen by the lab's own eyes: it runs, and what its HTTP checks ask is answered right."""
    part = site.part(name)
    try:
        seen = part.inspect()
    except StageError:
        return False
    state = seen["State"]
    if state["Status"] != "running":
        return False
    return all(_answers(site, part, check) for check in part.checks if check["kind"] == "http")


def _answers(site: Stage, part: Part, check: Check) -> bool:
    url = check["url"]
    if part.engine and "//container" in url:
        try:  # from inside: this machine has no way into another host's network
            words = ("timeout", "2", "wget", "-q", "-O", "-", url.replace("//container", "//127.0.0.1"))
            return check.get("body", "") in part.docker("exec", part.container, *words)
        except StageError:
            return False
    if "//container" in url:
        networks = stage.inspect(part.container)["NetworkSettings"]["Networks"]
        if site.network not in networks:
            return False
        url = url.replace("//container", f"//{networks[site.network]['IPAddress']}")
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return check.get("body", "").encode() in response.read(4096)
    except (OSError, ValueError, urllib.error.URLError):
        return False


def _part(scenario: Scenario, site: Site, name: str, member: Member) -> Part:
    is_app = member.command is None
    is_far = member.host != "local"
    program = FAR_APP if is_far else stage.APP
    run: dict[str, Any] = {
        "image": images.TINY if is_far else IMAGES[member.image],
        "command": ["sh" if is_far else "python3", f"/srv/{program.name}"] if is_app else member.command,
        "networks": [site.network],
        "labels": _labels(site),
        "stop_timeout": "1s",
        "volumes": [f"{site.folder}/{program.name}:/srv/{program.name}:ro", f"{site.folder}/{name}:/srv/kept"],
        "env_files": [f"{site.folder}/{canaries.FILE}"],
    }
    if is_app and not is_far:
        run["env"] = {"NAME": name, **(member.app or {})}
    for key, value in member.run.items():
        both = isinstance(run.get(key), list | dict)
        run[key] = (
            (run[key] | value if isinstance(value, dict) else [*run[key], *value]) if both and key != "command" else value
        )
    checks = member.checks
    if checks is None:
        near = {"kind": "http", "name": "health", "url": "http://container:8080/health", "body": f"ok {name}"}
        health = FAR_HEALTH if is_far else near
        checks = [{"kind": "container"}, *([health] if is_app else [])]
    return Part(
        name=name,
        container=container(site, name),
        run=filled(run, scenario, site),
        checks=tuple(filled(checks, scenario, site)),
        flags=tuple(filled(member.docker, scenario, site)),
        is_declared=member.declared,
        host=member.host,
        engine=site.host(member.host).engine if is_far else (),
    )


def _nginx(scenario: Scenario, site: Site) -> Part:
    run = {
        "image": images.BASE,
        "command": ["nginx", "-g", "daemon off;"],
        "networks": [site.network],
        "labels": _labels(site),
        "stop_timeout": "1s",
        "ports": [f"127.0.0.1:{site.port}:80"],
        "volumes": [f"{site.folder}/nginx.conf:/etc/nginx/nginx.conf"],
    }
    checks = ({"kind": "container"}, {"kind": "http", "plane": "host-port", "url": f"http://127.0.0.1:{site.port}/up"})
    return Part(name=NGINX, container=container(site, NGINX), run=run, checks=checks)


def _nginx_conf(scenario: Scenario, site: Stage) -> str:
    """Return a configuration with the scenario's routes, each `plain` (resolved at start) or `asked` (per request)."""
    locations = "".join(
        f"    location /{name}/ {{ proxy_pass http://{container(site, name)}:8080/; }}\n"
        if kind == "plain"
        # `set` first: `break` ends the rewrite module's directives, and `set` is one of them.
        else f"    location /{name}/ {{\n      set $backend {container(site, name)};\n"
        f"      rewrite ^/{name}/(.*)$ /$1 break;\n      proxy_pass http://$backend:8080;\n    }}\n"
        for name, kind in scenario.routes.items()
    )
    return (
        "worker_processes 1;\nerror_log stderr warn;\nevents { worker_connections 256; }\n"
        "http {\n  access_log off;\n  resolver 127.0.0.11 valid=1s;\n"
        "  proxy_connect_timeout 1s;\n  proxy_read_timeout 3s;\n"
        f"  server {{\n    listen 80;\n    location = /up {{ return 200 'up'; }}\n{locations}  }}\n}}\n"
    )


def _hosts(scenario: Scenario, site: Site) -> dict[str, Any]:
    """Return the `hosts:` of medic.yaml where there are others than this machine."""
    if not site.hosts:
        return {}
    declared: dict[str, Any] = {"local": {}} if any(part.host == "local" for part in site.parts) else {}
    for host in site.hosts:
        given = scenario.hosts[host.name]
        words = host.declared()
        ssh = {**host.sshd.words(), **filled(given.ssh, scenario, site)}
        declared[host.name] = {**words, "ssh": ssh, **filled(given.medic, scenario, site)}
    return {"hosts": declared}


def _medic_yaml(scenario: Scenario, site: Site) -> dict[str, Any]:
    members = dict(scenario.services)
    services = {}
    for part in site.parts:
        if not part.is_declared:
            continue
        given = members[part.name].medic if part.name in members else scenario.nginx
        more = dict(filled(given, scenario, site))
        limits = {"start_grace": "1s", "verify_within": "15s", **more.pop("limits", {})}
        services[part.name] = {
            "container": part.container,
            "checks": list(part.checks),
            "run": part.run,
            "limits": limits,
            **({"host": part.host} if part.host != "local" else {}),
            **more,
        }
    document = {
        "interval": "1s",
        "state_dir": str(site.folder / "state"),
        # Labels of other containers on this machine are no business of the lab.
        "discover_labels": False,
        "channels": {"notices": {"kind": "file", "path": str(site.folder / "notices.jsonl")}},
        **_hosts(scenario, site),
        **filled(scenario.medic, scenario, site),
        "services": services,
    }
    # Through JSON: values used twice would come out as YAML aliases, which medic.yaml may not hold.
    copied: dict[str, Any] = json.loads(json.dumps(document))
    return copied


def _labels(site: Stage) -> dict[str, str]:
    return {"medic.demo": site.run, "medic.lab": "true", "medic.test": "lab"}


def _own_port(site: Stage) -> str:
    """Return a port of loopback for one service of this run to publish: the same each time it is asked for."""
    return str(site.port + 1 if site.port < 65_535 else site.port - 1)


def filled(value: Any, scenario: Scenario, site: Site) -> Any:
    """Return the value with every placeholder in its texts replaced."""
    match value:
        case str():
            names = {name: container(site, name) for name in (*scenario.services, NGINX)}
            fixed = {"folder": str(site.folder), "nginx": str(site.port), "run": site.run, "port": _own_port(site)}
            hosts = {host.name: host.address for host in site.hosts}
            for name, stands_for in {**fixed, **names, **hosts}.items():
                value = value.replace(f"{{{name}}}", stands_for)
            return value.replace("{image}", images.digest(images.BASE)) if "{image}" in value else value
        case dict():
            return {key: filled(each, scenario, site) for key, each in value.items()}
        case list():
            return [filled(each, scenario, site) for each in value]
        case _:
            return value

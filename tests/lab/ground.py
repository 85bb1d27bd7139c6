"""What one scenario stands on: its containers, its network, its nginx and its medic.yaml, apart from every other run's.

In: a `Scenario`. Out: a `Stage` whose parts `docker run` and medic.yaml are both made of, so that the two cannot disagree.
`{folder}`, `{run}`, `{nginx}`, `{port}` and `{<service>}` in a scenario's texts stand for this run's folder and id, nginx's
published port, one for a service to publish, and the names of its containers; `{image}` for the digest of the base image.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any  # what YAML holds has no narrower type here

import yaml

from tests import canaries
from tests.lab import images, stage
from tests.lab.scenario import Member, Scenario
from tests.lab.stage import Part, Stage

NGINX = "web"
IMAGES = {"base": images.BASE, "tiny": images.TINY}


Check = Mapping[str, Any]
"""One check, in the words of medic.yaml."""


def plan(scenario: Scenario, run: str, folder: Path, extra: Callable[[Part], tuple[str, ...]] | None = None) -> Stage:
    """Describe what one run of a scenario stands on and write its files into `folder`.

    extra: the words for `docker run` that a rival wants to see on a container (its HEALTHCHECK, a restart policy).
    """
    site = Stage(run=run, folder=folder, port=stage.free_port(), parts=())
    parts = [_part(scenario, site, name, member) for name, member in scenario.services.items()]
    if scenario.routes:
        parts.append(_nginx(scenario, site))
    if extra is not None:
        parts = [replace(part, flags=(*part.flags, *extra(part))) if part.is_declared else part for part in parts]
    site = Stage(run=run, folder=folder, port=site.port, parts=tuple(parts))
    (folder / "app.py").write_bytes(stage.APP.read_bytes())
    for name, member in scenario.services.items():
        kept = folder / name
        kept.mkdir(mode=0o777)
        for file, text in member.files.items():
            (kept / file).write_text(text)
            (kept / file).chmod(0o755 if text.startswith("#!") else 0o644)
    (folder / "nginx.conf").write_text(_nginx_conf(scenario, site))
    canaries.write(folder)
    site.medic_yaml.write_text(yaml.safe_dump(_medic_yaml(scenario, site), sort_keys=False, width=120))
    return site


def container(site: Stage, name: str) -> str:
    """Return the name of a service's container."""
    return f"medic-lab-{site.run}-{name}"


def is_well(site: Stage, name: str) -> bool:
    """Say whether a service is well, seen by the lab's own eyes: it runs, and what its HTTP checks ask is answered right."""
    part = site.part(name)
    try:
        seen = stage.inspect(part.container)
    except stage.StageError:
        return False
    state = seen["State"]
    if state["Status"] != "running":
        return False
    return all(_answers(site, part, check) for check in part.checks if check["kind"] == "http")


def _answers(site: Stage, part: Part, check: Check) -> bool:
    url = check["url"]
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


def _part(scenario: Scenario, site: Stage, name: str, member: Member) -> Part:
    is_app = member.command is None
    run: dict[str, Any] = {
        "image": IMAGES[member.image],
        "command": ["python3", "/srv/app.py"] if is_app else member.command,
        "networks": [site.network],
        "labels": _labels(site),
        "stop_timeout": "1s",
        "volumes": [f"{site.folder}/app.py:/srv/app.py:ro", f"{site.folder}/{name}:/srv/kept"],
        "env_files": [f"{site.folder}/{canaries.FILE}"],
    }
    if is_app:
        run["env"] = {"NAME": name, **(member.app or {})}
    for key, value in member.run.items():
        both = isinstance(run.get(key), list | dict)
        run[key] = (
            (run[key] | value if isinstance(value, dict) else [*run[key], *value]) if both and key != "command" else value
        )
    checks = member.checks
    if checks is None:
        health = {"kind": "http", "name": "health", "url": "http://container:8080/health", "body": f"ok {name}"}
        checks = [{"kind": "container"}, *([health] if is_app else [])]
    return Part(
        name=name,
        container=container(site, name),
        run=_filled(run, scenario, site),
        checks=tuple(_filled(checks, scenario, site)),
        flags=tuple(_filled(member.docker, scenario, site)),
        is_declared=member.declared,
    )


def _nginx(scenario: Scenario, site: Stage) -> Part:
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


def _medic_yaml(scenario: Scenario, site: Stage) -> dict[str, Any]:
    members = dict(scenario.services)
    services = {}
    for part in site.parts:
        if not part.is_declared:
            continue
        given = members[part.name].medic if part.name in members else scenario.nginx
        more = dict(_filled(given, scenario, site))
        limits = {"start_grace": "1s", "verify_within": "15s", **more.pop("limits", {})}
        services[part.name] = {
            "container": part.container,
            "checks": list(part.checks),
            "run": part.run,
            "limits": limits,
            **more,
        }
    document = {
        "interval": "1s",
        "state_dir": str(site.folder / "state"),
        # Labels of other containers on this machine are no business of the lab.
        "discover_labels": False,
        "channels": {"notices": {"kind": "file", "path": str(site.folder / "notices.jsonl")}},
        **_filled(scenario.medic, scenario, site),
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


def _filled(value: Any, scenario: Scenario, site: Stage) -> Any:
    """Return the value with every placeholder in its texts replaced."""
    match value:
        case str():
            names = {name: container(site, name) for name in (*scenario.services, NGINX)}
            fixed = {"folder": str(site.folder), "nginx": str(site.port), "run": site.run, "port": _own_port(site)}
            for name, stands_for in {**fixed, **names}.items():
                value = value.replace(f"{{{name}}}", stands_for)
            return value.replace("{image}", images.digest(images.BASE)) if "{image}" in value else value
        case dict():
            return {key: _filled(each, scenario, site) for key, each in value.items()}
        case list():
            return [_filled(each, scenario, site) for each in value]
        case _:
            return value

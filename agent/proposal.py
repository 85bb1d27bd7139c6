"""What `medic init` proposes: a medic.yaml for the containers that are running now. Pure: what was seen in, text out.

The text loads as it stands. What cannot be known from outside (the health path, the spec to recreate from) is there as a
comment at the place where it belongs.
"""

import json
from collections.abc import Mapping, Sequence

from agent import words
from agent.model import ContainerFacts, ContainerState, HttpSeen, NginxRoute, NginxSeen, Observation

_OK = 200

_HEAD = """\
# Proposed by `medic init` from the containers that are running. Look through it, then: medic check, medic watch.
# Every key with its default: `medic config`. What each means: docs/how-to/configure.md

interval: 5s
"""


def may_be_nginx(facts: ContainerFacts) -> bool:
    """Say whether it is worth asking a container for its nginx configuration."""
    names = f"{facts.name} {facts.image}".lower()
    return facts.state is ContainerState.RUNNING and any(word in names for word in ("nginx", "openresty", "proxy"))


def write(
    containers: Sequence[ContainerFacts],
    answers: Mapping[int, Observation],
    nginx: Mapping[str, NginxSeen],
    models: Mapping[int, Observation],
) -> str:
    """Return a medic.yaml.

    answers: what `GET http://127.0.0.1:<port>/` gave, by published port of the host; models: the same of `/v1/models`.
    nginx: what `nginx -T` said, by the name of the container.
    """
    running = [facts for facts in containers if facts.state is ContainerState.RUNNING and _is_name(facts.name)]
    asked = [facts for facts in sorted(running, key=lambda facts: facts.name) if not _labelled(facts)]
    blocks = [_block(facts, answers, nginx, models) for facts in asked]
    labelled = [f"# {facts.name} declares itself with Docker labels.\n" for facts in running if _labelled(facts)]
    services = "services:\n" + "\n".join(blocks) if blocks else "services: {}  # no container is running\n"
    return "\n".join([_HEAD, *labelled, services])


def _labelled(facts: ContainerFacts) -> bool:
    return dict(facts.labels).get("medic.enable", "").lower() == "true"


def _is_name(text: str) -> bool:
    try:
        return words.name(text) == text
    except ValueError:
        return False


def _block(
    facts: ContainerFacts,
    answers: Mapping[int, Observation],
    nginx: Mapping[str, NginxSeen],
    models: Mapping[int, Observation],
) -> str:
    lines = [f"  {_scalar(facts.name)}:", f"    # {_plain(facts.image)}", "    checks:"]
    if facts.health is None:
        lines += ["      - kind: container"]
    else:
        lines += [f"      - kind: container  # its own HEALTHCHECK counts too; it says {_plain(facts.health)} now"]
    for inside, outside in sorted(set(facts.ports)):
        lines += _port_check(inside, outside, answers.get(outside))
        lines += _completion_check(outside, models.get(outside))
    for proxy in sorted(nginx):
        lines += [line for route in nginx[proxy].routes for line in _nginx_check(facts, proxy, route)]
    return "\n".join([*lines, *_spec(facts), ""])


def _port_check(inside: int, outside: int, answer: Observation | None) -> list[str]:
    match answer:
        case HttpSeen(status=int(status)) if 200 <= status < 400:
            return [
                f"      - {{kind: http, url: {_scalar(f'http://127.0.0.1:{outside}/')}}}  # a path that tests more is better"
            ]
        case HttpSeen(status=int(status)):
            note = f"  # speaks HTTP ({status} at /): {{kind: http, url: {_scalar(f'http://127.0.0.1:{outside}/YOUR-HEALTH-PATH')}}}"
        case _:
            note = f"  # port {inside} of the container"
    return [f"      - {{kind: tcp, address: {_scalar(f'127.0.0.1:{outside}')}}}{note}"]


def _completion_check(outside: int, answer: Observation | None) -> list[str]:
    """Return the check of an OpenAI-style endpoint: one that names a model at `/v1/models`."""
    if not isinstance(answer, HttpSeen) or answer.status != _OK:
        return []
    try:
        model = json.loads(answer.body)["data"][0]["id"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []
    if not isinstance(model, str) or not model or len(model) > 200 or not (model.isascii() and model.isprintable()):
        return []
    url = _scalar(f"http://127.0.0.1:{outside}/v1")
    return [f"      - {{kind: completion, url: {url}, model: {_scalar(model)}, every: 1m}}"]


def _nginx_check(facts: ContainerFacts, proxy: str, route: NginxRoute) -> list[str]:
    """Return the check for one route that leads to this container, by a name or an address that it has."""
    own = {
        facts.name,
        *(network.address for network in facts.networks),
        *(a for network in facts.networks for a in network.aliases),
    }
    target = next((target for target in route.targets if target.host in own), None)
    names = [name for name in route.server_names if name not in ("", "_")]
    if (
        target is None
        or facts.name == proxy
        or not all(text.isascii() and text.isprintable() for text in (route.location, *names))
    ):
        return []
    server_name = f", server_name: {_scalar(names[0])}" if names else ""
    return [
        f"      - {{kind: nginx, nginx: {_scalar(proxy)}, port: {target.port}, location: {_scalar(route.location)}{server_name}}}"
    ]


def _spec(facts: ContainerFacts) -> list[str]:
    """Return the spec as a comment: a person must say what is true before a container is recreated from it."""
    compose = dict(facts.labels)
    file, service = compose.get("com.docker.compose.project.config_files"), compose.get("com.docker.compose.service")
    if file and service:
        spec = {"file": file.split(",")[0], "service": service, "project": compose.get("com.docker.compose.project")}
        return [f"    # compose: {_plain(json.dumps({key: value for key, value in spec.items() if value}))}"]
    return [f"    # run: {{image: {_plain(json.dumps(facts.image))}}}  # name its spec, and it can be recreated"]


def _scalar(text: str) -> str:
    """Return printable ASCII text as a YAML scalar that is that text and nothing else."""
    return json.dumps(text)


def _plain(text: str) -> str:
    """Return outside text for a comment: on one line, bounded."""
    return "".join(character if character.isprintable() else "?" for character in text[:200])

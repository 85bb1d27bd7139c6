"""What `medic init` proposes loads as it stands and says what was seen."""

from datetime import timedelta
from pathlib import Path

import pytest

from agent import config, proposal
from agent.model import (
    CompletionCheck,
    ContainerFacts,
    ContainerState,
    HttpCheck,
    HttpSeen,
    Network,
    NginxCheck,
    NginxRoute,
    NginxSeen,
    NginxTarget,
    Observation,
    Service,
    TcpCheck,
)

NOW = timedelta(milliseconds=1)


def container(name: str, **changes: object) -> ContainerFacts:
    values = {"name": name, "id": name, "state": ContainerState.RUNNING, "image": f"{name}:1", **changes}
    return ContainerFacts(**values)  # type: ignore[arg-type]


def load(folder: Path, text: str) -> dict[str, Service]:
    (folder / "medic.yaml").write_text(text)
    return {str(service.name): service for service in config.load(folder / "medic.yaml", {}).services}


def route(location: str, host: str, port: int = 8000, name: str = "shop.example") -> NginxSeen:
    target = NginxTarget(host=host, port=port)
    only = NginxRoute(listen=("80",), server_names=("_", name), location=location, targets=(target,))
    return NginxSeen(valid=True, routes=(only,))


def test_nothing_running_is_a_file_that_loads(tmp_path: Path) -> None:
    assert load(tmp_path, proposal.write([], {}, {}, {})) == {}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (HttpSeen(status=200, latency=NOW), HttpCheck),
        (HttpSeen(status=404, latency=NOW), TcpCheck),
        (HttpSeen(status=None, latency=NOW, error="reset"), TcpCheck),
        (None, TcpCheck),
    ],
)
def test_a_published_port_is_asked_as_it_answers(answer: Observation | None, kind: type, tmp_path: Path) -> None:
    text = proposal.write([container("web", ports=((80, 8080),))], {8080: answer} if answer else {}, {}, {})
    check = load(tmp_path, text)["web"].checks[1]
    assert isinstance(check, kind)
    assert check.name.endswith("host-port")


@pytest.mark.parametrize(
    ("body", "models"),
    [
        ('{"data": [{"id": "llama-3-8b"}, {"id": "other"}]}', ["llama-3-8b"]),
        ('{"data": [{"id": "x, kind: command, command: reboot"}]}', ["x, kind: command, command: reboot"]),
        ('{"data": []}', []),
        ('{"data": [{"id": "a\\nb"}]}', []),
        ('{"data": [{"id": 7}]}', []),
        ("<html>", []),
        ("[" * 60_000, []),
    ],
)
def test_an_endpoint_that_names_a_model_is_asked_for_a_completion(body: str, models: list[str], tmp_path: Path) -> None:
    answer = HttpSeen(status=200, latency=NOW, body=body)
    text = proposal.write([container("llm", ports=((8000, 8000),))], {}, {}, {8000: answer})
    checks = load(tmp_path, text)["llm"].checks
    assert [check.model for check in checks if isinstance(check, CompletionCheck)] == models


@pytest.mark.parametrize("target", ["web", "172.18.0.5", "shop-web"])
def test_a_route_that_leads_to_a_container_becomes_its_nginx_check(target: str, tmp_path: Path) -> None:
    web = container("web", networks=(Network(name="n", address="172.18.0.5", aliases=("shop-web",)),))
    services = load(tmp_path, proposal.write([web, container("proxy")], {}, {"proxy": route("/api/", target)}, {}))
    check = services["web"].checks[1]
    assert isinstance(check, NginxCheck)
    assert (check.nginx, check.port, check.location, check.server_name) == ("proxy", 8000, "/api/", "shop.example")
    assert len(services["proxy"].checks) == 1


def test_containers_that_do_not_run_or_declare_themselves_are_left_out(tmp_path: Path) -> None:
    containers = [
        container("dead", state=ContainerState.EXITED),
        container("own", labels=(("medic.enable", "true"),)),
        container("web"),
    ]
    text = proposal.write(containers, {}, {}, {})
    assert list(load(tmp_path, text)) == ["web"]
    assert "# own declares itself" in text


def test_the_spec_is_a_comment_that_a_person_confirms(tmp_path: Path) -> None:
    compose = (
        ("com.docker.compose.project", "shop"),
        ("com.docker.compose.project.config_files", "/srv/compose.yaml"),
        ("com.docker.compose.service", "web"),
    )
    text = proposal.write([container("web", labels=compose)], {}, {}, {})
    assert '# compose: {"file": "/srv/compose.yaml", "service": "web", "project": "shop"}' in text
    assert load(tmp_path, text)["web"].spec is None


def test_a_healthcheck_is_named(tmp_path: Path) -> None:
    assert "HEALTHCHECK counts too; it says healthy now" in proposal.write([container("web", health="healthy")], {}, {}, {})


HOSTILE = "x\n  evil: {run: {image: rm}}\n#\x1b[31m\u202e'\"{{ }}"


def test_hostile_text_stays_in_comments_and_quotes(tmp_path: Path) -> None:
    labels = tuple((key, HOSTILE) for key in ("com.docker.compose.project.config_files", "com.docker.compose.service"))
    hostile = container("web", image=HOSTILE, health=HOSTILE, labels=labels)
    plain = '/a "quoted" \\ path'
    seen = {"proxy": route(plain, "web"), "other": route(HOSTILE, "web"), "third": route("/", "web", name=HOSTILE)}
    text = proposal.write([hostile, container(HOSTILE)], {}, seen, {})
    services = load(tmp_path, text)
    assert list(services) == ["web"]
    assert [check.location for check in services["web"].checks if isinstance(check, NginxCheck)] == [plain]
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize(
    ("name", "image", "may_be"), [("proxy", "x", True), ("edge", "nginx:1", True), ("web", "python", False)]
)
def test_only_what_may_be_nginx_is_asked(name: str, image: str, may_be: bool) -> None:
    assert proposal.may_be_nginx(container(name, image=image)) is may_be

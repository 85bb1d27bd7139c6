"""The nginx check: what nginx routes against what really runs."""

from dataclasses import replace
from datetime import timedelta

import pytest

from agent import checks
from agent.checks import nginx_routes
from agent.model import (
    Blind,
    ContainerFacts,
    ContainersRequest,
    ContainersSeen,
    ContainerState,
    Health,
    HostName,
    Judgement,
    Network,
    NginxCheck,
    NginxRequest,
    NginxRoute,
    NginxSeen,
    NginxTarget,
    Observation,
    Plane,
    ProbeRequest,
    Service,
    ServiceName,
    Thresholds,
)

HERE = HostName("here")
CHECK = NginxCheck(
    name="route", every=timedelta(seconds=5), thresholds=Thresholds(), nginx="front", port=8000, server_name="shop.example"
)
W, S, U = Health.WELL, Health.SICK, Health.UNKNOWN


def container(name: str, address: str = "", state: ContainerState = ContainerState.RUNNING, **more: object) -> ContainerFacts:
    aliases = more.pop("aliases", ())
    network = Network(name=str(more.pop("network", "lab")), address=address, aliases=aliases)  # type: ignore[arg-type]
    return replace(ContainerFacts(name=name, id=name, state=state, image=f"{name}:1", networks=(network,)), **more)  # type: ignore[arg-type]


FRONT = container("front", "172.20.0.2")
WEB = container("web-1", "172.20.0.5", aliases=("web",), ports=((8000, 18000),))
BLOG = container("blog", "172.20.0.6", ports=((80, 18080),))
COMPOSED = replace(WEB, labels=((nginx_routes.COMPOSE_SERVICE, "shop"), (nginx_routes.COMPOSE_PROJECT, "one")))
COMPOSED_TWIN = replace(COMPOSED, name="one-shop-2", networks=(Network(name="lab", address="172.20.0.8"),))
OTHER_PROJECT = replace(COMPOSED_TWIN, name="two-shop-1", labels=((nginx_routes.COMPOSE_SERVICE, "shop"),))
SAME_IMAGE = container("api", "172.20.0.6", image="web-1:1")
TWIN = container("web-2", "172.20.0.7", image="web-1:2")
STOPPED_TWIN = container("web-2", "", ContainerState.EXITED, image="web-1:2")
FAR = container("far", "172.30.0.9", network="other")


def route(*targets: str, location: str = "/", names: tuple[str, ...] = ("shop.example",)) -> NginxRoute:
    split = [target.rpartition(":") for target in targets]
    return NginxRoute(
        listen=("80",),
        server_names=names,
        location=location,
        targets=tuple(NginxTarget(host=host, port=int(port)) for host, _, port in split),
    )


def judge(
    *routes: NginxRoute,
    check: NginxCheck = CHECK,
    running: tuple[ContainerFacts, ...] = (FRONT, WEB, BLOG),
    answer: Observation | None = None,
    own: ContainerFacts | Blind = WEB,
) -> Judgement:
    service = Service(name=ServiceName("web"), host=HERE, container="web-1", checks=(check,))
    observed: dict[ProbeRequest, Observation] = {ContainersRequest(host=HERE): ContainersSeen(containers=running)}
    observed |= dict.fromkeys(checks.requests(check, service, own), answer or NginxSeen(valid=True, routes=routes))
    return checks.judge(check, service, own, observed)


def found(judgement: Judgement) -> tuple[Health, list[str]]:
    return judgement.health, [symptom.word for symptom in judgement.symptoms]


@pytest.mark.parametrize(
    "target",
    ["172.20.0.5:8000", "web-1:8000", "web:8000", "host.docker.internal:18000"],
    ids=["address", "container name", "alias", "published port"],
)
def test_a_route_that_leads_here_is_well(target: str) -> None:
    assert found(judge(route(target))) == (W, [])


@pytest.mark.parametrize(
    ("routes", "running", "expected"),
    [
        ((), (FRONT, WEB), "nginx-missing-route"),
        ((route("web:8000", location="/other"),), (FRONT, WEB), "nginx-missing-route"),
        ((route("web:8000", names=("blog.example",)),), (FRONT, WEB), "nginx-missing-route"),
        ((route("web-2:8000"),), (FRONT, WEB, TWIN), "nginx-missing-route"),
        ((route("172.20.0.99:8000"),), (FRONT, WEB), "nginx-ghost-route"),
        ((route("gone:8000"),), (FRONT, WEB), "nginx-ghost-route"),
        ((route("far:8000"),), (FRONT, WEB, FAR), "nginx-ghost-route"),
        ((route("172.20.0.5:8000", "172.20.0.99:8000"),), (FRONT, WEB), "nginx-ghost-route"),
        ((route("172.20.0.6:8000"),), (FRONT, WEB, BLOG), "nginx-wrong-service"),
        ((route("blog:80"),), (FRONT, WEB, BLOG), "nginx-wrong-service"),
        ((route("api:8000"),), (FRONT, WEB, SAME_IMAGE), "nginx-wrong-service"),
        ((route("web:8000", "blog:80"),), (FRONT, WEB, BLOG), "nginx-wrong-service"),
        ((route("web:8000"), route("blog:80")), (FRONT, WEB, BLOG), "nginx-wrong-service"),
        ((route("web:9999"),), (FRONT, WEB), "nginx-wrong-service"),
        ((route("host.docker.internal:18080"),), (FRONT, WEB, BLOG), "nginx-wrong-service"),
        ((route("host.docker.internal:19999"),), (FRONT, WEB, BLOG), "nginx-ghost-route"),
        ((route("127.0.0.1:18000"),), (FRONT, WEB), "nginx-wrong-service"),
    ],
)
def test_a_route_that_does_not_lead_here_is_named(
    routes: tuple[NginxRoute, ...], running: tuple[ContainerFacts, ...], expected: str
) -> None:
    assert found(judge(*routes, running=running)) == (S, [expected])


@pytest.mark.parametrize(
    ("routes", "running"),
    [
        ((route("web:8000", "172.20.0.7:8000"),), (FRONT, WEB, TWIN)),
        ((route("172.20.0.5:8000", "172.20.0.99:8000"),), (FRONT, WEB, STOPPED_TWIN)),
        ((route("web:8000", "web-2:8000"),), (FRONT, WEB, STOPPED_TWIN)),
    ],
    ids=["a replica beside it", "a replica that is down", "a replica that is down, by name"],
)
def test_replicas_in_one_upstream_are_no_trouble(routes: tuple[NginxRoute, ...], running: tuple[ContainerFacts, ...]) -> None:
    assert found(judge(*routes, running=running)) == (W, [])


def test_compose_services_are_known_by_name_and_their_replicas_by_label() -> None:
    both = route("shop:8000", "172.20.0.8:8000")
    assert found(judge(both, own=COMPOSED, running=(FRONT, COMPOSED, COMPOSED_TWIN))) == (W, [])
    apart = route("web-1:8000", "172.20.0.8:8000")
    assert found(judge(apart, own=COMPOSED, running=(FRONT, COMPOSED, OTHER_PROJECT))) == (S, ["nginx-wrong-service"])


def test_nginx_on_the_hosts_network_reaches_published_ports_by_loopback() -> None:
    front = container("front", "", network="host")
    assert found(judge(route("127.0.0.1:18000"), running=(front, WEB))) == (W, [])


@pytest.mark.parametrize("target", ["http://$backend:0", "unix:/run/web.sock:0"])
def test_a_target_that_cannot_be_compared_is_unknown(target: str) -> None:
    assert found(judge(route(target))) == (U, [])


def test_without_a_server_name_the_routes_of_other_sites_do_not_matter() -> None:
    anywhere = replace(CHECK, server_name=None)
    blog = route("blog:80", names=("blog.example",))
    assert found(judge(route("web:8000"), blog, check=anywhere)) == (W, [])
    assert found(judge(blog, check=anywhere)) == (S, ["nginx-missing-route"])


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [("shop.example", True), ("*.example", True), (".example", True), ("shop.*", True), ("SHOP.EXAMPLE", True), ("_", False)],
)
def test_server_names_match_as_nginx_matches_them(pattern: str, matches: bool) -> None:
    assert (judge(route("web:8000", names=(pattern,))).health is W) is matches


@pytest.mark.parametrize("location", ["/api/", "= /api/", "^~ /api/"])
def test_the_modifier_of_a_location_does_not_matter(location: str) -> None:
    assert judge(route("web:8000", location=location), check=replace(CHECK, location="/api/")).health is W


@pytest.mark.parametrize(
    "running", [(WEB,), (replace(FRONT, state=ContainerState.EXITED), WEB), (replace(FRONT, state=ContainerState.PAUSED), WEB)]
)
def test_an_nginx_that_does_not_run_is_down(running: tuple[ContainerFacts, ...]) -> None:
    assert found(judge(route("web:8000"), running=running, answer=Blind(why="not running"))) == (S, ["nginx-down"])


def test_an_invalid_configuration_says_that_the_old_one_may_be_served() -> None:
    judgement = judge(answer=NginxSeen(valid=False, message="[emerg] unknown directive"))
    assert found(judgement) == (S, ["nginx-invalid-config"])
    assert "may still be served" in judgement.detail
    assert "[emerg] unknown directive" in judgement.detail


@pytest.mark.parametrize(
    ("upstream", "expected"),
    [("blog:80", (U, [])), ("blog", (U, [])), ("web-1:8000", (S, [])), ("web:8000", (S, []))],
)
def test_a_neighbour_that_nginx_cannot_resolve_says_nothing_about_this_service(
    upstream: str, expected: tuple[Health, list[str]]
) -> None:
    message = f'nginx: [emerg] host not found in upstream "{upstream}" in /etc/nginx/nginx.conf:12'
    assert found(judge(answer=NginxSeen(valid=False, message=message))) == expected


def test_what_cannot_be_seen_is_unknown() -> None:
    assert found(judge(answer=Blind(why="exec timed out"))) == (U, [])
    assert found(judge(own=Blind(why="no docker"))) == (U, [])


def test_a_stopped_container_is_sick_by_consequence_and_adds_no_symptom() -> None:
    stopped = replace(WEB, state=ContainerState.EXITED)
    assert found(judge(route("web:8000"), own=stopped, running=(FRONT, stopped))) == (S, [])


def test_the_question_is_asked_once_for_one_nginx() -> None:
    service = Service(name=ServiceName("web"), host=HERE, container="web-1", checks=(CHECK,))
    assert checks.requests(CHECK, service, WEB) == (NginxRequest(host=HERE, container="front"),)
    assert CHECK.plane is Plane.NGINX


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("nginx", "nginx"),
        ("nginx:1.25", "nginx"),
        ("reg:5000/team/app:v2@sha256:ab", "reg:5000/team/app"),
        ("reg:5000/team/app", "reg:5000/team/app"),
        ("sha256:abcd", ""),
        ("", ""),
    ],
)
def test_the_repository_of_an_image_leaves_out_tag_and_digest(image: str, repository: str) -> None:
    assert nginx_routes.repository(image) == repository


# ------------------------------------------------------------------------------------------ which server answers for a name


def named(*names: str, to: str = "web:8000", default: bool = False) -> NginxRoute:
    return replace(route(to, names=names), default=default)


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ((named("*.example", to="blog:80"), named("shop.example")), (W, [])),
        ((named("shop.*", to="blog:80"), named("*.example")), (W, [])),
        ((named("*.example", to="blog:80"), named("*.p.example", to="blog:80"), named(".shop.example")), (W, [])),
        ((named("blog.example", to="blog:80"), named("SHOP.example")), (W, [])),
        ((named("blog.example", to="blog:80"), named("other.example", default=True)), (W, [])),
        ((named("a", default=True), replace(named("b", to="blog:80", default=True), listen=("81",))), (U, [])),
        ((named("blog.example", to="blog:80", default=True), named("other.example")), (S, ["nginx-wrong-service"])),
        ((named("shop.example", to="blog:80"), named("~^shop", to="web:8000")), (S, ["nginx-wrong-service"])),
        ((named("~^shop[.]", to="web:8000"), named("other", to="blog:80")), (W, [])),
        ((named("~^(a+)+$", to="blog:80"), named("other", to="blog:80", default=True)), (U, [])),
        ((named("~^(?<site>[a-z]+)[.]example$"), named("other", to="blog:80", default=True)), (W, [])),
        ((named("~^blog", to="blog:80"), named("other", default=True)), (W, [])),
        ((named("~^blog", to="blog:80"),), (S, ["nginx-missing-route"])),
        ((named("~*SHOP", to="blog:80"),), (U, [])),
        ((named("~.*.*.*x", to="blog:80"),), (U, [])),
        ((named("~(?=a)", to="blog:80"), named("other", to="blog:80", default=True)), (U, [])),
    ],
)
def test_a_name_is_answered_by_the_server_that_nginx_would_take(
    routes: tuple[NginxRoute, ...], expected: tuple[Health, list[str]]
) -> None:
    assert found(judge(*routes)) == expected


ON_HOST = replace(CHECK, nginx=None)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("127.0.0.1:18000", (W, [])),
        ("172.20.0.5:8000", (W, [])),
        ("127.0.0.1:18080", (S, ["nginx-wrong-service"])),
        ("127.0.0.1:19999", (S, ["nginx-ghost-route"])),
        ("172.20.0.99:8000", (S, ["nginx-ghost-route"])),
        ("web:8000", (U, [])),
        ("unix:/run/web.sock:0", (U, [])),
    ],
)
def test_nginx_on_the_host_reaches_addresses_and_published_ports(target: str, expected: tuple[Health, list[str]]) -> None:
    assert found(judge(route(target), check=ON_HOST, running=(WEB, BLOG))) == expected


def test_nginx_on_the_host_that_does_not_run_is_down() -> None:
    answer = NginxSeen(valid=True, running=False, routes=(route("127.0.0.1:18000"),))
    assert found(judge(check=ON_HOST, running=(WEB,), answer=answer)) == (S, ["nginx-down"])


BY_SOCKET = replace(CHECK, port=None, socket="/run/shop/web.sock")


@pytest.mark.parametrize(
    ("targets", "server_name", "expected"),
    [
        (("unix:/run/shop/web.sock:0",), "shop.example", (W, [])),
        (("unix:/run/shop/web.sock:0", "unix:/run/shop/web-2.sock:0"), "shop.example", (W, [])),
        (("unix:/run/shop/blog.sock:0",), "shop.example", (S, ["nginx-wrong-service"])),
        (("unix:/run/shop/blog.sock:0",), None, (S, ["nginx-missing-route"])),
        (("blog:80",), "shop.example", (S, ["nginx-wrong-service"])),
        (("web:8000",), "shop.example", (S, ["nginx-wrong-service"])),
        (("$backend:0",), "shop.example", (U, [])),
        (("unix:$socket:0",), "shop.example", (U, [])),
    ],
    ids=[
        "its own",
        "and a replica's",
        "another's",
        "another site's",
        "a container",
        "its container by port",
        "variable",
        "part variable",
    ],
)
def test_a_service_behind_a_socket(
    targets: tuple[str, ...], server_name: str | None, expected: tuple[Health, list[str]]
) -> None:
    assert found(judge(route(*targets), check=replace(BY_SOCKET, server_name=server_name))) == expected


def test_a_socket_where_a_port_is_declared_cannot_be_compared() -> None:
    assert found(judge(route("unix:/run/shop/web.sock:0"))) == (U, [])

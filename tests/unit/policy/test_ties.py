"""How services hang together, and when a neighbour's trouble is laid at an attempt's door: one row per rule, both ways."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from agent.model import (
    ContainerCheck,
    ContainerFacts,
    ContainerState,
    Health,
    HostName,
    Judgement,
    Network,
    NginxCheck,
    Parameter,
    ParameterSource,
    Plane,
    RunSpec,
    Service,
    ServiceName,
    Thresholds,
    Tie,
    Verdict,
)
from agent.policy import ties
from tests.fakes import START
from tests.stories.world import RESTART

HERE = HostName("here")
EVERY = timedelta(seconds=5)


def service(name: str, **declared: object) -> Service:
    check = ContainerCheck(name="container", every=EVERY, thresholds=Thresholds())
    plain = Service(name=ServiceName(name), host=HERE, container=name, checks=(check,))
    return replace(plain, **declared)  # type: ignore[arg-type]  # the table's own words


def box(name: str, *networks: str, **facts: object) -> ContainerFacts:
    attached = tuple(Network(name=network, address="10.0.0.2", aliases=("web-1",)) for network in networks)
    plain = ContainerFacts(name=name, id=f"id-{name}", state=ContainerState.RUNNING, networks=attached)
    return replace(plain, **facts)  # type: ignore[arg-type]  # the table's own words


BEHIND = NginxCheck(name="nginx", every=EVERY, thresholds=Thresholds(), nginx="proxy", port=80)
WEB, API = service("web"), service("api")
PROXIED, PROXIED_TOO = replace(WEB, checks=(BEHIND,)), replace(API, checks=(BEHIND,))
ON_WEB, ON_PROXY = frozenset({"web"}), frozenset({"proxy"})
PROXY = service("proxy")
NEAR = (box("web", "shop"), box("api", "shop", "db"))


@pytest.mark.parametrize(
    ("patient", "changed", "other", "boxes", "strong", "why"),
    [
        (WEB, ON_WEB, replace(API, depends_on=("web",)), (), True, "it depends on web"),
        (WEB, ON_WEB, replace(API, depends_on=("web",), host=HostName("there")), (), True, "it depends on web"),
        (replace(WEB, depends_on=("api",)), ON_WEB, API, (), True, "web depends on it"),
        (replace(WEB, group="shop"), ON_WEB, replace(API, group="shop", host=HostName("there")), (), True, "same group"),
        (replace(WEB, group="shop"), ON_WEB, replace(API, group="db"), (), None, ""),
        (PROXIED, ON_WEB, PROXY, (), True, "it is the nginx in front of web"),
        (PROXIED, ON_PROXY, PROXIED_TOO, (), True, "it stands behind proxy"),
        (PROXIED, ON_PROXY, PROXY, (), True, "its own container is changed"),
        (PROXIED, ON_PROXY, replace(PROXIED_TOO, host=HostName("there")), (), None, ""),
        (PROXIED, ON_PROXY, replace(API, depends_on=("web",)), (), None, ""),
        (PROXY, ON_PROXY, PROXIED_TOO, (), True, "it stands behind proxy"),
        (WEB, ON_WEB, API, (box("web"), box("api", network_of="id-web")), True, "it lives in the network of web"),
        (WEB, ON_WEB, API, (box("web"), box("api", network_of="web")), True, "it lives in the network of web"),
        (WEB, ON_WEB, API, (box("web", network_of="id-api"), box("api")), True, "web lives in its network"),
        (WEB, ON_WEB, API, (box("web", volumes=("models",)), box("api", volumes=("models",))), True, "it shares models"),
        (WEB, ON_WEB, API, (box("web", volumes=("models",)), box("api", volumes=("other",))), None, ""),
        (PROXIED, ON_WEB, PROXIED_TOO, (), False, "it shares the proxy proxy"),
        (WEB, ON_WEB, API, NEAR, False, "it shares the network shop"),
        (WEB, ON_WEB, API, (box("web", "shop"), box("api", "db")), None, ""),
        (WEB, ON_WEB, API, (box("web", "none"), box("api", "none")), None, ""),
        (WEB, ON_WEB, replace(API, host=HostName("there")), NEAR, None, ""),
        (replace(WEB, spec=RunSpec(image="app", networks=("shop",))), ON_WEB, API, (NEAR[1],), False, "network shop"),
        (PROXIED, ON_PROXY, API, (box("proxy", "shop"), NEAR[1]), False, "it shares the network shop"),
        (WEB, ON_WEB, API, (), None, ""),
    ],
)
def test_a_tie_is_strong_where_one_hangs_on_the_other(
    patient: Service, changed: frozenset[str], other: Service, boxes: Sequence[ContainerFacts], strong: bool | None, why: str
) -> None:
    facts = {(HERE, each.name): each for each in boxes}
    found = ties.of(patient, changed, (patient, other), facts)
    assert [(tie.service, tie.strong) for tie in found] == ([] if strong is None else [(other.name, strong)])
    assert all(why in tie.why for tie in found)


def test_a_tie_remembers_every_name_of_what_is_changed() -> None:
    facts = {(HERE, "web"): box("web", "shop", ports=((80, 8080),)), (HERE, "api"): box("api", "shop")}
    (tie,) = ties.of(replace(WEB, name=ServiceName("shop-web")), ON_WEB, (API,), facts)
    assert tie.names == ("10.0.0.2", ":8080", "shop-web", "web", "web-1")


@pytest.mark.parametrize(
    ("sources", "changed"),
    [
        ({ParameterSource.CONTAINER}, {"web"}),
        ({ParameterSource.CONTAINER, ParameterSource.SPEC}, {"web"}),
        ({ParameterSource.NGINX}, {"proxy"}),
        ({ParameterSource.NGINX, ParameterSource.PERSON}, {"proxy"}),
        ({ParameterSource.NGINX, ParameterSource.CONTAINER}, {"web", "proxy"}),
        ({ParameterSource.CONFIG_PATH}, {"web"}),
    ],
)
def test_what_a_runbook_acts_on_is_what_it_is_given(sources: set[ParameterSource], changed: set[str]) -> None:
    parameters = tuple(Parameter(name=source.value, kind="string", source=source) for source in sources)
    assert ties.touched(replace(RESTART, parameters=parameters), PROXIED) == changed


# ------------------------------------------------------------------------------------------------------ whose fault it is

STRONG = Tie(service=API.name, strong=True, why="it depends on web", names=("10.0.0.2", "web"))
WEAK = replace(STRONG, strong=False, why="it shares the network shop")
SAME_PROXY = replace(WEAK, why="it shares the proxy proxy", proxy="proxy")


def sick(tie: Tie, *planes: Plane, detail: str = "timed out") -> Verdict:
    judged = tuple(
        Judgement(check=plane.value, plane=plane, health=Health.SICK, detail=detail) for plane in planes or (Plane.DIRECT,)
    )
    return Verdict(service=tie.service, health=Health.SICK, at=START, judgements=judged)


def suspect(tie: Tie, *planes: Plane, detail: str = "timed out", **seen: object) -> ties.Suspect:
    facts = {key: seen.pop(key) for key in ("state", "exit_code", "oom_killed", "error") if key in seen}
    container = box("api", **facts)
    found = ties.Suspect(tie=tie, verdict=sick(tie, *planes, detail=detail), container=container)
    return replace(found, **seen)  # type: ignore[arg-type]  # the table's own words


EXITED: Mapping[str, object] = {"state": ContainerState.EXITED, "exit_code": 1}
KILLED: Mapping[str, object] = {"state": ContainerState.EXITED, "exit_code": 137}


@pytest.mark.parametrize(
    ("seen", "guilty"),
    [
        (suspect(STRONG), True),
        (suspect(STRONG, **EXITED), True),
        (suspect(STRONG, state=ContainerState.MISSING), True),
        (suspect(STRONG, **KILLED), False),
        (suspect(STRONG, state=ContainerState.EXITED, exit_code=139), False),
        (suspect(STRONG, state=ContainerState.EXITED, exit_code=1, oom_killed=True), False),
        (suspect(STRONG, **KILLED, told=True), True),
        (suspect(WEAK), False),
        (suspect(WEAK, **EXITED), False),
        (suspect(WEAK, state=ContainerState.MISSING), False),
        (suspect(WEAK, **KILLED, told=True), True),
        (suspect(WEAK, state=ContainerState.MISSING, told=True), True),
        (suspect(WEAK, said="ready\nconnect ECONNREFUSED 10.0.0.2:8000\n"), True),
        (suspect(WEAK, **EXITED, said='could not translate host name "web" to address'), True),
        (suspect(WEAK, **KILLED, said="connect ECONNREFUSED 10.0.0.2:8000"), False),
        (suspect(WEAK, detail="502 from http://web:8000/"), True),
        (suspect(WEAK, **EXITED, said="the web is slow today"), False),
        (suspect(SAME_PROXY, Plane.NGINX), True),
        (suspect(SAME_PROXY, Plane.NGINX, Plane.PUBLIC), True),
        (suspect(SAME_PROXY, Plane.NGINX, Plane.DIRECT), False),
        (suspect(WEAK, Plane.NGINX), False),
    ],
)
def test_one_neighbour_is_laid_at_the_door_of_an_attempt_only_by_a_link(seen: ties.Suspect, guilty: bool) -> None:
    assert [each.verdict.service for each in ties.blamed((seen,))] == ([API.name] if guilty else [])


OTHER = replace(WEAK, service=ServiceName("cart"))


@pytest.mark.parametrize(
    ("seen", "guilty"),
    [
        ((suspect(WEAK), suspect(OTHER)), {"api", "cart"}),
        ((suspect(WEAK, **EXITED), suspect(OTHER)), set()),
        ((suspect(WEAK, **EXITED), suspect(OTHER, **EXITED)), set()),
        ((suspect(STRONG), suspect(OTHER)), {"api"}),
        ((), set()),
    ],
)
def test_several_weak_neighbours_that_run_and_turn_sick_at_once_are_no_accident(
    seen: Sequence[ties.Suspect], guilty: set[str]
) -> None:
    assert {str(each.verdict.service) for each in ties.blamed(seen)} == guilty


def test_only_what_hangs_on_the_change_or_was_stopped_by_it_is_beyond_doubt() -> None:
    told, named = suspect(WEAK, told=True, **EXITED), suspect(OTHER, said="lookup web: no such host")
    assert [(each.tie.service, each.tie.strong) for each in ties.blamed((told, named))] == [(API.name, True), ("cart", False)]


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("dial tcp 10.0.0.2:5432: connect: connection refused", True),
        ("dial tcp 110.0.0.2:5432: connect: connection refused", False),
        ("dial tcp 10.0.0.23:5432: i/o timeout", False),
        ("dial tcp 10.0.0.2: no route to host", False),
        ("connect to upstream http://web/health", True),
        ("lookup web: no such host", True),
        ("lookup web on 127.0.0.11:53: no such host", True),
        ("getaddrinfo ENOTFOUND web", True),
        ('host not found in upstream "web"', True),
        ("redis://user@web:6379", True),
        ("webhook delivered to my-web:80", False),
        ("a web page was rendered", False),
        ("Bind for 0.0.0.0:8080 failed: port is already allocated", True),
        ("Bind for 0.0.0.0:80801 failed: port is already allocated", False),
        ("listening on 0.0.0.0:8080", False),
        ("", False),
    ],
)
def test_a_name_counts_where_it_is_a_place_to_reach(text: str, points: bool) -> None:
    assert ties.points_at(text, ("10.0.0.2", ":8080", "web")) is points


def test_without_a_name_nothing_is_pointed_at() -> None:
    assert not ties.points_at('lookup "web" http://web:80', ())

"""Docker labels: to a service, or to the sentence that says what is nonsense in them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import labels
from agent.model import (
    ContainerCheck,
    ContainerFacts,
    ContainersRequest,
    ContainersSeen,
    ContainerState,
    HostName,
    HttpCheck,
    NginxCheck,
    Plane,
    Service,
    TcpCheck,
)

HOST = HostName("local")


def container(given: dict[str, str], name: str = "web", ports: tuple[tuple[int, int], ...] = ()) -> ContainerFacts:
    pairs = tuple((f"medic.{key}", value) for key, value in given.items())
    return ContainerFacts(name=name, id="1", state=ContainerState.RUNNING, labels=pairs, ports=ports)


def read(**given: str) -> Service | str | None:
    return labels.read(container(given), HOST)


def test_a_container_without_the_label_is_no_service() -> None:
    assert read() is None
    assert read(enable="false", http="nonsense") is None


def test_an_enabled_container_has_the_container_check() -> None:
    found = read(enable="true")
    assert isinstance(found, Service)
    assert (found.name, found.container, found.host, found.origin) == ("web", "web", "local", labels.ORIGIN)
    assert [type(check) for check in found.checks] == [ContainerCheck]


def test_every_label_has_its_effect() -> None:
    found = read(
        enable="True", name="shop", every="10s", timeout="3s", port="8000", http="/health", tcp="6379",
        nginx="proxy", server_name="shop.example", location="/api/",
    )  # fmt: skip
    assert isinstance(found, Service)
    container_check, http, tcp, nginx = found.checks
    assert found.name == "shop"
    assert {check.every for check in found.checks} == {timedelta(seconds=10)}
    assert container_check.thresholds.sick_after == 1
    assert isinstance(http, HttpCheck)
    assert (http.url, http.plane, http.timeout) == ("http://container:8000/health", Plane.DIRECT, timedelta(seconds=3))
    assert isinstance(tcp, TcpCheck)
    assert (tcp.address, tcp.plane) == ("container:6379", Plane.DIRECT)
    assert isinstance(nginx, NginxCheck)
    assert (nginx.nginx, nginx.port, nginx.server_name, nginx.location) == ("proxy", 8000, "shop.example", "/api/")


def test_the_only_published_port_is_meant_when_none_is_named() -> None:
    found = labels.read(container({"enable": "true", "http": "/health"}, ports=((8000, 80), (8000, 81))), HOST)
    assert isinstance(found, Service)
    assert isinstance(found.checks[1], HttpCheck)
    assert found.checks[1].url == "http://container:8000/health"


@pytest.mark.parametrize(
    ("given_labels", "sentence"),
    [
        ({"enable": "yes"}, "medic.enable: 'yes' is neither true nor false"),
        ({"enable": ""}, "medic.enable: '' is neither true nor false"),
        ({"enabled": "true"}, "there is no label 'medic.enabled' (did you mean medic.enable?)"),
        ({"htp": "/health"}, "there is no label 'medic.htp' (did you mean medic.http?)"),
        ({"port": "http"}, "medic.port: 'http' is no port (1 to 65535)"),
        ({"port": "0"}, "medic.port: '0' is no port (1 to 65535)"),
        ({"port": "٨٠"}, "medic.port: '٨٠' is no port (1 to 65535)"),
        ({"http": "/health"}, "medic.http='/health' needs medic.port, the port that the container listens on"),
        ({"http": "health"}, "medic.http: 'health' is no URL to check: begin with http:// or https://"),
        ({"http": "http://u:p@h/"}, "medic.http: must not hold a user or a password: what is written here is shown and stored"),
        ({"tcp": "redis"}, "medic.tcp: 'redis' is no address: write host:port, for example container:6379"),
        ({"nginx": "proxy"}, "medic.nginx needs medic.port, the port that the container listens on"),
        ({"every": "5"}, "medic.every: '5' is no span of time: write a number and a unit (did you mean 5s?)"),
        ({"every": "1ms"}, "medic.every: must be from 100ms to 1d, not 1ms"),
        ({"timeout": "1h"}, "medic.timeout: must be from 100ms to 9s, not 1h"),
        ({"name": "../../etc"}, "medic.name: '../../etc' is no name: letters, digits, `_`, `.`, `-`, 63 at most, a letter or digit first"),
        ({"name": ""}, "medic.name: must be printable text of 1 to 512 characters"),
        ({"server_name": "a\x1b[31m", "port": "1", "nginx": "p"}, "medic.server_name: must be printable text of 1 to 512 characters"),
        ({"http": "/" + "a" * 600, "port": "1"}, "medic.http: must be printable text of 1 to 512 characters"),
    ],
)  # fmt: skip
def test_nonsense_is_a_sentence(given_labels: dict[str, str], sentence: str) -> None:
    assert read(**{"enable": "true", **given_labels}) == f"cannot read the labels of 'web': {sentence}"


def test_other_labels_in_our_namespace_are_left_alone() -> None:
    assert isinstance(read(enable="true", team="search", test="cli"), Service)


@given(st.dictionaries(st.sampled_from([*labels.KNOWN, "x"]), st.text(max_size=600)), st.text(max_size=80))
def test_never_raises_and_says_little_whatever_the_labels_hold(given_labels: dict[str, str], name: str) -> None:
    found = labels.read(container({"enable": "true", **given_labels}, name=name), HOST)
    assert isinstance(found, Service) or found is None or (len(found) < 500 and found.isprintable())


def test_the_services_of_all_hosts_are_one_list_and_nonsense_is_left_out() -> None:
    seen = ContainersSeen(
        containers=(
            container({"enable": "true"}, name="b"),
            container({"enable": "true"}, name="a"),
            container({"enable": "?"}, name="c"),
        )
    )
    assert [service.name for service in labels.services({ContainersRequest(host=HOST): seen})] == ["a", "b"]

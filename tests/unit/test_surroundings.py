"""What stands around a service, and how it fills a runbook's parameters: from the inventory, and from nothing else."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent import parameters, standing
from agent.errors import ConfigError
from agent.model import (
    ComposeSpec,
    ConfigFile,
    ContainerCheck,
    HostName,
    NginxCheck,
    RunSpec,
    Service,
    ServiceName,
    Surroundings,
    Thresholds,
)
from agent.steps import propose
from agent.wiring import shipped
from tests.fakes import START
from tests.memory_store import memory_store

EVERY = timedelta(seconds=5)
PINNED = "sha256:" + "b" * 64
RUNBOOKS = {str(runbook.id): runbook for runbook in shipped.runbooks()}


class Copies:
    """A kept good copy of every service's configuration."""

    def keep(self, service: ServiceName, digest: str, content: bytes) -> None:
        raise AssertionError("nothing is kept here")

    def latest(self, service: ServiceName) -> tuple[str, Path] | None:
        return "ab", Path(f"/good/{service}")


def service(name: str, **more: Any) -> Service:
    return Service(name=ServiceName(name), host=HostName("local"), container=f"{name}-c", **{"checks": (), **more})


WEB = service(
    "web",
    checks=(NginxCheck(name="nginx", every=EVERY, thresholds=Thresholds(), nginx="proxy-c", port=8000),),
    depends_on=(ServiceName("db"),),
    group="shop",
    upstream_file="/srv/nginx/shop.conf",
    spec=RunSpec(image="registry:5000/shop/web:3"),
)
OTHERS = (
    service("db", spec=RunSpec(image="db:1", stop_timeout=30)),
    service("proxy", config_file=ConfigFile(path="/srv/nginx/site.conf"), spec=ComposeSpec(file="/srv/c.yml", service="proxy")),
    service(
        "web2", group="shop", checks=(ContainerCheck(name="up", every=EVERY, thresholds=Thresholds(), image_digest=PINNED),)
    ),
    replace(service("far", group="shop", spec=RunSpec(image="far:1")), host=HostName("elsewhere")),
)


def around(web: Service = WEB, *, silenced: str | None = None) -> Surroundings:
    store = memory_store()
    for each in (web, *OTHERS):
        store.services.enrol(each, now=START)
        store.services.seen_well(each.name, image_id=f"sha256:{each.name}", config_hash=None, container_id=None, now=START)
    if silenced is not None:
        until = START + timedelta(hours=1)
        store.silences.begin(ServiceName(silenced), why="migration", by="ada", now=START, until=until)
    return standing.surroundings(web, store, Copies(), START)


def test_the_inventory_around_a_service_is_that_of_its_host() -> None:
    found = around()
    assert (found.good_image, found.members) == ("sha256:web", ("web-c", "web2-c"))
    assert (found.parent, found.proxy) == (OTHERS[0], OTHERS[1])
    assert found.proxy_good_copy == "/good/proxy"
    assert found.own_images == ("db", "registry:5000/shop/web")
    assert set(found.kept_images) == {
        "db:1",
        "registry:5000/shop/web:3",
        PINNED,
        "sha256:web",
        "sha256:web2",
        "sha256:db",
        "sha256:proxy",
    }


def test_a_service_without_relations_has_nothing_around_it_but_itself() -> None:
    found = around(replace(WEB, depends_on=(), group=None, checks=()))
    assert (found.parent, found.proxy, found.proxy_good_copy, found.members) == (None, None, None, ("web-c",))


@pytest.mark.parametrize(
    "web", [replace(WEB, depends_on=(ServiceName("db"), ServiceName("proxy"))), replace(WEB, depends_on=(ServiceName("far"),))]
)
def test_of_several_parents_and_of_one_on_another_host_none_is_meant(web: Service) -> None:
    assert around(web).parent is None


def test_a_parent_that_people_work_on_is_left_alone() -> None:
    assert around(silenced="db").parent is None
    assert around(silenced="proxy").parent == OTHERS[0]


def filled(runbook: str, web: Service = WEB) -> dict[str, object]:
    plan = parameters.plan(RUNBOOKS[runbook], web, good_copy=None, settings={}, why="a test", around=around(web))
    return {name: json.loads(value) for name, value in plan.parameters}


def test_what_restarts_a_parent_names_the_parent_everywhere() -> None:
    assert filled("restart-dependency") == {"container": "db-c", "stop_timeout": 30}
    plan = parameters.plan(RUNBOOKS["restart-dependency"], WEB, good_copy=None, settings={}, why="a test", around=around())
    assert "container db-c on local" in propose.impact(plan, WEB)


def test_an_upstream_holds_the_members_of_the_group() -> None:
    assert filled("regenerate-nginx-routes") == {
        "nginx": "proxy-c",
        "upstream": {"name": "shop", "file": "/srv/nginx/shop.conf", "port": 8000, "members": ["web-c", "web2-c"]},
    }


def test_the_configuration_of_nginx_is_that_of_the_service_it_is() -> None:
    assert filled("restore-nginx-config") == {
        "nginx": "proxy-c",
        "config_path": "/srv/nginx/site.conf",
        "good_copy": "/good/proxy",
    }


def test_what_removes_images_knows_those_that_stay() -> None:
    given = filled("prune-unused-images")
    assert (given["container"], given["older_than_hours"]) == ("web-c", 168)
    assert PINNED in str(given["kept_images"])
    assert "sha256:web" in str(given["kept_images"])


@pytest.mark.parametrize(
    ("runbook", "lacks"),
    [
        ("evict-cache", "it declares no `cache_paths:`"),
        ("restore-artefact", "it declares no list of `artefacts:`"),
        ("renew-certificate", "it declares no `certificate:`"),
        ("recreate-namespace-child", "it declares no `run:` spec with network_of"),
    ],
)
def test_what_is_not_declared_is_never_filled_in(runbook: str, lacks: str) -> None:
    with pytest.raises(ConfigError, match=lacks):
        filled(runbook)

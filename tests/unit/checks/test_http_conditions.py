"""What an HTTP check asks of an answer beyond its status: tables of answer -> health and symptoms."""

from dataclasses import replace
from datetime import timedelta

import pytest

from agent import checks
from agent.checks import http
from agent.model import HeaderRule, Health, HttpCheck, HttpSeen, Identity, Plane
from tests.unit.checks.test_checks import HTTP, SECOND, facts, http_seen, judge, service, words

W, S = Health.WELL, Health.SICK
MS = timedelta(milliseconds=1)
DAY = timedelta(days=1)


def expecting(**conditions: object) -> HttpCheck:
    return replace(HTTP, **conditions)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expression", "body", "health"),
    [
        ("status == 'ok'", '{"status": "ok"}', W),
        ("status == 'ok'", '{"status": "degraded"}', S),
        ("status == 'ok'", '{"state": "ok"}', S),
        ("queue.depth < `10`", '{"queue": {"depth": 9}}', W),
        ("queue.depth < `10`", '{"queue": {"depth": 10}}', S),
        ("queue.depth < `10`", '{"queue": {"depth": "many"}}', S),
        ("length(workers[?up]) >= `2`", '{"workers": [{"up": true}, {"up": true}, {"up": false}]}', W),
        ("length(workers[?up]) >= `2`", '{"workers": [{"up": true}]}', S),
        ("length(workers) >= `2`", '{"workers": 5}', S),
        ("ready", '{"ready": true}', W),
        ("ready", '{"ready": "yes"}', S),
        ("ready", "<html>", S),
        ("ready", "", S),
        ("ready", "[" * 60_000, S),
    ],
)
def test_the_json_of_an_answer(expression: str, body: str, health: Health) -> None:
    judgement = judge(expecting(body_json=expression), facts(), http_seen(body=body))
    assert (judgement.health, words(judgement)) == (health, [] if health is W else ["http-json"])


@pytest.mark.parametrize(
    ("value", "headers", "health"),
    [
        ("*", (("x-served-by", "web"),), W),
        ("*", (), S),
        ("web", (("x-served-by", "web"),), W),
        ("web", (("x-served-by", "web-2"),), S),
        ("web", (), S),
        ("~^web-[0-9]+$", (("x-served-by", "web-2"),), W),
        ("~^web-[0-9]+$", (("x-served-by", "api-2"),), S),
    ],
)
def test_the_headers_of_an_answer(value: str, headers: tuple[tuple[str, str], ...], health: Health) -> None:
    check = expecting(response_headers=(HeaderRule(name="x-served-by", value=value),))
    assert checks.requests(check, service(check), facts())[0].keep == ("x-served-by",)  # type: ignore[union-attr]
    judgement = judge(check, facts(), http_seen(headers=headers))
    assert (judgement.health, words(judgement)) == (health, [] if health is W else ["http-header"])


@pytest.mark.parametrize(
    ("identity", "seen", "health"),
    [
        (Identity(text="ok shop"), http_seen(body="ok shop\n"), W),
        (Identity(text="ok shop"), http_seen(body="ok blog\n"), S),
        (Identity(text="shop", header="x-served-by"), http_seen(headers=(("x-served-by", "shop"),)), W),
        (Identity(text="shop", header="x-served-by"), http_seen(headers=(("x-served-by", "shop-2"),)), S),
        (Identity(text="shop", header="x-served-by"), http_seen(body="shop"), S),
    ],
)
def test_a_routed_answer_proves_which_service_gave_it(identity: Identity, seen: HttpSeen, health: Health) -> None:
    judgement = judge(expecting(plane=Plane.NGINX, identity=identity), facts(), seen)
    assert (judgement.health, words(judgement)) == (health, [] if health is W else ["nginx-wrong-service"])


@pytest.mark.parametrize(
    ("recent", "health"),
    [
        ([10] * 9 + [5_000], W),
        ([10] * 3, W),
        ([900] * 9, W),  # too few to judge
        ([10] * 19 + [5_000], W),
        ([10] * 17 + [5_000] * 3, S),
        ([900] * 10, S),
    ],
)
def test_a_percentile_is_asked_of_the_window_and_not_of_one_answer(recent: list[int], health: Health) -> None:
    check = expecting(slower_than=500 * MS, percentile=90)
    seen = http_seen(latency=recent[-1] * MS, recent=tuple(value * MS for value in recent))
    judgement = judge(check, facts(), seen)
    assert (judgement.health, words(judgement)) == (health, [] if health is W else ["http-slow"])


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([1], 95, 1), ([3, 1, 2], 50, 2), (list(range(1, 101)), 95, 95), (list(range(1, 101)), 99, 99), ([1, 2], 50, 1)],
)
def test_a_percentile_is_one_of_the_values(values: list[int], percent: int, expected: int) -> None:
    assert http.percentile([value * MS for value in values], percent) == expected * MS


@pytest.mark.parametrize(
    ("left", "symptoms"),
    [(30 * DAY, []), (14 * DAY, []), (13 * DAY, ["certificate-expiring"]), (-DAY, ["certificate-expiring"]), (None, [])],
)
def test_a_certificate_must_be_good_for_long_enough(left: timedelta | None, symptoms: list[str]) -> None:
    check = expecting(url="https://shop.example/", certificate_left=14 * DAY)
    assert words(judge(check, facts(), http_seen(certificate_left=left))) == symptoms


@pytest.mark.parametrize(
    ("error", "word"),
    [
        ("certificate-expired: certificate has expired", "certificate-expired"),
        ("certificate-untrusted: self-signed certificate", "certificate-untrusted"),
        ("tls: wrong version number", "http-broken"),
    ],
)
def test_a_certificate_that_is_refused_says_why(error: str, word: str) -> None:
    assert words(judge(HTTP, facts(), http_seen(None, error=error))) == [word]


@pytest.mark.parametrize(("reused", "symptoms"), [(True, []), (False, ["http-not-reused"])])
def test_a_connection_must_be_kept_where_that_is_asked(reused: bool, symptoms: list[str]) -> None:
    assert words(judge(expecting(keep_alive=True), facts(), http_seen(reused=reused))) == symptoms
    assert words(judge(HTTP, facts(), http_seen(reused=reused))) == []


def test_a_container_is_asked_by_the_name_that_its_certificate_has() -> None:
    check = expecting(url="https://container:8443/health", tls_name="shop.example", ca_file="/etc/ca.pem")
    (request,) = checks.requests(check, service(check), facts())
    assert (request.url, request.address, request.ca_file) == (  # type: ignore[union-attr]
        "https://shop.example:8443/health",
        "172.20.0.5",
        "/etc/ca.pem",
    )


def test_the_first_thing_wrong_is_the_one_that_is_said() -> None:
    check = expecting(body="fine", body_json="ready", slower_than=MS)
    judgement = judge(check, facts(), http_seen(body="bad", latency=SECOND))
    assert words(judgement) == ["http-body"]
    assert "bad" not in judgement.detail

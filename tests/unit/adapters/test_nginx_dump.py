"""Reading what `nginx -T` prints: tables of dumps, and dumps that mean harm."""

import textwrap

import pytest

from agent.adapters import nginx_dump, nginx_probe
from agent.adapters.ways import Ways
from agent.errors import OutsideError
from agent.model import Blind, HostName, NginxRequest, NginxRoute, NginxSeen, NginxTarget, Observation

WHOLE = textwrap.dedent("""\
    # configuration file /etc/nginx/nginx.conf:
    user www-data;
    pid /run/nginx.pid;
    include /etc/nginx/modules-enabled/*.conf;
    events { worker_connections 768; }
    http {
        include mime.types;
        log_format main '$remote_addr - "$request" {weird; quotes}';
        include /etc/nginx/conf.d/*.conf;
        include sites/shop;
    }

    # configuration file /etc/nginx/mime.types:
    types { text/html html; }

    # configuration file /etc/nginx/conf.d/10-upstreams.conf:
    upstream shop {
        least_conn;
        server 172.20.0.5:8000 weight=2 max_fails=3;
        server web-2:8000 backup;
        server 172.20.0.9:8000 down;
        server [fd00::5]:8000;
        server unix:/run/shop.sock;
        server plain-name;
        keepalive 8;
    }

    # configuration file /etc/nginx/sites/shop:
    # a comment with proxy_pass http://nobody:1;
    server {
        listen 80 default_server;
        listen [::]:80;
        server_name shop.example *.shop.example;
        include sites/locations/*.inc;
        location /static/ { root /srv; }
    }

    # configuration file /etc/nginx/sites/locations/api.inc:
    location / { proxy_pass http://shop; }
    location = /one { proxy_pass http://web-1:8080/one?x=1; }
    location ^~ /tls/ {
        proxy_pass https://secure/;
        location /tls/inner/ { proxy_pass http://[fd00::7]:9000; }
    }
    location ~ \\.php$ { fastcgi_pass php:9000; }
    location /sock/ { proxy_pass http://unix:/run/app.sock:/path; }
    location /variable/ { set $backend "http://web:8000"; proxy_pass $backend; }
    location /half/ { proxy_pass http://web-$slot:8000/; }
    location /if/ { if ($request_method = POST) { proxy_pass http://writer:8000; } proxy_pass http://reader:8000; }
    location /plain/ { proxy_pass http://web; }

    """)


def test_a_real_dump_gives_every_route_with_every_target() -> None:
    found = nginx_dump.routes(WHOLE)
    assert {(route.location, *((target.host, target.port) for target in route.targets)) for route in found} == {
        ("/", ("172.20.0.5", 8000), ("web-2", 8000), ("fd00::5", 8000), ("unix:/run/shop.sock", 0), ("plain-name", 80)),
        ("= /one", ("web-1", 8080)),
        ("^~ /tls/", ("secure", 443)),
        ("/tls/inner/", ("fd00::7", 9000)),
        ("~ \\.php$", ("php", 9000)),
        ("/sock/", ("unix:/run/app.sock", 0)),
        ("/variable/", ("web", 8000)),
        ("/half/", ("http://web-$slot:8000/", 0)),
        ("/if/", ("writer", 8000), ("reader", 8000)),
        ("/plain/", ("web", 80)),
    }
    assert {(route.listen, route.server_names) for route in found} == {
        (("80 default_server", "[::]:80"), ("shop.example", "*.shop.example"))
    }


def dump(body: str) -> str:
    return f"# configuration file /etc/nginx/nginx.conf:\n{body}\n\n"


def served(body: str) -> str:
    return dump(f"http {{ server {{ listen 80; server_name a; {body} }} }}")


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        (dump("events {}"), []),
        (served("return 301 https://$host;"), []),
        (served("location / { return 200; }"), []),
        (served("location / { proxy_pass http://web:99999999; }"), [NginxTarget(host="web", port=999999)]),
        (dump("stream { server { listen 3306; proxy_pass db:3306; } }"), []),
        (dump("include /etc/nginx/nginx.conf; events {}"), []),
        (
            "nginx: [warn] conflicting server name\n2026/11/21 00:31:03 [warn] 15#15: conflicting\n"
            + served("location / { grpc_pass grpc://web:50051; }"),
            [NginxTarget(host="web", port=50051)],
        ),
        (served("location / { grpc_pass grpcs://web; }"), [NginxTarget(host="web", port=443)]),
    ],
)
def test_dumps_with_nothing_or_something_odd_to_route(text: str, targets: list[NginxTarget]) -> None:
    assert [target for route in nginx_dump.routes(text) for target in route.targets] == targets


@pytest.mark.parametrize(
    ("body", "host", "port"),
    [
        ("set $up web:8000; location / { proxy_pass http://$up; }", "web", 8000),
        ("location / { set $up web; proxy_pass http://$up:8000/; }", "web", 8000),
        ("location / { set $up web; proxy_pass http://${up}-blue:8000; }", "web-blue", 8000),
        ("set $up outer; location / { set $up inner; proxy_pass http://$up:1; }", "inner", 1),
        ("set $up outer; location / { proxy_pass http://$up:1$request_uri; }", "outer", 1),
        ("set $up one; location / { if ($arg_x) { set $up two; } proxy_pass http://$up:1; }", "http://$up:1", 0),
        ("set $up $host; location / { proxy_pass http://$up:1; }", "http://$up:1", 0),
        ("location / { proxy_pass http://$host:1; }", "http://$host:1", 0),
        ("location / { set $up shop; proxy_pass http://$up; }", "172.20.0.5", 8000),
        ("location / { proxy_pass http://shop/; # proxy_pass http://nobody:1;\n }", "172.20.0.5", 8000),
        ("location / { add_header X '{ } ; http://nobody:1'; proxy_pass http://web; }", "web", 80),
        ('location / { return_to "a\\"b{"; proxy_pass http://web; }', "web", 80),
        ("location\n/\n{\nproxy_pass\nhttp://web:8000\n;\n}", "web", 8000),
        ("location / {\r\n  proxy_pass http://web:8000;\r\n}", "web", 8000),
        ("location / { content_by_lua_block { ngx.say('} { ;') } proxy_pass http://web; }", "web", 80),
        ("location ~ '^/v[0-9]{1,2}/' { proxy_pass http://web; }", "web", 80),
        ("location / { proxy_pass 'http://web:8000'; }", "web", 8000),
    ],
)
def test_nasty_ways_to_write_one_route(body: str, host: str, port: int) -> None:
    text = dump(f"http {{ upstream shop {{ server 172.20.0.5:8000; }} server {{ {body} }} }}")
    assert [(target.host, target.port) for route in nginx_dump.routes(text) for target in route.targets] == [(host, port)]


def test_what_does_not_route_is_passed_over() -> None:
    text = dump("""
        load_module modules/x.so; env PATH; worker_rlimit_nofile 9;
        events { use epoll; }
        http {
            map $http_upgrade $connection_upgrade { default upgrade; '' close; ~*^\\.x$ "a;b"; }
            split_clients $remote_addr $variant { 50% blue; * green; }
            geo $inside { default 0; 10.0.0.0/8 1; }
            limit_req_zone $binary_remote_addr zone=one:10m rate=1r/s;
            init_by_lua_block { local t = { a = "}" } -- { comment
            }
            server { listen unix:/run/x.sock; server_name a; location / { proxy_pass http://unix:/run/app.sock:/; } }
        }
        mail { server { listen 25; protocol smtp; } }
    """)
    (route,) = nginx_dump.routes(text)
    assert (route.listen, route.targets[0].port) == (("unix:/run/x.sock",), 0)


@pytest.mark.parametrize(
    ("servers", "defaults"),
    [
        (["", ""], [True, False]),
        (["listen 80;", "listen 80 default_server;"], [False, True]),
        (["listen 80;", "listen 443 ssl;"], [True, True]),
        (["listen *:80;", "listen 80;", "listen 81;"], [True, False, True]),
        (["listen 80;", "listen 80; listen unix:/run/x.sock;"], [True, False]),
        (["listen 80;", "listen 80; listen 8080 default_server;"], [True, True]),
    ],
)
def test_which_server_answers_for_names_that_nobody_has(servers: list[str], defaults: list[bool]) -> None:
    body = "".join(f"server {{ {listen} location / {{ proxy_pass http://web; }} }}" for listen in servers)
    assert [route.default for route in nginx_dump.routes(dump(f"http {{ {body} }}"))] == defaults


def test_files_that_include_one_another_end() -> None:
    text = dump("include /etc/nginx/a.conf;") + "# configuration file /etc/nginx/a.conf:\ninclude /etc/nginx/nginx.conf;\n\n"
    assert nginx_dump.routes(text) == ()


def test_a_file_that_is_included_twice_counts_twice() -> None:
    text = dump("http { server { include s/*.conf; } server { include s/*.conf; } include s/none*.conf; }")
    text += "# configuration file /etc/nginx/s/web.conf:\nlocation / { proxy_pass http://web; }\n\n"
    assert len(nginx_dump.routes(text)) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        dump("http {"),
        dump("http { server { location / { proxy_pass http://a"),
        dump("}"),
        dump("http {" * 5_000 + "}" * 5_000),
    ],
    ids=["empty", "no section", "open block", "open directive", "stray brace", "too deep"],
)
def test_what_cannot_be_read_is_said_and_never_guessed(text: str) -> None:
    with pytest.raises(ValueError, match="configuration"):
        nginx_dump.routes(text)


def test_an_include_never_opens_a_file_of_this_machine(tmp_path: object) -> None:
    secret = f"{tmp_path}/secret.conf"
    with open(secret, "w") as file:  # noqa: PTH123
        file.write("location / { proxy_pass http://stolen:1; }")
    assert nginx_dump.routes(served(f"include {secret}; include /dev/zero; include /proc/self/environ;")) == ()


NOWHERE = Ways(machines={}, engines={}, doors={})


class FakeExec:
    def __init__(self, code: int, output: bytes) -> None:
        self._answer = (code, output)

    def exec(self, host: HostName, container: str, argv: tuple[str, ...], *, timeout: object, limit: int) -> tuple[int, bytes]:
        if self._answer[0] < 0:
            raise OutsideError("cannot run 'nginx': no such container", transient=True)
        return self._answer[0], self._answer[1][:limit]


ROUTED = served("location / { proxy_pass http://web:8000; }").encode()
EMERG = b'nginx: [emerg] unknown directive "x" in /etc/nginx/nginx.conf:1\nnginx: configuration file test failed\n'


@pytest.mark.parametrize(
    ("code", "output", "expected"),
    [
        (
            0,
            ROUTED,
            NginxSeen(
                valid=True,
                routes=(
                    NginxRoute(
                        listen=("80",),
                        server_names=("a",),
                        location="/",
                        targets=(NginxTarget(host="web", port=8000),),
                        default=True,
                    ),
                ),
            ),
        ),
        (1, EMERG, NginxSeen(valid=False, message='unknown directive "x" in /etc/nginx/nginx.conf:1')),
        (1, b"nginx: [emerg] " + b"x" * 10_000, NginxSeen(valid=False, message="x" * 500)),
        (1, b"2026/11/21 00:31:03 [emerg] 15#15: host not found\n", NginxSeen(valid=False, message="host not found")),
        (1, b'nginx: [emerg] open() "/run/nginx.pid" failed (13: Permission denied)\n', Blind),
        (126, b"exec: nginx: not found", Blind),
        (137, b"", Blind),
        (0, b"", Blind),
        (0, b"\xff\xfe binary", Blind),
        (0, b"#" * nginx_probe.OUTPUT_LIMIT, Blind),
        (-1, b"", Blind),
    ],
)
def test_the_probe_tells_a_refused_configuration_from_not_having_seen_one(
    code: int, output: bytes, expected: Observation | type[Blind]
) -> None:
    request = NginxRequest(host=HostName("here"), container="front")
    seen = nginx_probe.probe(FakeExec(code, output), request, nginx_probe.timedelta(seconds=1), NOWHERE.machine_of)
    assert isinstance(seen, Blind) if expected is Blind else seen == expected

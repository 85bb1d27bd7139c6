"""medic.yaml and the environment: what is read, and the one sentence for everything that is wrong."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import BaseModel

from agent import check_shapes, config, config_shape, settings
from agent.errors import ConfigError
from agent.model import (
    CertificateCheck,
    CommandCheck,
    CompletionCheck,
    ComposeSpec,
    ContainerCheck,
    DnsCheck,
    GpuCheck,
    HostCheck,
    HttpCheck,
    LogCheck,
    Mode,
    NginxCheck,
    Permissions,
    Plane,
    RunbookId,
    RunSpec,
    TcpCheck,
    Thresholds,
)

EXAMPLE = Path(__file__).parents[2] / "medic.example.yaml"
WEB = "services: {web: {%s}}"
BEHIND_SSM = "hosts: {far: {ssm: {instance: i-0123456789abcdef0, region: eu-west-1}}}\nservices: {web: {host: far, %s}}"
CHECK = "services: {web: {checks: [{%s}]}}"
HTTP = CHECK % "kind: http, url: 'http://container:80/', %s"


def load(folder: Path, text: str, **environment: str) -> settings.Settings:
    file = folder / "medic.yaml"
    file.write_text(text)
    return config.load(file, environment)


def secret(folder: Path, name: str, content: str = "s3cr3t-value", mode: int = 0o600) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    path.chmod(mode)
    return path


WRONG = [
    ("maintenance: [{begin: '2', end: '04:00'}]", "maintenance[0].begin: '2' is no time of day: write hours and minutes, 00:00 to 23:59"),
    ("maintenance: [{begin: '02:00'}]", "maintenance[0].end: is missing"),
    ("maintenance: [{begin: '02:00', end: '04:00', timezone: Berlin}]", "maintenance[0].timezone: 'Berlin' is no time zone that this machine knows: write a name such as Europe/Berlin"),
    (WEB % "maintenance: [{begin: '02:00', end: '24:00'}]", "services.web.maintenance[0].end: '24:00' is no time of day: write hours and minutes, 00:00 to 23:59"),
    # what remedies may use
    (WEB % "cache_paths: [/var/lib/docker]", "services.web.cache_paths[0]: '/var/lib/docker' is not the service's own: name a folder or file inside, for example /srv/web/cache"),
    (WEB % "cache_paths: [cache]", "services.web.cache_paths[0]: 'cache' is no absolute path: write it out from `/`, without `..` and without a `/` at its end"),
    (WEB % "upstream_file: /etc/nginx/nginx.conf", "services.web.upstream_file: '/etc/nginx/nginx.conf' is not the service's own: name a folder or file inside, for example /srv/web/cache"),
    (WEB % "artefacts: [{path: /srv/m, source: /mnt/m}]", "services.web.artefacts[0].sha256: is missing"),
    (WEB % "certificate: {path: /etc/tls/web.pem, renew: renew web}", "services.web.certificate.renew: must be a list, not 'renew web'"),
    (
        WEB % "run: {image: a, network_of: vpn, ports: ['80:80']}",
        "services.web.run: network_of gives it the networks and ports of another container: leave out networks and ports",
    ),
    # the document
    ("hello", "must be a mapping of keys, not 'hello'"),
    ("[1, 2]", "must be a mapping of keys, not a list"),
    ("servces: {}", "servces: there is no such key (did you mean 'services'?)"),
    ("zzz: 1", "zzz: there is no such key (one of: interval, state_dir, store, log, metrics, discover_labels, control, retention, budget, breaker, runbook_limits, memory, maintenance, mode, dry_run, approval, runbooks, fleet, hosts, inventories, channels, model, services)"),
    ("a: [1", "line 1, column 6: expected ',' or ']', but got '<stream end>'"),
    ("services:\n  web:\n  web:\n", "line 3, column 3: the key 'web' is there twice"),
    ("hosts: &a {}\nchannels: *a", "line 2, column 11: aliases (`*name`) are not read here: write the value out"),
    ("a: !!python/object:os.system x", "line 1, column 4: could not determine a constructor for the tag 'tag:yaml.org,2002:python/object:os.system'"),
    ("interval: 5s\n---\nlog: text", "line 2, column 1: expected a single document in the stream, but found another document"),
    ("? [a]\n: b", "line 1, column 3: a key must be plain text"),
    ("[" * 5000, "it is nested too deeply"),
    # spans and scalars
    ("interval: 5", "interval: '5' is no span of time: write a number and a unit (did you mean 5s?)"),
    ("interval: soon", "interval: 'soon' is no span of time: write a number and a unit (for example 500ms, 5s, 2m, 24h, 7d)"),
    ("interval: -5s", "interval: '-5s' is no span of time: write a number and a unit (for example 500ms, 5s, 2m, 24h, 7d)"),
    ("interval: 1ms", "interval: must be from 500ms to 1h, not 1ms"),
    ("log: yaml", "log: cannot be 'yaml' (one of: text, json)"),
    ("log: jsn", "log: cannot be 'jsn' (did you mean 'json'?)"),
    ("discover_labels: no", "discover_labels: must be true or false, not 'no'"),
    ("state_dir: 5", "state_dir: must be text, not 5: put it in quotes"),
    ("state_dir: ''", "state_dir: must not be empty"),
    ("retention: {sweeps: 1m}", "retention.sweeps: must be from 1h to 365d, not 1m"),
    ("retention: {most_bytes: 10}", "retention.most_bytes: must be 1000000 or more, not 10"),
    ("retention: {bundle: 1d}", "retention.bundle: there is no such key (did you mean 'bundles'?)"),
    # hosts, store, channels
    ("hosts: {}", "hosts: must not be empty"),
    ("hosts: {gpu: {docker: 'ssh://gpu'}}", "hosts.gpu.docker: 'ssh://gpu' is no local Docker socket: write unix:///path; how its host is reached stands under ssh"),
    ("hosts: {here: {docker: none}}", "hosts.here: only a host that is reached over ssh can be without Docker: others are reached through it"),
    ("hosts: {gate: {docker: none, ssh: {address: gate, user: jump, known_hosts: medic.yaml}}}\nservices: {web: {host: gate}}", "services.web.host: 'gate' has no Docker (docker: none), and a service is a container"),
    ("hosts: {gpu: {ssm: {instance: i-0123456789abcdef0, region: eu-west-1}, ssh: {address: gpu, user: medic, known_hosts: k}}}", "hosts.gpu: a host is reached one way: leave out ssh or ssm"),
    ("hosts: {gpu: {ssh: {address: gpu, user: medic, known_hosts: nowhere}}}", "hosts.gpu.ssh.known_hosts: there is no file {base}/nowhere"),
    ("hosts: {gpu: {ssh: {address: '-oProxyCommand=x', user: medic, known_hosts: k}}}", "hosts.gpu.ssh.address: '-oProxyCommand=x' is no name or address of a host"),
    ("store: {url: 'postgresql://a:b@c/d'}", "store.url: must not hold a password: put it into a file and name that under store.password_file"),
    ("channels: {x: {kind: mail}}", "channels.x: its kind cannot be 'mail' (one of: apprise, webhook, file)"),
    ("channels: {x: {kind: apprise, url: 'slack://t'}}", "channels.x.url: there is no such key (did you mean 'url_file'?)"),
    ("channels: {x: {kind: webhook, url: 'ftp://x'}}", "channels.x.url: 'ftp://x' is no URL to check: begin with http:// or https://"),
    # the model
    ("model: {}", "model.providers: is missing"),
    ("model: {providers: []}", "model.providers: must not be empty"),
    ("model: {providers: [{}]}", "model.providers[0].model: is missing"),
    ("model: {providers: [{model: my model}]}", "model.providers[0].model: must be the name of a model as litellm knows it: at most 200 plain ASCII characters without spaces"),
    ("model: {providers: [{model: openai/x, key: sk-1}]}", "model.providers[0].key: there is no such key (did you mean 'key_file'?)"),
    ("model: {providers: [{model: openai/x, key_file: nope}]}", "model.providers[0].key_file: there is no file {base}/nope"),
    ("model: {providers: [{model: openai/x, url: 'http://u:p@h/v1'}]}", "model.providers[0].url: must not hold a user or a password: what is written here is shown and stored"),
    ("model: {providers: [{model: openai/x, prices: {openai/y: {input: 1, output: 1}}}]}", "model.providers[0]: prices names 'openai/y', which this provider is not asked for"),
    ("model: {providers: [{model: openai/x, prices: {openai/x: {input: -1, output: 1}}}]}", "model.providers[0].prices.openai/x.input: must be 0.0 or more, not -1"),
    ("model: {providers: [{model: openai/x}], ask: always}", "model.ask: cannot be 'always' (one of: stuck, doubt)"),
    ("model: {providers: [{model: openai/x}], limits: {steps: 9}}", "model.limits.steps: must be 8 or less, not 9"),
    ("model: {providers: [{model: openai/x}], limits: {wall: 1h}}", "model.limits.wall: must be from 5s to 10m, not 1h"),
    ("model: {providers: [{model: openai/x}], limits: {money_per_day: lots}}", "model.limits.money_per_day: must be a number, not 'lots'"),
    # services
    ("services: []", "services: must be a mapping of keys, not a list"),
    ("services: {a/b: {}}", "services.a/b: 'a/b' is no name: letters, digits, `_`, `.`, `-`, 63 at most, a letter or digit first"),
    ("services: {..: {}}", "services...: '..' is no name: letters, digits, `_`, `.`, `-`, 63 at most, a letter or digit first"),
    (WEB % "host: lcal", "services.web.host: there is no host 'lcal' (did you mean 'local'?)"),
    (WEB % "every: 1s", "services.web.checks[0].every: 1s is shorter than the interval of the beat (5s)"),
    (WEB % "sick_after: 0", "services.web.sick_after: must be 1 or more, not 0"),
    (WEB % "sick_after: 1.5", "services.web.sick_after: must be a whole number, not 1.5"),
    (WEB % "sick_after: true", "services.web.sick_after: must be a whole number, not true"),
    (WEB % "limits: {attempts: 9}", "services.web.limits.attempts: must be 5 or less, not 9"),
    (WEB % "limits: {window: 24}", "services.web.limits.window: '24' is no span of time: write a number and a unit (did you mean 24s?)"),
    (WEB % "run: {image: x}, compose: {file: y}", "services.web: has both `run:` and `compose:`: keep the one that the container is really made from"),
    (WEB % "run: {}", "services.web.run.image: is missing"),
    (WEB % "run: {image: x, env: {DB_PASSWORD: hunter2}}", "services.web.run: env.DB_PASSWORD is a secret: put it into a file and name that under env_files"),
    (WEB % "run: {image: x, env: {PORT: 80}}", "services.web.run.env.PORT: must be text, not 80: put it in quotes"),
    (WEB % "run: {image: x, memory: 1G}", "services.web.run.memory: '1G' is no amount of memory: write a whole number and b, k, m or g, for example 512m"),
    (WEB % "run: {image: x, restart_policy: never}", "services.web.run.restart_policy: 'never' is no restart policy: write no, always, unless-stopped, on-failure or on-failure:3"),
    (WEB % "run: {image: x, command: \"sh -c 'x\"}", "services.web.run.command: \"sh -c 'x\" is no command line: no closing quotation"),
    (WEB % "compose: {file: nope.yml}", "services.web.compose.file: there is no file {base}/nope.yml"),
    (WEB % "config_file: {path: a, template: nope}", "services.web.config_file.template: there is no file {base}/nope"),
    (WEB % "depends_on: [wbe]", "services.web.depends_on[0]: there is no service 'wbe' (did you mean 'web'?)"),
    (WEB % "depends_on: [web]", "services.web.depends_on: web -> web is a circle: each would wait for the other"),
    ("services: {a: {depends_on: [b]}, b: {depends_on: [c]}, c: {depends_on: [a]}}", "services.a.depends_on: a -> b -> c -> a is a circle: each would wait for the other"),
    ("services: {medic: {}}", "services.medic: 'medic' is the name of incidents about Medic itself: call the service otherwise"),
    ("control: [nowhere]", "control[0]: 'nowhere' is no address: write host:port, for example container:6379"),
    ("control: ['ftp://x']", "control[0]: 'ftp://x' is no URL to check: begin with http:// or https://"),
    (WEB % "limits: {longest_start: 13h}", "services.web.limits.longest_start: must be from 1s to 12h, not 13h"),
    ("services: {a: {container: x}, b: {container: x}}", "services.b.container: 'x' is the container of service 'a' already: give one service all its checks"),
    (BEHIND_SSM % "mode: act", "services.web.mode: host 'far' is reached through SSM, over which Medic looks and does not act: write suggest or observe, or declare `ssh:` for the host"),
    (BEHIND_SSM % "runbooks: {restart-container: {mode: ask}}", "services.web.runbooks.restart-container.mode: host 'far' is reached through SSM, over which Medic looks and does not act: write suggest or observe, or declare `ssh:` for the host"),
    (WEB % "mode: aks", "services.web.mode: cannot be 'aks' (did you mean 'ask'?)"),
    (WEB % "runbooks: {restart-container: {mod: ask}}", "services.web.runbooks.restart-container.mod: there is no such key (did you mean 'mode'?)"),
    (WEB % "dry_run: yes", "services.web.dry_run: must be true or false, not 'yes'"),
    ("runbooks: {restart-container: ask}", "runbooks.restart-container: must be a mapping of keys, not 'ask'"),
    ("runbooks: {restart-container: {}}", "runbooks.restart-container.mode: is missing"),
    ("approval: {expires: 10s}", "approval.expires: must be from 1m to 7d, not 10s"),
    ("approval: {expiry: 1h}", "approval.expiry: there is no such key (did you mean 'expires'?)"),
    # checks
    (WEB % "checks: {}", "services.web.checks: must be a list, not a mapping"),
    (WEB % "checks: [http]", "services.web.checks[0]: must be a mapping of keys, not 'http'"),
    (CHECK % "", "services.web.checks[0]: its `kind` is missing"),
    (CHECK % "kind: htp", "services.web.checks[0]: its kind cannot be 'htp' (did you mean 'http'?)"),
    (CHECK % "kind: http", "services.web.checks[0].url: is missing"),
    (CHECK % "kind: http, ulr: x", "services.web.checks[0].ulr: there is no such key (did you mean 'url'?)"),
    (CHECK % "kind: http, url: container:80", "services.web.checks[0].url: 'container:80' is no URL to check: begin with http:// or https://"),
    (CHECK % "kind: http, url: 'http://a b/'", "services.web.checks[0].url: must be a URL of at most 2048 plain ASCII characters without spaces"),
    (CHECK % "kind: http, url: 'http://:80/'", "services.web.checks[0].url: 'http://:80/' has no host or no port that can be asked"),
    (CHECK % "kind: http, url: 'http://u:p@h/'", "services.web.checks[0].url: must not hold a user or a password: what is written here is shown and stored"),
    (HTTP % "plane: dirct", "services.web.checks[0].plane: cannot be 'dirct' (did you mean 'direct'?)"),
    (HTTP % "timeout: 10s", "services.web.checks[0].timeout: must be from 10ms to 9s, not 10s"),
    (HTTP % "status: ['2xx']", "services.web.checks[0].status[0]: '2xx' is no status: write 200 or 200-399"),
    (HTTP % "status: 200", "services.web.checks[0].status: must be a list, not 200"),
    (HTTP % "slower_than: 2s", "services.web.checks[0]: slower_than must be shorter than the timeout (2s)"),
    (HTTP % "body_json: 'status =='", "services.web.checks[0].body_json: 'status ==' is no JMESPath expression (Invalid jmespath expression: Incomplete expression:); for example status == 'ok'"),
    (HTTP % "response_headers: {Server: '~['}", "services.web.checks[0].response_headers: '~[' is no regular expression behind its `~`: unterminated character set at position 0"),
    (HTTP % "identity: {text: web}", "services.web.checks[0].identity: is asked of what a proxy routes: give the check plane: nginx or public"),
    (HTTP % "percentile: 95", "services.web.checks[0]: percentile needs slower_than, which it is compared with"),
    (HTTP % "certificate_left: 14d", "services.web.checks[0]: certificate_left needs a url that begins with https://"),
    (HTTP % "tls_name: a", "services.web.checks[0]: tls_name needs a url that begins with https://"),
    (CHECK % "kind: http, url: 'https://x/', ca_file: ./none.pem", "services.web.checks[0].ca_file: there is no file {base}/none.pem"),
    (CHECK % "kind: http, url: 'https://x/', tls_name: 'a b'", "services.web.checks[0].tls_name: 'a b' is no host name: letters, digits, `-`, `_`, with dots between"),
    (CHECK % "kind: completion, url: 'http://container:8000/v1'", "services.web.checks[0].model: is missing"),
    (CHECK % "kind: completion, url: 'http://x/v1', model: m, stream: false, first_token_within: 1s", "services.web.checks[0]: first_token_within needs `stream: true`: without it all tokens come at once"),
    (CHECK % "kind: completion, url: 'http://x/v1', model: m, timeout: 1s, first_token_within: 1s", "services.web.checks[0]: first_token_within must be shorter than the timeout (1s)"),
    (CHECK % "kind: command, command: ''", "services.web.checks[0].command: must not be empty"),
    (CHECK % "kind: command, command: redis-cli ping, timeout: 9s", "services.web.checks[0].timeout: must be from 1s to 8s, not 9s"),
    (CHECK % "kind: dns, lookup: 'a b; reboot'", "services.web.checks[0].lookup: 'a b; reboot' is no host name: letters, digits, `-`, `_`, with dots between"),
    (CHECK % "kind: log", "services.web.checks[0]: asks nothing: give most_bytes, most_bytes_per_second or both"),
    (CHECK % "kind: nginx, port: 80", "services.web.checks[0]: needs either `nginx:`, the container that nginx runs in, or `on_host: true`"),
    (CHECK % "kind: nginx, port: 80, nginx: proxy, on_host: true", "services.web.checks[0]: needs either `nginx:`, the container that nginx runs in, or `on_host: true`"),
    (HTTP % "headers: {Authorization: Basic}", "services.web.checks[0].headers: the header 'Authorization' is a secret: what is written here is shown and stored"),
    (HTTP % 'headers: {Host: "a\\r\\nX: y"}', "services.web.checks[0].headers: the header 'Host' is no header: a name of letters, digits and `-`, a value on one line"),
    (CHECK % "kind: tcp, address: '6379'", "services.web.checks[0].address: '6379' is no address: write host:port, for example container:6379"),
    (CHECK % "kind: nginx, nginx: proxy, port: 99999", "services.web.checks[0].port: must be 65535 or less, not 99999"),
    (CHECK % "kind: nginx, nginx: proxy", "services.web.checks[0]: needs either `port:`, which the service listens on in its container, or `socket:`, as nginx writes it"),
    (CHECK % "kind: nginx, nginx: proxy, port: 80, socket: /run/a.sock", "services.web.checks[0]: needs either `port:`, which the service listens on in its container, or `socket:`, as nginx writes it"),
    (CHECK % "kind: nginx, nginx: proxy, socket: unix:/run/a.sock", "services.web.checks[0].socket: 'unix:/run/a.sock' is no absolute path: write it out from `/`, without `..` and without a `/` at its end"),
    (CHECK % "kind: nginx, nginx: proxy, prt: 1", "services.web.checks[0].prt: there is no such key (did you mean 'port'?)"),
    (CHECK % "kind: container, image_digest: latest", "services.web.checks[0].image_digest: must be a digest, `sha256:` and 64 hexadecimal digits (docker inspect -f '{{.Image}}' CONTAINER shows it)"),
    (WEB % "checks: [{kind: container, name: a}, {kind: container, name: a}]", "services.web.checks[1].name: there is a check 'a' already"),
]  # fmt: skip


@pytest.mark.abuse("71")
@pytest.mark.parametrize(("text", "sentence"), WRONG)
def test_says_in_one_sentence_what_is_wrong_and_where(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert str(caught.value) == f"cannot read {tmp_path / 'medic.yaml'}: {sentence.replace('{base}', str(tmp_path))}"


@pytest.mark.abuse("71")
@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"MEDIC_STAT_DIR": "x"}, "cannot read the environment: MEDIC_STAT_DIR: there is no such variable (did you mean 'MEDIC_STATE_DIR'?)"),
        ({"MEDIC_CONFIG": "/nope.yaml"}, "cannot read /nope.yaml: there is no such file (`medic init` proposes one)"),
    ],
)  # fmt: skip
def test_refuses_a_wrong_environment(environment: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(None, environment)
    assert str(caught.value) == sentence


@pytest.mark.abuse("71")
@pytest.mark.parametrize(
    ("content", "mode", "sentence"),
    [
        ("s3cr3t-value", 0o644, "everybody may read {path}: chmod 600 {path}"),
        ("\n", 0o600, "{path} is empty"),
        (b"\xff\xfe", 0o600, "cannot read {path}: it is not UTF-8 text"),
        (None, 0, "there is no file {path}"),
    ],
)
def test_refuses_a_secret_file_that_is_no_secret(content: str | bytes | None, mode: int, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "hook"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "channels: {ops: {kind: webhook, url: 'http://h/', secret_file: hook}}")
    assert str(caught.value).endswith(f"channels.ops.secret_file: {sentence.format(path=path)}")


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    read = load(tmp_path, "", MEDIC_STATE_DIR="/state")
    assert read.services == ()
    assert [host.docker for host in read.hosts] == ["unix:///var/run/docker.sock"]
    assert (read.store_url, read.engine_url) == ("sqlite:////state/medic.db", "sqlite:////state/engine.db")
    assert (read.interval, read.discover_labels, read.halted_by_env) == (timedelta(seconds=5), True, None)


def test_a_service_without_checks_has_the_container_check(tmp_path: Path) -> None:
    (web,) = load(tmp_path, "services:\n  web:\n").services
    every = timedelta(seconds=5)
    assert web.container == "web"
    assert web.checks == (ContainerCheck(name="container", every=every, thresholds=Thresholds(sick_after=1)),)


def test_how_far_medic_may_go_is_said_for_all_for_a_service_and_for_a_runbook(tmp_path: Path) -> None:
    text = "mode: ask\ndry_run: true\napproval: {expires: 30m}\nrunbooks: {reload-nginx: {mode: suggest}}\n"
    text += "services: {web: {mode: ask, dry_run: true, runbooks: {restart-container: {mode: observe}}}, api: {}}"
    found = load(tmp_path, text)
    assert found.permissions == Permissions(
        mode=Mode.ASK,
        runbook_modes=((RunbookId("reload-nginx"), Mode.SUGGEST),),
        dry_run=True,
        approval_expires=timedelta(minutes=30),
    )
    web, api = found.services
    assert (web.mode, web.runbook_modes, web.dry_run) == (Mode.ASK, ((RunbookId("restart-container"), Mode.OBSERVE),), True)
    assert (api.mode, api.runbook_modes, api.dry_run) == (Mode.ACT, (), False)


def test_what_docker_says_counts_at_once_and_a_probe_the_second_time(tmp_path: Path) -> None:
    container, tcp = (
        load(tmp_path, WEB % "checks: [{kind: container}, {kind: tcp, address: 'container:80'}]").services[0].checks
    )
    assert (container.thresholds.sick_after, tcp.thresholds.sick_after) == (1, 2)


def test_a_check_overrides_its_service_and_a_service_the_default(tmp_path: Path) -> None:
    text = (
        WEB % "every: 10s, sick_after: 4, checks: [{kind: container}, {kind: tcp, address: 'a:1', sick_after: 7, every: 20s}]"
    )
    container, tcp = load(tmp_path, text).services[0].checks
    assert (container.thresholds.sick_after, container.every) == (4, timedelta(seconds=10))
    assert (tcp.thresholds.sick_after, tcp.every) == (7, timedelta(seconds=20))


@pytest.mark.parametrize(
    ("url", "plane"),
    [
        ("http://container:80/", Plane.DIRECT),
        ("http://127.0.0.1:80/", Plane.HOST_PORT),
        ("http://localhost/", Plane.HOST_PORT),
        ("https://shop.example/", Plane.PUBLIC),
    ],
)
def test_the_host_of_a_url_tells_its_plane(url: str, plane: Plane, tmp_path: Path) -> None:
    check, _container = load(tmp_path, CHECK % f"kind: http, url: '{url}'").services[0].checks
    assert isinstance(check, HttpCheck)
    assert (check.plane, check.name) == (plane, f"http-{plane.value}")


def test_a_service_without_a_container_check_gets_one(tmp_path: Path) -> None:
    _http, added = load(tmp_path, CHECK % "kind: http, url: 'http://container:80/'").services[0].checks
    assert isinstance(added, ContainerCheck)


def test_checks_of_one_kind_are_numbered(tmp_path: Path) -> None:
    checks = "{kind: tcp, address: 'container:1'}, {kind: tcp, address: 'container:2'}, {kind: tcp, address: 'a:3', name: tcp-direct-2}"
    read = load(tmp_path, WEB % f"checks: [{checks}, {{kind: container}}]").services[0].checks
    assert [check.name for check in read] == ["tcp-direct", "tcp-direct-3", "tcp-direct-2", "container"]


def test_scalars_that_yaml_1_1_would_change_stay_as_written(tmp_path: Path) -> None:
    (web,) = load(tmp_path, WEB % "run: {image: x, ports: [8080:22], restart_policy: no, user: 010}").services
    assert isinstance(web.spec, RunSpec)
    assert (web.spec.ports, web.spec.restart_policy, web.spec.user) == (("8080:22",), "no", "010")


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("")
    text = "state_dir: state\n" + WEB % "compose: {file: ./compose.yaml}, config_file: {path: conf/web.conf}"
    read = load(tmp_path, text)
    assert read.state_dir == tmp_path / "state"
    assert read.services[0].spec == ComposeSpec(file=str(tmp_path / "compose.yaml"), service="web")
    assert read.services[0].config_file is not None
    assert read.services[0].config_file.path == str(tmp_path / "conf/web.conf")


def test_secrets_reach_the_redactor_and_no_repr(tmp_path: Path) -> None:
    secret(tmp_path, "hook", "hook-secret-1")
    secret(tmp_path, "chat", "slack://token-2")
    secret(tmp_path, "pg", "pg/pass@3")
    secret(tmp_path, "llm", "key-of-a-model-5")
    secret(tmp_path, "web.env", "DB_PASSWORD='env-secret-4'\nTZ=UTC\nAPI_KEY=abc\n# OLD_TOKEN=not-this-one\n")
    read = load(
        tmp_path,
        "store: {url: 'postgresql://medic@db/medic', password_file: pg}\n"
        "channels: {ops: {kind: webhook, url: 'http://h/', secret_file: hook}, chat: {kind: apprise, url_file: chat}}\n"
        "model: {providers: [{model: openai/x, key_file: llm}]}\n" + WEB % "run: {image: x, env_files: [web.env]}",
    )
    assert read.secrets == ("pg/pass@3", "hook-secret-1", "slack://token-2", "env-secret-4", "key-of-a-model-5")
    assert read.store_url == "postgresql://medic:pg%2Fpass%403@db/medic"
    for text in (repr(read), settings.as_yaml(read)):
        assert not [known for known in (*read.secrets, "pg%2Fpass") if known in text]


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    read = load(tmp_path, "state_dir: a\nstore: {url: 'sqlite:///b'}", MEDIC_STATE_DIR="/c", MEDIC_STORE_URL="postgresql://d/e")
    assert (read.state_dir, read.store_url, read.engine_url) == (Path("/c"), "postgresql://d/e", "postgresql://d/e")


def test_the_password_of_a_store_url_in_the_environment_is_a_secret(tmp_path: Path) -> None:
    assert load(tmp_path, "", MEDIC_STORE_URL="postgresql://u:p%40ssword@h/d").secrets == ("p@ssword",)


@pytest.mark.parametrize(("word", "halted"), [("", None), ("0", None), ("false", None), ("1", "1"), ("deploy", "deploy")])
def test_medic_halt_holds_unless_it_says_no(word: str, halted: str | None, tmp_path: Path) -> None:
    assert load(tmp_path, "", MEDIC_HALT=word).halted_by_env == halted


def test_the_state_folder_of_a_user_is_where_xdg_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert load(tmp_path, "", XDG_STATE_HOME="/home/a/.state").state_dir == Path("/home/a/.state/medic")


def test_halting_needs_no_more_than_the_state_folder(tmp_path: Path) -> None:
    (tmp_path / "medic.yaml").write_text("state_dir: here\nservces: {}\ninterval: 5\n")
    assert config.load_state_dir(tmp_path / "medic.yaml", {}).state_dir == tmp_path / "here"


def test_halting_does_without_the_file_where_the_environment_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "medic.yaml").write_text("no yaml: [")
    environment = {"MEDIC_STATE_DIR": "/state", "MEDIC_TYPO": "x"}
    assert config.load_state_dir(tmp_path / "medic.yaml", environment).state_dir == Path("/state")
    with pytest.raises(ConfigError, match="line 1"):
        config.load_state_dir(tmp_path / "medic.yaml", {})


def test_a_relative_sqlite_path_starts_at_the_file(tmp_path: Path) -> None:
    read = load(tmp_path, "store: {url: 'sqlite:///a/medic.db', engine_url: 'sqlite:////b/engine.db'}")
    assert (read.store_url, read.engine_url) == (f"sqlite:///{tmp_path}/a/medic.db", "sqlite:////b/engine.db")


def test_a_file_that_is_no_text_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "medic.yaml").write_bytes(b"\xff\x00\xfe")
    with pytest.raises(ConfigError, match="it is not UTF-8 text"):
        config.load(tmp_path / "medic.yaml", {})


# ------------------------------------------------------------------------------------------------------ the example file


@pytest.fixture
def example(tmp_path: Path) -> settings.Settings:
    """The example, in a folder that has the files it names."""
    for name in ("store-password", "webhook", "redis.env", "apprise-url", "id_ed25519", "known_hosts", "model-key"):
        secret(tmp_path, f"secrets/{name}")
    for name in ("compose.yaml", "web.conf", "ca.pem"):
        (tmp_path / name).write_text("")
    return load(tmp_path, EXAMPLE.read_text())


def test_the_example_loads(example: settings.Settings) -> None:
    web, redis = example.services
    assert [type(check) for check in (*web.checks, *redis.checks)] == [
        ContainerCheck, HttpCheck, HttpCheck, HttpCheck, CompletionCheck, NginxCheck, NginxCheck,
        ContainerCheck, TcpCheck, CommandCheck, DnsCheck, LogCheck, HostCheck, GpuCheck, CertificateCheck,
    ]  # fmt: skip
    assert len(example.channels) == 3


def test_the_example_names_every_key_there_is() -> None:
    found = (*vars(config_shape).values(), *vars(check_shapes).values())
    shapes = [shape for shape in found if isinstance(shape, type) and issubclass(shape, BaseModel)]
    keys = {key for shape in shapes for key in shape.model_fields}
    text = EXAMPLE.read_text()
    assert {key for key in keys if f"{key}:" not in text} == set()


def test_settings_written_out_read_back_the_same(example: settings.Settings, tmp_path: Path) -> None:
    assert load(tmp_path, settings.as_yaml(example)) == example


def test_defaults_written_out_show_every_key_of_a_check(tmp_path: Path) -> None:
    text = settings.as_yaml(load(tmp_path, HTTP % "body: ok"))
    for key in ("plane: direct", "timeout: 2s", "200-399", "every: 5s", "sick_after: 2", "body_limit: 65536", "attempts: 2"):
        assert key in text


@pytest.mark.parametrize(("written", "mode"), [("depends_on: []", Mode.SUGGEST), ("mode: observe", Mode.OBSERVE)])
def test_on_a_host_behind_ssm_nothing_is_carried_out(tmp_path: Path, written: str, mode: Mode) -> None:
    read = load(tmp_path, BEHIND_SSM % written)
    assert [service.mode for service in read.services] == [mode]
    assert read.permissions.look_only == ("far",)
    assert load(tmp_path, settings.as_yaml(read)).services[0].mode is mode, "also once every default is written out"

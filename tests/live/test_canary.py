"""A secret of every kind on real containers, a real heal and two escalations by the real daemon: none is found in what Medic leaves."""

import base64
import gzip
import random
import string
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import docker
import pytest

from agent.adapters.system_clock import SystemClock
from agent.cli import options
from agent.store.store import open_store
from tests.live import daemon
from tests.receiver import Receiver, receiving
from tests.unit.test_redact import SECRETS

pytestmark = pytest.mark.live

LABEL = {"medic.test": "canary"}


def word(length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(random.SystemRandom().choices(alphabet, k=length))


@dataclass
class Secrets:
    """Every secret that was made, by where it was planted."""

    made: dict[str, str] = field(default_factory=dict)

    def __call__(self, where: str, prefix: str = "", length: int = 24) -> str:
        self.made[where] = prefix + word(length)
        return self.made[where]

    def log_lines(self) -> list[str]:
        """One line per way in which programs print secrets, and one per kind that the redactor's own sample knows."""
        random_ = random.SystemRandom()
        for kind, (make, _) in SECRETS.items():
            self.made[f"log {kind}"] = make(random_)
        return [
            *(random_.choice(contexts).format(self.made[f"log {kind}"]) for kind, (_, contexts) in SECRETS.items()),
            f"connecting to postgres://app:{self('log url')}@db:5432/app",
            f"GET /v1/items?token={self('log query')}&page=2",
            f"Authorization: Bearer {self('log bearer')}",
            f'{{"password": "{self("log json")}"}}',
            f"DB_PASSWORD={self('log setting')}",
            f"token: {self('log yaml')}",
            f"using key {self('log provider', 'sk-proj-', 40)}",
            f"hub login with {self('log hub', 'hf_', 34)}",
            f"push as {self('log forge', 'ghp_', 36)}",
            f"Cookie: session={self('log cookie')}",
            f"running tool --api-key {self('log flag')} --port 80",
            f"curl -u admin:{self('log curl')} http://x/",
            f"requirepass {self('log nothing', 'glpat-', 20)}",
            f"jwt eyJ{word(20)}.eyJ{self('log jwt', '', 30)}.{word(20)}",
            "-----BEGIN RSA PRIVATE KEY-----",
            self("log private key", "", 64),
            self("log private key 2", "", 64),
            "-----END RSA PRIVATE KEY-----",
        ]


@dataclass
class Site:
    """Two services that fall over and one that cannot be started, full of secrets, and the medic.yaml that watches them."""

    folder: Path
    run: str
    secrets: Secrets = field(default_factory=Secrets)

    def name(self, service: str) -> str:
        return f"medic-canary-{self.run}-{service}"

    def script(self, service: str, end: str) -> str:
        path = self.folder / f"{service}.sh"
        lines = ["cat /printed"] if service == "heals" else []
        secret = self.secrets.made["env file"]
        lines += [f"echo 'the env file says {secret} and {base64.b64encode(secret.encode()).decode()}'"]
        path.write_text("\n".join([*lines, end, ""]))
        path.chmod(0o644)
        return str(path)

    def plant(self, client: docker.APIClient, image: str, hook: str) -> None:
        secrets = self.secrets
        (self.folder / "app.env").write_text(f"APP_SECRET={secrets('env file')}\nAPP_TOKEN={secrets('env file 2')}\n")
        (self.folder / "hook.key").write_text(secrets("webhook key"))
        (self.folder / "hook.key").chmod(0o600)
        printed, conf = self.folder / "printed", self.folder / "heals.conf"
        printed.write_text("\n".join(secrets.log_lines()) + "\n")
        conf.write_text(
            f"workers = 4\nrequirepass {secrets('configuration')}\ndb_url = http://u:{secrets('configuration url')}@db/\n"
        )
        heals = self.script("heals", "[ -f /ran ] && exec sleep 600; touch /ran; exit 3")
        dies = self.script("dies", "env; exit 3")
        planted = {"com.example.token": secrets("label"), "com.example.url": f"https://u:{secrets('label url')}@x/"}
        env = [f"DB_PASSWORD={secrets('env')}", f"API_KEY={secrets('env key')}", f"DSN=redis://:{secrets('env url')}@r:6379"]
        for service, path, labels in (("heals", heals, {}), ("dies", dies, planted)):
            binds = [f"{path}:/run.sh:ro", f"{printed}:/printed:ro"]
            self._create(client, image, service, ["sh", "/run.sh"], env, {**LABEL, **labels}, binds)
        args = ["/nope", f"--password={secrets('argument')}", f"https://u:{secrets('argument url')}@x/"]
        broken = f"https://x/?api_key={secrets('argument query')}"
        self._create(client, image, "stuck", [*args, broken], env, LABEL, [])
        # A URL path that a service answers with a secret in it, and a webhook that must not be shown.
        limits = "{start_grace: 0s, verify_within: 3s}"
        (self.folder / "medic.yaml").write_text(f"""
log: json
interval: 2s
breaker: {{least: 9}}
discover_labels: false
channels:
  ops: {{kind: webhook, url: "{hook}?token={secrets("webhook url")}", secret_file: hook.key}}
  down: {{kind: webhook, url: "http://127.0.0.1:1/?key={secrets("webhook that is down")}"}}
services:
  heals: {{container: {self.name("heals")}, limits: {limits}, config_file: {{path: heals.conf}}}}
  stuck: {{container: {self.name("stuck")}, limits: {limits}}}
  dies:
    container: {self.name("dies")}
    limits: {limits}
    run:
      image: {image}
      command: [sh, /run.sh]
      env_files: [app.env]
      volumes: ["{dies}:/run.sh:ro"]
      labels: {{medic.test: canary}}
""")

    def _create(
        self,
        client: docker.APIClient,
        image: str,
        service: str,
        command: list[str],
        env: list[str],
        labels: dict[str, str],
        binds: list[str],
    ) -> None:
        client.create_container(
            image,
            command,
            name=self.name(service),
            environment=env,
            labels=labels,
            host_config=client.create_host_config(network_mode="none", binds=binds),
        )
        try:
            client.start(self.name(service))
        except docker.errors.APIError:
            assert service == "stuck"


@pytest.fixture
def site(tmp_path: Path, docker_client: docker.APIClient) -> Iterator[Site]:
    made = Site(tmp_path, uuid.uuid4().hex[:8])
    yield made
    for service in ("heals", "dies", "stuck"):
        try:
            docker_client.remove_container(made.name(service), force=True, v=True)
        except docker.errors.NotFound:
            continue


def artefacts(site: Site, receiver: Receiver, commands: list[tuple[str, ...]]) -> Iterator[tuple[str, bytes]]:
    """Yield everything that Medic left or said, with where it was."""
    for left in ("state", "tmp", "home"):
        for path in (site.folder / left).rglob("*"):
            if path.is_file():
                yield str(path.relative_to(site.folder)), path.read_bytes()
    yield "watch.log", (site.folder / "watch.log").read_bytes()
    for number, body in enumerate(receiver.bodies):
        yield f"notice {number}", body
    for words in commands:
        ended = daemon.medic(site.folder, *words)
        yield " ".join(words), ended.stdout + ended.stderr
    for archive in site.folder.glob("*.tar.gz"):
        yield archive.name, gzip.decompress(archive.read_bytes())


@pytest.mark.abuse("66")
def test_no_secret_is_in_anything_that_medic_leaves(
    site: Site, docker_client: docker.APIClient, tiny_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, folder in (("TMPDIR", "tmp"), ("HOME", "home")):
        (site.folder / folder).mkdir()
        monkeypatch.setenv(name, str(site.folder / folder))

    def states() -> dict[str, str]:
        if not (site.folder / "state" / "medic.db.made").exists():
            return {}
        store = open_store(f"sqlite:///{site.folder}/state/medic.db", SystemClock())
        try:
            return {str(each.service): each.state.value for each in store.incidents.recent()}
        finally:
            store.close()

    with receiving(Receiver()) as receiver:
        site.plant(docker_client, tiny_image, receiver.url())
        wanted = {"heals": "closed", "dies": "escalated", "stuck": "escalated"}
        with daemon.watching(site.folder) as medic:
            daemon.wait_until(lambda: states() == wanted or medic.poll() is not None, 240, "not every incident ended")
            assert medic.poll() is None, (site.folder / "watch.log").read_text()[-2000:]
            daemon.wait_until(lambda: len(receiver.bodies) >= 6, 30, "not every notice came")
            ids = ["I1", "I2", "I3"]
            commands: list[tuple[str, ...]] = [
                *(("incident", "show", each, "--json") for each in ids),
                *(("incident", "report", each, "--format", form) for each in ids for form in ("md", "json", "html", "script")),
                *(("incident", "export", each) for each in ids),
                *(("incident", "receipt", each) for each in ids),
                ("incident", "list", "--json"),
                ("audit", "list", "--json"),
                ("audit", "verify"),
                ("sweeps", "--json"),
                ("config",),
                ("--json", "config"),
                ("check", "--json"),
                ("doctor", "--json"),
                ("-v", "incident", "show", "I99"),
                ("runbook", "run", "restart-container", "dies", "--dry-run", "--set", f"x={site.secrets('set', 'hf_', 34)}"),
            ]
            left = list(artefacts(site, receiver, commands))
        left += list(artefacts(site, receiver, []))

    assert len(site.secrets.made) >= 60
    places = {where.partition("/")[0] for where, _ in left} | {where.rpartition("/")[2] for where, _ in left}
    assert {"state", "medic.db", "engine.db", "watch.log", "notice 0"} <= places
    found = [(secret, where) for where, text in left for secret, value in site.secrets.made.items() if value.encode() in text]
    assert not found, f"{len(found)} times: {found[:10]}"
    log = b"".join(text for where, text in left if "/log-" in where)
    assert b"[REDACTED:" in log, "the secrets did pass through: marks stand in their places"
    assert daemon.medic(site.folder, "audit", "verify").returncode == options.WELL


@pytest.mark.parametrize(
    "check",
    [
        "{kind: http, url: 'http://u:SECRET@container:80/'}",
        "{kind: http, url: 'http://container:80/?token=SECRET'}",
        "{kind: http, url: 'http://container:80/', headers: {X-Key: 'api_key=SECRET'}}",
    ],
)
def test_a_secret_in_a_check_is_refused_and_not_repeated(tmp_path: Path, check: str) -> None:
    secret = word(24)
    (tmp_path / "medic.yaml").write_text(f"services: {{web: {{checks: [{check.replace('SECRET', secret)}]}}}}\n")
    ended = daemon.medic(tmp_path, "-v", "check")
    assert ended.returncode == options.BAD_INPUT
    assert b"shown and stored" in ended.stderr
    assert secret.encode() not in ended.stdout + ended.stderr

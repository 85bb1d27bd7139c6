"""What runs on a GPU host: the user data, and the warm-up against a real HTTP model, an IMDS double and stand-in commands.

`aws`, `docker`, `nvidia-ctk` and `systemctl` are small programs on PATH that write down what they were asked; AWS, Docker and a GPU
were not there.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from infra import cloud_init

ROOT = Path(__file__).parents[2]
MODEL = b"weights"
COMMAND = f"""#!{sys.executable}
import json, pathlib, shutil, sys
here = pathlib.Path(__file__).parent
words = [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]
with (here / "asked.jsonl").open("a") as file:
    file.write(json.dumps(words) + "\\n")
if "get-object" in words:
    shutil.copyfile(here / "bucket" / words[words.index("--key") + 1].replace("/", "_"), words[-1])
said = here / ("-".join(words[:1] + [word for word in words if word in ("complete-lifecycle-action", "inspect")]) + ".says")
if said.exists():
    sys.stderr.write(said.read_text())
    sys.exit(1)
"""


class _World(BaseHTTPRequestHandler):
    """IMDSv2 and the model in one server."""

    server: "Host"

    def log_message(self, *words: Any) -> None:
        pass

    def do_PUT(self) -> None:
        self._say(200, "token")

    def do_GET(self) -> None:
        if self.path.startswith("/latest/"):
            known = {"instance-id": "i-0123", "tags/instance/Name": "medic-test-gpu"}
            self._say(200 if self.headers.get("X-aws-ec2-metadata-token") == "token" else 401, known[self.path[18:]])
        else:
            self._say(*self.server.ready)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        text = "" if self.server.asked <= self.server.cold else "2"
        self._say(200, json.dumps({"choices": [{"text": text}]}))

    def _say(self, status: int, body: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())


class Host(ThreadingHTTPServer):
    """A host's surroundings; cold: how many requests the model answers without a token first."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _World)
        self.ready, self.cold, self.asked = (200, "ok"), 0, 0
        self.folder = folder
        (folder / "bucket").mkdir()
        for name in ("aws", "docker", "nvidia-ctk", "systemctl"):
            (folder / name).write_text(COMMAND)
            (folder / name).chmod(0o755)
        (folder / "docker-inspect.says").write_text("No such object")
        (folder / "key.pub").write_text("ssh-ed25519 AAAA root@host\n")
        self.offer("models/a/manifest.json", json.dumps({"files": [entry("weights.bin")]}).encode())
        self.offer("models/a/weights.bin", MODEL)
        port = self.server_address[1]
        self.config = cloud_init.HostConfig(
            fleet="medic-test", region="us-east-1", launch_hook="warm-up", bucket="b", manifest="models/a/manifest.json",
            host_keys="/medic/medic-test/host-keys", agent_key="/medic/medic-test/agent-key", queue_url="https://q", namespace="Medic", container="model", image="i@sha256:0", command=("--fast",),
            port=port, ready_path="/health", model_name="llama", poll=0.05, imds=f"http://127.0.0.1:{port}",
            host_key=str(folder / "key.pub"), docker_config=str(folder / "daemon.json"),
        )  # fmt: skip

    def offer(self, key: str, content: bytes) -> None:
        (self.folder / "bucket" / key.replace("/", "_")).write_bytes(content)

    def boots(self, **changed: Any) -> subprocess.CompletedProcess[str]:
        """Run the warm-up as systemd would."""
        path = self.folder / "host.json"
        path.write_text(json.dumps({**asdict(replace(self.config, **changed)), "models": str(self.folder / "models")}))
        words = [sys.executable, str(ROOT / "infra/host/warm_up.py"), str(path)]
        env = {"PATH": f"{self.folder}:/usr/bin:/bin"}
        return subprocess.run(words, capture_output=True, text=True, timeout=60, env=env)

    def asked_of(self, program: str) -> list[list[str]]:
        lines = (self.folder / "asked.jsonl").read_text().splitlines()
        return [words[1:] for line in lines if (words := json.loads(line))[0] == program]

    def told_group(self) -> list[str]:
        return [words[words.index("autoscaling") + 1] for words in self.asked_of("aws") if "autoscaling" in words]


def entry(path: str, content: bytes = MODEL) -> dict[str, str]:
    return {
        "path": path,
        "key": f"models/a/{Path(path).name}",
        "version_id": "v1",
        "sha256": hashlib.sha256(content).hexdigest(),
    }


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    server = Host(tmp_path)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_host_enters_service_once_its_model_brings_a_token(host: Host) -> None:
    host.cold = 2

    done = host.boots()

    assert done.returncode == 0, done.stdout
    assert host.asked == 3
    assert host.told_group()[-1] == "complete-lifecycle-action"
    assert (host.folder / "models/weights.bin").read_bytes() == MODEL


def test_it_publishes_its_ssh_key_before_anything_else(host: Host) -> None:
    host.boots()

    first = host.asked_of("aws")[0]
    assert first[first.index("--name") + 1] == "/medic/medic-test/host-keys/i-0123"
    assert first[-1] == "ssh-ed25519 AAAA"


def test_each_file_is_fetched_in_its_very_version(host: Host) -> None:
    host.boots()

    fetched = [words for words in host.asked_of("aws") if "get-object" in words]
    assert [words[words.index("--key") + 1] for words in fetched] == ["models/a/manifest.json", "models/a/weights.bin"]
    assert "v1" in fetched[1]


def test_the_model_runs_pinned_with_bounded_logs_and_no_restart_of_docker_later(host: Host) -> None:
    host.boots()
    (host.folder / "daemon.json").write_text('{"runtimes": {"nvidia": {}}}')
    (host.folder / "docker-inspect.says").unlink()
    host.boots()

    run = next(words for words in host.asked_of("docker") if words[0] == "run")
    assert run[-2:] == ["i@sha256:0", "--fast"]
    assert "max-size=50m" in run
    assert [words for words in host.asked_of("docker") if words[0] == "start"] == [["start", "model"]]
    assert len(host.asked_of("systemctl")) == 1


def test_a_second_boot_fetches_nothing_that_is_already_right(host: Host) -> None:
    host.boots()
    host.boots()

    fetched = [words[words.index("--key") + 1] for words in host.asked_of("aws") if "get-object" in words]
    assert fetched.count("models/a/weights.bin") == 1


@dataclass(frozen=True)
class Broken:
    """One way in which a host cannot get warm, and what it says."""

    said: str
    offers: dict[str, bytes] = field(default_factory=dict)
    says: dict[str, str] = field(default_factory=dict)


BROKEN = {
    "another file than the manifest says": Broken("has sha256", {"models/a/weights.bin": b"other"}),
    "a path that leads out": Broken(
        "leads out of", {"models/a/manifest.json": json.dumps({"files": [entry("../weights.bin")]}).encode()}
    ),
    "a manifest that is none": Broken("cannot warm this host up", {"models/a/manifest.json": b"<html>"}),
    "no access": Broken("AccessDenied", says={"aws.says": "AccessDenied"}),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_a_host_that_cannot_get_warm_says_why_and_never_enters_service(host: Host, broken: Broken) -> None:
    for key, content in broken.offers.items():
        host.offer(key, content)
    for name, text in broken.says.items():
        (host.folder / name).write_text(text)

    done = host.boots()

    assert done.returncode == 1
    assert broken.said in done.stdout
    assert "complete-lifecycle-action" not in host.told_group()
    assert not (host.folder / "weights.bin").exists()


def test_a_hook_that_is_over_already_is_as_good(host: Host) -> None:
    (host.folder / "aws-complete-lifecycle-action.says").write_text("ValidationError: No active Lifecycle Action found")

    assert host.boots().returncode == 0


def test_gpu_figures_leave_out_what_a_card_does_not_say_and_count_a_broken_nvidia_smi(tmp_path: Path) -> None:
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho '0, [N/A], 46068, 41'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    program = f"import os, sys; sys.path.insert(0, {str(ROOT / 'infra/host')!r}); import report_gpus; print(report_gpus.read())"

    def read(path: str) -> str:
        return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={"PATH": path}).stdout

    assert (
        read(str(tmp_path))
        == str(
            [
                ("GpuUnreadable", "Count", 0.0, "fleet"),
                ("GpuUnreadable", "Count", 0.0, "host"),
                ("GpuMemoryUsed", "Megabytes", 46068.0, "0"),
                ("GpuTemperature", "None", 41.0, "0"),
            ]
        )
        + "\n"
    )
    assert read("/nowhere") == str([("GpuUnreadable", "Count", 1.0, "fleet"), ("GpuUnreadable", "Count", 1.0, "host")]) + "\n"
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho '0, 3, 46068, 41'\necho '1, 7, 46068, 41'\n")
    assert "('GpuBusiest', 'Percent', 7.0, 'host')" in read(str(tmp_path))
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho '0, 3, 46068, 41'\necho '1, [N/A], 46068, 41'\n")
    assert "GpuBusiest" not in read(str(tmp_path)), "what one card does not tell makes no idle host"


def test_figures_are_sent_under_the_fleet_the_host_and_the_card(tmp_path: Path) -> None:
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho '0, 3, 46068, 41'\n")
    (tmp_path / "aws").write_text(f'#!/bin/sh\nfor word; do said="$word"; done\nprintf %s "$said" > {tmp_path}/sent\n')
    for each in ("nvidia-smi", "aws"):
        (tmp_path / each).chmod(0o755)
    (tmp_path / "config").write_text(json.dumps({"fleet": "medic-a", "region": "r", "namespace": "Medic"}))
    (tmp_path / "instance").write_text("i-1\n")
    words = [sys.executable, str(ROOT / "infra/host/report_gpus.py"), str(tmp_path / "config"), str(tmp_path / "instance")]

    subprocess.run(words, check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})

    sent = {
        (each["MetricName"], *(f"{name['Name']}={name['Value']}" for name in each["Dimensions"]))
        for each in json.loads((tmp_path / "sent").read_text())
    }
    assert ("GpuUnreadable", "Fleet=medic-a") in sent
    assert ("GpuBusiest", "Fleet=medic-a", "Instance=i-1") in sent
    assert ("GpuUtilization", "Fleet=medic-a", "Instance=i-1", "Gpu=0") in sent


# ----------------------------------------------------------------------------------------------------------- user data


def rendered(**changed: Any) -> str:
    names = (
        "fleet",
        "region",
        "launch_hook",
        "bucket",
        "manifest",
        "host_keys",
        "agent_key",
        "queue_url",
        "namespace",
        "container",
        "image",
        "ready_path",
        "model_name",
    )
    texts: dict[str, Any] = dict.fromkeys(names, "x")
    return cloud_init.render(cloud_init.HostConfig(**{**texts, "command": (), "port": 8000, **changed}))


def rendered_agent(**changed: Any) -> str:
    texts: dict[str, Any] = dict.fromkeys(("region", "bucket", "volume", "agent_key", "inventory"), "x")
    files = tuple(cloud_init.Shipped(key=f"agent/{each}", sha256="0" * 64) for each in ("m.whl", "a.lock", "s.lock"))
    return cloud_init.render_agent(cloud_init.AgentConfig(**{**texts, "files": files, **changed}))


def test_the_same_settings_give_the_same_user_data() -> None:
    assert rendered() == rendered()


def test_no_setting_can_break_out_of_the_document() -> None:
    hostile = "x\nruncmd: [[reboot]]\n#cloud-config"
    document = json.loads(rendered(model_name=hostile).removeprefix("#cloud-config\n"))

    assert ["reboot"] not in document["runcmd"]
    assert json.loads(document["write_files"][0]["content"])["model_name"] == hostile


def test_the_user_data_fits_with_room_for_long_names() -> None:
    assert len(rendered(model_name="m" * 200, image="i" * 400).encode()) < cloud_init.LARGEST


def test_user_data_that_ec2_would_refuse_is_refused() -> None:
    with pytest.raises(ValueError, match="EC2 takes 16384"):
        rendered(command=("x" * 20_000,))


SCHEMAS = (
    Path("/usr/lib/python3/dist-packages/cloudinit/config/schemas/schema-cloud-config-v1.json"),
    ROOT / ".cache/cloud-init/schema-cloud-config-v1.json",
)
"""cloud-init's own schema: of an installed one, or what scripts/test.sh takes out of Debian's package."""


@pytest.mark.parametrize("text", [rendered(), rendered_agent()], ids=["gpu host", "agent host"])
def test_cloud_init_itself_accepts_the_document(text: str) -> None:
    schema = next((path for path in SCHEMAS if path.exists()), None)
    if schema is None:
        pytest.skip("cloud-init's schema is not here (scripts/test.sh fetches it); no user data was held against it")
    validator = jsonschema.Draft4Validator(json.loads(schema.read_text()))

    document = json.loads(text.removeprefix("#cloud-config\n"))
    assert [each.message for each in validator.iter_errors(document)] == []
    assert not validator.is_valid({**document, "write_files": [{"content": "no path"}]})


# -------------------------------------------------------------------------------------------------- whom a host lets in

KEY = "ssh-ed25519 " + "A" * 68


@dataclass(frozen=True)
class Published:
    """What the parameter of the agent's key says, and whom the host lets in then (None: as before)."""

    value: str
    error: str = ""
    code: int = 0
    admits: str | None = None


PUBLISHED = {
    "one key": Published(KEY, admits=f"no-agent-forwarding,no-X11-forwarding,no-pty {KEY} medic-agent\n"),
    "nothing yet": Published("", error="ParameterNotFound"),
    "an option in front": Published(f'command="id" {KEY}', code=1),
    "two keys": Published(f"{KEY}\n{KEY}", code=1),
    "another kind": Published("ssh-rsa AAAA", code=1),
    "no access": Published("", error="AccessDenied", code=1),
}


@pytest.mark.parametrize("published", PUBLISHED.values(), ids=PUBLISHED.keys())
def test_a_host_lets_in_one_plain_key_of_the_agent_and_nothing_else(tmp_path: Path, published: Published) -> None:
    (tmp_path / "said").write_text(published.value)
    fails = f"echo {published.error} >&2; exit 254" if published.error else f"cat {tmp_path / 'said'}"
    (tmp_path / "aws").write_text(f"#!/bin/sh\n{fails}\n")
    (tmp_path / "aws").chmod(0o755)
    config, admitted = tmp_path / "host.json", tmp_path / "keys"
    config.write_text(json.dumps({"region": "r", "agent_key": "/k", "agent_keys": str(admitted)}))
    admitted.write_text("before\n")

    words = [sys.executable, str(ROOT / "infra/host/admit_agent.py"), str(config)]
    done = subprocess.run(words, capture_output=True, text=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})

    assert done.returncode == published.code, done.stderr
    assert admitted.read_text() == (published.admits or "before\n")


def test_sshd_itself_accepts_how_it_is_configured(tmp_path: Path) -> None:
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    if sshd is None:
        pytest.skip("OpenSSH's sshd is not installed; its configuration was not asked")
    try:
        Path("/run/sshd").mkdir(exist_ok=True)
    except PermissionError:
        pytest.skip("sshd wants /run/sshd, which only root can make; its configuration was not asked")
    document = json.loads(rendered().removeprefix("#cloud-config\n"))
    (included,) = (each["content"] for each in document["write_files"] if each["path"].startswith("/etc/ssh/sshd_config.d"))
    (tmp_path / "included").write_text(included)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    (tmp_path / "config").write_text(f"Include {tmp_path}/included\nHostKey {tmp_path}/key\nMaxAuthTries 3\n")
    asked = [sshd, "-T", "-f", str(tmp_path / "config"), "-C"]

    def keys(user: str) -> str:
        done = subprocess.run([*asked, f"user={user},host=h,addr=10.0.0.1"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return next(line for line in done.stdout.splitlines() if line.startswith("authorizedkeysfile"))

    assert cloud_init.AGENT_KEYS in keys(cloud_init.SSH_USER)
    assert cloud_init.AGENT_KEYS not in keys("root")


# ------------------------------------------------------------------------------------------------------ the agent's host

PREPARE = """
import hashlib, json, pathlib, sys, types
sys.path.insert(0, {folder!r})
asked = []

class Client:
    def download_file(self, bucket, key, target):
        pathlib.Path(target).write_bytes({content!r})
    def put_parameter(self, **words):
        asked.append([words["Name"], words["Value"]])

import boto3
boto3.client = lambda *words, **more: Client()
import prepare_agent
prepare_agent.run = lambda *words: asked.append(list(words))
config = json.loads(pathlib.Path({config!r}).read_text())
{call}
print(json.dumps(asked))
"""


def prepared(tmp_path: Path, call: str, content: bytes = b"shipped") -> list[list[str]]:
    files = [
        {"key": f"agent/1/{name}", "sha256": hashlib.sha256(b"shipped").hexdigest()}
        for name in ("medic.whl", "aws.lock", "ssh.lock")
    ]
    config = {"region": "r", "bucket": "b", "agent_key": "/k", "files": files, "downloads": str(tmp_path / "downloads")}
    (tmp_path / "agent.json").write_text(json.dumps(config))
    program = PREPARE.format(
        folder=str(ROOT / "infra/host"), content=content, config=str(tmp_path / "agent.json"), call=call.format(tmp=tmp_path)
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-800:]
    found: list[list[str]] = json.loads(done.stdout)
    return found


INSTALL = "pathlib.Path('{tmp}/venv').mkdir(exist_ok=True); prepare_agent.install(config, pathlib.Path('{tmp}/venv'))"


def test_medic_is_installed_from_what_was_shipped_and_once(tmp_path: Path) -> None:
    first, again = prepared(tmp_path, INSTALL), prepared(tmp_path, INSTALL)

    assert [words[-1].rsplit("/", 1)[1] for words in first] == ["venv", "ssh.lock", "medic.whl"]
    assert "--require-hashes" in first[1]
    assert again == []


def test_another_file_than_was_shipped_is_not_installed(tmp_path: Path) -> None:
    refused = "try:\n    prepare_agent.install(config, pathlib.Path('{tmp}/venv'))\nexcept RuntimeError as exc:\n    asked.append([str(exc)])"

    assert "has sha256" in prepared(tmp_path, refused, b"other")[0][0]


def test_the_agents_key_is_made_once_and_only_its_public_half_is_said(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("PRIVATE")
    (tmp_path / "key.pub").write_text(f"{KEY} comment\n")

    assert prepared(tmp_path, "prepare_agent.publish_key(config, pathlib.Path('{tmp}/key'))") == [["/k", KEY]]


@pytest.mark.parametrize(
    ("found", "formats"), [((2, ""), True), ((0, "TYPE=ext4"), False), ((8, ""), None), ((4, ""), None)], ids=str
)
def test_a_volume_that_holds_anything_or_cannot_be_read_is_never_formatted(
    tmp_path: Path, found: tuple[int, str], formats: bool | None
) -> None:
    code, text = found
    call = f"""
def answers(words, **more):
    return types.SimpleNamespace(returncode=1 if words[0] == "mountpoint" else {code}, stdout={text!r}, stderr="odd")
prepare_agent.subprocess = types.SimpleNamespace(run=answers)
prepare_agent.appeared = lambda volume: "/dev/it"
try:
    prepare_agent.mount_state("vol-1", pathlib.Path("{{tmp}}/state"))
except RuntimeError as exc:
    asked.append(["refused"])
"""
    words = [each[0] for each in prepared(tmp_path, call)]

    assert words == {True: ["mkfs.ext4", "mount"], False: ["mount"], None: ["refused"]}[formats]

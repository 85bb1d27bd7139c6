"""Cloud-init of a GPU host and of the agent's, rendered by plain Python: settings and names -> user data. Imports no Pulumi.

A document only places files and starts units; what happens then is `host/*.py`, which can be read and tested.
"""

import base64
import gzip
import json
from dataclasses import asdict, dataclass
from pathlib import Path

LARGEST = 16_384
"""Bytes of user data before base64 (EC2 User Guide)."""

HOST = Path(__file__).with_name("host")
FOLDER = "/opt/medic-host"
CONFIG = "/etc/medic-host.json"
AGENT_CONFIG = "/etc/medic-agent.json"
AGENT_KEYS = "/etc/ssh/medic_agent_keys"
"""Whom a GPU host lets in besides its image's own keys: the agent of its fleet."""
SSH_USER = "ubuntu"
"""The login of Ubuntu's and the Deep Learning images."""
STATE = "/var/lib/medic"
SSH_KEY = f"{STATE}/ssh/id_ed25519"
UNIT = HOST.parents[1] / "docs/how-to/medic.service"
"""The unit that people are told to use is the one that the agent's host runs."""

_WARM_UP = f"""\
[Unit]
Description=Medic: make this host warm, then put it in service
Wants=network-online.target
After=network-online.target docker.service
# Docker is restarted by the very first step.
StartLimitIntervalSec=0

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/python3 {FOLDER}/warm_up.py
Restart=on-failure
RestartSec=15

[Install]
WantedBy=multi-user.target
"""
_REPORT = f"""\
[Unit]
Description=Medic: report GPU figures

[Service]
Type=oneshot
ExecStart=/usr/bin/python3 {FOLDER}/report_gpus.py
TimeoutStartSec=90
"""
_MINUTELY = """\
[Unit]
Description=Medic: report GPU figures every minute

[Timer]
OnBootSec=60
OnUnitActiveSec=60

[Install]
WantedBy=timers.target
"""
_SSHD = f"""\
PasswordAuthentication no
PermitRootLogin no
Match User {SSH_USER}
    AuthorizedKeysFile .ssh/authorized_keys {AGENT_KEYS}
"""
_ADMIT = f"""\
[Unit]
Description=Medic: let the agent of this fleet in, and nobody else

[Service]
Type=oneshot
ExecStart=/usr/bin/python3 {FOLDER}/admit_agent.py
TimeoutStartSec=60
"""
_ADMIT_OFTEN = """\
[Unit]
Description=Medic: look every minute which key the agent comes with

[Timer]
OnBootSec=5
OnUnitActiveSec=60

[Install]
WantedBy=timers.target
"""
_WATCH_SPOT = f"""\
[Unit]
Description=Medic: tell the agent when this host is being taken back
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/bin/python3 {FOLDER}/watch_spot.py
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
"""
_PREPARE = f"""\
[Unit]
Description=Medic: its state volume, itself and its key, before the daemon starts
Wants=network-online.target
After=network-online.target
Before=medic.service
StartLimitIntervalSec=0

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/python3 {FOLDER}/prepare_agent.py
Restart=on-failure
RestartSec=15
"""
_AFTER_PREPARE = """\
[Unit]
Requires=medic-prepare.service
After=medic-prepare.service
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """What `host/*.py` read on the host (CONFIG).

    poll: seconds between two looks at a model that loads. imds, host_key, docker_config: where they are; tests move them.
    """

    fleet: str
    region: str
    launch_hook: str
    bucket: str
    manifest: str
    host_keys: str
    agent_key: str
    queue_url: str
    namespace: str
    container: str
    image: str
    command: tuple[str, ...]
    port: int
    ready_path: str
    model_name: str
    poll: float = 5
    imds: str = "http://169.254.169.254"
    host_key: str = "/etc/ssh/ssh_host_ed25519_key.pub"
    docker_config: str = "/etc/docker/daemon.json"
    agent_keys: str = AGENT_KEYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """One file in the bucket, and what it must be."""

    key: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """What `host/prepare_agent.py` reads on the agent's host (AGENT_CONFIG).

    files: the wheel first, then the locks. volume: the id of the state volume. agent_key, inventory: SSM parameters.
    """

    region: str
    bucket: str
    files: tuple[Shipped, ...]
    volume: str
    agent_key: str
    inventory: str
    state: str = STATE
    ssh_key: str = SSH_KEY
    venv: str = "/opt/medic"


def render(config: HostConfig) -> str:
    """Return the user data. Raises ValueError when EC2 would refuse it for its size."""
    document = {
        "ssh_pwauth": False,
        "write_files": [
            _file(CONFIG, json.dumps(asdict(config), indent=1), "0644"),
            _packed(f"{FOLDER}/warm_up.py", (HOST / "warm_up.py").read_bytes()),
            _packed(f"{FOLDER}/report_gpus.py", (HOST / "report_gpus.py").read_bytes()),
            _packed(f"{FOLDER}/watch_spot.py", (HOST / "watch_spot.py").read_bytes()),
            _packed(f"{FOLDER}/admit_agent.py", (HOST / "admit_agent.py").read_bytes()),
            _file("/etc/systemd/system/medic-warm-up.service", _WARM_UP, "0644"),
            _file("/etc/systemd/system/medic-report-gpus.service", _REPORT, "0644"),
            _file("/etc/systemd/system/medic-report-gpus.timer", _MINUTELY, "0644"),
            _file("/etc/systemd/system/medic-watch-spot.service", _WATCH_SPOT, "0644"),
            _file("/etc/systemd/system/medic-admit-agent.service", _ADMIT, "0644"),
            _file("/etc/systemd/system/medic-admit-agent.timer", _ADMIT_OFTEN, "0644"),
            _file("/etc/ssh/sshd_config.d/10-medic.conf", _SSHD, "0600"),
        ],
        "runcmd": [
            ["systemctl", "daemon-reload"],
            ["systemctl", "reload-or-restart", "ssh"],
            # The agent reaches the Docker engine as this user, and reads the kernel log for what the GPU driver says.
            ["usermod", "--append", "--groups", "docker,adm", SSH_USER],
            ["systemctl", "enable", "--now", "medic-admit-agent.timer"],
            ["systemctl", "enable", "--now", "medic-report-gpus.timer"],
            ["systemctl", "enable", "--now", "medic-watch-spot.service"],
            # Cloud-init must not wait for a model to load.
            ["systemctl", "enable", "--now", "--no-block", "medic-warm-up.service"],
        ],
    }
    return _document(document)


def render_agent(config: AgentConfig) -> str:
    """Return the user data of the agent's host. Raises ValueError when EC2 would refuse it for its size."""
    medic = {"fleet": {"ssm_parameter": config.inventory, "region": config.region, "key_file": config.ssh_key}}
    document = {
        "ssh_pwauth": False,
        "package_update": True,
        "packages": ["python3-venv", "python3-boto3", "openssh-client"],
        "write_files": [
            _file(AGENT_CONFIG, json.dumps(asdict(config), indent=1), "0644"),
            # JSON is YAML; what people add stands in a file of their own on the state volume (docs/how-to/deploy.md).
            _file("/etc/medic/medic.yaml", json.dumps(medic, indent=1) + "\n", "0644"),
            _packed(f"{FOLDER}/prepare_agent.py", (HOST / "prepare_agent.py").read_bytes()),
            _packed("/etc/systemd/system/medic.service", UNIT.read_bytes(), "0644"),
            _file("/etc/systemd/system/medic.service.d/10-prepare.conf", _AFTER_PREPARE, "0644"),
            _file("/etc/systemd/system/medic-prepare.service", _PREPARE, "0644"),
        ],
        "runcmd": [
            ["systemctl", "daemon-reload"],
            # Cloud-init must not wait for the volume, which is attached once the host runs.
            ["systemctl", "enable", "--now", "--no-block", "medic.service"],
        ],
    }
    return _document(document)


def _document(document: dict[str, object]) -> str:
    # JSON is YAML, and no text of a setting can break out of it.
    text = "#cloud-config\n" + json.dumps(document, indent=1) + "\n"
    if len(text.encode()) > LARGEST:
        raise ValueError(f"cannot render user data: it has {len(text.encode())} bytes, and EC2 takes {LARGEST}")
    return text


def _file(path: str, content: str, permissions: str) -> dict[str, str]:
    return {"path": path, "content": content, "permissions": permissions}


def _packed(path: str, content: bytes, permissions: str = "0755") -> dict[str, str]:
    # No time stamp in the archive: the same settings must give the same user data, or every `up` makes a new template.
    packed = base64.b64encode(gzip.compress(content, mtime=0)).decode()
    return {"path": path, "encoding": "gz+b64", "content": packed, "permissions": permissions}

"""Cloud-init of a GPU host, rendered by plain Python: settings and names -> user data. Imports no Pulumi.

The document only places files and starts one unit; what happens then is `host/warm_up.py`, which can be read and tested.
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
_SSHD = "PasswordAuthentication no\nPermitRootLogin no\n"


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


def render(config: HostConfig) -> str:
    """Return the user data. Raises ValueError when EC2 would refuse it for its size."""
    document = {
        "ssh_pwauth": False,
        "write_files": [
            _file(CONFIG, json.dumps(asdict(config), indent=1), "0644"),
            _packed(f"{FOLDER}/warm_up.py", (HOST / "warm_up.py").read_bytes()),
            _packed(f"{FOLDER}/report_gpus.py", (HOST / "report_gpus.py").read_bytes()),
            _file("/etc/systemd/system/medic-warm-up.service", _WARM_UP, "0644"),
            _file("/etc/systemd/system/medic-report-gpus.service", _REPORT, "0644"),
            _file("/etc/systemd/system/medic-report-gpus.timer", _MINUTELY, "0644"),
            _file("/etc/ssh/sshd_config.d/10-medic.conf", _SSHD, "0600"),
        ],
        "runcmd": [
            ["systemctl", "daemon-reload"],
            ["systemctl", "reload-or-restart", "ssh"],
            ["systemctl", "enable", "--now", "medic-report-gpus.timer"],
            # Cloud-init must not wait for a model to load.
            ["systemctl", "enable", "--now", "--no-block", "medic-warm-up.service"],
        ],
    }
    # JSON is YAML, and no text of a setting can break out of it.
    text = "#cloud-config\n" + json.dumps(document, indent=1) + "\n"
    if len(text.encode()) > LARGEST:
        raise ValueError(f"cannot render user data: it has {len(text.encode())} bytes, and EC2 takes {LARGEST}")
    return text


def _file(path: str, content: str, permissions: str) -> dict[str, str]:
    return {"path": path, "content": content, "permissions": permissions}


def _packed(path: str, content: bytes) -> dict[str, str]:
    # No time stamp in the archive: the same settings must give the same user data, or every `up` makes a new template.
    packed = base64.b64encode(gzip.compress(content, mtime=0)).decode()
    return {"path": path, "encoding": "gz+b64", "content": packed, "permissions": "0755"}

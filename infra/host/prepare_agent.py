"""Runs at every boot of the agent's host, before Medic: its state volume, Medic itself, and the key it comes with.

Plain Python of the image and its boto3. What it does is in /etc/medic-agent.json (infra/cloud_init.py). Each step can be done
twice, and a volume that holds anything is never formatted.
"""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

STEP = 900  # seconds for one command of ours
ATTACHED_WITHIN = 240  # seconds; the volume is attached once this host runs


def main(config_path: str = "/etc/medic-agent.json") -> None:
    """Prepare this host; raises (and systemd tries again) when a step does not work out."""
    config = json.loads(Path(config_path).read_text())
    mount_state(config["volume"], Path(config["state"]))
    install(config, Path(config["venv"]))
    publish_key(config, Path(config["ssh_key"]))
    say("ready for Medic")


def mount_state(volume: str, state: Path) -> None:
    """Mount the state volume at `state`; format it only where it holds nothing at all."""
    if subprocess.run(("mountpoint", "--quiet", str(state))).returncode == 0:
        return
    device = appeared(volume)
    found = subprocess.run(("blkid", "--probe", "--output", "export", device), capture_output=True, text=True, timeout=60)
    if found.returncode == 2 and not found.stdout.strip():  # 2: nothing is recognised on it (blkid(8))
        run("mkfs.ext4", "-q", "-L", "medic-state", device)
    elif found.returncode:
        raise RuntimeError(f"cannot tell what {device} holds: {found.stderr.strip()}")
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    run("mount", device, str(state))
    state.chmod(0o700)


def appeared(volume: str, dev: Path = Path("/dev")) -> str:
    """Return the device of an EBS volume once it is there. On Nitro its serial number is the volume's id, without the dash."""
    link = dev / f"disk/by-id/nvme-Amazon_Elastic_Block_Store_{volume.replace('-', '')}"
    end = time.monotonic() + ATTACHED_WITHIN
    while time.monotonic() < end:
        for each in (link, dev / "xvdf"):
            if each.exists():
                return str(each.resolve())
        time.sleep(2)
    raise RuntimeError(f"cannot mount the state: {volume} is not attached")


def install(config: dict[str, Any], venv: Path) -> None:
    """Put Medic into `venv`, exactly as shipped: each file by its checksum, each dependency by its hash."""
    wanted = ",".join(each["sha256"] for each in config["files"])
    mark = venv / "shipped"
    if mark.exists() and mark.read_text() == wanted:
        return
    folder = Path(config.get("downloads", "/var/cache/medic"))
    folder.mkdir(parents=True, exist_ok=True)
    wheel, *locks = (fetch(config, each, folder) for each in config["files"])
    run(sys.executable, "-m", "venv", "--clear", str(venv))
    pip = (str(venv / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--require-hashes", *(word for lock in locks for word in ("-r", str(lock))))
    run(*pip, "--no-deps", str(wheel))
    mark.write_text(wanted)


def fetch(config: dict[str, Any], wanted: dict[str, str], folder: Path) -> Path:
    """Copy one object of the bucket; raises when it is another than was shipped."""
    target = folder / wanted["key"].rsplit("/", 1)[1]
    client(config, "s3").download_file(config["bucket"], wanted["key"], str(target))
    found = hashlib.sha256(target.read_bytes()).hexdigest()
    if found != wanted["sha256"]:
        target.unlink()
        raise RuntimeError("{} has sha256 {} and should have {}".format(wanted["key"], found, wanted["sha256"]))
    return target


def publish_key(config: dict[str, Any], key: Path) -> None:
    """Make the key that opens GPU hosts, once; say its public half. It stays on the encrypted volume."""
    if not key.exists():
        key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "medic-agent", "-f", str(key))
    public = " ".join(key.with_name(key.name + ".pub").read_text().split()[:2])
    client(config, "ssm").put_parameter(Name=config["agent_key"], Value=public, Type="String", Overwrite=True)


def client(config: dict[str, Any], service: str) -> Any:
    """Return a client that gives up in the end."""
    bounds = Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 4, "mode": "standard"})
    return boto3.client(service, region_name=config["region"], config=bounds)


def run(*words: str) -> None:
    """Run a program; raises with what it said when it does not work out."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=STEP)
    if done.returncode:
        raise RuntimeError("{}: {}".format(" ".join(words[:4]), done.stderr.strip()[-2000:]))


def say(text: str) -> None:
    """Write one line for the journal."""
    print(f"medic-agent: {text}", flush=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as exc:  # noqa: BLE001  (whatever it was, systemd tries again and the journal says why)
        say(f"cannot prepare this host: {exc}")
        sys.exit(1)

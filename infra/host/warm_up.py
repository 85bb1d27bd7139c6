"""Runs once on every GPU host, at boot: from a bare image to a warm model, and only then "in service".

Plain Python of the image (3.10) and the AWS command line, because nothing of ours is there yet. What it does is in
/etc/medic-host.json (infra/cloud_init.py). Each step can be done twice; a host that never gets warm lets its launch hook run
out, which abandons and replaces it.
"""

import hashlib
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

MODELS = Path("/opt/models")
STEP = 1800  # seconds for one command of ours; the launch hook is what really bounds the whole
PROGRESS = 30  # seconds between two heartbeats of the launch hook


def main(config_path: str = "/etc/medic-host.json") -> None:
    """Warm this host up; raises (and systemd tries again) when a step does not work out."""
    config = json.loads(Path(config_path).read_text())
    host = Host(config)
    host.publish_keys()
    host.prepare_docker()
    host.fetch_model()
    host.start_model()
    host.wait_until_warm()
    host.tell_group("CONTINUE")
    say("warm and in service")


class Host:
    """This instance and its part of the fleet."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.instance = imds(config["imds"], "instance-id")
        self.group = imds(config["imds"], "tags/instance/Name")
        self.models = Path(config.get("models", MODELS))
        self.told = 0.0

    def publish_keys(self) -> None:
        """Say what this host's SSH key is, so that nobody has to trust the first answer on port 22."""
        key = Path(self.config["host_key"]).read_text().split()
        self.aws(
            "ssm", "put-parameter", "--overwrite", "--type", "String",
            "--name", "{}/{}".format(self.config["host_keys"], self.instance), "--value", " ".join(key[:2]),
        )  # fmt: skip

    def prepare_docker(self) -> None:
        """Give Docker the NVIDIA runtime, once; a restart later would end the model."""
        daemon = Path(self.config["docker_config"])
        if daemon.exists() and "nvidia" in daemon.read_text():
            return
        run("nvidia-ctk", "runtime", "configure", "--runtime=docker", f"--config={daemon}")
        run("systemctl", "restart", "docker")

    def fetch_model(self) -> None:
        """Make the files that the manifest names be here, each with its very version and checksum."""
        if not self.config["manifest"]:
            return
        manifest = self.models / "manifest.json"
        self.models.mkdir(parents=True, exist_ok=True)
        self.get_object(self.config["manifest"], "", manifest)
        for each in json.loads(manifest.read_text())["files"]:
            target = inside(self.models, each["path"])
            if target.exists() and sha256(target) == each["sha256"]:
                continue
            part = target.with_name(target.name + ".part")
            target.parent.mkdir(parents=True, exist_ok=True)
            self.get_object(each["key"], each["version_id"], part)
            found = sha256(part)
            if found != each["sha256"]:
                part.unlink()
                raise RuntimeError("{} has sha256 {} and should have {}".format(each["key"], found, each["sha256"]))
            part.rename(target)
            self.still_working()

    def get_object(self, key: str, version: str, target: Path) -> None:
        """Copy one object of the bucket to `target`."""
        pinned = ("--version-id", version) if version else ()
        self.aws("s3api", "get-object", "--bucket", self.config["bucket"], "--key", key, *pinned, str(target))

    def start_model(self) -> None:
        """Start the model's container, unless it stands already; the image is pinned by its digest."""
        name, image, port = self.config["container"], self.config["image"], self.config["port"]
        if subprocess.run(("docker", "inspect", name), capture_output=True, timeout=60).returncode == 0:
            run("docker", "start", name)
            return
        run("docker", "pull", image)
        self.still_working()
        run(
            "docker", "run", "--detach", "--name", name, "--restart", "unless-stopped", "--gpus", "all",
            "--shm-size", "1g", "--log-opt", "max-size=50m", "--log-opt", "max-file=3",
            "--volume", f"{self.models}:/models:ro", "--publish", f"{port}:{port}", image, *self.config["command"],
        )  # fmt: skip

    def wait_until_warm(self) -> None:
        """Ask until the model really answers; a server that only says it is healthy is not warm."""
        while not self.is_warm():
            self.still_working()
            time.sleep(self.config["poll"])

    def is_warm(self) -> bool:
        """Is the ready path 200 and, where the model has a name, does a request of one token bring one?"""
        address = f"http://127.0.0.1:{self.config['port']}"
        try:
            with urllib.request.urlopen(address + self.config["ready_path"], timeout=10):
                pass
            if not self.config["model_name"]:
                return True
            body = json.dumps({"model": self.config["model_name"], "prompt": "1", "max_tokens": 1}).encode()
            asked = urllib.request.Request(address + "/v1/completions", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return bool(json.loads(answer.read(65536))["choices"][0]["text"])
        except (OSError, urllib.error.URLError, ValueError, LookupError, TypeError) as exc:
            say(f"not warm yet: {exc}")
            return False

    def still_working(self) -> None:
        """Keep the launch hook from running out while there is progress."""
        if time.monotonic() - self.told >= PROGRESS:
            self.told = time.monotonic()
            self.hook("record-lifecycle-action-heartbeat")

    def tell_group(self, result: str) -> None:
        """End the launch hook; one that is over already is as good."""
        self.hook("complete-lifecycle-action", "--lifecycle-action-result", result)

    def hook(self, action: str, *words: str) -> None:
        """Do one thing to this host's launch hook."""
        asked = ("aws", "--region", self.config["region"], "autoscaling", action, *words,
                 "--auto-scaling-group-name", self.group, "--lifecycle-hook-name", self.config["launch_hook"],
                 "--instance-id", self.instance)  # fmt: skip
        done = subprocess.run(asked, capture_output=True, text=True, timeout=60)
        if done.returncode and "No active Lifecycle Action" not in done.stderr:
            raise RuntimeError(f"{action}: {done.stderr.strip()}")

    def aws(self, *words: str) -> None:
        """Run the AWS command line."""
        run("aws", "--region", self.config["region"], *words)


def imds(address: str, path: str) -> str:
    """Return one value of this instance's metadata, by IMDSv2."""
    asked = urllib.request.Request(
        address + "/latest/api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "300"}
    )
    with urllib.request.urlopen(asked, timeout=5) as answer:
        token = answer.read().decode()
    value = urllib.request.Request(address + "/latest/meta-data/" + path, headers={"X-aws-ec2-metadata-token": token})
    with urllib.request.urlopen(value, timeout=5) as answer:
        text: str = answer.read().decode()
    return text


def inside(folder: Path, path: str) -> Path:
    """Return `folder/path`; raises where `path` leads out of the folder."""
    target = (folder / path).resolve()
    if folder.resolve() not in target.parents:
        raise RuntimeError(f"{path!r} leads out of {folder}")
    return target


def sha256(path: Path) -> str:
    """Return a file's checksum."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def run(*words: str) -> None:
    """Run a program; raises with what it said when it does not work out."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=STEP)
    if done.returncode:
        raise RuntimeError("{}: {}".format(" ".join(words[:4]), done.stderr.strip()[-2000:]))


def say(text: str) -> None:
    """Write one line for the journal."""
    print(f"medic-host: {text}", flush=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (RuntimeError, OSError, ValueError, LookupError, subprocess.SubprocessError) as exc:
        say(f"cannot warm this host up: {exc}")
        sys.exit(1)

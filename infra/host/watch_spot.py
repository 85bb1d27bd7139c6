"""Runs for as long as a GPU host does: asks its metadata every five seconds whether it is being taken back, and tells the queue.

The cloud's own events are best effort and carry no deadline; a host's metadata has both. What is said is the envelope that
EventBridge uses, with the source `medic.host`; SQS signs it with this instance's id, so that no host can speak of another.
"""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

EVERY = 5.0  # seconds; AWS's own advice (EC2 User Guide, "Spot Instance interruption notices")
PATIENCE = 2.0  # seconds for one answer; it takes milliseconds
TOKEN_LIVES = 300  # seconds
EARLY = 15  # seconds before its end in which a token is not used any more
AGAIN = 30.0  # seconds after which a notice is said again: the first may have met an agent that was starting
PATHS = {
    "spot/instance-action": "EC2 Spot Instance Interruption Warning",
    "events/recommendations/rebalance": "EC2 Instance Rebalance Recommendation",
}


class Imds:
    """This instance's metadata, by IMDSv2. A path that says nothing answers 404."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.token, self.ends = "", 0.0

    def get(self, path: str) -> str:
        """Return what a path says; empty where it says nothing, or cannot be asked just now."""
        for _ in range(2):  # a token that was taken back early answers 401 once
            try:
                if time.monotonic() >= self.ends - EARLY:
                    self.renew()
                asked = urllib.request.Request(
                    f"{self.address}/latest/meta-data/{path}", headers={"X-aws-ec2-metadata-token": self.token}
                )
                with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
                    text: str = answer.read(65536).decode()
                    return text
            except urllib.error.HTTPError as exc:
                if exc.code == 401:
                    self.ends = 0.0
                    continue
                if exc.code != 404:
                    say(f"metadata answers {exc.code} to {path}")
                return ""
            except (OSError, ValueError) as exc:
                say(f"metadata does not answer: {exc}")
                return ""
        return ""

    def renew(self) -> None:
        """Get a token."""
        asked = urllib.request.Request(
            f"{self.address}/latest/api/token", method="PUT",
            headers={"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_LIVES)},
        )  # fmt: skip
        with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
            self.token = answer.read(4096).decode()
        self.ends = time.monotonic() + TOKEN_LIVES


def main(config_path: str = "/etc/medic-host.json") -> None:
    """Watch until this host ends."""
    config = json.loads(Path(config_path).read_text())
    imds = Imds(config["imds"])
    told: dict[str, tuple[str, float]] = {}
    instance = ""
    while True:
        instance = instance or imds.get("instance-id")
        for path, what in PATHS.items():
            text = imds.get(path) if instance else ""
            last, at = told.get(path, ("", 0.0))
            if text and (text != last or time.monotonic() - at >= AGAIN) and tell(config, envelope(instance, what, text)):
                told[path] = (text, time.monotonic())
        time.sleep(config.get("watch_every", EVERY))


def envelope(instance: str, what: str, text: str) -> dict[str, Any]:
    """Return what is said of one notice. `text` is JSON of the metadata: its time is the moment at which this host ends."""
    detail: dict[str, str] = {"instance-id": instance}
    try:
        said = json.loads(text)
        if "action" in said:
            detail |= {"instance-action": str(said["action"]), "deadline": str(said["time"])}
    except (ValueError, KeyError, TypeError):
        say(f"metadata says {text[:200]!r}")  # a notice that cannot be read is a notice all the same
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: UP017  (Python 3.10 of the image)
    return {"version": "0", "source": "medic.host", "detail-type": what, "time": now, "detail": detail}


def tell(config: dict[str, Any], message: dict[str, Any]) -> bool:
    """Put one message into the queue; False where that did not work."""
    words = ("aws", "--region", config["region"], "sqs", "send-message", "--queue-url", config["queue_url"],
             "--message-body", json.dumps(message))  # fmt: skip
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    except subprocess.SubprocessError as exc:
        say(f"cannot tell of {message['detail-type']}: {exc}")
        return False
    if done.returncode:
        say(f"cannot tell of {message['detail-type']}: {done.stderr.strip()[-500:]}")
    return done.returncode == 0


def say(text: str) -> None:
    """Write one line for the journal."""
    print(f"medic-spot: {text}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Runs every minute on a GPU host: lets in the key that the agent of this fleet publishes, and only that.

The parameter may be written by the agent's role alone. What it holds must be one ed25519 key and nothing else: an option in
front of it, or a second line, would be a permission that nobody here gave.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]{68}")
NARROW = "no-agent-forwarding,no-X11-forwarding,no-pty"


def main(config_path: str = "/etc/medic-host.json") -> int:
    """Admit the published key; return the exit code. A key that is not there yet is no fault: the agent may come later."""
    config = json.loads(Path(config_path).read_text())
    asked = ("aws", "--region", config["region"], "ssm", "get-parameter", "--name", config["agent_key"],
             "--query", "Parameter.Value", "--output", "text")  # fmt: skip
    done = subprocess.run(asked, capture_output=True, text=True, timeout=30)
    if done.returncode:
        if "ParameterNotFound" in done.stderr:
            return 0
        sys.stderr.write(f"cannot read the agent's key: {done.stderr.strip()[-500:]}\n")
        return 1
    key = done.stdout.strip()
    if not KEY.fullmatch(key):
        sys.stderr.write(f"cannot admit the agent: {config['agent_key']} holds no ed25519 key\n")
        return 1
    admitted = Path(config["agent_keys"])
    line = f"{NARROW} {key} medic-agent\n"
    if not admitted.exists() or admitted.read_text() != line:
        part = admitted.with_name(admitted.name + ".part")
        part.write_text(line)
        part.chmod(0o644)
        part.rename(admitted)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""A run of the program as `medic infra describe` makes it: in a process of its own, on Pulumi's mocks."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
WHEEL = "tests/infra/medic_agent-0.0.0-py3-none-any.whl"
"""Stands for the wheel that `python -m hatchling build -t wheel` makes: what is in it does not matter before a host boots."""
IMAGE = "registry.example/vllm@sha256:" + "a" * 64


@dataclass(frozen=True)
class Stack:
    """What one run registered and exported; inputs in camelCase, as the provider is asked for them."""

    resources: list[dict[str, Any]]
    outputs: dict[str, Any]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Every resource whose type ends like `kind`."""
        return [each for each in self.resources if each["type"].endswith(kind)]

    def one(self, kind: str, name: str = "") -> Mapping[str, Any]:
        """The inputs of the one resource of a type (and end of its name)."""
        (found,) = (each["inputs"] for each in self.of(kind) if each["name"].endswith(name))
        assert isinstance(found, dict)
        return found


def ran(before: str = "", **config: Any) -> subprocess.CompletedProcess[str]:
    """Run it with these keys (without `medic:`); `before` is Python that is run in that process first."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "Pulumi.test.yaml")
        keys = {f"medic:{key}": each for key, each in {"image": IMAGE, **config}.items()}
        path.write_text(yaml.safe_dump({"config": {"aws:region": "us-east-1", **keys}}))
        program = f"import os, sys\n{before}\nfrom infra import describe\ncode = describe.main({str(path)!r})\nsys.stdout.flush()\nsys.stderr.flush()\nos._exit(code)"
        return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=180)


def described(**config: Any) -> Stack:
    """Run it; what it described."""
    done = ran(**config)
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    return Stack(read["resources"], read["outputs"])

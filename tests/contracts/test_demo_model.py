"""The demo with a model is a test: explained with lines, asked, approved, carried out, seen to be well."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_demo_with_a_model_ends_as_it_should(tmp_path: Path) -> None:
    demo = subprocess.run(
        (sys.executable, "-m", "tests.lab.demo_model"),
        cwd=ROOT,
        env={"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout[-4_000:] + demo.stderr[-2_000:]
    assert "0 refused" in demo.stdout
    (page,) = tmp_path.glob("medic-demo-model-*/dialogue.html")
    assert "frobnicator" in page.read_text(encoding="utf-8")

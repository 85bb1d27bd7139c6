"""What `pulumi up` runs (Pulumi.yaml: `main: infra/`)."""

import sys
from pathlib import Path

# Pulumi runs this folder, not the package: its parent must be found first (docs of the language host, `runpy.run_path`).
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from infra import program

program.main()

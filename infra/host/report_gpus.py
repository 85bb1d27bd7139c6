"""Runs every minute on a GPU host: what `nvidia-smi` says, as CloudWatch metrics of this instance.

A card that gives no value ([N/A]: MIG, an older driver) reports none, because none is not 0. A hanging `nvidia-smi` is a
finding: it counts as `GpuUnreadable`.
"""

import json
import subprocess
import sys
from pathlib import Path

FIELDS = {
    "utilization.gpu": ("GpuUtilization", "Percent"),
    "memory.used": ("GpuMemoryUsed", "Megabytes"),
    "temperature.gpu": ("GpuTemperature", "None"),
}
PATIENCE = 20  # seconds; a well `nvidia-smi` needs one or two


def main(config_path: str = "/etc/medic-host.json", instance_path: str = "/var/lib/cloud/data/instance-id") -> None:
    """Send one minute's figures."""
    config = json.loads(Path(config_path).read_text())
    instance = Path(instance_path).read_text().strip()
    figures = [
        {"MetricName": name, "Unit": unit, "Value": value,
         "Dimensions": [{"Name": "Fleet", "Value": config["fleet"]}, {"Name": "Instance", "Value": instance}, {"Name": "Gpu", "Value": gpu}]}
        for name, unit, value, gpu in read()
    ]  # fmt: skip
    words = ("aws", "--region", config["region"], "cloudwatch", "put-metric-data",
             "--namespace", config["namespace"], "--metric-data", json.dumps(figures))  # fmt: skip
    subprocess.run(words, check=True, timeout=60, stdout=subprocess.DEVNULL)


def read() -> list[tuple[str, str, float, str]]:
    """Return (metric, unit, value, card) for every value there is."""
    asked = ("nvidia-smi", "--query-gpu=index,{}".format(",".join(FIELDS)), "--format=csv,noheader,nounits")
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=PATIENCE)
    except (subprocess.TimeoutExpired, OSError):
        return [("GpuUnreadable", "Count", 1.0, "all")]
    if done.returncode:
        return [("GpuUnreadable", "Count", 1.0, "all")]
    found = [("GpuUnreadable", "Count", 0.0, "all")]
    for line in done.stdout.splitlines():
        gpu, *values = (each.strip() for each in line.split(","))
        for (name, unit), value in zip(FIELDS.values(), values, strict=False):
            try:
                found.append((name, unit, float(value), gpu))
            except ValueError:
                continue
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])

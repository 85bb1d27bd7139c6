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
FLEET, HOST = "fleet", "host"
PATIENCE = 20  # seconds; a well `nvidia-smi` needs one or two


def main(config_path: str = "/etc/medic-host.json", instance_path: str = "/var/lib/cloud/data/instance-id") -> None:
    """Send one minute's figures."""
    config = json.loads(Path(config_path).read_text())
    instance = Path(instance_path).read_text().strip()
    figures = [
        {"MetricName": name, "Unit": unit, "Value": value, "Dimensions": _dimensions(of, config["fleet"], instance)}
        for name, unit, value, of in read()
    ]
    words = ("aws", "--region", config["region"], "cloudwatch", "put-metric-data",
             "--namespace", config["namespace"], "--metric-data", json.dumps(figures))  # fmt: skip
    subprocess.run(words, check=True, timeout=60, stdout=subprocess.DEVNULL)


def _dimensions(of: str, fleet: str, instance: str) -> list[dict[str, str]]:
    """CloudWatch adds nothing up over dimensions: an alarm on the fleet needs figures that are sent under the fleet alone."""
    names = {"Fleet": fleet} if of == FLEET else {"Fleet": fleet, "Instance": instance}
    if of not in (FLEET, HOST):
        names["Gpu"] = of
    return [{"Name": name, "Value": value} for name, value in names.items()]


def read() -> list[tuple[str, str, float, str]]:
    """Return (metric, unit, value, card or HOST or FLEET) for every value there is."""
    asked = ("nvidia-smi", "--query-gpu=index,{}".format(",".join(FIELDS)), "--format=csv,noheader,nounits")
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=PATIENCE)
    except (subprocess.TimeoutExpired, OSError):
        return [("GpuUnreadable", "Count", 1.0, of) for of in (FLEET, HOST)]
    if done.returncode:
        return [("GpuUnreadable", "Count", 1.0, of) for of in (FLEET, HOST)]
    found = [("GpuUnreadable", "Count", 0.0, of) for of in (FLEET, HOST)]
    busiest: list[float | None] = []
    for line in done.stdout.splitlines():
        gpu, *values = (each.strip() for each in line.split(","))
        busiest.append(_number(values[0]) if values else None)
        for (name, unit), value in zip(FIELDS.values(), values, strict=False):
            try:
                found.append((name, unit, float(value), gpu))
            except ValueError:
                continue
    # One figure a host, for whether it is idle; none where a card does not tell: what is not known is not 0.
    told = [each for each in busiest if each is not None]
    if told and len(told) == len(busiest):
        found.append(("GpuBusiest", "Percent", max(told), HOST))
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What the cards of hosts do, by the figures that each host sends to CloudWatch once a minute (infra/host/report_gpus.py)."""

from collections.abc import Sequence
from datetime import datetime

from agent.adapters.aws_clients import AwsClients, outside
from agent.model import GpuUse

METRIC = "GpuBusiest"
"""The use of a host's busiest card, in percent; a host with a card that tells none sends none."""
MINUTE = 60
AT_ONCE = 500
"""Questions in one call (CloudWatch API, GetMetricData)."""


class AwsGpuMeter:
    """`ports.GpuMeter` over CloudWatch. fleet: the stack's full name, the dimension under which hosts send."""

    def __init__(self, clients: AwsClients, namespace: str, fleet: str) -> None:
        self._clients = clients
        self._namespace, self._fleet = namespace, fleet

    def use(self, instances: Sequence[str], since: datetime, until: datetime) -> dict[str, GpuUse]:
        """Return what the cards of each host did between two moments. Raises OutsideError."""
        found: dict[str, list[float]] = {each: [] for each in instances}
        for start in range(0, len(instances), AT_ONCE):
            asked = {f"h{number}": each for number, each in enumerate(instances[start : start + AT_ONCE])}
            with outside("read how busy the GPUs of the fleet are"):
                pages = self._clients.client("cloudwatch").get_paginator("get_metric_data")
                questions = [self._question(id_, each) for id_, each in asked.items()]
                for page in pages.paginate(MetricDataQueries=questions, StartTime=since, EndTime=until):
                    for row in page["MetricDataResults"]:
                        found[asked[row["Id"]]] += [float(each) for each in row["Values"]]
        return {each: GpuUse(busiest=max(values, default=None), minutes=len(values)) for each, values in found.items()}

    def _question(self, id_: str, instance: str) -> dict[str, object]:
        dimensions = [{"Name": "Fleet", "Value": self._fleet}, {"Name": "Instance", "Value": instance}]
        metric = {"Namespace": self._namespace, "MetricName": METRIC, "Dimensions": dimensions}
        return {"Id": id_, "MetricStat": {"Metric": metric, "Period": MINUTE, "Stat": "Maximum"}}

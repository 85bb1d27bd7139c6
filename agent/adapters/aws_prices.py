"""What spot hosts cost and cost before: EC2's own price history. Read only."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation

from agent.adapters.aws_clients import AwsClients, outside
from agent.model import SpotPrice

LINUX = ("Linux/UNIX", "Linux/UNIX (Amazon VPC)")
"""What EC2 calls the price of a Linux host; the second is what older accounts are answered (EC2 API, DescribeSpotPriceHistory)."""


class AwsSpotPrices:
    """The price history of one region. EC2 keeps 90 days of it."""

    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients

    def history(self, kinds: Sequence[str], since: datetime, until: datetime) -> tuple[SpotPrice, ...]:
        """Return every change of price of these types in any zone, with the price in force at `since`, oldest first.

        Raises OutsideError. Source: EC2 API, DescribeSpotPriceHistory: the last change before StartTime comes along.
        """
        if not kinds:
            return ()
        with outside("read the history of spot prices"):
            pages = self._clients.client("ec2").get_paginator("describe_spot_price_history")
            asked = pages.paginate(InstanceTypes=list(kinds), ProductDescriptions=list(LINUX), StartTime=since, EndTime=until)
            found = {_price(each) for page in asked for each in page["SpotPriceHistory"]}
        return tuple(sorted(found, key=lambda it: (it.at, it.kind, it.zone)))


def _price(row: dict[str, object]) -> SpotPrice:
    try:
        usd = Decimal(str(row["SpotPrice"]))
    except InvalidOperation as exc:
        raise ValueError(f"{row['SpotPrice']!r} is no price") from exc
    at = row["Timestamp"]
    if not isinstance(at, datetime) or not usd.is_finite():
        raise ValueError(f"{row!r} is no price at a time")
    return SpotPrice(kind=str(row["InstanceType"]), zone=str(row["AvailabilityZone"]), at=at, usd=usd)

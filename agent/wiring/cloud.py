"""The fleet on AWS: its inventory, its quotas, and what a drain needs of the cloud."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from agent.errors import ConfigError, OutsideError
from agent.ports import Fleet, World
from agent.settings import Settings
from agent.wiring import clock

if TYPE_CHECKING:  # types only: importing them for real is what the fast commands must not pay for
    from datetime import datetime

    from agent.adapters.aws_clients import AwsClients
    from agent.drift import Line
    from agent.fleet import Snapshot
    from agent.model import Member, Stay
    from agent.policy.idleness import HostLoad
    from agent.savings import SpotBill
    from agent.settings import InventorySource
    from infra.inventory import Inventory
    from infra.quotas import Need
    from infra.settings import FleetSettings

logger = logging.getLogger(__name__)

INVENTORY_AGAIN = timedelta(seconds=10)
"""Between two tries to read an inventory that was never read."""


def sync_inventory(using: Settings) -> "Snapshot":
    """Read the stack's inventory and who is in its groups now, and keep both in the state folder.

    Raises ConfigError (no `fleet:`, a newer version, boto3 missing) or OutsideError (AWS does not answer).
    """
    from agent import fleet
    from agent.adapters import fleet_file

    source = _source(using)
    clients = _aws(source.region)
    from agent.adapters.aws_fleet import AwsFleet
    from agent.adapters.aws_parameters import AwsParameters

    stack = _published(clients, source.ssm_parameter)
    snapshot = fleet.Snapshot(
        inventory=stack,
        members=AwsFleet(clients, [each for each in (stack.group, stack.burst_group) if each]).members(),
        keys=AwsParameters(clients).under(stack.host_keys),
        at=clock.CLOCK.now(),
    )
    fleet_file.keep(using.state_dir, snapshot)
    return snapshot


def preflight(fleet: "FleetSettings") -> tuple[tuple["Need", ...], tuple[str, ...]]:
    """Return the quotas that a stack meets, and the types of it that its region does not have. Raises OutsideError, ConfigError."""
    from infra import quotas

    clients = _aws(fleet.region)
    from agent.adapters.aws_quotas import AwsQuotas

    account = AwsQuotas(clients)
    vcpus = account.vcpus(fleet.instance_types)
    lacking = tuple(each for each in fleet.instance_types if each not in vcpus)
    return quotas.needs(fleet, vcpus, account.allowed), lacking


def stack_drift(wanted: "FleetSettings | None", using: Settings | None = None) -> tuple["Line", ...]:
    """Return how a live stack compares with its settings: those of a stack file, or with `using` those that it published.

    Raises ConfigError (no `fleet:`, a newer version, boto3 missing) or OutsideError (its inventory cannot be read).
    """
    from agent import drift

    if wanted is not None:
        parameter, region = f"{wanted.parameter_root}/inventory", wanted.region
    elif using is not None:
        source = _source(using)
        parameter, region = source.ssm_parameter, source.region
    else:
        raise ConfigError("cannot compare a stack: name a stack file, or write `fleet:` in medic.yaml")
    clients = _aws(region)
    from agent.adapters import aws_stack

    published = _published(clients, parameter)
    expected = drift.of_inventory(published) if wanted is None else drift.of_settings(wanted)
    return drift.compare(expected, published, aws_stack.look(clients, published))


def spot_savings(using: Settings, stays: Sequence["Stay"], since: "datetime", until: "datetime") -> tuple["SpotBill", ...]:
    """Return what each spot host among `stays` cost between two moments, by EC2's own price history.

    Raises ConfigError (no `fleet:`, boto3 missing) or OutsideError (AWS does not answer).
    """
    from agent import savings

    clients = _aws(_source(using).region)
    from agent.adapters.aws_prices import AwsSpotPrices

    kinds = sorted({each.kind for each in stays if each.spot})
    return savings.of(stays, AwsSpotPrices(clients).history(kinds, since, until), _price(), since, until)


def host_loads(using: Settings) -> tuple["HostLoad", ...]:
    """Return what every host of the fleet had to do of late, the idle first, with what each costs. Changes nothing.

    Raises ConfigError (no `fleet:`, boto3 missing) or OutsideError (AWS does not answer).
    """
    from agent import berths

    source = _source(using)
    snapshot = sync_inventory(using)
    clients, stack = _aws(source.region), snapshot.inventory
    from agent.adapters.aws_meter import AwsGpuMeter

    meter = AwsGpuMeter(clients, stack.metric_namespace, stack.stack)
    return berths.metered(snapshot.members, meter, source.idle, _price(), clock.CLOCK.now())


def _price() -> Callable[[str], Decimal | None]:
    """Return what tells the price of an hour of a type on demand, by the price file."""
    from infra import prices

    book = prices.load().on_demand
    return lambda kind: Decimal(str(book[kind])) if kind in book else None


def _published(clients: "AwsClients", parameter: str) -> "Inventory":
    """Return the inventory that a stack published. Raises ConfigError, OutsideError."""
    from agent.adapters.aws_parameters import AwsParameters
    from infra import inventory

    try:
        return inventory.parse(AwsParameters(clients).text(parameter))
    except inventory.InventoryError as exc:
        raise ConfigError(f"{exc} ({parameter} in {clients.region})") from exc


def kept_inventory(using: Settings) -> "Snapshot":
    """Return the fleet as it was last read. Raises ConfigError."""
    _source(using)
    if using.fleet is None:
        raise ConfigError("cannot show the inventory: it was never read; `medic inventory sync` reads it")
    return using.fleet


def _source(using: Settings) -> "InventorySource":
    if using.inventory is None:
        raise ConfigError(
            f"cannot read an inventory: {using.file or 'medic.yaml'} names none; write `fleet:` with ssm_parameter and region"
        )
    return using.inventory


def _aws(region: str) -> "AwsClients":
    """Return clients of AWS. Raises ConfigError where what that needs is not installed."""
    try:
        from agent.adapters.aws_clients import AwsClients
    except ImportError as exc:
        raise ConfigError(f"cannot speak to AWS: {exc}; install medic-agent[aws]") from exc
    return AwsClients(region)


def with_fleet_of_now(using: Settings, ended: threading.Event, waits: Callable[[], None]) -> Settings:
    """Return settings with the fleet as it is, or where AWS does not answer as it was last read: its hosts need us all the more.

    Where it was never read, wait until it can be, or until `ended`; `waits` is told first: whoever supervises us is not kept waiting.
    """
    from agent import config as config_file

    while using.inventory is not None:
        try:
            return config_file.with_fleet(using, sync_inventory(using))
        except OutsideError as exc:
            if using.fleet is not None:
                logger.warning("goes on with the inventory that was last read", extra={"cause": str(exc)})
                return using
            logger.error("waits for the inventory", extra={"cause": str(exc)})
        waits()
        if ended.wait(INVENTORY_AGAIN.total_seconds()):
            break
    return using


def sync_and_compare(using: Settings) -> tuple["Sequence[Member]", bool]:
    """Read who is there now; return them, and whether this daemon was built with others."""
    now = sync_inventory(using)
    return now.members, using.fleet is None or now.shape != using.fleet.shape


@contextlib.contextmanager
def opened(using: Settings, world: World) -> Iterator[Fleet | None]:
    """Open what a drain needs of the cloud; None where there is no inventory, or it was never read."""
    if using.inventory is None or using.fleet is None:
        yield None
        return
    from agent.adapters.aws_balancer import AwsBalancer
    from agent.adapters.aws_bucket import AwsBucket
    from agent.adapters.aws_events import AwsEvents
    from agent.adapters.aws_fleet import AwsFleet
    from agent.adapters.aws_meter import AwsGpuMeter
    from agent.adapters.docker_engine import DockerEngine
    from infra import prices

    stack, clients = using.fleet.inventory, _aws(using.inventory.region)
    docker = world.containers
    if not isinstance(docker, DockerEngine):
        raise TypeError("the world of a daemon looks through a Docker engine")
    yield Fleet(
        groups=AwsFleet(clients, [each for each in (stack.group, stack.burst_group) if each]),
        events=AwsEvents(clients, stack.queue_url),
        balancer=AwsBalancer(clients, stack.target_group_arn) if stack.target_group_arn else None,
        last_words=AwsBucket(clients, stack.bucket),
        stopper=docker,
        drain_hook=stack.drain_hook,
        warm_up=timedelta(seconds=stack.warm_up_seconds),
        on_drought=using.inventory.on_drought,
        daily_usd=using.inventory.money_per_day,
        price=_price(),
        priced_on=prices.load().as_of,
        stack=stack.stack,
        meter=AwsGpuMeter(clients, stack.metric_namespace, stack.stack),
        idle=using.inventory.idle,
        replacements=using.inventory.replacements,
    )

"""The ways to the instances that are reached through AWS Systems Manager: one link for each, and what goes over it."""

from collections.abc import Sequence
from datetime import timedelta

from agent.adapters import ssm_engine
from agent.adapters.aws_clients import AwsClients
from agent.adapters.docker_stream import Dial
from agent.adapters.far_machine import FarMachine
from agent.adapters.ssm_link import PATIENCE, SsmLink
from agent.adapters.system_clock import SystemClock
from agent.model import Host, HostName, SsmAccess


class SsmWays:
    """Links; nothing is sent before one is used, and nothing is kept open. One set of clients for each region."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        declared = {
            host.name: (host.access, host.docker) for host in hosts if isinstance(host.access, SsmAccess) and host.docker
        }
        clients = {region: AwsClients(region) for region in {access.region for access, _ in declared.values()}}
        links = {name: SsmLink(name, access, clients[access.region]) for name, (access, _) in declared.items()}
        self.machines = {name: FarMachine(name, link, SystemClock(), PATIENCE) for name, link in links.items()}
        self.engines: dict[HostName, Dial] = {
            name: ssm_engine.dial(name, links[name], docker) for name, (_, docker) in declared.items()
        }
        self.late: dict[HostName, timedelta] = dict.fromkeys(links, PATIENCE)

"""The network: a VPC with one public subnet a zone, S3 without going out, and who may reach whom.

Hosts have public addresses and no open door: only the agent reaches port 22, only the agent and the balancer the model. A NAT
gateway would cost more than a spot GPU at night and carry every model over a paid wire.
"""

import ipaddress

import pulumi
import pulumi_aws as aws

from infra.settings import FleetSettings

ANYWHERE = "0.0.0.0/0"
AGENT_GROUP = "agent"
"""Ends the name of the security group that alone may reach port 22."""
PRIVATE = ("ssm", "ssmmessages")
"""Services that hosts reach inside the VPC where `medic:endpoints` says so: parameters, and sessions with Session Manager."""


class Network(pulumi.ComponentResource):
    """subnets: one a zone. hosts, agent, balancer: security groups; balancer only where there is one."""

    def __init__(self, settings: FleetSettings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("medic:infra:Network", settings.name, None, opts)
        self._settings = settings
        self._child = pulumi.ResourceOptions(parent=self)
        self.vpc = aws.ec2.Vpc(
            f"{settings.name}-vpc", cidr_block=settings.cidr, enable_dns_hostnames=True, tags=self._tags(), opts=self._child
        )
        routes = self._routes()
        self.subnets = self._subnets(routes)
        aws.ec2.VpcEndpoint(
            f"{settings.name}-s3",
            vpc_id=self.vpc.id,
            service_name=f"com.amazonaws.{settings.region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[routes.id],
            tags=self._tags(),
            opts=self._child,
        )
        self.agent = self._group(AGENT_GROUP, "the host that Medic runs on: nobody reaches it")
        self.hosts = self._group("hosts", "GPU hosts: ssh from the agent, the model from the agent and the balancer")
        self._admit("agent-ssh", self.hosts, self.agent, 22)
        self._admit("agent-model", self.hosts, self.agent, settings.port)
        if settings.endpoints == "ssm":
            self._private_endpoints()
        self.balancer: aws.ec2.SecurityGroup | None = None
        if settings.balancer != "none":
            self.balancer = self._group("balancer", "the balancer of the model")
            self._admit("balancer-model", self.hosts, self.balancer, settings.port)
            self._admit_clients(self.balancer)
        self.register_outputs({"vpc_id": self.vpc.id})

    def _private_endpoints(self) -> None:
        """Let hosts reach Systems Manager without leaving the VPC. Each costs by the hour and zone (`medic infra estimate`)."""
        group = self._group("endpoints", "Systems Manager inside the VPC: our hosts alone")
        for name, source in (("hosts", self.hosts), ("agent", self.agent)):
            self._admit(f"endpoints-{name}", group, source, 443)
        for each in PRIVATE:
            aws.ec2.VpcEndpoint(
                f"{self._settings.name}-{each}",
                vpc_id=self.vpc.id,
                service_name=f"com.amazonaws.{self._settings.region}.{each}",
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=self.subnet_ids,
                security_group_ids=[group.id],
                tags=self._tags(),
                opts=self._child,
            )

    @property
    def subnet_ids(self) -> list[pulumi.Output[str]]:
        """Ids of the subnets."""
        return [each.id for each in self.subnets]

    def _tags(self, name: str = "") -> dict[str, str]:
        return {**self._settings.all_tags, **({"Name": f"{self._settings.name}-{name}"} if name else {})}

    def _routes(self) -> aws.ec2.RouteTable:
        gateway = aws.ec2.InternetGateway(f"{self._settings.name}-out", vpc_id=self.vpc.id, tags=self._tags(), opts=self._child)
        return aws.ec2.RouteTable(
            f"{self._settings.name}-routes",
            vpc_id=self.vpc.id,
            routes=[aws.ec2.RouteTableRouteArgs(cidr_block=ANYWHERE, gateway_id=gateway.id)],
            tags=self._tags(),
            opts=self._child,
        )

    def _subnets(self, routes: aws.ec2.RouteTable) -> list[aws.ec2.Subnet]:
        found = aws.get_availability_zones(state="available", opts=pulumi.InvokeOptions(parent=self)).names
        if len(found) < self._settings.zones:
            raise ValueError(
                f"cannot make {self._settings.zones} subnets: {self._settings.region} has zones {', '.join(found)}"
            )
        subnets = []
        for zone, block in zip(found[: self._settings.zones], self._blocks(), strict=False):
            subnet = aws.ec2.Subnet(
                f"{self._settings.name}-{zone}",
                vpc_id=self.vpc.id,
                cidr_block=block,
                availability_zone=zone,
                map_public_ip_on_launch=True,
                tags=self._tags(zone),
                opts=self._child,
            )
            aws.ec2.RouteTableAssociation(
                f"{self._settings.name}-{zone}", subnet_id=subnet.id, route_table_id=routes.id, opts=self._child
            )
            subnets.append(subnet)
        return subnets

    def _blocks(self) -> list[str]:
        # Eight equal parts whatever the number of zones: a zone more must not move the others' subnets.
        return [str(each) for each in ipaddress.ip_network(self._settings.cidr).subnets(prefixlen_diff=3)]

    def _group(self, name: str, about: str) -> aws.ec2.SecurityGroup:
        group = aws.ec2.SecurityGroup(
            f"{self._settings.name}-{name}", vpc_id=self.vpc.id, description=about, tags=self._tags(name), opts=self._child
        )
        aws.vpc.SecurityGroupEgressRule(
            f"{self._settings.name}-{name}-out",
            security_group_id=group.id,
            ip_protocol="-1",
            cidr_ipv4=ANYWHERE,
            opts=self._child,
        )
        return group

    def _admit(self, name: str, into: aws.ec2.SecurityGroup, source: aws.ec2.SecurityGroup, port: int) -> None:
        aws.vpc.SecurityGroupIngressRule(
            f"{self._settings.name}-{name}",
            security_group_id=into.id,
            referenced_security_group_id=source.id,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            opts=self._child,
        )

    def _admit_clients(self, balancer: aws.ec2.SecurityGroup) -> None:
        port = 443 if self._settings.certificate_arn else 80
        aws.vpc.SecurityGroupIngressRule(
            f"{self._settings.name}-clients",
            security_group_id=balancer.id,
            cidr_ipv4=ANYWHERE if self._settings.balancer == "public" else self._settings.cidr,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            opts=self._child,
        )

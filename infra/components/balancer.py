"""The balancer of the model, where one is wanted: it sends requests to hosts that answer, and lets a drained host finish."""

import pulumi
import pulumi_aws as aws

from infra.components.network import Network
from infra.settings import BALANCER_DELAY, FleetSettings


class Balancer(pulumi.ComponentResource):
    """targets: the target group that hosts enter once they are warm."""

    def __init__(self, settings: FleetSettings, network: Network, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("medic:infra:Balancer", settings.name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        if network.balancer is None:
            raise ValueError("cannot make the balancer: the network has no security group for it")
        balancer = aws.lb.LoadBalancer(
            f"{settings.name}-lb",
            load_balancer_type="application",
            internal=settings.balancer == "internal",
            security_groups=[network.balancer.id],
            subnets=network.subnet_ids,
            idle_timeout=300,
            drop_invalid_header_fields=True,
            tags=settings.all_tags,
            opts=child,
        )
        self.targets = aws.lb.TargetGroup(
            f"{settings.name}-lb",
            port=settings.port,
            protocol="HTTP",
            vpc_id=network.vpc.id,
            deregistration_delay=BALANCER_DELAY,
            load_balancing_algorithm_type="least_outstanding_requests",
            health_check=aws.lb.TargetGroupHealthCheckArgs(
                path=settings.ready_path, matcher="200", interval=10, timeout=5, healthy_threshold=2, unhealthy_threshold=3
            ),
            tags=settings.all_tags,
            opts=child,
        )
        secure = bool(settings.certificate_arn)
        aws.lb.Listener(
            f"{settings.name}-lb",
            load_balancer_arn=balancer.arn,
            port=443 if secure else 80,
            protocol="HTTPS" if secure else "HTTP",
            certificate_arn=settings.certificate_arn or None,
            ssl_policy="ELBSecurityPolicy-TLS13-1-2-2021-06" if secure else None,
            default_actions=[aws.lb.ListenerDefaultActionArgs(type="forward", target_group_arn=self.targets.arn)],
            opts=child,
        )
        self.address = balancer.dns_name
        self.register_outputs({"address": self.address})

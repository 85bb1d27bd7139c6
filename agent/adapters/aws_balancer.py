"""The target group of the balancer: a host leaves it, and finishes the requests it has."""

from agent.adapters.aws_clients import AwsClients, outside


class AwsBalancer:
    """`ports.Balancer` over one target group."""

    def __init__(self, clients: AwsClients, target_group: str) -> None:
        self._clients = clients
        self._group = target_group

    def leave(self, instance: str) -> None:
        """Send it no new request. One that is out already is as good. Raises OutsideError."""
        with outside(f"take {instance} out of the balancer"):
            self._clients.client("elbv2").deregister_targets(TargetGroupArn=self._group, Targets=[{"Id": instance}])

    def serves(self, instance: str) -> bool:
        """Say whether the balancer may still have requests with it. Raises OutsideError.

        `draining` stands for the whole deregistration delay, also once no request is left: it is no word about requests.
        Source: Elastic Load Balancing User Guide, "Deregistration delay".
        """
        with outside(f"ask the balancer about {instance}"):
            answer = self._clients.client("elbv2").describe_target_health(
                TargetGroupArn=self._group, Targets=[{"Id": instance}]
            )
        states = [each["TargetHealth"]["State"] for each in answer["TargetHealthDescriptions"]]
        return any(state not in ("unused", "unavailable") for state in states)

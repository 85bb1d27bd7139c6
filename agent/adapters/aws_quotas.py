"""What an account may have: EC2's quotas in vCPUs, and how many vCPUs a type has."""

from collections.abc import Sequence

from agent.adapters.aws_clients import AwsClients, outside


class AwsQuotas:
    """Read only."""

    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients

    def allowed(self, code: str) -> float:
        """Return one quota of EC2. Raises OutsideError."""
        with outside(f"read quota {code} of EC2"):
            answer = self._clients.client("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode=code)
        return float(answer["Quota"]["Value"])

    def vcpus(self, kinds: Sequence[str]) -> dict[str, int]:
        """Return the vCPUs of each type that the region has. Raises OutsideError."""
        with outside("read what the instance types have"):
            # A filter: by name, one that the region does not have would make the whole question an error.
            pages = self._clients.client("ec2").get_paginator("describe_instance_types")
            asked = pages.paginate(Filters=[{"Name": "instance-type", "Values": list(kinds)}])
            return {
                each["InstanceType"]: int(each["VCpuInfo"]["DefaultVCpus"]) for page in asked for each in page["InstanceTypes"]
            }

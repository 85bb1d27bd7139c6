"""SSM parameters: the inventory that the stack wrote, and the SSH keys that its hosts publish."""

from collections.abc import Mapping

from botocore.exceptions import ClientError

from agent.adapters.aws_clients import AwsClients, code_of, outside
from agent.errors import OutsideError

MOST_KEYS = 1000
"""Parameters read under one path at most: ten hosts a page, and a fleet has dozens."""


class AwsParameters:
    """Read only."""

    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients

    def text(self, name: str) -> str:
        """Return one parameter. Raises OutsideError, not transient where there is none."""
        with outside(f"read parameter {name!r}"):
            try:
                return str(self._clients.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])
            except ClientError as exc:
                if code_of(exc) != "ParameterNotFound":
                    raise
                raise OutsideError(
                    f"cannot read parameter {name!r}: there is none in {self._clients.region}; `pulumi up` writes it",
                    transient=False,
                ) from exc

    def under(self, path: str) -> Mapping[str, str]:
        """Return every parameter right under `path`: its last name -> its text. Raises OutsideError."""
        found: dict[str, str] = {}
        with outside(f"read the parameters under {path!r}"):
            pages = self._clients.client("ssm").get_paginator("get_parameters_by_path").paginate(Path=path)
            for page in pages:
                found |= {each["Name"].rsplit("/", 1)[1]: str(each["Value"]) for each in page["Parameters"]}
                if len(found) >= MOST_KEYS:
                    break
        return found

"""Where a host's last words are kept: one object in the stack's bucket, small and by itself."""

from datetime import timedelta

from agent.adapters.aws_clients import AwsClients, outside


class AwsBucket:
    """`ports.LastWords` over one bucket."""

    def __init__(self, clients: AwsClients, bucket: str) -> None:
        self._clients = clients
        self._bucket = bucket

    def keep(self, name: str, content: bytes) -> str:
        """Write one object under `crash/`; return where it is. Raises OutsideError."""
        key = f"crash/{name}"
        with outside(f"keep {key} in bucket {self._bucket}"):
            self._clients.client("s3", read=timedelta(seconds=10)).put_object(Bucket=self._bucket, Key=key, Body=content)
        return f"s3://{self._bucket}/{key}"

"""A line on which everything arrives late: `python -m tests.lab.slow_line PORT ADDRESS TO SECONDS`. Ends when it is killed.

Listens on PORT, hands every connection on to ADDRESS:TO, and holds each piece that comes for SECONDS, in both directions. For
kernels without `netem`.
"""

import asyncio
import contextlib
import sys
from collections.abc import Sequence

PIECE = 65_536


async def serve(port: int, address: str, to: int, seconds: float) -> None:
    """Hand on, late, for good. Prints a line once it listens."""

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(address, to)
            await asyncio.gather(_late(reader, far_writer, seconds), _late(far_reader, writer, seconds))

    server = await asyncio.start_server(join, "0.0.0.0", port)
    print("listening", flush=True)
    async with server:
        await server.serve_forever()


async def _late(source: asyncio.StreamReader, target: asyncio.StreamWriter, seconds: float) -> None:
    """Hand on what comes, each piece when it is old enough: what comes together leaves together."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while piece := await source.read(PIECE):
            loop.call_later(seconds, target.write, piece)
    loop.call_later(seconds, target.close)


def main(words: Sequence[str]) -> None:
    """Read the command line and serve."""
    port, address, to, seconds = words
    asyncio.run(serve(int(port), address, int(to), float(seconds)))


if __name__ == "__main__":
    main(sys.argv[1:])

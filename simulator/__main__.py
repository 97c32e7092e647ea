"""Start the simulator: `python -m simulator --port 9100`; port 0 takes a free one and prints it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import sys

from aiohttp import web

from simulator.server import build_app

BACKLOG = 8192  # a bench opens thousands of connections within a second


async def _serve(host: str, port: int, *, until_stdin_closes: bool) -> None:
    runner = web.AppRunner(build_app(), access_log=None, shutdown_timeout=0.5, keepalive_timeout=75)
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=BACKLOG, reuse_address=True)
    await site.start()
    bound = runner.addresses[0]
    print(json.dumps({"base_url": f"http://{bound[0]}:{bound[1]}"}), flush=True)  # noqa: T201 - the starter reads it
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopped.set)
    if until_stdin_closes:
        await _watch_stdin(stopped)
    await stopped.wait()
    await runner.cleanup()


async def _watch_stdin(stopped: asyncio.Event) -> None:
    """Stop when the starter is gone, however it went: its end of the pipe closes."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(sys.stdin.fileno(), 1):
            loop.remove_reader(sys.stdin.fileno())
            stopped.set()

    loop.add_reader(sys.stdin.fileno(), read)


def main() -> None:
    """Read the arguments and serve until told to stop."""
    parser = argparse.ArgumentParser(prog="simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with the process that started it")
    arguments = parser.parse_args()
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))  # thousands of open requests, a file each
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(arguments.host, arguments.port, until_stdin_closes=arguments.until_stdin_closes))


if __name__ == "__main__":
    main()

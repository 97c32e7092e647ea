"""`batuta up`: servers, schema, processes, in one terminal."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType

from app.commands.client import address_of
from app.commands.storage import composed, prepare_database
from app.commands.welcome import Welcome
from app.errors import BatutaError, SettingsError
from app.formation import PROGRAMS, plan_children
from app.schema import ROOT
from app.servers.embedded import EmbeddedServer
from app.servers.launch import embedded_servers, with_addresses
from app.settings import Settings
from app.supervisor import Supervisor, Terminal, only_one

WATCH_S = 1.0
TERMINATED = 128 + signal.SIGTERM  # the exit code that shells expect


def run_system(settings: Settings, environ: Mapping[str, str], *, first_batch: bool) -> None:
    """Run the whole system until a signal.

    Args:
        settings: as read from `environ`.
        environ: handed on to every process.
        first_batch: start a daily batch and show it, when none was ever made.

    Raises:
        ConflictError: it runs already.
        SettingsError: a port is taken, or strangers could use it without a token.
        StorageAwayError: an embedded server does not start.
    """
    signal.signal(signal.SIGTERM, _leave)
    settings = _settle(settings)
    terminal = Terminal()
    with only_one(settings.storage.data_dir, address_of(settings)):
        settings = _check_ports(settings)
        with _servers_running(settings, terminal) as addressed:
            _prepare_database(addressed, terminal)
            welcome = Welcome(addressed, terminal, first_batch=first_batch)
            supervisor = Supervisor(
                plan_children(addressed),
                child_environment(addressed, environ),
                addressed.storage.data_dir / "children.json",
                terminal=terminal,
                working_dir=ROOT,
            )
            supervisor.run(welcome.greet)


def become_program(settings: Settings, environ: Mapping[str, str], name: str) -> None:
    """Become one program of the formation; containers run one each, on servers that are there already.

    Raises:
        SettingsError: no program has the name.
        NotConfiguredError: an address is not set, and no embedded server runs.
    """
    settings = with_addresses(_settle(settings))
    children = {child.program.name: child for child in reversed(plan_children(settings))}
    if name not in children:
        raise SettingsError([f"{name!r} is none of {', '.join(program.name for program in PROGRAMS)}"])
    os.chdir(ROOT)
    environment = child_environment(settings, environ)
    os.execvpe(children[name].command[0], children[name].command, environment)  # noqa: S606 - no shell


def child_environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Make the environment of web, workers, beat and Flower: the caller's, with every address filled in."""
    programs = str(Path(sys.executable).parent)
    return {
        **environ,
        "PATH": os.pathsep.join([programs, environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), environ.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",
        # Celery warns root in every worker, for the sake of pickled messages; ours are JSON and nothing else.
        "PYTHONWARNINGS": environ.get("PYTHONWARNINGS", "ignore:You're running the worker with superuser privileges"),
        "HOST": settings.web.host,
        "PORT": str(settings.web.port),
        "FLOWER_PORT": str(settings.web.flower_port),
        "DATA_DIR": str(settings.storage.data_dir),
        "DATABASE_URL": settings.storage.database_url,
        "REDIS_URL": settings.storage.redis_url,
    }


def _settle(settings: Settings) -> Settings:
    # Children work in the clone's folder; a relative DATA_DIR is meant from the caller's.
    return replace(settings, storage=replace(settings.storage, data_dir=settings.storage.data_dir.absolute()))


def _check_ports(settings: Settings) -> Settings:
    if not _is_free(settings.web.host, settings.web.port):
        raise SettingsError([f"PORT={settings.web.port} is taken by another program. Set PORT to a free one."])
    if _is_free("127.0.0.1", settings.web.flower_port):
        return settings
    return replace(settings, web=replace(settings.web, flower_port=_free_port()))


def _is_free(host: str, port: int) -> bool:
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET  # noqa: PLR2004 - IPv6
    except ValueError:  # a name such as localhost
        family = socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _prepare_database(settings: Settings, terminal: Terminal) -> None:
    terminal.say("bringing the database to the newest schema")
    made = prepare_database(settings)
    if made:
        terminal.say(f"put {made} structures to start from into the empty catalogue")
    with composed(settings) as application:
        application.tokens.refuse_open_bind()


@contextlib.contextmanager
def _servers_running(settings: Settings, terminal: Terminal) -> Iterator[Settings]:
    servers = embedded_servers(settings)
    ended = threading.Event()
    watcher = threading.Thread(target=_keep_alive, args=(servers, ended, terminal), daemon=True, name="servers")
    try:
        for server in servers:
            terminal.say(f"{server.name}: {'adopting the one that runs' if server.running else 'starting'}")
            server.start()
        watcher.start()
        yield with_addresses(settings)
    finally:
        _stop_servers(servers, ended, watcher, terminal)


def _stop_servers(
    servers: list[EmbeddedServer], ended: threading.Event, watcher: threading.Thread, terminal: Terminal
) -> None:
    ended.set()
    if watcher.ident is not None:
        watcher.join()
    # From here on an impatient Ctrl-C must not leave a server behind; each of them is gone within moments.
    ignored = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    for server in reversed(servers):
        terminal.say(f"{server.name}: stopping")
        server.stop()
    for number, handler in ignored.items():
        signal.signal(number, handler)


def _keep_alive(servers: list[EmbeddedServer], ended: threading.Event, terminal: Terminal) -> None:
    while not ended.wait(WATCH_S):
        for server in servers:
            if server.running:
                continue
            terminal.say(f"{server.name} is gone; starting it again")
            try:
                server.start()
            except BatutaError as error:
                terminal.say(str(error))


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)

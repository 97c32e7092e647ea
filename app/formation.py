"""Which processes make up a running system: the table that `batuta up` starts and that the Procfile mirrors.

A line uses `${NAME:-default}` as a shell would, so that it reads the same in both places; a test holds them equal.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from app.errors import SettingsError
from app.settings import Settings

LIGHT = "--without-gossip --without-mingle"
INLINE_QUEUES = "inline.high,inline.medium,inline.low"
LINEAR_QUEUES = "linear.high,linear.medium,linear.low"


@dataclass(frozen=True)
class Program:
    """One kind of process.

    Args:
        name: as in the Procfile.
        line: its command line, as in the Procfile.
        stop_rank: the lower, the earlier it is asked to stop; the same rank stops together.
        stop_grace_s: how long it may take before it is killed.
    """

    name: str
    line: str
    stop_rank: int
    stop_grace_s: float


# Beat and Flower first: nothing new starts. Then the door, then those who finish what was taken in.
PROGRAMS: tuple[Program, ...] = (
    Program(
        "web",
        "gunicorn --workers 1 --worker-class app.http.server.PatientWorker --threads ${WEB_THREADS:-32} "
        "--timeout 120 --graceful-timeout 8 --no-control-socket --bind ${HOST:-127.0.0.1}:${PORT:-8001} "
        "'app.http:create_app()'",
        stop_rank=2,
        stop_grace_s=12,
    ),
    Program(
        "worker-io",
        "env CELERY_CUSTOM_WORKER_POOL=tasks.pool:AsyncioPool celery --quiet -A tasks.celery_app worker -P custom "
        f"-c ${{WORKER_CONCURRENCY:-1000}} -Q {INLINE_QUEUES},{LINEAR_QUEUES},control {LIGHT} -n io${{INSTANCE:-1}}@%h",
        stop_rank=3,
        stop_grace_s=30,
    ),
    Program(
        "worker-learning",
        f"celery --quiet -A tasks.celery_app worker -P prefork -c 1 -Q learning {LIGHT} -n learning@%h",
        stop_rank=3,
        stop_grace_s=30,
    ),
    Program(
        "beat",
        "celery --quiet -A tasks.celery_app beat --pidfile=",
        stop_rank=1,
        stop_grace_s=5,
    ),
    Program(
        "flower",
        "celery --quiet -A tasks.celery_app flower --address=127.0.0.1 --port=${FLOWER_PORT:-5555} --logging=error",
        stop_rank=1,
        stop_grace_s=5,
    ),
)

_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


@dataclass(frozen=True)
class Child:
    """One process to keep running: `name` is unique, `command` ready to execute."""

    name: str
    program: Program
    command: tuple[str, ...]


def write_procfile() -> str:
    """Write the Procfile."""
    return "".join(f"{program.name}: {program.line}\n" for program in PROGRAMS)


def plan_children(settings: Settings) -> list[Child]:
    """List the processes of one machine, I/O workers as many as WORKER_PROCESSES says."""
    values = {
        "HOST": f"[{settings.web.host}]" if ":" in settings.web.host else settings.web.host,
        "PORT": str(settings.web.port),
        "FLOWER_PORT": str(settings.web.flower_port),
        "WEB_THREADS": str(settings.web.threads),
        "WORKER_CONCURRENCY": str(settings.engine.worker_concurrency),
    }
    children = []
    for program in PROGRAMS:
        count = settings.engine.worker_processes if program.name == "worker-io" else 1
        for number in range(1, count + 1):
            name = f"{program.name}.{number}" if count > 1 else program.name
            command = tuple(shlex.split(fill_in(program.line, {**values, "INSTANCE": str(number)})))
            children.append(Child(name, program, command))
    return children


def fill_in(line: str, values: Mapping[str, str]) -> str:
    """Replace each `${NAME:-default}`.

    Raises:
        SettingsError: the line names a variable that `plan_children` does not know.
    """
    unknown = {name for name, _ in _VARIABLE.findall(line)} - set(values)
    if unknown:
        raise SettingsError([f"the command line names {name}, which is no setting of it" for name in sorted(unknown)])
    return _VARIABLE.sub(lambda found: values[found[1]], line)

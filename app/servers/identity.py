"""As whom PostgreSQL runs: it refuses root, so root needs another identity that can still reach the files.

Root gets one of two ways, the first that works:

1. A user namespace in which root looks like an ordinary user. Nothing on the machine changes: no account is made, the
   files stay root's, and a clone under a home of mode 0700 is reached as root reaches it.
2. Where the kernel or a container forbids that: the system account `pgserver` (made with useradd when absent, the name
   that the wheel's own library uses; `nobody` where useradd is missing). Folders above the data and the programs that
   this account could not pass get execute permission for others, no more, and a log line says which.
"""

from __future__ import annotations

import functools
import logging
import os
import pwd
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from app.errors import StorageAwayError
from app.servers import become

logger = logging.getLogger(__name__)

ACCOUNT = "pgserver"
PROBE_TIMEOUT_S = 10


@dataclass(frozen=True)
class Identity:
    """Whose files the server's are (`uid`, `gid` as the machine sees them) and how `become.py` becomes that user."""

    options: tuple[str, ...]
    uid: int
    gid: int


def launch_command(options: tuple[str, ...], program: list[str]) -> list[str]:
    """Put `become.py` before a program."""
    return [sys.executable, "-I", "-S", become.__file__, *options, "--", *program]


def choose_identity(program: Path) -> Identity:
    """Find an identity under which `program` starts.

    Raises:
        StorageAwayError: we are root, and there is no other identity to be had.
    """
    if os.geteuid() != 0:
        return Identity((), os.geteuid(), os.getegid())
    namespace = _namespace_options()
    if namespace and _starts(namespace, program):
        return Identity(namespace, 0, 0)
    return account_identity()


def account_identity() -> Identity:
    """Find or make the system account.

    Raises:
        StorageAwayError: there is none and none can be made.
    """
    account = _account(ACCOUNT) or _make_account() or _account("nobody")
    if account is None:
        raise StorageAwayError(
            "PostgreSQL does not run as root, and no other account could be found or made. "
            "Start as an ordinary user, or set DATABASE_URL."
        )
    return Identity(("--user", f"{account.pw_uid}:{account.pw_gid}"), account.pw_uid, account.pw_gid)


def let_reach(identity: Identity, *folders: Path) -> None:
    """Let another account pass the folders above `folders`; does nothing when we run the server as ourselves."""
    if identity.uid == os.geteuid():
        return
    for folder in {above for each in folders for above in each.resolve().parents}:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH and folder.stat().st_uid != identity.uid:
            folder.chmod(mode | stat.S_IXOTH)
            logger.warning("%s: others may now pass it (not list it), so that PostgreSQL's account can", folder)


def own(identity: Identity, folder: Path) -> None:
    """Give a folder and all in it to the server; only root ever needs to."""
    if os.geteuid() != 0 or folder.stat().st_uid == identity.uid:
        return
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, identity.uid, identity.gid, follow_symlinks=False)


def _namespace_options() -> tuple[str, ...]:
    if sys.platform != "linux":
        return ()
    # initdb wants a name for the user it sees, so the user must be one that the machine knows.
    known = next((entry for entry in pwd.getpwall() if entry.pw_uid != 0), None)
    return ("--namespace", f"{known.pw_uid}:{known.pw_gid}") if known else ()


@functools.cache
def _starts(options: tuple[str, ...], program: Path) -> bool:
    command = launch_command(options, [str(program), "--version"])
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=PROBE_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _account(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _make_account() -> pwd.struct_passwd | None:
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is None:
        return None
    command = [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT]
    done = subprocess.run(command, capture_output=True, check=False, timeout=PROBE_TIMEOUT_S)
    if done.returncode == 0:
        logger.warning("made the system account %s, because PostgreSQL does not run as root", ACCOUNT)
    return _account(ACCOUNT)

"""Become another program: in a session of its own, as somebody else than root, dying with its parent if asked.

Run as a script (`python -I -S become.py OPTIONS -- PROGRAM ARGUMENTS`), it needs the standard library only. A script,
and not `preexec_fn`: Python code between fork and exec can hang when the parent has threads.

Options:
    --die-with PARENT_PID:SIGNAL   get the signal when the thread that started us ends (Linux; elsewhere ignored)
    --namespace UID:GID            root only: look like this user to ourselves, while files stay root's
    --user UID:GID                 root only: really become this user
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000  # linux/sched.h
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def enter_user_namespace(uid: int, gid: int) -> None:
    """Enter a user namespace in which the present user is seen as `uid`; no rights are gained or lost on files.

    Raises:
        OSError: the kernel or a container's rules do not allow it.
    """
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "no user namespace")
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1", encoding="ascii")


def become_user(uid: int, gid: int) -> None:
    """Give up root for good."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def die_with_parent(parent_pid: int, signal_number: int) -> None:
    """Ask the kernel for a signal when the parent is gone; leave at once when it already is."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent_pid:
        raise SystemExit("the parent ended before the start was complete")


def main(arguments: list[str]) -> None:
    """Apply the options in the order that keeps all of them in force, and become the program."""
    split = arguments.index("--")
    options = dict(zip(arguments[:split:2], arguments[1:split:2], strict=True))
    pairs = {name: [int(part) for part in value.split(":")] for name, value in options.items()}
    if "--namespace" in pairs:
        enter_user_namespace(*pairs["--namespace"])
    if "--user" in pairs:
        become_user(*pairs["--user"])
    if "--die-with" in pairs:  # after the change of user, which clears it
        die_with_parent(*pairs["--die-with"])
    program = arguments[split + 1 :]
    os.execvp(program[0], program)  # noqa: S606 - becoming the program is the point; no shell


if __name__ == "__main__":
    main(sys.argv[1:])

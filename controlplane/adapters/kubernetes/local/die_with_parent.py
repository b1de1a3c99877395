"""Run a command that the kernel ends when the thread that started it ends, even by SIGKILL.

    python die_with_parent.py PARENT_PID COMMAND [ARGUMENT ...]

A small program instead of a function between fork and exec, which is not safe in a process with threads. See
prctl(2), PR_SET_PDEATHSIG: the setting survives execve, and it follows the parent *thread*.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for the signal, make sure that the parent did not die before, become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit("the parent ended before the command began")
    os.execv(command[0], command)  # noqa: S606 - the whole purpose: become the command, no shell


if __name__ == "__main__":
    main()

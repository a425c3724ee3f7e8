"""``python -m devstack.die_with_parent PARENT PROGRAM ARGUMENT...``: run a program that ends when its parent does.

The kernel sends SIGTERM to the program when the process that started this one is gone, in whatever way (prctl(2),
PR_SET_PDEATHSIG); the setting survives the exec.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask the kernel, make sure that the parent is not gone already, and become the program."""
    parent, *program = sys.argv[1:]
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit("the parent is gone")
    os.execv(program[0], program)  # noqa: S606 - our own arguments, no shell


if __name__ == "__main__":
    main()

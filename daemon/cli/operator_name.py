"""Who is at the keyboard."""

from __future__ import annotations

import getpass
import os


def operator_name() -> str:
    """Return the login of the person behind a command, also behind sudo."""
    return os.environ.get("SUDO_USER") or getpass.getuser()

"""A plug-in installed from its folder as an operator does it, but beside the environment instead of into it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from devstack.daemon_process import REPOSITORY

EXAMPLE = REPOSITORY / "examples" / "refreshd-price-targets"
EXAMPLE_FLAG = "migrate_price_target_type"


def install(source: Path, folder: Path) -> Path:
    """Install the package in ``source`` below ``folder``; return what belongs on the daemon's ``PYTHONPATH``.

    It is built from a copy, so that nothing is left in the checkout, and with what is installed: nothing is downloaded.

    Raises:
        subprocess.CalledProcessError: When it cannot be built; ``stderr`` says why.
    """
    copy, site = folder / "source", folder / "site"
    folder.mkdir(exist_ok=True)
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--no-index", "--no-deps", "--no-build-isolation", "--target", site, copy],
        check=True,
        capture_output=True,
    )
    return site

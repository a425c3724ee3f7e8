"""refreshd as an operator has it in /opt/refreshd: an environment of the system's Python with what the daemon needs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

from tests.needs import require

REPOSITORY = Path(__file__).parents[2]
PYTHON = Path("/usr/bin/python3")
LAUNCHER = """\
#!/opt/refreshd/bin/python
import sys
from daemon.cli.entry import main
sys.exit(main())
"""


def install(root: Path) -> None:
    """Install this version below ``root``, without a download: what it needs is copied from where the tests run.

    The tests' own interpreter may live where the unit's sandbox does not let anybody look.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    require(
        f"{PYTHON} {version}", found=_system_version() == version, hint="the tests' packages would not load in another"
    )
    place = root / "opt" / "refreshd"
    packages = place / "lib" / f"python{version}" / "site-packages"
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "python").symlink_to(PYTHON)
    (place / "pyvenv.cfg").write_text(f"home = {PYTHON.parent}\ninclude-system-site-packages = false\n")
    for found in _with_requirements("refreshd", set()).values():
        _copy(found, packages)
    _copy_tree(REPOSITORY / "daemon", packages / "daemon")
    _copy_tree(REPOSITORY / "schema", packages / "daemon" / "schema")
    subprocess.run([PYTHON, "-m", "compileall", "-q", "-j", "2", packages], check=True)
    launcher = place / "bin" / "refreshd"
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)


def _system_version() -> str | None:
    if not PYTHON.exists():
        return None
    found = subprocess.run([PYTHON, "--version"], capture_output=True, text=True, check=True)
    match = re.search(r"(\d+\.\d+)", found.stdout)
    return match[1] if match else None


def _with_requirements(name: str, extras: set[str]) -> dict[str, Distribution]:
    """Return the distribution and everything that it requires on this machine, by name."""
    found = distribution(name)
    all_found = {name: found}
    for requirement in map(Requirement, found.requires or ()):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            all_found |= _with_requirements(requirement.name, requirement.extras)
    return all_found


def _copy(found: Distribution, packages: Path) -> None:
    """Copy the files of one distribution that live beside each other; those of an editable one are few."""
    for file in found.files or ():
        if ".." in file.parts or file.suffix in {".pth", ".pyc"}:
            continue
        target = packages / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.locate(), target)


def _copy_tree(source: Path, target: Path) -> None:
    shutil.copytree(
        source, target, ignore=shutil.ignore_patterns("__pycache__"), copy_function=shutil.copyfile, dirs_exist_ok=True
    )

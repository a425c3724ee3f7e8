"""The import rules: they hold, and each of them notices when it is broken."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")
NO_ROOMS = {"__init__.py", "__main__.py", "assembly.py", "assembly_web.py", "contracts.py", "main.py"}

VIOLATIONS = [
    ("contracts.py imports nothing of the daemon", "contracts.py", "import daemon.log_text"),
    ("The modules beside the rooms import no room", "settings.py", "import daemon.store"),
    ("The modules beside the rooms import no room", "flags.py", "import daemon.refresh"),
    ("The modules beside the rooms import no room", "service.py", "import daemon.main"),
    ("The modules beside the rooms import no room", "loop_lag.py", "import daemon.web"),
    ("The web imports no other room", "web/__init__.py", "import daemon.presence"),
    ("The web imports no other room", "web/__init__.py", "import daemon.store"),
    ("The store imports no other room", "store/__init__.py", "import daemon.refresh"),
    ("Health imports the store and no other room", "health/__init__.py", "import daemon.refresh"),
    ("Presence imports no other room", "presence/__init__.py", "import daemon.store"),
    ("Presence imports no other room", "presence/__init__.py", "import daemon.fetchers"),
    ("Presence imports no other room", "presence/__init__.py", "import daemon.web"),
    ("Refresh imports neither presence nor processor nor fetchers", "refresh/__init__.py", "import daemon.processor"),
    ("The processor imports neither presence nor a fetcher", "processor/__init__.py", "import daemon.fetchers.quote"),
    ("The processor imports neither presence nor a fetcher", "processor/__init__.py", "import daemon.main"),
    (
        "The migration imports neither presence nor the processor, nor what is above it",
        "migration/__init__.py",
        "import daemon.processor",
    ),
    ("The store imports no other room", "store/__init__.py", "import daemon.migration"),
    ("The fetchers import no other room", "fetchers/__init__.py", "import daemon.store"),
    ("Data types do not import each other", "fetchers/quote.py", "import daemon.fetchers.profile"),
    ("Only the store talks to PostgreSQL", "presence/__init__.py", "import asyncpg"),
    ("Only the store talks to PostgreSQL", "refresh/__init__.py", "from asyncpg import connect"),
    ("Only the store talks to PostgreSQL", "processor/__init__.py", "import asyncpg.exceptions"),
    ("The daemon imports nothing that only develops or checks it", "main.py", "import devstack.stack"),
    ("The daemon imports nothing that only develops or checks it", "cli/__init__.py", "import tests"),
    ("The daemon imports nothing that only develops or checks it", "store/__init__.py", "import bench"),
]


def contracts() -> list[dict[str, Any]]:
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return list(configuration["tool"]["importlinter"]["contracts"])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Copy what the import rules are about."""
    shutil.copytree(ROOT / "daemon", tmp_path / "daemon", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def check_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [str(LINT_IMPORTS), "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False, timeout=60)


def test_the_tree_keeps_every_rule(tree: Path) -> None:
    checked = check_imports(tree)

    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count(" KEPT") == len(contracts())


@pytest.mark.parametrize(("rule", "module", "statement"), VIOLATIONS)
def test_a_planted_import_breaks_its_rule(tree: Path, rule: str, module: str, statement: str) -> None:
    path = tree / "daemon" / module
    path.write_text(f"{path.read_text()}\n{statement}\n")

    checked = check_imports(tree)

    assert checked.returncode == 1
    assert f"{rule} BROKEN" in checked.stdout


def test_every_rule_is_tried() -> None:
    assert {contract["name"] for contract in contracts()} == {rule for rule, _, _ in VIOLATIONS}


def test_every_module_beside_the_rooms_is_under_the_rule() -> None:
    modules = {path.stem for path in (ROOT / "daemon").glob("*.py") if path.name not in NO_ROOMS}

    (rule,) = (contract for contract in contracts() if contract["name"].startswith("The modules beside"))

    assert {name.removeprefix("daemon.") for name in rule["source_modules"]} == modules

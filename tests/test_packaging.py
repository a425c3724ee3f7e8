"""The wheel and the source archive: the same bytes every time, with everything in them that the command needs."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from daemon import __version__
from devstack.daemon_process import REPOSITORY
from devstack.stack import Stack

NEEDED = ("schema/migrations/0001_registry.sql", "schema/functions/choose_jobs_v2.sql", "schema/seeds/registry.sql")


def build(target: str, folder: Path) -> Path:
    """Build from what git knows, so that nothing of a checkout gets in by accident."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", folder],
        cwd=REPOSITORY, check=True, capture_output=True, env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
    )  # fmt: skip
    [built] = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel installed into a folder of its own; what it depends on comes from the environment."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-index", "--no-deps", "--target", folder, wheel], check=True, capture_output=True)
    return folder


async def installed(site: Path, stack: Stack | None, *arguments: str) -> tuple[int, str]:
    """Run the command of the wheel, from elsewhere than the checkout."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", str(site / "bin" / "refreshd"), *arguments, cwd=site,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(site), **(stack.environment() if stack else {})},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.parametrize("target", ["wheel", "sdist"])
def test_the_same_source_gives_the_same_bytes(target: str, tmp_path: Path) -> None:
    digests = set()
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        digests.add(hashlib.sha256(build(target, folder).read_bytes()).hexdigest())

    assert len(digests) == 1


def test_the_wheel_holds_daemon_and_schema_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert {name.split("/")[0].split("-")[0] for name in names} == {"daemon", "refreshd"}
    wanted = (*NEEDED, "daemon/web/static/dashboard.html", "daemon/py.typed")
    assert [name for name in wanted if not any(found.endswith(name) for found in names)] == []
    assert any(name.endswith("entry_points.txt") for name in names)
    assert not any("__pycache__" in name or name.endswith(".pyc") for name in names)


def test_the_source_archive_holds_what_a_builder_needs(tmp_path: Path) -> None:
    with tarfile.open(build("sdist", tmp_path)) as archive:
        names = archive.getnames()

    wanted = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "systemd/refreshd.service", *NEEDED)
    assert [name for name in wanted if not any(found.endswith(f"/{name}") for found in names)] == []


async def test_the_installed_command_says_its_version_without_any_setting(site: Path) -> None:
    assert await installed(site, None, "--version") == (0, f"refreshd, version {__version__}\n")


async def test_the_installed_command_checks_and_migrates(site: Path) -> None:
    async with Stack(latency_seconds=0.0, durable=False, symbols=["AAPL"]) as stack:
        where = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", "import daemon; print(daemon.__file__)", cwd=site,
            env={"PYTHONPATH": str(site)}, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        file, _ = await where.communicate()
        migrated = await installed(site, stack, "migrate")
        checked = await installed(site, stack, "check")

    assert file.decode().startswith(str(site))
    assert migrated[0] == 0, migrated[1]
    assert "functions, seeds and access up to date" in migrated[1]
    assert checked[0] == 0, checked[1]

"""The lock files: complete, hashed, and in step with pyproject.toml and with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ["requirements.lock", "requirements-dev.lock", "requirements-bench.lock"]


def locked(lock: str) -> dict[str, str]:
    """Return the versions in a lock file by normalised name."""
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", (ROOT / lock).read_text(), re.MULTILINE))


def asked_for(*extras: str) -> list[Requirement]:
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = configuration["project"]
    lines = [*project["dependencies"], *configuration["dependency-groups"]["build"]]
    lines += [line for extra in extras for line in project["optional-dependencies"][extra]]
    return [requirement for requirement in map(Requirement, lines) if requirement.name != project["name"]]


@pytest.mark.parametrize(
    ("lock", "extras"),
    [(LOCKS[0], ("demo",)), (LOCKS[1], ("demo", "dev", "speed")), (LOCKS[2], ("demo", "speed", "bench"))],
)
def test_a_lock_holds_what_the_project_asks_for(lock: str, extras: tuple[str, ...]) -> None:
    versions = locked(lock)

    unmet = [
        requirement
        for requirement in asked_for(*extras)
        if not requirement.specifier.contains(versions.get(requirement.name.lower(), "0"))
    ]

    assert not unmet, "run make lock"


def test_the_locks_agree() -> None:
    runtime, dev, bench = map(locked, LOCKS)

    assert runtime.items() <= dev.items()
    assert {name: version for name, version in bench.items() if name in dev}.items() <= dev.items()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_is_hashed(lock: str) -> None:
    entries = re.split(r"^(?=[a-z0-9-]+==)", (ROOT / lock).read_text(), flags=re.MULTILINE)[1:]

    assert {entry.split("==")[0] for entry in entries} == locked(lock).keys()
    assert all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text()

    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host", text)

"""What a test needs that not every machine has: it is skipped by name, or fails where it was said to be there."""

from __future__ import annotations

import os

import pytest

REQUIRED = frozenset(filter(None, os.environ.get("REFRESHD_REQUIRE", "").split(",")))
"""Names of what must not be missing: CI installs it, and a skipped suite would be a hole that nobody sees."""


def require(name: str, *, found: object, hint: str) -> None:
    """Skip the test when ``found`` is nothing; fail it when ``name`` is in REFRESHD_REQUIRE."""
    if found:
        return
    reason = f"{name} is not here: {hint}"
    if name in REQUIRED:
        pytest.fail(f"{reason} (REFRESHD_REQUIRE names it)", pytrace=False)
    pytest.skip(reason)

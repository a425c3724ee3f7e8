"""The kinds of settings that occur again and again, with their bounds."""

from __future__ import annotations

from typing import Any

from pydantic import ByteSize, Field

DAY_SECONDS = 86_400


def seconds(default: float, description: str) -> Any:
    """Return a time of up to a day."""
    return Field(default, gt=0, le=DAY_SECONDS, allow_inf_nan=False, description=f"{description}, in seconds")


def count(default: int, description: str, *, at_most: int = 1_000_000) -> Any:
    """Return a number of things, at least one."""
    return Field(default, ge=1, le=at_most, description=description)


def size(default: int, description: str) -> Any:
    """Return a number of bytes, from a kibibyte to a gibibyte."""
    return Field(ByteSize(default), ge=1_024, le=2**30, description=description)

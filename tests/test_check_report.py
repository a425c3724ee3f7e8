"""The check of a demo's report notices what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / ".ci" / "check_report.py"
GOOD: dict[str, Any] = {
    "viewers": 40,
    "data_types": [
        "available-exchanges", "dividend-history", "exchange-market-status", "exchange-variants",
        "financial-statements", "grades-historical", "price-target", "profile", "quote", "ratios-ttm",
        "revenue-segmentation", "shares-float",
    ],
    "fresh_share": 0.99,
    "refreshes_at_expiry": 12,
    "max_calls_per_60s": 300,
    "errors": [],
}  # fmt: skip


def check(directory: Path, report: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    path = directory / "report.json"
    path.write_text(json.dumps(report))
    return subprocess.run([sys.executable, SCRIPT, path], capture_output=True, text=True, check=False, timeout=60)


def test_a_good_report_passes(tmp_path: Path) -> None:
    checked = check(tmp_path, GOOD)

    assert checked.returncode == 0
    assert len(checked.stdout.splitlines()) == len(GOOD)


@pytest.mark.parametrize(
    ("key", "figure"),
    [
        ("viewers", 20),
        ("data_types", ["quote"]),
        ("fresh_share", 0.95),
        ("refreshes_at_expiry", 0),
        ("max_calls_per_60s", 301),
        ("errors", [{"event": "job_failed"}]),
    ],
)
def test_one_bad_figure_fails_and_is_named(tmp_path: Path, key: str, figure: object) -> None:
    checked = check(tmp_path, GOOD | {key: figure})

    failures = [line for line in checked.stdout.splitlines() if line.startswith("FAILED")]
    assert checked.returncode == 1
    assert len(failures) == 1
    assert f"  {key}: {figure}" in failures[0]


def test_a_missing_figure_fails(tmp_path: Path) -> None:
    checked = check(tmp_path, {key: figure for key, figure in GOOD.items() if key != "errors"})

    assert checked.returncode == 1
    assert "FAILED  errors: missing (must be none)" in checked.stdout

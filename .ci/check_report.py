"""Check the report of a demo run: enough was watched, it was kept fresh, and no limit was overstepped."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Check(NamedTuple):
    """What one figure of the report must be."""

    key: str
    rule: str
    holds: Callable[[Any], bool]


ALL_TYPES = {
    "available-exchanges", "dividend-history", "exchange-market-status", "exchange-variants", "financial-statements",
    "grades-historical", "price-target", "profile", "quote", "ratios-ttm", "revenue-segmentation", "shares-float",
}  # fmt: skip
CHECKS = [
    Check("viewers", "more than 20", lambda viewers: viewers > 20),
    Check("data_types", "all eleven and the plug-in's", lambda types: set(types) == ALL_TYPES),
    Check("fresh_share", "more than 0.95", lambda share: share > 0.95),
    Check("refreshes_at_expiry", "more than 0", lambda refreshes: refreshes > 0),
    Check("max_calls_per_60s", "at most 300", lambda calls: calls <= 300),
    Check("errors", "none", lambda errors: errors == []),
]


def main(path: Path) -> int:
    """Print one line per figure and return 1 if any is not as it must be."""
    report = json.loads(path.read_text())
    failed = 0
    for key, rule, holds in CHECKS:
        is_good = key in report and holds(report[key])
        failed += not is_good
        print(f"{'ok    ' if is_good else 'FAILED'}  {key}: {report.get(key, 'missing')} (must be {rule})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

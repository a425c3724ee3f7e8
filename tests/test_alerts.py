"""Alert rules, dashboard and the page of metrics name what there is, and every alert leads to the runbook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from daemon.contracts import Answer, FetchErrorKind, Flags, Oddity, OddityKind, Pair, Verdict
from daemon.health.metrics import BREAKER_STATES, VitalsCollector
from daemon.health.vitals import Snapshot
from daemon.loop_lag import LoopLag
from daemon.migration.metrics import MoveCollector
from daemon.presence.metrics import PresenceCollector
from daemon.presence.status import ConnectionStatus, PresenceStatus, ShardStatus
from daemon.processor.calls import CallEnd, CallWatch
from daemon.processor.drift import DriftWatch
from daemon.processor.metrics import DriftCollector
from daemon.refresh.arrivals import Arrivals
from daemon.store.moves import Move
from daemon.store.queue_state import QueueState
from daemon.store.vitals import CronJob, TypeFreshness
from tests.clocks import StandingClock
from tests.needs import require

REPOSITORY = Path(__file__).parents[1]
PAGE = (REPOSITORY / "docs" / "metrics.md").read_text(encoding="utf-8")
RUNBOOK = (REPOSITORY / "docs" / "runbook.md").read_text(encoding="utf-8")
RULES = REPOSITORY / "docs" / "prometheus-alerts.yml"
RULES_TEXT = RULES.read_text(encoding="utf-8")
RULES_TESTS = sorted((REPOSITORY / "tests").glob("prometheus_alerts*.yml"))
DASHBOARD: Mapping[str, Any] = json.loads((REPOSITORY / "docs" / "grafana-dashboard.json").read_text(encoding="utf-8"))

ALERTS = re.findall(r"^ +- alert: (\w+)$", RULES_TEXT, re.MULTILINE)


class Part:
    """A periodic part that has succeeded once."""

    name = "gate"
    interval_seconds = 5.0
    last_success_monotonic: float | None = 0.0


def everything_that_is_measured() -> CollectorRegistry:
    """Return a registry as the daemon has it, in which everything has happened once."""
    registry = CollectorRegistry()
    clock = StandingClock()
    LoopLag(clock, registry)
    status = PresenceStatus(
        enabled=True,
        shards={"viewers:0": ShardStatus(1, 1, 30)},
        connections=[ConnectionStatus(0, 12.5, 3, 3, {"closed_1001": 2}, {"channel_error": 4})],
        drops={"unknown_symbol": 7},
        largest_state=31,
    )
    for collector in (
        PresenceCollector(lambda: status),
        DriftCollector(_drift()),
        _calls(),
        _arrivals(clock),
        MoveCollector(lambda: [_move()]),
        VitalsCollector(
            clock,
            snapshot=_snapshot,
            flags=lambda: Flags(True, True, True, {"quote": True}),
            timed=[Part()],
            ready=lambda: Verdict(True, ""),
            alive=lambda: Verdict(True, ""),
            connections=lambda: (1, 2, 22),
            log_lines=lambda: (0, 0),
        ),
    ):
        registry.register(collector)
    return registry


def _drift() -> DriftWatch:
    drift = DriftWatch()
    drift.note("quote", Oddity(OddityKind.UNKNOWN_FIELD, "news"))
    return drift


def _calls() -> CallWatch:
    watch = CallWatch()
    watch.note_end(CallEnd("profile", 0.1, 200, 5_000, "etag", Answer(304, b"", "etag", 200)))
    watch.note_failure("profile", FetchErrorKind.MALFORMED)
    watch.note_refused("breaker")
    watch.jobs.note("profile", "completed", "changed", 0.1)
    return watch


def _arrivals(clock: StandingClock) -> Arrivals:
    arrivals, pair = Arrivals(clock), Pair("AAPL", "quote")
    arrivals.began(pair)
    arrivals.fresh(pair)
    arrivals.began(pair)
    arrivals.left(pair)
    arrivals.unseen(pair)
    return arrivals


def _move() -> Move:
    none = dict.fromkeys(
        ("since", "started_at", "held_until", "baseline", "symbols_at_start", "checked_at", "watched_seconds",
         "flag_changed_by", "flag_changed_at")
    )  # fmt: skip
    return Move(
        data_type="quote",
        table_name="stock_quotes",
        fetcher="quote",
        refresh_strategy="on-demand",
        upstream="fmp",
        phase="watched",
        old_jobs=[],
        checks=[{"name": "queue", "state": "broken", "text": "1,000 jobs wait: 1,000 or more"}],
        is_held=False,
        is_final=False,
        flag_is_on=True,
        **none,
    )


def _snapshot() -> Snapshot:
    numbers = (
        "calls_in_window", "calls_per_minute", "bytes_in_30_days", "bytes_per_30_days", "bytes_paced", "price_calls",
        "price_bytes",
    )  # fmt: skip
    upstream = {**dict.fromkeys(numbers, 1), "upstream": "fmp", "breaker_state": "closed", "paused_until": None}
    jobs = {"data_type": "quote", "pending": 2, "processing": 1, "waiting": 1, "oldest_seconds": 3.0}
    return Snapshot(
        taken_at=0.0,
        freshness=[TypeFreshness("quote", 2, 3, 2, 1, 0)],
        queue=QueueState([jobs], [upstream], {}, {"symbol": "AAPL", "data_type": "quote", "seconds": 1.0}, True),
        oldest_snapshot_seconds=0.0,
        flags=Flags(),
        cron_jobs=[CronJob("nightly", True, "0 2 * * *", "succeeded", None, None, 10.0)],
    )


def collected() -> dict[str, tuple[str, str]]:
    """Return the type and the labels of every metric, by the name that PromQL knows it by."""
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: (
            family.type,
            ", ".join(sorted({label for sample in family.samples for label in sample.labels} - {"le"})),
        )
        for family in everything_that_is_measured().collect()
    }


def recorded() -> set[str]:
    """Return the names that the rules record."""
    return set(re.findall(r"^ +- record: (\S+)$", RULES_TEXT, re.MULTILINE))


def expressions() -> list[str]:
    """Return every expression of the dashboard, with its variables filled in."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    return [text.replace("$__rate_interval", "5m").replace("$job", "refreshd") for text in found]


def examples() -> Iterator[str]:
    """Yield every example query of the page; a line that is indented goes on with the one before."""
    for block in re.findall(r"```promql\n(.*?)```", PAGE, re.DOTALL):
        text = re.sub(r"#.*", "", block)
        yield from (" ".join(query.split()) for query in re.split(r"\n(?! )", text) if query.strip())


def names_in(text: str) -> set[str]:
    """Return the metrics of ours in an expression, those of a histogram by the name of the whole."""
    kinds = collected()
    found = set(re.findall(r"\brefreshd(?:_\w+|:[\w:]+)", text))
    return {
        whole if kinds.get(whole := re.sub(r"_(bucket|count|sum)$", "", name), ("", ""))[0] == "histogram" else name
        for name in found
    }


# --- The page of metrics ---


def test_the_page_lists_every_metric_of_the_daemon_with_its_labels_and_no_other() -> None:
    rows = re.findall(r"^\| `(refreshd_\w+)` \| (\w+) \| ([\w, ]*?) ?\|", PAGE, re.MULTILINE)

    assert len(rows) == len(set(rows))
    assert {name: (kind, labels) for name, kind, labels in rows} == collected()


def test_the_page_lists_what_the_rules_record() -> None:
    assert set(re.findall(r"^\| `(refreshd:[\w:]+)` \|", PAGE, re.MULTILINE)) == recorded()


def test_every_breaker_state_and_every_outcome_is_on_the_page() -> None:
    words = set(re.findall(r"`(\w+)`", PAGE))

    assert {*BREAKER_STATES, "changed", "unchanged", "empty", "rejected", "failed", "retry", "reset", "lost"} <= words


# --- Rules and dashboard ---


def test_rules_dashboard_and_examples_name_metrics_of_the_page_only() -> None:
    rules = "\n".join(line for line in RULES_TEXT.splitlines() if not line.lstrip().startswith("- name:"))
    known = set(collected()) | recorded()

    assert names_in(rules) <= known
    for expression in [*expressions(), *examples()]:
        assert names_in(expression) <= known, expression


def test_every_alert_has_what_a_person_needs_and_a_section_of_the_runbook() -> None:
    headings = {heading.lower() for heading in re.findall(r"^#+ (\w+)$", RUNBOOK, re.MULTILINE)}
    blocks = re.split(r"^ +- (?:alert|record): ", RULES_TEXT, flags=re.MULTILINE)[1:]

    for block in (block for block in blocks if block.startswith("Refreshd")):
        name = block.splitlines()[0]
        assert re.search(r"severity: (warning|critical)", block), name
        assert "summary: " in block, name
        assert "description: " in block, name
        assert f"runbook: docs/runbook.md#{name.lower()}\n" in block, name
        assert name.lower() in headings, f"{name} has no section in docs/runbook.md"
    assert len(ALERTS) == len(set(ALERTS)) >= 15


def test_promtool_takes_the_rules() -> None:
    assert "SUCCESS" in promtool("check", "rules", str(RULES))


def test_promtool_finds_that_the_rules_do_what_they_say() -> None:
    assert "SUCCESS" in promtool("test", "rules", *map(str, RULES_TESTS))


def test_promtool_takes_every_expression_of_the_dashboard_and_every_example(tmp_path: Path) -> None:
    file = tmp_path / "expressions.yml"
    queries = [*expressions(), *examples()]
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(queries)]
    named = [{**rule, "record": rule["record"].replace("panel:", "panel:expression")} for rule in rules]
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": named}]}))  # JSON is YAML

    assert f"{len(queries)} rules found" in promtool("check", "rules", str(file))


def promtool(*arguments: str) -> str:
    """Run promtool and return what it said."""
    path = shutil.which("promtool")
    require("promtool", found=path, hint="install Prometheus, which brings it")
    ran = subprocess.run([str(path), *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def test_the_dashboard_can_be_imported_and_asks_for_its_data_source() -> None:
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

    assert (DASHBOARD["uid"], DASHBOARD["id"], DASHBOARD["title"]) == ("refreshd", None, "refreshd")
    assert DASHBOARD["schemaVersion"] >= 38
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    for panel in panels:
        assert panel["targets"], panel["title"]
        assert panel["description"], panel["title"]
        for asked in [panel, *panel["targets"]]:
            assert asked["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: dict[tuple[int, int], str] = {}
    ids = [panel["id"] for panel in DASHBOARD["panels"]]

    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert taken.setdefault(cell, panel["title"]) == panel["title"]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    "metric",
    [
        "refreshd_viewers_fresh", "refreshd_viewed_pairs", "refreshd_first_view_seconds", "refreshd_queue_jobs",
        "refreshd_queue_oldest_pending_seconds", "refreshd_jobs_finished_total", "refreshd_budget_calls_used",
        "refreshd_budget_calls_limit", "refreshd_budget_bytes_used", "refreshd_budget_bytes_limit",
        "refreshd_price_calls", "refreshd_price_bytes", "refreshd_breaker_state",
        "refreshd_presence_session_age_seconds", "refreshd_presence_topics_confirmed",
        "refreshd_event_loop_lag_seconds", "refreshd_database_connections", "refreshd_part_last_success_seconds",
    ],
)  # fmt: skip
def test_the_dashboard_shows_what_an_operator_asks_for(metric: str) -> None:
    assert any(metric in names_in(expression) for expression in expressions())

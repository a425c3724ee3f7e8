"""Which old job a data type has, from pg_cron's names or from the operator's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.contracts import ConfigurationError
from daemon.migration.old_jobs import (
    OldJobError,
    find,
    hold_seconds,
    in_words,
    mentions,
    read_file,
    run_command,
    shared,
)
from daemon.migration.phases import ORDER
from daemon.store.baselines import CronMeasure


def job(number: int, name: str, command: str = "select 1", *, active: bool = True) -> CronMeasure:
    return CronMeasure(number, name, "* * * * *", command, active, 0, 0, None)


CRON = [
    job(1, "refresh-quotes"),
    job(2, "nightly", "select net.http_post(url := 'https://x.supabase.co/functions/v1/fetch-fmp-profiles')"),
    job(3, "financial_statements_hourly"),
    job(4, "ratios", "select refresh('ratios_ttm')"),
    job(5, "statements-and-ratios", "select a('financial-statements'), b('ratios-ttm')"),
]


@pytest.mark.parametrize(
    ("text", "data_type", "table", "expected"),
    [
        ("refresh-quotes", "quote", "live_quote_indicators", True),
        ("refresh_live_quote_indicators", "quote", "live_quote_indicators", True),
        ("FETCH-QUOTE-JOB", "quote", "live_quote_indicators", True),
        ("misquoted", "quote", "live_quote_indicators", False),
        ("unquote2", "quote", "live_quote_indicators", False),
        ("select fetch('shares-float')", "shares-float", "shares_float", True),
        ("select fetch('shares-float-old')", "shares-float", "shares_float", True),
        ("profile.*", "profile", "profiles", True),
    ],
)
def test_a_job_speaks_of_a_type_in_whole_words(text: str, data_type: str, table: str, *, expected: bool) -> None:
    assert mentions(text, data_type, table) is expected


def test_the_one_job_with_the_name_of_a_type_is_found() -> None:
    (quote,) = find("quote", "live_quote_indicators", CRON)

    assert (quote["cron_job"], quote["was_active"]) == (1, True)
    assert in_words([quote]) == "refresh-quotes (* * * * *) of pg_cron"


def test_a_job_whose_command_alone_speaks_of_a_type_is_proposed_and_not_taken() -> None:
    with pytest.raises(OldJobError, match=r"the command of nightly speaks of it: name it with --cron"):
        find("profile", "profiles", CRON)


def test_a_job_that_only_asks_for_work_is_held_for_as_long_as_a_function_may_take() -> None:
    asks = find("profile", "profiles", CRON, named=["nightly"])

    assert hold_seconds(asks, 60.0) == 150.0
    assert hold_seconds(asks, 400.0) == 400.0
    assert hold_seconds(find("quote", "live_quote_indicators", CRON), 60.0) == 60.0


def test_several_that_could_be_meant_are_named_and_none_is_chosen() -> None:
    twins = [job(1, "ratios-ttm-1"), job(2, "refresh_ratios_ttm")]

    with pytest.raises(OldJobError, match=r"2 jobs .*\(ratios-ttm-1, refresh_ratios_ttm\).*--cron"):
        find("ratios-ttm", "ratios_ttm", twins)


@pytest.mark.parametrize(("cron", "said"), [(CRON, "none of pg_cron's 5 jobs"), (None, "there is no pg_cron here")])
def test_none_is_an_error_that_says_how_to_name_one(cron: list[CronMeasure] | None, said: str) -> None:
    with pytest.raises(OldJobError, match=f"{said}.*--no-old-job"):
        find("grades-historical", "grades_historical", cron)


def test_jobs_can_be_named_by_name_or_number_and_a_wrong_name_lists_those_that_are() -> None:
    found = find("ratios-ttm", "ratios_ttm", CRON, named=["ratios", "5"])

    assert [each["cron_job"] for each in found] == [4, 5]
    with pytest.raises(OldJobError, match="no job ratio; it has refresh-quotes, nightly"):
        find("ratios-ttm", "ratios_ttm", CRON, named=["ratio"])


def test_a_job_that_another_type_needs_too_is_told_also_where_its_command_alone_says_so() -> None:
    tables = {"financial-statements": "financial_statements", "profile": "profiles"}
    both = find("ratios-ttm", "ratios_ttm", CRON, named=["5"])
    quote = find("quote", "live_quote_indicators", CRON)

    assert shared(both, CRON, tables) == ["financial-statements"]
    assert shared(quote, CRON, tables) == []
    assert shared([{"kind": "manual", "manual": "profile"}], CRON, tables) == []


FILE = """
[quote]
cron = ["refresh-quotes", 4]
[profile]
pause = "true"
resume = "false"
[ratios-ttm]
manual = "the workflow refresh-ratios"
[exchange-variants]
none = true
"""


def test_the_file_says_what_the_old_system_is(tmp_path: Path) -> None:
    path = tmp_path / "old.toml"
    path.write_text(FILE)
    entries = read_file(path, ORDER)

    jobs = {name: find(name, "t", CRON, entry=entry) for name, entry in entries.items()}

    assert [each["cron_job"] for each in jobs["quote"]] == [1, 4]
    assert jobs["profile"] == [{"kind": "command", "pause": "true", "resume": "false"}]
    assert jobs["ratios-ttm"] == [{"kind": "manual", "manual": "the workflow refresh-ratios"}]
    assert jobs["exchange-variants"] == []
    assert [in_words(each) for each in jobs.values()][1:] == [
        "what `true` pauses",
        "by hand: the workflow refresh-ratios",
        "none",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[quotes]\nnone = true", "quotes: is no data type; there are quote, profile"),
        ("[quote]\npause = 'x'", "quote: wants either cron, or pause and resume"),
        ("[quote]\npause = 'x'\nresume = ''", "not empty"),
        ("[quote]\nnone = false", "none can only be true"),
        ("[quote]\ncron = 1.5", "a name, a number or a list"),
        ("[quote]\ncron = []", "and not empty"),
        ("quote = 1", "quote: wants either"),
        ("[quote", "cannot be read"),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "old.toml"
    path.write_text(text)

    with pytest.raises(ConfigurationError, match=said):
        read_file(path, ORDER)


def test_a_file_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_file(tmp_path / "nothing.toml", ORDER)


def test_a_command_that_fails_is_told_with_what_it_said() -> None:
    run_command("true")
    with pytest.raises(OldJobError, match=r"ended with 3: no such unit"):
        run_command("echo no such unit >&2; exit 3")

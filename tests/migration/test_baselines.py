"""How everything was, measured and compared."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from daemon.migration.comparison import bytes_a_day, calls_a_day, compare
from daemon.store.baselines import BaselineError, Usage, list_baselines, measure, read_baseline, record
from daemon.store.owner import owner_connection
from tests.databases import TestDatabase
from tests.migration.stage import Moving


async def test_a_data_table_is_measured_by_symbol(stage: Moving) -> None:
    await stage.fill_quotes(["10 seconds", "59 seconds", "2 minutes"])

    found = (await measure(stage.owner)).of("quote")

    assert found is not None
    assert (found.table_rows, found.symbols, found.fresh_symbols, found.viewed) == (3, 3, 2, 0)
    assert found.fresh_share == pytest.approx(2 / 3)
    assert found.oldest is not None
    assert found.newest is not None
    assert found.oldest < found.newest


async def test_where_somebody_looks_what_is_viewed_counts_even_what_was_never_fetched(stage: Moving) -> None:
    await stage.fill_quotes(["10 seconds", "2 minutes"])
    await stage.database.execute(
        "insert into active_subscriptions_v2 (user_id, symbol, data_type, source)"
        " select 'user:1', s, 'quote', 's' from unnest(array['AAPL', 'MSFT', 'NVDA', 'TSLA']) s"
    )

    found = (await measure(stage.owner)).of("quote")

    assert found is not None
    assert (found.viewed, found.viewed_fresh, found.fresh_share) == (4, 1, 0.25)


async def test_after_the_move_what_was_checked_and_unchanged_counts_as_fresh(stage: Moving) -> None:
    await stage.fill_quotes(["1 hour"])
    await stage.database.execute(
        "insert into refresh_state_v2 (symbol, data_type, last_success_at) values ('AAPL', 'quote', now())"
    )

    found = (await measure(stage.owner)).of("quote")

    assert found is not None
    assert found.fresh_symbols == 1


async def test_old_jobs_are_measured_with_their_runs_and_failures(stage: Moving) -> None:
    await stage.database.execute(
        "insert into cron.job_run_details (jobid, status, start_time)"
        " select jobid, s, now() - a from cron.job, (values ('succeeded', interval '1 h'), ('failed', '2 h'),"
        " ('failed', '8 days')) as r (s, a) where jobname = 'refresh-quote'"
    )

    jobs = (await measure(stage.owner)).cron_jobs

    assert jobs is not None
    quote = next(job for job in jobs if job.name == "refresh-quote")
    assert (len(jobs), quote.runs, quote.failures, quote.active, quote.schedule) == (11, 2, 1, True, "* * * * *")


async def test_without_pg_cron_there_are_no_jobs_and_all_else_is_measured(urls: TestDatabase) -> None:
    async with owner_connection(urls.owner_url) as owner:
        measured = await measure(owner, calls_a_day=400_000)

    assert measured.cron_jobs is None
    assert len(measured.types) == 11
    assert measured.types[0].fresh_share is None
    assert calls_a_day(measured.usage) == 400_000


async def test_a_table_that_is_gone_is_told_and_the_others_are_measured(stage: Moving) -> None:
    await stage.fill_quotes(["1 second"])
    await stage.database.execute("drop table grades_historical")

    measured = await measure(stage.owner)

    broken, quote = measured.of("grades-historical"), measured.of("quote")
    assert broken is not None
    assert broken.problem == 'relation "public.grades_historical" does not exist'
    assert quote is not None
    assert quote.symbols == 1


async def test_what_is_recorded_is_read_again_as_it_was(stage: Moving) -> None:
    await stage.fill_quotes(["1 second"])
    measured = await measure(stage.owner, bytes_a_day=5)

    await record(stage.owner, "before", measured, who="ada", note="the old system alone")
    found = await read_baseline(stage.owner)

    assert (found.name, found.recorded_by, found.note) == ("before", "ada", "the old system alone")
    assert measured.cron_jobs is not None
    jobs = [replace(job, command="") for job in measured.cron_jobs]  # a command often has a key in it
    assert asdict(found.measure) == asdict(replace(measured, cron_jobs=jobs))


async def test_a_name_is_given_once_and_names_are_names(stage: Moving) -> None:
    measured = await measure(stage.owner)
    await record(stage.owner, "before", measured, who="ada", note=None)

    with pytest.raises(BaselineError, match="there is a baseline 'before' already"):
        await record(stage.owner, "before", measured, who="ada", note=None)
    with pytest.raises(BaselineError, match="is no name"):
        await record(stage.owner, "a b", measured, who="ada", note=None)
    assert len(await list_baselines(stage.owner)) == 1


async def test_one_that_is_not_there_is_told_with_those_that_are(stage: Moving) -> None:
    with pytest.raises(BaselineError, match="no baseline yet: record one"):
        await read_baseline(stage.owner)
    await stage.record("first")
    with pytest.raises(BaselineError, match="no baseline 'second'; there are first"):
        await read_baseline(stage.owner, "second")


async def test_two_measures_are_compared_type_by_type(stage: Moving) -> None:
    await stage.fill_quotes(["1 second", "1 hour"])
    before = await measure(stage.owner)
    await stage.fill_quotes(["1 second", "1 second"])
    after = await measure(stage.owner)

    lines = {line.data_type: line for line in compare(before, after)}

    assert lines["quote"].freshness_change == pytest.approx(0.5)
    assert lines["profile"].freshness_change is None
    assert (bytes_a_day(Usage(bytes_in_24_hours=7)), bytes_a_day(Usage(bytes_in_24_hours=7, told_bytes_a_day=9))) == (
        7,
        9,
    )

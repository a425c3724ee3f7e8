"""Settings: where they come from, which are refused, and what the operator reads then."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pydantic
import pytest

from daemon.contracts import ConfigurationError
from daemon.settings import documented_settings, load_database_settings, load_settings

PASSWORD = "planted-password"
SERVICE_KEY = "sb_secret_planted-service"
API_KEY = "planted-api-key"
REQUIRED = {
    "DATABASE_URL": f"postgresql://refreshd:{PASSWORD}@db.example.com:5432/postgres",
    "SUPABASE_URL": "https://abcdefgh.supabase.co",
    "SUPABASE_SERVICE_ROLE_KEY": SERVICE_KEY,
    "FMP_API_KEY": API_KEY,
    "REFRESHD_CALLS_PER_MINUTE": "300",
    "REFRESHD_BYTES_PER_30_DAYS": "20GB",
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every setting out of the environment."""
    known = {setting.variable for setting in documented_settings()} | {"CREDENTIALS_DIRECTORY", "PGSSLROOTCERT"}
    for name in [name for name in os.environ if name.upper() in known or name.upper().startswith("REFRESHD_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Set what is required, and return the means to change it."""
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def refusal_of_settings() -> str:
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    return str(refused.value)


def write_env_file(directory: Path, **variables: str) -> Path:
    path = directory / "refreshd.env"
    path.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    return path


@pytest.mark.usefixtures("environment")
def test_the_required_variables_are_enough() -> None:
    settings = load_settings()

    assert settings.calls_per_minute == 300
    assert settings.bytes_per_30_days == 20_000_000_000
    assert settings.upstream_url == "https://financialmodelingprep.com/stable"
    assert settings.owner_database_url == settings.database_url
    assert settings.instance == socket.gethostname()
    assert settings.batch_linger_seconds == 0.010


@pytest.mark.usefixtures("environment")
def test_settings_cannot_be_changed() -> None:
    settings = load_settings()

    with pytest.raises(pydantic.ValidationError):
        settings.concurrency = 1


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("20GB", 20 * 10**9),
        ("20 GB", 20 * 10**9),
        ("500MB", 500 * 10**6),
        ("1.5gib", 3 * 2**29),
        ("7000000", 7 * 10**6),
    ],
)
def test_bytes_may_carry_a_unit(environment: pytest.MonkeyPatch, text: str, number: int) -> None:
    environment.setenv("REFRESHD_BYTES_PER_30_DAYS", text)

    assert load_settings().bytes_per_30_days == number


def test_every_problem_is_in_one_message_that_names_the_variables(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("FMP_API_KEY")
    environment.setenv("REFRESHD_CALLS_PER_MINUTE", "many")
    environment.setenv("REFRESHD_CONCURENCY", "4")
    environment.setenv("REFRESHD_LEAVE_GRACE_SECONDS", "-1")

    message = refusal_of_settings()

    assert message.splitlines() == [
        "the configuration cannot be used:",
        "  - REFRESHD_CONCURENCY is not a setting of refreshd: did you mean REFRESHD_CONCURRENCY?",
        "  - FMP_API_KEY is not set: the key of the upstream API",
        "  - REFRESHD_CALLS_PER_MINUTE is 'many': must be a whole number",
        "  - REFRESHD_LEAVE_GRACE_SECONDS is '-1': must be more than 0",
    ]


@pytest.mark.parametrize("limit", ["REFRESHD_CALLS_PER_MINUTE", "REFRESHD_BYTES_PER_30_DAYS"])
def test_without_limits_there_is_no_start(environment: pytest.MonkeyPatch, limit: str) -> None:
    environment.setenv(limit, "")

    assert f"{limit} is not set" in refusal_of_settings()


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("REFRESHD_ALLOW_LOOPBACK_UPSTREAM", "perhaps", "must be true or false"),
        ("REFRESHD_BATCH_LINGER_SECONDS", "0", "must be more than 0"),
        ("REFRESHD_BREAKER_FAILURES", "0", "must be at least 1"),
        ("REFRESHD_BREAKER_OPEN_MAX_SECONDS", "29", "must be at least REFRESHD_BREAKER_OPEN_SECONDS"),
        ("REFRESHD_BREAKER_WINDOW_FAILURE_SHARE", "1.5", "must be at most 1"),
        ("REFRESHD_BYTES_PER_30_DAYS", "20", "must be at least 1,000,000"),
        ("REFRESHD_BYTES_PER_30_DAYS", "20 apples", "must be a size such as 20GB, 500MB or 2000000"),
        ("REFRESHD_CALLS_PER_MINUTE", "1.5", "must be a whole number"),
        ("REFRESHD_INSTANCE", "a b", "must be 1 to 64 letters, digits, dots, underscores or hyphens"),
        (
            "REFRESHD_JOB_RENEW_SECONDS",
            "29",
            "must be at most half of REFRESHD_JOB_LEASE_SECONDS: one may be late",
        ),
        ("REFRESHD_LEAVE_GRACE_SECONDS", "inf", "must be a finite number"),
        ("REFRESHD_LEAVE_GRACE_SECONDS", "soon", "must be a number"),
        ("REFRESHD_LOG", "xml", "must be 'json' or 'console'"),
        ("REFRESHD_SWEEP_INTERVAL_SECONDS", "1e9", "must be at most 86,400"),
    ],
)
def test_a_bad_value_is_shown_with_its_rule(
    environment: pytest.MonkeyPatch, variable: str, value: str, rule: str
) -> None:
    environment.setenv(variable, value)

    assert f"  - {variable} is {value!r}: {rule}" in refusal_of_settings().splitlines()


def test_words_may_be_written_in_capitals(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("REFRESHD_LOG_LEVEL", "DEBUG")

    assert load_settings().log_level == "debug"


def test_no_message_and_no_representation_shows_a_secret(environment: pytest.MonkeyPatch) -> None:
    shown = repr(load_settings())
    environment.setenv("DATABASE_URL", f"postgresql://refreshd:{PASSWORD}#@db.example.com/postgres")
    environment.setenv("SUPABASE_SERVICE_ROLE_KEY", f"x{SERVICE_KEY}")
    environment.setenv("FMP_API_KEY", f"{API_KEY} twice")
    environment.setenv("REFRESHD_UPSTREAM_URL", f"https://example.com?apikey={API_KEY}")
    environment.setenv("REFRESHD_CONCURRENCY", f"{API_KEY}-pasted-into-the-wrong-line")
    environment.setenv("REFRESHD_TYPO", API_KEY)

    shown += refusal_of_settings()

    assert "planted" not in shown


@pytest.mark.usefixtures("environment")
def test_a_refusal_has_no_traceback_of_the_library_behind_it() -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings(Path("/nonexistent/refreshd.env"))

    assert refused.value.__cause__ is None
    assert "the environment file /nonexistent/refreshd.env cannot be read (No such file or directory)" in str(
        refused.value
    )


def test_a_file_gives_what_the_environment_does_not(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("REFRESHD_CONCURRENCY", "3")
    path = write_env_file(tmp_path, REFRESHD_CONCURRENCY="5", REFRESHD_LOBBY_SHARDS="50")

    settings = load_settings(path)

    assert (settings.concurrency, settings.lobby_shards) == (3, 50)


@pytest.mark.usefixtures("environment")
def test_misspelt_names_and_broken_lines_of_a_file_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "refreshd.env"
    path.write_text("# a comment\nREFRESHD_LOBBYSHARDS=50\nREFRESHD_LOBBY_SHARDS\nOTHER='open\n")

    with pytest.raises(ConfigurationError) as refused:
        load_settings(path)

    assert str(refused.value).splitlines()[1:] == [
        f"  - line 3 of {path} cannot be read: write NAME=value",
        f"  - line 4 of {path} cannot be read: write NAME=value",
        "  - REFRESHD_LOBBYSHARDS is not a setting of refreshd: did you mean REFRESHD_LOBBY_SHARDS?",
    ]


def test_names_of_the_development_stack_are_left_alone(environment: pytest.MonkeyPatch) -> None:
    for name in ("REFRESHD_DEVSTACK_PORT", "REFRESHD_RECORDINGS"):
        environment.setenv(name, "anything")

    assert load_settings().calls_per_minute == 300


def test_a_prefix_too_many_is_reported_with_the_name_that_has_none(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("REFRESHD_FMP_API_KEY", API_KEY)

    assert "REFRESHD_FMP_API_KEY is not a setting of refreshd: did you mean FMP_API_KEY?" in refusal_of_settings()


def test_an_empty_credential_counts_as_none(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.delenv("FMP_API_KEY")
    environment.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "FMP_API_KEY").write_text("\n")

    assert "FMP_API_KEY is not set" in refusal_of_settings()


def test_a_name_like_no_other_is_reported_without_a_guess(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("REFRESHD_ZZZ", "1")

    assert "REFRESHD_ZZZ is not a setting of refreshd: remove it" in refusal_of_settings()


@pytest.mark.parametrize("file_name", ["FMP_API_KEY", "fmp_api_key"])
def test_a_systemd_credential_is_a_setting(environment: pytest.MonkeyPatch, tmp_path: Path, file_name: str) -> None:
    environment.delenv("FMP_API_KEY")
    environment.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / file_name).write_text("key-from-systemd\n")

    assert load_settings().fmp_api_key.get_secret_value() == "key-from-systemd"


def test_a_misspelt_or_unreadable_credential_is_reported(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.delenv("FMP_API_KEY")
    environment.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "fmp_api_key").write_bytes(b"\xff\xfe")
    (tmp_path / "refreshd_owner_databse_url").write_text("postgresql://")

    message = refusal_of_settings()

    assert "did you mean REFRESHD_OWNER_DATABASE_URL?" in message
    assert f"a file in {tmp_path} cannot be read as UTF-8 text" in message


def test_a_command_for_the_database_needs_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REFRESHD_OWNER_DATABASE_URL", "postgresql://owner@db.example.com/postgres")
    path = write_env_file(tmp_path, DATABASE_URL=REQUIRED["DATABASE_URL"])

    settings = load_database_settings(path)

    assert settings.database_url.get_secret_value() == REQUIRED["DATABASE_URL"]
    assert settings.owner_database_url.get_secret_value() == "postgresql://owner@db.example.com/postgres"


def test_a_command_for_the_database_is_refused_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFRESHD_LOBBY_SHARD", "2")

    with pytest.raises(ConfigurationError) as refused:
        load_database_settings()

    assert [line.split()[1] for line in str(refused.value).splitlines()[1:]] == ["REFRESHD_LOBBY_SHARD", "DATABASE_URL"]


def test_the_texts_to_keep_out_of_logs_are_known(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("REFRESHD_OWNER_DATABASE_URL", "postgresql://owner:p%40ss-word@db.example.com/postgres")

    secrets = load_settings().secrets()

    assert {PASSWORD, "p%40ss-word", "p@ss-word", SERVICE_KEY, API_KEY, REQUIRED["DATABASE_URL"]} <= set(secrets)


def test_every_setting_is_documented() -> None:
    documented = {setting.variable: setting for setting in documented_settings()}

    assert {name for name, setting in documented.items() if setting.default is None} == set(REQUIRED)
    assert all(setting.description for setting in documented.values())
    assert documented["REFRESHD_BATCH_LINGER_SECONDS"].default == "0.01"
    assert documented["REFRESHD_ALLOW_LOOPBACK_UPSTREAM"].default == "false"


def test_every_documented_default_is_what_the_daemon_uses(environment: pytest.MonkeyPatch) -> None:
    without = load_settings()
    for variable, default, _ in documented_settings():
        if default is not None and variable not in {
            "REFRESHD_OWNER_DATABASE_URL",
            "REFRESHD_INSTANCE",
            "REFRESHD_TICKET_KEY",
            "REFRESHD_HEARTBEAT_URL",
            "REFRESHD_JWT_SECRET",
            "REFRESHD_DASHBOARD_TOKEN",
            "REFRESHD_JWKS_URL",
            "REFRESHD_JWT_ISSUER",
        }:
            environment.setenv(variable, default)

    assert load_settings() == without


def test_tickets_cannot_be_required_without_a_key(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("REFRESHD_VIEWER_IDENTITY", "ticket")

    assert "REFRESHD_TICKET_KEY is not set, and REFRESHD_VIEWER_IDENTITY is ticket" in refusal_of_settings()


def test_each_ticket_key_is_long_and_secret(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("REFRESHD_TICKET_KEY", "planted-short," + "b" * 32)
    message = refusal_of_settings()
    environment.setenv("REFRESHD_TICKET_KEY", "a" * 32 + ", " + "b" * 32)

    settings = load_settings()

    assert "REFRESHD_TICKET_KEY must hold 32 characters or more in each key" in message
    assert "planted" not in message
    assert {"a" * 32, "b" * 32} <= set(settings.secrets())


def test_a_viewer_counts_for_as_many_pairs_as_weigh_in_full(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("REFRESHD_PAIRS_PER_VIEWER", "19")

    assert "must be at least REFRESHD_PAIRS_AT_FULL_WEIGHT" in refusal_of_settings()

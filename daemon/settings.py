"""Every setting of the daemon, its default and its bounds, in one place. Frozen once loaded.

A value comes from the environment, else from the named file, else from a file in systemd's credentials directory; an
empty value counts as none. ``SUPABASE_*``, ``DATABASE_URL`` and ``FMP_API_KEY`` keep the names that other tools know,
everything else is called ``REFRESHD_`` and the field's name.
"""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import ByteSize, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from daemon import settings_problems as problems
from daemon import settings_values as values
from daemon.schedule import ScheduleError, next_firing
from daemon.settings_fields import DAY_SECONDS, count, seconds, size
from daemon.settings_policy import PolicySettings

_SMALLEST_ALLOWANCE = 1_000_000
_URLS = frozenset({"supabase_url", "upstream_url"})

_AnySettings = TypeVar("_AnySettings", bound="DatabaseSettings")


def _named(variable: str, description: str) -> Any:
    return Field(validation_alias=variable, description=description)


_PERIODS = {
    "job_renew_seconds": "job_lease_seconds",
    "shard_renew_seconds": "shard_lease_seconds",
    "heartbeat_seconds": "silence_seconds",
}
"""What happens again and again, and within which time it has to."""


class _FilledCredentials(SecretsSettingsSource):
    """Credentials, of which an empty one counts as none, as everywhere else."""

    def __call__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__call__().items() if value}


class DatabaseSettings(BaseSettings):
    """What a command needs that talks to the database and to nothing else."""

    model_config = SettingsConfigDict(
        env_prefix=problems.PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    database_url: SecretStr = _named(
        "DATABASE_URL", "PostgreSQL as the daemon's role: postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=..."
    )
    owner_database_url: SecretStr = Field(
        default_factory=lambda valid: valid["database_url"],
        description="PostgreSQL as the owner of the schema, for migrate and commands that set flags, types or phases",
        json_schema_extra={"default": "the value of DATABASE_URL"},
    )
    old_jobs_file: str = Field(
        "", description="a TOML file that says what the old system runs for each data type, where pg_cron does not"
    )
    migration_watch_hours: float = Field(
        24,
        gt=0,
        le=720,
        allow_inf_nan=False,
        description="how long a moved type is watched before it can be finished, in hours",
    )
    migration_sample_seconds: float = seconds(60, "time between looks at the gates of moved types")
    migration_hold_seconds: float = Field(
        60,
        ge=0,
        le=3_600,
        allow_inf_nan=False,
        description="how long a moved type waits for a run of its old job to end, in seconds",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take an empty credential for none."""
        assert isinstance(file_secret_settings, SecretsSettingsSource)
        filled = _FilledCredentials(settings_cls, file_secret_settings.secrets_dir)
        return init_settings, env_settings, dotenv_settings, filled

    @field_validator("database_url", "owner_database_url")
    @classmethod
    def _check_database_url(cls, url: SecretStr) -> SecretStr:
        return SecretStr(values.check_database_url(url.get_secret_value().strip()))

    def secrets(self) -> tuple[str, ...]:
        """Return every text that must never appear in a log."""
        urls = (self.database_url.get_secret_value(), self.owner_database_url.get_secret_value())
        return (*urls, *(password for url in urls for password in values.database_passwords(url)))


class Settings(PolicySettings, DatabaseSettings):
    """What the daemon needs. Build it with :func:`load_settings`."""

    supabase_url: str = _named("SUPABASE_URL", "the project's URL: https://<project>.supabase.co")
    supabase_service_role_key: SecretStr = _named(
        "SUPABASE_SERVICE_ROLE_KEY", "the project's secret key: sb_secret_..., or the service_role JWT"
    )
    fmp_api_key: SecretStr = _named("FMP_API_KEY", "the key of the upstream API")

    calls_per_minute: int = Field(
        ge=1, le=1_000_000, description="calls that the upstream plan allows in any 60 seconds, such as 300"
    )
    bytes_per_30_days: ByteSize = Field(
        ge=_SMALLEST_ALLOWANCE,
        description="bytes that the upstream plan allows in any 30 days, with a unit, such as 20GB",
    )
    allow_loopback_upstream: bool = Field(
        default=False, description="whether the upstream may be a simulated one on this machine (http, loopback)"
    )
    upstream_url: str = Field(
        default="https://financialmodelingprep.com/stable", description="base URL of the upstream API"
    )

    concurrency: int = count(16, "calls to the upstream at the same time", at_most=1_000)
    lobby_shards: int = Field(
        1,
        ge=0,
        le=1_000,
        description="lobby topics (viewers:0 and on) that the pages' viewers are spread over; 0: none",
    )
    symbol_shards: int = Field(
        8, ge=0, le=1_000, description="groups that symbol topics are divided into among daemons; 0: no symbol topics"
    )
    instance: str = Field(
        default_factory=socket.gethostname,
        description="name of this daemon, different for every daemon on one database",
        json_schema_extra={"default": "the host's name"},
    )
    log: Literal["json", "console"] = Field(default="json", description="how log lines look: json or console")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least level that is logged: debug, info, warning or error"
    )

    http_listen: str = Field(
        default="127.0.0.1:8797",
        description="where /metrics is served: HOST:PORT (port 0: any free one), or off; keep it off the Internet",
    )

    heartbeat_url: SecretStr = Field(
        SecretStr(""),
        description="an address elsewhere that is asked (GET) while the daemon is fit for work: a dead man's switch",
        json_schema_extra={"default": "none"},
    )
    heartbeat_url_seconds: float = seconds(60, "time between two of those")
    cron_jobs: str = Field("", description="jobs of pg_cron, separated by commas, without which /health is failing")
    reload_file: str = Field(
        "",
        description="a file of NAME=value lines that wins over everything else, and is read again at SIGHUP: log level,"
        " limits, and the parameters of the policy",
    )

    dashboard_token: SecretStr = Field(
        SecretStr(""),
        description="what has to be shown to see the dashboard, at least 32 characters;"
        " without it, this machine alone sees it",
        json_schema_extra={"default": "none"},
    )
    jwt_secret: SecretStr = Field(
        SecretStr(""),
        description="the project's shared secret, for pages whose tokens are signed with it (HS256);"
        " several, separated by commas, while it changes",
        json_schema_extra={"default": "none"},
    )
    jwks_url: str = Field(
        "",
        description="where the public keys of pages' tokens are (ES256, RS256)",
        json_schema_extra={"default": "SUPABASE_URL/auth/v1/.well-known/jwks.json"},
    )
    jwt_issuer: str = Field(
        "", description="the issuer of pages' tokens", json_schema_extra={"default": "SUPABASE_URL/auth/v1"}
    )
    publishable_keys: str = Field(
        "", description="publishable keys that logged-out pages send instead of a token, separated by commas"
    )
    cors_origins: str = Field("", description="origins whose pages may ask the daemon, separated by commas, or *")
    trusted_proxies: str = Field(
        "", description="networks of proxies whose X-Forwarded-For is believed, separated by commas"
    )
    track_per_user_per_minute: int = count(60, "requests of one user that are answered in any minute")
    track_per_address_per_minute: int = count(600, "requests of one address that are answered in any minute")
    track_pairs_per_minute: int = count(
        600, "pairs that one user, or all logged-out pages of one address, may ask for in any minute"
    )
    ticket_seconds: float = seconds(1_800, "how long a ticket is good that the daemon hands out")
    symbol_admission: Literal["off", "verify"] = Field(
        default="off",
        description="what becomes of a symbol outside the allow-list that a page shows: off (nothing) or verify (it is"
        " asked for upstream, and taken in where it exists)",
    )

    leave_grace_seconds: float = seconds(30, "how long a viewer who left still counts")
    presence_grace_seconds: float = seconds(300, "how long the last view is kept while Realtime cannot be reached")
    coalesce_seconds: float = seconds(1, "how long changes of viewer counts are gathered")
    analytics_flush_seconds: float = seconds(1, "how long changes for active_subscriptions_v2 are gathered")

    shard_lease_seconds: float = seconds(30, "how long a shard is ours after a renewal: another daemon takes it then")
    shard_renew_seconds: float = seconds(10, "time between renewals of shards")
    topic_look_seconds: float = seconds(2, "time between looks for symbol topics that pages ask for")
    topic_quiet_seconds: float = seconds(600, "how long a symbol topic without viewers is kept joined")
    channels_per_connection: int = Field(
        100, ge=2, le=10_000, description="channels on one connection to Realtime, as the plan allows"
    )
    joins_per_second: float = Field(
        50, gt=0, le=10_000, allow_inf_nan=False, description="joins a second, below what the plan allows"
    )
    session_seconds: float = seconds(21_600, "how old a Realtime session gets before a fresh one heals what drifted")
    silence_seconds: float = seconds(25, "time without an answer to a heartbeat after which a connection is given up")
    heartbeat_seconds: float = seconds(10, "time between heartbeats to Realtime")
    join_timeout_seconds: float = seconds(10, "time for Realtime to answer a connection or a join")
    state_timeout_seconds: float = seconds(10, "time from a join to the presence state of its channel")
    canary_seconds: float = Field(
        20,
        ge=0,
        le=DAY_SECONDS,
        allow_inf_nan=False,
        description="time between a session's broadcasts to itself, in seconds; 0: none",
    )
    canary_timeout_seconds: float = seconds(10, "time for a session's broadcast to itself to come back")
    viewer_identity: Literal["claimed", "ticket"] = Field(
        default="claimed",
        description="who a viewer is: claimed (what the page says) or ticket (what a signed ticket says)",
    )
    ticket_key: SecretStr = Field(
        SecretStr(""),
        description="the secret that signs tickets, at least 32 characters; "
        "several, separated by commas, while it changes: the first signs, all verify",
        json_schema_extra={"default": "none"},
    )
    ticket_grace_seconds: float = seconds(3600, "how long an expired ticket stays good while its viewer stays")
    unverified_viewers: int = count(
        10, "what all viewers of a pair without a ticket weigh together at most, where tickets are required"
    )
    pairs_at_full_weight: int = count(
        20, "pairs that a viewer counts for in full; with more, that weight is spread over them", at_most=1_000
    )
    pairs_per_viewer: int = count(100, "pairs that a viewer counts for at most", at_most=1_000)
    meta_bytes: ByteSize = Field(
        ByteSize(2_048), ge=1_024, le=65_536, description="size of what a page tracks above which it is ignored"
    )

    reconnect_burst: int = count(20, "connections to Realtime that one session may open within the reconnect window")
    reconnect_window_seconds: float = seconds(600, "the reconnect window")
    reconnect_min_seconds: float = seconds(1, "least wait before Realtime is dialled again")
    reconnect_max_seconds: float = seconds(30, "longest wait before Realtime is dialled again")

    sweep_interval_seconds: float = seconds(60, "time between sweeps over everything that is viewed")
    scheduled_interval_seconds: float = seconds(60, "time between looks at what is scheduled")
    maintenance_schedule: str = Field("0 2 * * *", description="when old rows are removed, as cron text in UTC")
    recovery_interval_seconds: float = seconds(5, "time between searches for jobs whose lease expired")
    job_lease_seconds: float = seconds(30, "how long a claimed job is ours")
    job_renew_seconds: float = seconds(10, "time between renewals of a lease")

    crash_point: str = Field("", description="for tests only: where the process kills itself")
    request_timeout_seconds: float = seconds(10, "time for one call to the upstream, body included")
    max_response_bytes: ByteSize = size(2 * 2**20, "size of an answer above which it is refused")
    batch_linger_seconds: float = seconds(
        0.010, "least time between two claims, in which jobs that fit one call gather"
    )

    breaker_failures: int = count(5, "failed calls in a row that open the breaker")
    breaker_window_calls: int = count(20, "calls within the breaker window before their share of failures counts")
    breaker_window_failure_share: float = Field(
        default=0.5, gt=0, le=1, description="share of failed calls within the breaker window that opens the breaker"
    )
    breaker_window_seconds: float = seconds(60, "the breaker window")
    breaker_open_seconds: float = seconds(30, "how long the breaker stays open at first, doubling with every failure")
    breaker_open_max_seconds: float = seconds(300, "how long the breaker stays open at most")
    breaker_probe_seconds: float = seconds(15, "how long the one probe of a half-open breaker may take")

    @field_validator("supabase_service_role_key", "fmp_api_key")
    @classmethod
    def _check_key(cls, key: SecretStr, info: ValidationInfo) -> SecretStr:
        check = values.check_service_role_key if info.field_name == "supabase_service_role_key" else values.check_key
        return SecretStr(check(key.get_secret_value().strip()))

    @field_validator("heartbeat_url")
    @classmethod
    def _check_heartbeat_url(cls, url: SecretStr) -> SecretStr:
        return SecretStr(values.check_heartbeat_url(url.get_secret_value().strip()))

    @field_validator("jwt_secret", "dashboard_token")
    @classmethod
    def _check_shared_secret(cls, secret: SecretStr) -> SecretStr:
        text = secret.get_secret_value().strip()
        return SecretStr(values.check_ticket_keys(text) if text else "")

    @field_validator("jwks_url", "jwt_issuer")
    @classmethod
    def _check_token_url(cls, url: str) -> str:
        return values.check_token_url(url.strip())

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, networks: str) -> str:
        return values.check_networks(networks)

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: str) -> str:
        return values.check_origins(origins)

    @field_validator("ticket_key")
    @classmethod
    def _check_ticket_key(cls, key: SecretStr, info: ValidationInfo) -> SecretStr:
        if key.get_secret_value().strip():
            return SecretStr(values.check_ticket_keys(key.get_secret_value()))
        if info.data.get("viewer_identity") == "ticket":
            raise ValueError(f"is not set, and {_variable('viewer_identity')} is ticket: give it a secret")
        return SecretStr("")

    _check_supabase_url = field_validator("supabase_url")(values.check_supabase_url)
    _check_instance = field_validator("instance")(values.check_instance)
    _check_http_listen = field_validator("http_listen")(values.check_listen_address)

    _check_crash_point = field_validator("crash_point")(values.check_crash_point)

    @field_validator("maintenance_schedule")
    @classmethod
    def _check_schedule(cls, expression: str) -> str:
        try:
            next_firing(expression, datetime.now(UTC))
        except ScheduleError as error:
            raise ValueError(str(error)) from None
        return expression

    @field_validator("upstream_url")
    @classmethod
    def _check_upstream_url(cls, url: str, info: ValidationInfo) -> str:
        return values.check_upstream_url(url, allow_loopback=info.data.get("allow_loopback_upstream", False))

    @field_validator("log", "log_level", "viewer_identity", "symbol_admission", mode="before")
    @classmethod
    def _lower(cls, word: Any) -> Any:
        return word.lower() if isinstance(word, str) else word

    @field_validator("symbol_shards")
    @classmethod
    def _check_shards(cls, number: int, info: ValidationInfo) -> int:
        if number == 0 and info.data.get("lobby_shards", 1) == 0:
            raise ValueError(f"and {_variable('lobby_shards')} are both 0: nobody would be heard")
        return number

    @field_validator(*_PERIODS)
    @classmethod
    def _check_period(cls, seconds: float, info: ValidationInfo) -> float:
        bound = _PERIODS[str(info.field_name)]
        if seconds * 2 > info.data.get(bound, seconds * 2):
            raise ValueError(f"must be at most half of {_variable(bound)}: one may be late")
        return seconds

    @field_validator(
        "reconnect_max_seconds", "failed_recheck_max_seconds", "breaker_open_max_seconds", "pairs_per_viewer"
    )
    @classmethod
    def _check_order(cls, most: float, info: ValidationInfo) -> float:
        least = _LEAST[str(info.field_name)]
        if most < info.data.get(least, most):
            raise ValueError(f"must be at least {_variable(least)}")
        return most

    def secrets(self) -> tuple[str, ...]:
        """Return every text that must never appear in a log."""
        keys = (self.supabase_service_role_key, self.fmp_api_key)
        tickets = [key for key in self.ticket_key.get_secret_value().split(",") if key]
        addresses = [url] if (url := self.heartbeat_url.get_secret_value()) else []
        secrets = (self.jwt_secret, self.dashboard_token)
        shared = [key for secret in secrets for key in secret.get_secret_value().split(",") if key]
        return (*super().secrets(), *(key.get_secret_value() for key in keys), *tickets, *addresses, *shared)


_LEAST = {
    "reconnect_max_seconds": "reconnect_min_seconds",
    "failed_recheck_max_seconds": "failed_recheck_seconds",
    "breaker_open_max_seconds": "breaker_open_seconds",
    "pairs_per_viewer": "pairs_at_full_weight",
}
"""The field that must not be larger, by the one that must not be smaller."""


class DocumentedSetting(NamedTuple):
    """A row of the table of settings."""

    variable: str
    default: str | None
    """As it would be written, or in words; None where the setting is required."""
    description: str


RELOADABLE = frozenset({"log_level", "calls_per_minute", "bytes_per_30_days", *PolicySettings.model_fields}) - {
    "mean_session_seconds"
}
"""The fields that may change while the daemon runs; the mean session is measured by then."""


def load_settings(env_file: Path | None = None) -> Settings:
    """Load everything that the daemon needs.

    Args:
        env_file: A file of ``NAME=value`` lines; the environment wins over it, and ``REFRESHD_RELOAD_FILE`` over both.

    Raises:
        ConfigurationError: For missing, invalid and misspelt settings, all in one message.
    """
    settings = _load(Settings, env_file)
    if not settings.reload_file:
        return settings
    return _load(Settings, env_file, _read_reload_file(Path(settings.reload_file)))


def load_database_settings(env_file: Path | None = None) -> DatabaseSettings:
    """Load what a command needs that talks to the database only. See :func:`load_settings`."""
    return _load(DatabaseSettings, env_file)


def documented_settings() -> list[DocumentedSetting]:
    """Return every setting in the order of the model, for the README and the environment example."""
    return [
        DocumentedSetting(_variable(name), _written_default(field), field.description or "")
        for name, field in Settings.model_fields.items()
    ]


def variable_of(name: str) -> str:
    """Return the environment variable of a field."""
    return _variable(name)


def _read_reload_file(path: Path) -> dict[str, str]:
    """Return by field what the reloadable file sets."""
    names, found = _read_names(path)
    fields = {_variable(name): name for name in RELOADABLE}
    found += [
        f"{name} in {path} is read at the start only: set it in the environment and restart. There may be"
        f" {', '.join(sorted(fields))}"
        for name in names
        if name.upper() not in fields
    ]
    if found:
        raise problems.refusal(found)
    given = dotenv_values(path, interpolate=False)
    return {fields[name.upper()]: value for name, value in given.items() if value}


def _load(model: type[_AnySettings], env_file: Path | None, overrides: Mapping[str, str] | None = None) -> _AnySettings:
    credentials = _credentials_directory()
    in_file, found = _read_names(env_file)
    in_directory = [entry.name for entry in credentials.iterdir()] if credentials else []
    found += problems.misspelt([*os.environ, *in_file, *in_directory], list(_variables()))
    build: Callable[..., _AnySettings] = model
    try:
        settings = build(_env_file=env_file, _secrets_dir=credentials, **(overrides or {}))
    except ValidationError as error:
        raise problems.refusal(found + problems.invalid(error, _variables())) from None
    except SettingsError:
        raise problems.refusal([*found, f"a file in {credentials} cannot be read as UTF-8 text"]) from None
    if found:
        raise problems.refusal(found)
    return settings


def _credentials_directory() -> Path | None:
    directory = Path(os.environ.get("CREDENTIALS_DIRECTORY") or "/nonexistent")
    return directory if directory.is_dir() else None


def _read_names(env_file: Path | None) -> tuple[list[str], list[str]]:
    """Return the names that ``env_file`` sets, and a problem for every line that sets none."""
    if env_file is None:
        return [], []
    try:
        text = env_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise problems.refusal([f"the environment file {env_file} cannot be read ({reason})"]) from None
    lines = list(parse_stream(io.StringIO(text)))
    broken = [line.original.line for line in lines if line.error or (line.key and line.value is None)]
    return (
        [line.key for line in lines if line.key],
        [f"line {number} of {env_file} cannot be read: write NAME=value" for number in broken],
    )


def _variables() -> Mapping[str, problems.Variable]:
    """Return every setting as the operator knows it, by the name of its variable and by that of its field."""
    variables = {}
    for name, field in Settings.model_fields.items():
        is_shown = field.annotation is not SecretStr and name not in _URLS
        variable = problems.Variable(_variable(name), field.description or "", is_shown)
        variables[name] = variables[variable.name] = variable
    return variables


def _variable(name: str) -> str:
    alias = Settings.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else f"{problems.PREFIX}{name.upper()}"


def _written_default(field: FieldInfo) -> str | None:
    if isinstance(field.json_schema_extra, dict):
        return str(field.json_schema_extra["default"])
    match field.default:
        case bool(switch):
            return str(switch).lower()
        case float(seconds):
            return f"{seconds:g}"
        case _:
            return None if field.is_required() else str(field.get_default())

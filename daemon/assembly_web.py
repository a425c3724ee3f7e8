"""The assembly of what pages ask over HTTP."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from daemon.contracts import Clock, Fetcher
from daemon.processor.admission import UpstreamAdmission
from daemon.processor.spending import Spender
from daemon.settings import Settings
from daemon.settings_values import listen_address, words
from daemon.store.catalogue import StoredCatalogue
from daemon.store.database import Database
from daemon.store.subscriptions import StoredSubscriptions
from daemon.store.top_pairs import read_outcomes, read_top_pairs
from daemon.tickets import Tickets
from daemon.web.admission import AdmissionGate
from daemon.web.dashboard import Dashboard, SessionLike
from daemon.web.dashboard_access import required_token
from daemon.web.jwks import Jwks
from daemon.web.jwt_auth import TokenVerifier
from daemon.web.request_limits import RequestLimits
from daemon.web.subscriptions import SubscriptionService, TicketIssue
from daemon.web.subscriptions_routes import SubscriptionRoutes

ISSUER_PATH = "/auth/v1"
KEYS_PATH = "/.well-known/jwks.json"
MOST_ADMISSIONS = 10
"""Symbols that are verified in a minute at most."""

ADMISSION_SHARE = 0.05
"""Of the calls of a minute: what visitors can spend on symbols that nobody has heard of."""

VERIFIER = "profile"
"""The fetcher that tells whether a symbol exists, and on which exchange it trades."""


def subscription_routes(
    settings: Settings,
    database: Database,
    catalogue: StoredCatalogue,
    clock: Clock,
    gate: AdmissionGate | None,
    *,
    on_queued: Callable[[], None],
    is_open: Callable[[], bool],
) -> SubscriptionRoutes:
    """Return the handlers of track- and untrack-subscription-v2.

    Args:
        settings: As of the start.
        database: Where stale pairs are queued.
        catalogue: The allow-list.
        clock: The database's time, by which tickets are verified.
        gate: Admits symbols outside the allow-list; None where they stay outside.
        on_queued: Called when new jobs wait.
        is_open: Whether the daemon works.
    """
    keys = words(settings.ticket_key.get_secret_value())
    tickets = Tickets(keys, grace_seconds=settings.ticket_grace_seconds) if keys else None
    service = SubscriptionService(
        StoredSubscriptions(database),
        catalogue,
        on_queued=on_queued,
        joins_topics=settings.symbol_shards > 0,
        ticket_issue=None if tickets is None else TicketIssue(tickets, clock.now, settings.ticket_seconds),
        gate=gate,
    )
    issuer = settings.jwt_issuer or f"{settings.supabase_url}{ISSUER_PATH}"
    verifier = TokenVerifier(
        secrets=words(settings.jwt_secret.get_secret_value()),
        jwks=Jwks(settings.jwks_url or f"{settings.supabase_url}{ISSUER_PATH}{KEYS_PATH}", clock.monotonic),
        issuer=issuer,
        now=time.time,  # what tokens go by
        publishable_keys=words(settings.publishable_keys),
    )
    limits = RequestLimits(
        per_user_per_minute=settings.track_per_user_per_minute,
        per_address_per_minute=settings.track_per_address_per_minute,
        pairs_per_minute=settings.track_pairs_per_minute,
        monotonic=clock.monotonic,
    )
    return SubscriptionRoutes(
        service,
        verifier=verifier,
        limits=limits,
        origins=words(settings.cors_origins),
        proxies=[ipaddress.ip_network(word) for word in words(settings.trusted_proxies)],
        is_open=is_open,
    )


def admission_gate(
    settings: Settings,
    database: Database,
    spender: Spender,
    fetcher: Fetcher,
    clock: Clock,
    reload: Callable[[], Awaitable[None]],
    is_wanted: Callable[[], bool],
) -> AdmissionGate | None:
    """Return who admits symbols outside the allow-list; None where none are admitted.

    Args:
        settings: As of the start.
        database: Where the allow-list is.
        spender: Pays the calls.
        fetcher: Of profiles.
        clock: For the bounds.
        reload: Reads the allow-list again.
        is_wanted: Whether the flags let calls be made at all.
    """
    if settings.symbol_admission == "off":
        return None
    admission = UpstreamAdmission(database, spender, fetcher, reload, is_wanted)
    per_minute = max(1, min(MOST_ADMISSIONS, round(settings.calls_per_minute * ADMISSION_SHARE)))
    return AdmissionGate(admission, clock.monotonic, per_minute=per_minute)


def dashboard(
    database: Database,
    clock: Clock,
    detail: Callable[[], Mapping[str, Any]],
    sessions: Callable[[], Sequence[SessionLike]],
) -> Dashboard:
    """Return the service behind the dashboard.

    Args:
        database: Where the top pairs and the outcomes are.
        clock: Monotonic seconds.
        detail: Gives what ``/health`` says in detail.
        sessions: Gives the connections to Realtime.
    """
    return Dashboard(
        clock,
        detail=detail,
        sessions=sessions,
        top_pairs=lambda: read_top_pairs(database),
        outcomes=lambda: read_outcomes(database),
    )


def dashboard_token(settings: Settings) -> str | None:
    """Return what has to be shown to see dashboard and health in detail; None where only this machine may."""
    address = listen_address(settings.http_listen)
    # Where the daemon is meant for the world, a proxy may pass on everything as if it came from this machine.
    is_public = bool(settings.trusted_proxies or settings.cors_origins)
    host = "" if address is None or is_public else address[0]
    return required_token(host, settings.dashboard_token.get_secret_value())

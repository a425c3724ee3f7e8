"""What the settings mean for presence."""

from __future__ import annotations

from daemon.contracts import Clock
from daemon.presence.channel import Patience
from daemon.presence.listener import PresenceLimits
from daemon.presence.metadata import ViewerRules
from daemon.settings import Settings
from daemon.settings_values import words
from daemon.tickets import Tickets


def limits(settings: Settings) -> PresenceLimits:
    """Return how much there may be of everything, and for how long."""
    return PresenceLimits(
        leave_grace_seconds=settings.leave_grace_seconds,
        presence_grace_seconds=settings.presence_grace_seconds,
        coalesce_seconds=settings.coalesce_seconds,
        session_seconds=settings.session_seconds,
        renew_seconds=settings.shard_renew_seconds,
        look_for_topics_seconds=settings.topic_look_seconds,
        quiet_seconds=settings.topic_quiet_seconds,
        channels_per_connection=settings.channels_per_connection,
        joins_per_second=settings.joins_per_second,
        connections=settings.reconnect_burst,
        connections_seconds=settings.reconnect_window_seconds,
    )


def patience(settings: Settings) -> Patience:
    """Return how long a session bears with the other side."""
    return Patience(
        heartbeat_seconds=settings.heartbeat_seconds,
        silence_seconds=settings.silence_seconds,
        join_seconds=settings.join_timeout_seconds,
        state_seconds=settings.state_timeout_seconds,
        canary_seconds=settings.canary_seconds,
        canary_reply_seconds=settings.canary_timeout_seconds,
        retry_low_seconds=settings.reconnect_min_seconds,
        retry_high_seconds=settings.reconnect_max_seconds,
    )


def viewer_rules(settings: Settings, clock: Clock) -> ViewerRules:
    """Return who counts as a viewer, and for how much; tickets are good or not by ``clock``."""
    required = settings.viewer_identity == "ticket"
    keys = words(settings.ticket_key.get_secret_value())
    tickets = Tickets(keys, grace_seconds=settings.ticket_grace_seconds) if keys else None
    return ViewerRules(
        verify=(lambda ticket: tickets.verify(ticket, clock.now())) if tickets else None,
        ticket_required=required,
        unverified_viewers=settings.unverified_viewers if required else None,
        max_pairs=settings.pairs_per_viewer,
        full_weight_pairs=settings.pairs_at_full_weight,
        max_meta_bytes=settings.meta_bytes,
    )

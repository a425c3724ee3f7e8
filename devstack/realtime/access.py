"""What a client may do in a channel: the counterpart of the row-level policies on ``realtime.messages``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from devstack.realtime.tokens import ANON, SERVICE_ROLE, Identity, Keyring, RefusedError


@dataclass(frozen=True, slots=True)
class Permissions:
    """What the policies grant. Reading is SELECT, writing is INSERT, each per extension."""

    presence_read: bool = False
    presence_write: bool = False
    broadcast_read: bool = False
    broadcast_write: bool = False

    def may_join(self, *, presence_enabled: bool) -> bool:
        """Whether a join is let in: the hosted server demands that something can be read, writing is not enough."""
        return self.broadcast_read or (presence_enabled and self.presence_read)


Policy = Callable[[str, Mapping[str, Any], str, bool], Permissions]
"""From role, claims, topic (without ``realtime:``) and whether the channel is private to what is granted."""

EVERYTHING = Permissions(presence_read=True, presence_write=True, broadcast_read=True, broadcast_write=True)
NOTHING = Permissions()
VIEWER = Permissions(presence_write=True, broadcast_read=True)
"""Shows its presence and sees nobody's. Reading broadcasts is what lets it join at all."""


def default_policy(role: str, _claims: Mapping[str, Any], topic: str, private: bool) -> Permissions:
    """Public: everything. Private: everything for the service, presence without looking for viewers."""
    if not private or role == SERVICE_ROLE:
        return EVERYTHING
    if role in {ANON, "authenticated"} and topic.startswith(("viewers:", "symbol:")):
        return VIEWER
    return NOTHING


@dataclass(frozen=True, slots=True)
class Access:
    """An identity in one channel, with what it may do there."""

    identity: Identity
    permissions: Permissions


class Gate:
    """Decides who gets into which channel."""

    def __init__(self, keyring: Keyring, policy: Policy) -> None:
        self._keyring = keyring
        self._policy = policy

    def admit(self, token: str, topic: str, *, private: bool, presence_enabled: bool) -> Access:
        """Return what ``token`` may do in ``topic``; raise `RefusedError` where that is not even joining."""
        identity = self._keyring.identify(token)
        permissions = self._policy(identity.role, identity.claims, topic, private)
        if not permissions.may_join(presence_enabled=presence_enabled):
            message = f"You do not have permissions to read from this Channel topic: {topic}"
            raise RefusedError("Unauthorized", message)
        return Access(identity, permissions)

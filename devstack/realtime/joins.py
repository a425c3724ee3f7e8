"""What a client asks for when it joins: the topic, the configuration, the token."""

import uuid
from dataclasses import dataclass
from typing import Any

from devstack.realtime.bindings import Binding, binding_id
from devstack.realtime.rooms import PREFIX


@dataclass(frozen=True, slots=True)
class JoinConfig:
    """The ``config`` of a join. What is missing or of the wrong shape has the default, as on the hosted server."""

    private: bool
    presence_key: str
    presence_enabled: bool
    self_broadcast: bool
    ack_broadcast: bool
    postgres_changes: list[dict[str, Any]]
    """The bindings as they came, each with the ``id`` that its events will carry."""
    bindings: list[Binding]

    @classmethod
    def parse(cls, payload: Any) -> "JoinConfig":
        """Read the payload of a ``phx_join``."""
        config = _section(payload, "config")
        presence, broadcast = _section(config, "presence"), _section(config, "broadcast")
        key, asked = presence.get("key"), config.get("postgres_changes")
        bindings = [binding for binding in asked if isinstance(binding, dict)] if isinstance(asked, list) else []
        return cls(
            private=config.get("private") is True,
            presence_key=key if isinstance(key, str) and key else str(uuid.uuid4()),
            presence_enabled=presence.get("enabled") is True,
            self_broadcast=broadcast.get("self") is True,
            ack_broadcast=broadcast.get("ack") is True,
            postgres_changes=[{**binding, "id": binding_id(binding)} for binding in bindings],
            bindings=[Binding.parse(binding) for binding in bindings],
        )


def sub_topic(topic: str) -> str | None:
    """Return ``topic`` without ``realtime:``, or None where it does not begin so."""
    return topic.removeprefix(PREFIX) if topic.startswith(PREFIX) else None


def choose_token(payload: Any, current: str) -> str:
    """Return the token that a join payload brings, or ``current``, which also stands where ``sb_...`` is sent."""
    fields = payload if isinstance(payload, dict) else {}
    token = fields.get("access_token") or fields.get("user_token")
    return token if isinstance(token, str) and not token.startswith("sb_") else current


def _section(value: Any, name: str) -> dict[str, Any]:
    section = value.get(name) if isinstance(value, dict) else None
    return section if isinstance(section, dict) else {}

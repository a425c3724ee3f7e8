"""Tickets: issued, verified, and attacked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.tickets import MAX_TICKET_LENGTH, Ticket, Tickets, is_subject

KEY, OTHER_KEY = "k" * 32, "o" * 32
NOW = datetime(2026, 11, 2, 15, 0, tzinfo=UTC)
TICKETS = Tickets([KEY], grace_seconds=60)
REASONS = {"ticket_malformed", "ticket_forged", "ticket_expired"}


@given(st.text(st.characters(exclude_categories=()), max_size=130).filter(is_subject) | st.just("\U0001f600" * 128))
def test_what_is_issued_is_verified(subject: str) -> None:
    ticket = TICKETS.issue(subject, NOW + timedelta(minutes=15))

    assert len(ticket) <= MAX_TICKET_LENGTH
    assert TICKETS.verify(ticket, NOW) == Ticket(subject)


def test_an_expired_ticket_stays_good_for_the_grace_and_no_longer() -> None:
    ticket = TICKETS.issue("ada", NOW)

    assert TICKETS.verify(ticket, NOW + timedelta(seconds=59)) == Ticket("ada")
    assert TICKETS.verify(ticket, NOW + timedelta(seconds=60)) == "ticket_expired"


def test_a_key_may_be_changed_while_its_tickets_are_out() -> None:
    old = TICKETS.issue("ada", NOW)
    after = Tickets([OTHER_KEY, KEY], grace_seconds=60)

    assert after.verify(old, NOW) == Ticket("ada")
    assert TICKETS.verify(after.issue("ada", NOW), NOW) == "ticket_forged"


@given(st.data())
def test_a_ticket_with_one_character_changed_is_refused(data: st.DataObject) -> None:
    ticket = TICKETS.issue("ada", NOW)
    at = data.draw(st.integers(0, len(ticket) - 1))
    other = data.draw(st.characters().filter(lambda character: character != ticket[at]))

    assert TICKETS.verify(ticket[:at] + other + ticket[at + 1 :], NOW) in REASONS


@given(st.none() | st.integers() | st.text(st.characters(exclude_categories=())) | st.lists(st.text()))
def test_nothing_that_a_page_gives_as_a_ticket_raises(ticket: Any) -> None:
    assert TICKETS.verify(ticket, NOW) in REASONS


def test_a_long_text_is_refused_unread() -> None:
    assert TICKETS.verify("1." * 10_000_000, NOW) == "ticket_malformed"


@pytest.mark.parametrize("keys", [[], ["short"], [KEY, "short"]])
def test_short_keys_are_refused(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="at least 32 bytes"):
        Tickets(keys, grace_seconds=60)


@pytest.mark.parametrize("subject", ["", "a\n", "x" * 129])
def test_no_ticket_is_issued_for_what_cannot_name_a_viewer(subject: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        TICKETS.issue(subject, NOW)

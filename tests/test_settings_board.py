"""Settings that change while the daemon runs, and those that cannot."""

from __future__ import annotations

import os

import pytest

from daemon.settings import Settings, load_settings
from daemon.settings_board import SettingsBoard
from tests.presence.stage import LogRecorder
from tests.test_settings import REQUIRED


def test_what_may_change_is_taken_over_and_told_and_the_rest_stays(
    monkeypatch: pytest.MonkeyPatch, log: LogRecorder
) -> None:
    for name in [name for name in os.environ if name.startswith("REFRESHD_")]:
        monkeypatch.delenv(name)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    told: list[Settings] = []
    board = SettingsBoard(load_settings())
    board.on_change(told.append)
    monkeypatch.setenv("REFRESHD_LEAD_SHARE", "0.5")
    monkeypatch.setenv("REFRESHD_CONCURRENCY", "3")
    monkeypatch.setenv("FMP_API_KEY", "another-key-0123456789")

    for _ in range(2):
        board.update(load_settings())

    assert [settings.lead_share for settings in told] == [0.5]
    assert (board.current.lead_share, board.current.concurrency) == (0.5, 16)
    assert [(line["setting"], line["before"], line["after"]) for line in log.of("setting_changed")] == [
        ("REFRESHD_LEAD_SHARE", 0.25, 0.5)
    ]
    assert {line["setting"] for line in log.of("setting_needs_restart")} == {"REFRESHD_CONCURRENCY", "FMP_API_KEY"}
    assert "another-key" not in str(log.lines)

"""The README tells the truth about the settings. ``python -m tests.test_readme`` writes its table anew."""

from __future__ import annotations

import re
from pathlib import Path

from daemon.settings import DocumentedSetting, Settings, documented_settings

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BEGIN = "<!-- settings: written by tests/test_readme.py -->\n"
END = "<!-- end of settings -->"


def _default(setting: DocumentedSetting) -> str:
    return "required" if setting.default is None else setting.default or "none"


def settings_table() -> str:
    rows = [
        f"| `{setting.variable}` | {_default(setting)} | {setting.description} |" for setting in documented_settings()
    ]
    return "\n".join(["| variable | default | what it is |", "|---|---|---|", *rows]) + "\n"


def with_table(text: str) -> str:
    before, rest = text.split(BEGIN)
    return before + BEGIN + settings_table() + END + rest.split(END)[1]


def test_the_table_of_settings_is_that_of_the_code() -> None:
    text = README.read_text()

    assert text == with_table(text)


def test_every_setting_is_used_by_the_daemon() -> None:
    sources = [path for path in (ROOT / "daemon").rglob("*.py") if not path.name.startswith("settings")]
    code = "\n".join(path.read_text() for path in sources)
    used_by_loading = {"reload_file"}

    unused = {name for name in Settings.model_fields if not re.search(rf"\bsettings\.{name}\b", code)}
    assert unused == used_by_loading


def test_every_file_that_is_named_is_there() -> None:
    named = re.findall(r"`([\w./]+/|[\w./]+\.(?:md|py|sql))`", README.read_text())

    assert named
    missing = [name for name in named if not (ROOT / name).exists() and not (ROOT / "schema" / name).exists()]
    assert missing == []


def test_the_demo_is_shown_as_it_was() -> None:
    assert "DEMO_" not in README.read_text()


if __name__ == "__main__":
    README.write_text(with_table(README.read_text()))

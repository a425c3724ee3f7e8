"""What systemd and the daemon's own settings say of the files in systemd/, without starting anything."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from pydantic import SecretStr

from daemon.main import EXIT_SECONDS, ExitCode
from daemon.settings import Settings, documented_settings, load_settings, variable_of
from daemon.settings_problems import PREFIX
from tests.needs import require

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "systemd"
UNIT = FOLDER / "refreshd.service"
RELOAD = FOLDER / "notify-reload.conf"
EXAMPLE = FOLDER / "refreshd.env.example"
INSTALLATION = FOLDER / "install.md"

EXPOSURE = 1.1
LAUNCHER = "/opt/refreshd/bin/refreshd"
NOTIFY_RELOAD_SINCE = 253
OF_COMMANDS = {"REFRESHD_OWNER_DATABASE_URL"}
"""What the daemon itself must not have."""
OF_TESTS = {"REFRESHD_CRASH_POINT"}
SECRETS = {
    "DATABASE_URL": "postgresql://refreshd:secret@db.example.com:5432/postgres?sslmode=require",
    "SUPABASE_SERVICE_ROLE_KEY": "sb_secret_0123456789",
    "FMP_API_KEY": "0123456789",
    "REFRESHD_TICKET_KEY": "0123456789abcdef0123456789abcdef",
    "REFRESHD_JWT_SECRET": "fedcba9876543210fedcba9876543210",
    "REFRESHD_DASHBOARD_TOKEN": "00112233445566778899aabbccddeeff",
    "REFRESHD_HEARTBEAT_URL": "https://switch.example.com/0123456789",
}
"""The credentials of the unit, and a value that the daemon takes for each."""
LINE = re.compile(r'(?P<optional>#?)(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>"[^"\\$`]*"|[^\s"\'\\$`#;]*)')
"""What systemd, the daemon's --env-file and a shell all read alike."""


def entries(path: Path) -> Mapping[str, Sequence[str]]:
    """Return what a unit file assigns, by name, of all its sections."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in path.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            found[name].append(value)
    return found


def credentials(name: str) -> Mapping[str, str]:
    """Return what the unit gives with LoadCredential= or SetCredential=, by the name of the credential."""
    return dict(value.partition(":")[::2] for value in entries(UNIT)[name])


def example_settings(*, optional: bool) -> Mapping[str, str]:
    """Return the values in the example by variable: of the lines that are in force, or of those that are not."""
    matches = [match for line in EXAMPLE.read_text().splitlines() if (match := LINE.fullmatch(line))]
    return {match["name"]: match["value"].strip('"') for match in matches if bool(match["optional"]) is optional}


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    require("systemd-analyze", found=shutil.which("systemd-analyze"), hint="apt-get install systemd")
    return subprocess.run(
        ["systemd-analyze", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"LANG": "C.UTF-8"},
    )


def systemd_version() -> int:
    return int(re.findall(r"\d+", analyze("--version").stdout)[0])


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is on every machine: systemd looks whether it is there."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(LAUNCHER, "/bin/true"))
    return copy


def test_systemd_has_nothing_to_say_about_the_unit(unit: Path) -> None:
    verified = analyze("verify", unit)

    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


def test_systemd_has_nothing_to_say_about_the_drop_in_either(unit: Path) -> None:
    version = systemd_version()
    require(f"systemd {NOTIFY_RELOAD_SINCE}", found=version >= NOTIFY_RELOAD_SINCE, hint=f"this is {version}")
    drop_in = unit.parent / f"{unit.name}.d" / RELOAD.name
    drop_in.parent.mkdir()
    drop_in.write_text(RELOAD.read_text())

    verified = analyze("verify", unit)

    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


def test_the_unit_is_exposed_to_no_more_than_the_network() -> None:
    analysed = analyze("security", "--offline=true", f"--threshold={EXPOSURE * 10:.0f}", UNIT)

    assert analysed.returncode == 0, analysed.stdout
    (exposure,) = re.findall(r"Overall exposure level for refreshd\.service: ([\d.]+)", analysed.stdout)
    assert float(exposure) <= EXPOSURE
    assert analysed.stderr == ""


def test_the_unit_agrees_with_the_daemon() -> None:
    unit = entries(UNIT)

    assert unit["ExecStart"] == [f"{LAUNCHER} run"]
    assert unit["RestartPreventExitStatus"] == [str(int(ExitCode.CONFIGURATION))]
    assert float(unit["TimeoutStopSec"][0]) > EXIT_SECONDS + 5
    assert [
        name for name, values in unit.items() if len(values) > 1 and not name.endswith(("Credential", "Filter"))
    ] == []


def test_every_secret_is_a_credential_that_may_be_missing() -> None:
    loaded = credentials("LoadCredential")
    secret = {variable_of(name) for name, field in Settings.model_fields.items() if field.annotation is SecretStr}

    assert set(loaded) == secret - OF_COMMANDS
    assert loaded == {name: f"/etc/refreshd/credentials/{name}" for name in SECRETS}
    assert credentials("SetCredential") == dict.fromkeys(loaded, "\\n")


def test_every_setting_is_in_the_example_or_a_credential() -> None:
    named = {**example_settings(optional=True), **example_settings(optional=False)}
    known = {setting.variable for setting in documented_settings()}

    assert set(named) == known - set(SECRETS) - OF_COMMANDS - OF_TESTS


def test_what_is_required_is_in_force_and_everything_else_shows_its_default() -> None:
    settings = {setting.variable: setting for setting in documented_settings()}
    required = {name for name, setting in settings.items() if setting.default is None}

    assert set(example_settings(optional=False)) == required - set(SECRETS) - OF_TESTS
    in_words = {"REFRESHD_INSTANCE", "REFRESHD_JWT_ISSUER", "REFRESHD_JWKS_URL"}
    shown = {name: value for name, value in example_settings(optional=True).items() if name not in in_words}
    assert shown == {name: settings[name].default for name in shown}


def test_every_line_of_the_example_is_read_alike_by_all_who_read_it() -> None:
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("# ") and line != "#"]

    assert [line for line in lines if not LINE.fullmatch(line)] == []
    names = [line.removeprefix("#").partition("=")[0] for line in lines]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("everything", [False, True], ids=["as it is", "with every # taken away"])
def test_the_daemon_takes_the_example(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, everything: bool) -> None:
    env_file, folder = tmp_path / "refreshd.env", tmp_path / "credentials"
    text = EXAMPLE.read_text()
    env_file.write_text(re.sub(r"^#(?=[A-Z])", "", text, flags=re.MULTILINE) if everything else text)
    folder.mkdir()
    for name, value in SECRETS.items():
        (folder / name).write_text(f"{value}\n")
    for name in [name for name in os.environ if name.startswith(PREFIX) or name in SECRETS or name == "SUPABASE_URL"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))

    settings = load_settings(env_file)

    assert settings.calls_per_minute == 300
    assert settings.maintenance_schedule == "0 2 * * *"
    assert settings.fmp_api_key.get_secret_value() == SECRETS["FMP_API_KEY"]


def test_the_installation_names_files_that_are_there_and_variables_that_exist() -> None:
    text = INSTALLATION.read_text()
    known = {setting.variable for setting in documented_settings()}

    assert {name for name in re.findall(rf"\b{PREFIX}[A-Z0-9_]+\b", text) if name not in known} == set()
    files = re.findall(r"(?<![\w/])((?:systemd|docs|schema)/[\w./-]+\.\w+)\b", text)
    assert {name for name in files if not (ROOT / name).exists()} == set()
    assert set(SECRETS) | OF_COMMANDS <= set(re.findall(r"\b[A-Z][A-Z0-9_]{3,}\b", text))

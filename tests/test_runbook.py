"""The runbook: a section for everything that calls for a person, links that lead somewhere, and commands that exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from daemon.cli.entry import refreshd
from daemon.settings import Settings, variable_of
from tests.test_alerts import ALERTS
from tests.test_log_events import CODE

DOCS = Path(__file__).parents[1] / "docs"
RUNBOOK = (DOCS / "runbook.md").read_text(encoding="utf-8")
PAGES = ("runbook.md", "log-events.md", "metrics.md")


def anchors_of(page: Path) -> list[str]:
    """Return the anchors of a page, as GitHub makes them of headings."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def section(name: str) -> str:
    """Return what stands under a heading."""
    found = re.search(rf"^### {name}$(.*?)(?=^##|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    return "" if found is None else found[1]


def command_lines() -> list[str]:
    """Return every command line of ours on the page: in blocks, and within a sentence."""
    blocks = re.findall(r"```sh\n(.*?)```", RUNBOOK, re.DOTALL)
    in_blocks = [line.strip() for block in blocks for line in block.splitlines()]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", RUNBOOK, flags=re.DOTALL))
    return sorted({line for line in (*in_blocks, *spans) if line.startswith("refreshd ")})


def resolved(line: str) -> Iterator[click.Context]:
    """Parse a command line as the command would, group by group, and run nothing.

    Raises:
        click.UsageError: Where it would be refused.
    """
    arguments = shlex.split(line, comments=True)[1:]
    command: click.Command = refreshd
    parent: click.Context | None = None
    while True:
        context = click.Context(command, info_name=command.name, parent=parent)
        given, rest, _ = command.make_parser(context).parse_args(list(arguments))
        for parameter in command.params:
            _check(parameter, given.get(parameter.name or ""), context)
        yield context
        if not isinstance(command, click.Group):
            if rest:
                raise click.UsageError(f"too many arguments: {rest}")
            return
        if not rest:
            raise click.UsageError(f"{command.name} alone does nothing")
        following = command.get_command(context, rest[0])
        if following is None:
            raise click.UsageError(f"no such command: {rest[0]}")
        parent, command, arguments = context, following, rest[1:]


def _check(parameter: click.Parameter, value: object, context: click.Context) -> None:
    """Refuse a value as the command would; a file need not be there."""
    if value is None or parameter.value_is_missing(value):
        if parameter.required:
            raise click.MissingParameter(ctx=context, param=parameter)
    elif not isinstance(parameter.type, click.File | click.Path):
        parameter.type_cast_value(context, value)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_section_that_says_what_it_means_how_to_look_and_what_to_do(alert: str) -> None:
    text = section(alert)

    assert {"**Means**", "**Look**", "**Do**"} <= set(re.findall(r"\*\*\w+\*\*", text)), alert


@pytest.mark.parametrize(
    "event", sorted(event for event, said in CODE.items() if said.levels & {"warning", "error", "critical"})
)
def test_every_event_from_warning_on_has_a_section_that_says_what_it_means_and_what_to_do(event: str) -> None:
    text = section(event)

    assert {"**Means**"} < set(re.findall(r"\*\*\w+\*\*", text)), event
    assert re.search(r"\*\*[Dd]o\*\*", text), event


def test_no_section_is_about_an_alert_or_event_that_does_not_exist() -> None:
    middle = RUNBOOK.split("## Alerts\n")[1].split("\n## Rollback by flags")[0]

    assert set(re.findall(r"^### (\w+)$", middle, re.MULTILINE)) <= {*ALERTS, *CODE}


def test_commands_are_quoted() -> None:
    assert len(command_lines()) > 30


@pytest.mark.parametrize("line", command_lines())
def test_every_command_that_is_quoted_parses(line: str) -> None:
    assert list(resolved(line))


@pytest.mark.parametrize(
    "line",
    [
        "refreshd frobnicate",
        "refreshd queue --depth",
        "refreshd jobs show",
        "refreshd jobs list --status lost",
        "refreshd types set quote --ttl soon",
        "refreshd flags",
        "refreshd status AAPL",
    ],
)
def test_what_the_command_would_refuse_is_found(line: str) -> None:
    with pytest.raises(click.UsageError):
        list(resolved(line))


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_page_and_a_section(page: str) -> None:
    text = re.sub(r"```.*?```", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", text):
        file = DOCS / target if target else DOCS / page
        assert file.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in anchors_of(file), f"{page}: {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES)
def test_no_two_sections_of_a_page_have_one_anchor(page: str) -> None:
    anchors = anchors_of(DOCS / page)

    assert len(anchors) == len(set(anchors))


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_a_page_names_exists(page: str) -> None:
    named = set(re.findall(r"\bREFRESHD_[A-Z0-9_]+\b", (DOCS / page).read_text(encoding="utf-8")))

    assert named <= {variable_of(name) for name in Settings.model_fields}


def test_flags_that_commands_turn_are_flags_of_the_schema() -> None:
    seeds = (DOCS.parent / "schema" / "seeds").rglob("*.sql")
    text = "".join(seed.read_text(encoding="utf-8") for seed in seeds)
    types = {name.replace("-", "_") for name in re.findall(r"'([a-z]+(?:-[a-z]+)*)'", text)}
    turned = {flag for line in command_lines() if line.startswith(("refreshd flags on", "refreshd flags off"))
              for flag in shlex.split(line)[3:]}  # fmt: skip

    for flag in turned:
        known = re.fullmatch(r"migrate_(\w+)_type", flag)
        assert flag in text or (known and known[1] in types), flag

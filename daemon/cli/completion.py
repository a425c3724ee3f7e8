"""``refreshd completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands and options in SHELL.

    bash: refreshd completion bash > /etc/bash_completion.d/refreshd; zsh: into a folder of $fpath as _refreshd; fish:
    into ~/.config/fish/completions/refreshd.fish.
    """
    script = get_completion_class(shell)
    assert script is not None, f"click has no completion for {shell}"
    click.echo(script(context.find_root().command, {}, "refreshd", "_REFRESHD_COMPLETE").source())

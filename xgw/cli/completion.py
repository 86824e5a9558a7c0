"""`xgw completion`: the script a shell needs to complete `xgw`. It completes from tables, never over the network."""

from __future__ import annotations

import click

from xgw.cli.options import Invocation, leaf, require_text
from xgw.cli.streams import write_out

SHELLS = ("bash", "zsh", "fish")


@leaf(
    "completion",
    examples=(
        ("xgw completion bash >> ~/.bashrc", "bash 4.4 or newer."),
        ("xgw completion zsh >> ~/.zshrc", "zsh."),
        ("xgw completion fish > ~/.config/fish/completions/xgw.fish", "fish."),
    ),
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(invocation: Invocation, shell: str) -> None:
    """Print the completion script for a shell."""
    from click.shell_completion import get_completion_class

    require_text(invocation, "a script for a shell")
    from xgw.cli.main import COMPLETE_VARIABLE, build_root

    kind = get_completion_class(shell)
    if kind is None:
        raise LookupError(shell)
    script = kind(build_root(), {}, "xgw", COMPLETE_VARIABLE)
    write_out(script.source_template % script.source_vars())

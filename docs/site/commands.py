"""A page for each command, from the command line itself: its arguments, its options and what they say."""

from __future__ import annotations

import re
from typing import Any

import typer

from resnet_core.cli.commands import app


def command_pages() -> dict[str, str]:
    """{file: Markdown}: a page for each command, and one that lists them."""
    group: Any = typer.main.get_command(app)
    pages = {f"commands/{name}.md": _page(name, command) for name, command in group.commands.items()}
    return {"commands/index.md": _index(group.commands), **pages}


def _index(commands: dict[str, Any]) -> str:
    rows = [f"| [`resnet {name}`]({name}.md) | {_cell(_help(command))} |" for name, command in commands.items()]
    return "\n".join(
        [
            "# Commands",
            "",
            "These pages are what `resnet COMMAND --help` says. Exit code 0 is success, 1 a check that failed, 2 bad",
            "input, with one line that says what was received and what is expected. `SPEC` is a name from",
            "`resnet list`, a `.toml` or `.json` file, a run's folder or a weight file.",
            "",
            "| command | what it does |",
            "|---|---|",
            *rows,
            "",
            "```{toctree}",
            ":hidden:",
            "",
            *commands,
            "```",
            "",
        ]
    )


def _page(name: str, command: Any) -> str:
    context = command.make_context(f"resnet {name}", [], resilient_parsing=True)
    usage = " ".join(command.collect_usage_pieces(context)).replace("[[", "[").replace("]]", "]")
    parameters = command.get_params(context)
    lines = [f"# {name}", "", _help(command), "", "```text", f"resnet {name} {usage}", "```"]
    for kind, title in (("argument", "Arguments"), ("option", "Options")):
        records = [each.get_help_record(context) for each in parameters if each.param_type_name == kind]
        if records:
            lines += ["", f"## {title}", "", f"| {kind} | what it is |", "|---|---|"]
            lines += [f"| {_code(left)} | {_cell(right)} |" for left, right in records]
    return "\n".join(lines) + "\n"


def _help(command: Any) -> str:
    return " ".join((command.help or "").split())


def _code(names: str) -> str:
    """`-o, --output F` as code; what typer says of the type behind a name of one's own is left out."""
    return f"`{names.partition(' <')[0]}`".replace("|", "\\|")


def _cell(text: str) -> str:
    """Help is plain text, but for code: what Markdown would take for a sign is one."""
    pieces = text.split("`")
    pieces[::2] = [re.sub(r"([*_<>\[\]])", r"\\\1", piece) for piece in pieces[::2]]
    return "`".join(pieces).replace("|", "\\|")

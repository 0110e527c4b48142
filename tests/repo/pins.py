"""What users rely on, written down: public names, and CLI commands with their options and defaults.

A change here is a change for users, and a line in CHANGELOG.md. Write the pinned files anew with

    .venv/bin/python -m tests.repo.pins
"""

import importlib
import importlib.util
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from tests.repo.paths import ROOT

PUBLIC_MODULES = ("sizewise", "sizewise.protocols")
PUBLIC_NAMES_FILE = ROOT / "tests/repo/public_names.txt"
CLI_FILE = ROOT / "tests/repo/cli_options.txt"


def public_names() -> list[str]:
    """``module: name`` for every name in ``__all__`` of the public modules."""
    return [
        f"{module}: {name}"
        for module in PUBLIC_MODULES
        for name in sorted(getattr(importlib.import_module(module), "__all__", ()))
    ]


def has_cli() -> bool:
    return importlib.util.find_spec("sizewise.cli") is not None and (
        importlib.util.find_spec("sizewise.cli.main") is not None
    )


def cli_options() -> list[str]:
    """One line for each command and each of its arguments and options, with type and default."""
    if not has_cli():
        return []
    typer = importlib.import_module("typer")
    root = typer.main.get_command(importlib.import_module("sizewise.cli.main").app)
    return list(command_lines(root, "sizewise"))


def command_lines(command: Any, path: str) -> Iterator[str]:
    hidden = " (hidden)" if command.hidden else ""
    yield f"{path}{hidden}"
    for parameter in sorted(command.params, key=lambda each: (each.param_type_name, each.name)):
        if parameter.name not in {"help", "install_completion", "show_completion"}:
            yield f"{path} {parameter_text(parameter)}"
    for name in sorted(getattr(command, "commands", {})):
        yield from command_lines(command.commands[name], f"{path} {name}")


def parameter_text(parameter: Any) -> str:
    is_argument = parameter.param_type_name == "argument"
    name = parameter.name.upper() if is_argument else "/".join((*parameter.opts, *parameter.secondary_opts))
    default = parameter.default.value if isinstance(parameter.default, Enum) else parameter.default
    value = "required" if parameter.required else f"default={default}"
    return f"{name} {type_text(parameter.type_descriptor.annotation)} {value}"


def type_text(annotation: Any) -> str:
    """A type as a user meets it: the choices of an enumeration, else its name."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "|".join(str(member.value) for member in annotation)
    return annotation.__name__ if type(annotation) is type else str(annotation)


def pinned(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def write(path: Path, *, title: str, lines: list[str]) -> None:
    header = f"# {title}\n# Written by: .venv/bin/python -m tests.repo.pins\n"
    path.write_text(header + "".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    write(PUBLIC_NAMES_FILE, title="Public names. A change is a line in CHANGELOG.md.", lines=public_names())
    write(CLI_FILE, title="CLI commands and options. A change is a line in CHANGELOG.md.", lines=cli_options())

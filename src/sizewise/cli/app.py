"""The root command, and the one place where an error becomes one line and an exit code."""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sizewise.protocols.errors import SizewiseError

INTERRUPTED = 130
"""What shells expect of a program ended by Ctrl-C: 128 + SIGINT."""


class Root(TyperGroup):
    """0 done, 1 failed, 2 usage or configuration, 3 infeasible. Results go to stdout, messages to stderr."""

    def main(self, args: Sequence[str] | None = None, *more: Any, **extra: Any) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        words, debug = _without_debug(words)
        extra["standalone_mode"] = False
        try:
            code = super().main(words, *more, **extra)
        except BrokenPipeError:
            # Whoever read our output has seen enough; Python must not complain when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        except KeyboardInterrupt:
            code = INTERRUPTED
        except Exception as error:  # the last line of defense: a traceback is for --debug
            if debug:
                traceback.print_exc()
            code = _report(error)
        sys.exit(code if isinstance(code, int) else 0)


def _without_debug(words: list[str]) -> tuple[list[str], bool]:
    """``--debug`` may stand anywhere: people add it to the end of the line that failed."""
    end = words.index("--") if "--" in words else len(words)
    kept = [word for word in words[:end] if word != "--debug"]
    return kept + words[end:], len(kept) < end


def _report(error: Exception) -> int:
    text, code = _line_and_code(error)
    typer.echo(f"sizewise: {' '.join(text.split())}", err=True)
    return code


def _line_and_code(error: Exception) -> tuple[str, int]:
    if isinstance(error, SizewiseError):
        return str(error), error.exit_code
    if isinstance(error, typer.Abort):
        return "aborted", 1
    format_message = getattr(error, "format_message", None)
    if format_message is not None:  # what the parser raises; its base class is no public name of typer
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context is not None else ""
        return format_message().rstrip(".") + hint, int(getattr(error, "exit_code", 2))
    if isinstance(error, OSError):
        return f"{error.filename or 'system'}: {error.strerror or error}", 1
    return f"unexpected {type(error).__name__}: {error} (--debug shows where)", 1


app = typer.Typer(
    cls=Root,
    name="sizewise",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(value: bool) -> None:
    if value:
        from sizewise import __version__

        typer.echo(f"sizewise {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback acts
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the trace of an error.")] = False,  # noqa: ARG001 - main acts
) -> None:
    """Serve, train and scale machine-learning models by what they weigh.

    Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 infeasible.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())

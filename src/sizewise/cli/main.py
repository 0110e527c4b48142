"""The program: every command, and the function that starts it."""

from sizewise.cli import bench, convert, demo, deploy, down, explain, init, logs, profile, simulate, status, up
from sizewise.cli.app import app

__all__ = ["app", "main"]

COMMANDS = (demo, init, profile, convert, bench, simulate, up, down, deploy, status, explain, logs)
"""Importing a module adds its commands; they are listed here so that nobody takes the imports for unused."""


def main() -> None:
    app(prog_name="sizewise")


if __name__ == "__main__":
    main()

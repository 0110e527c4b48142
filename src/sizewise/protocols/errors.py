"""The errors that leave this system: each says what, how much, and what next, in one line.

``exit_code`` is for the CLI, ``status`` for HTTP. Fields are values, the sentence is made from them.
"""

from dataclasses import dataclass

from sizewise.core.units import format_bytes


@dataclass(eq=False)
class SizewiseError(Exception):
    """Base of all. ``str()`` is the one line a user sees."""

    exit_code = 1
    status = 500

    def __str__(self) -> str:
        return self.message()

    def message(self) -> str:
        return type(self).__name__


@dataclass(eq=False)
class UsageError(SizewiseError):
    """The command, spec or request is not well formed."""

    text: str
    exit_code = 2
    status = 400

    def message(self) -> str:
        return self.text


@dataclass(eq=False)
class SpecError(SizewiseError):
    """A key of a spec file is wrong."""

    file: str
    line: int
    key: str
    problem: str
    allowed: str = ""
    exit_code = 2
    status = 400

    def message(self) -> str:
        hint = f": {self.allowed}" if self.allowed else ""
        return f"{self.file}:{self.line}: {self.key}: {self.problem}{hint}"


@dataclass(eq=False)
class ModelFileError(SizewiseError):
    """A model file is corrupt, truncated, empty, unsupported or unsafe."""

    path: str
    problem: str
    advice: str = ""
    exit_code = 1
    status = 400

    def message(self) -> str:
        hint = f": {self.advice}" if self.advice else ""
        return f"{self.path}: {self.problem}{hint}"


@dataclass(eq=False)
class DoesNotFitError(SizewiseError):
    """More is needed than there is."""

    model: str
    resource: str
    need_bytes: int
    have_bytes: int
    advice: str
    exit_code = 3
    status = 409

    def message(self) -> str:
        return (
            f"model {self.model!r} needs {format_bytes(self.need_bytes)} of {self.resource} "
            f"but there is {format_bytes(self.have_bytes)}: {self.advice}"
        )


@dataclass(eq=False)
class NotFoundError(SizewiseError):
    what: str
    name: str
    advice: str = ""
    exit_code = 1
    status = 404

    def message(self) -> str:
        hint = f": {self.advice}" if self.advice else ""
        return f"{self.what} {self.name!r} not found{hint}"


@dataclass(eq=False)
class ConflictError(SizewiseError):
    """The state does not allow it now."""

    text: str
    exit_code = 1
    status = 409

    def message(self) -> str:
        return self.text


@dataclass(eq=False)
class ForbiddenError(SizewiseError):
    text: str
    exit_code = 1
    status = 403

    def message(self) -> str:
        return self.text


@dataclass(eq=False)
class UnavailableError(SizewiseError):
    """Not now; try again."""

    text: str
    retry_after_s: float = 1.0
    exit_code = 1
    status = 503

    def message(self) -> str:
        return self.text


@dataclass(eq=False)
class RuntimeMissingError(SizewiseError):
    """A framework is not installed."""

    runtime: str
    extra: str
    exit_code = 1
    status = 400

    def message(self) -> str:
        return f"{self.runtime} is not installed: pip install 'sizewise[{self.extra}]'"

"""Values of a YAML file that know their file, line and key, so that every complaint can name them.

The document is composed into nodes and never constructed: an alias stays one node however often it is used, so what
is read is bounded by the size of the file.
"""

import difflib
import math
from dataclasses import dataclass

import yaml

from sizewise.core.units import parse_bytes
from sizewise.protocols.errors import SpecError

MAX_SPEC_BYTES = 1024 * 1024
_KINDS = {"null": "empty", "bool": "true or false", "int": "a number", "float": "a number", "str": "text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    node: yaml.Node
    file: str
    key: str
    """Dotted path from the top, as it is shown."""
    key_line: int = 1

    def fail(self, problem: str, allowed: str = "") -> SpecError:
        line = self.node.start_mark.line + 1
        return SpecError(file=self.file, line=line, key=self.key or "(file)", problem=problem, allowed=allowed)

    def fail_key(self, problem: str, allowed: str = "") -> SpecError:
        return SpecError(file=self.file, line=self.key_line, key=self.key, problem=problem, allowed=allowed)

    @property
    def is_null(self) -> bool:
        return self._tag == "null"

    def text(self, allowed: str = "give a text") -> str:
        if self._tag != "str" or not self.node.value:
            raise self.fail(f"is {self._kind}", allowed)
        return str(self.node.value)

    def word(self, allowed: str = "give a text or a number") -> str:
        """Any scalar as it is written: an argument such as 8000 need not be quoted."""
        if not isinstance(self.node, yaml.ScalarNode) or self.is_null:
            raise self.fail(f"is {self._kind}", allowed)
        return str(self.node.value)

    def choice(self, allowed: tuple[str, ...]) -> str:
        """One of these words."""
        said = f"give one of {', '.join(allowed)}"
        word = self.text(said)
        if word not in allowed:
            raise self.fail(f"{word} is none of them", said)
        return word

    def number(self, low: float, high: float) -> float:
        allowed = f"give a number from {low:.12g} to {high:.12g}"
        if self._tag not in {"int", "float"}:
            raise self.fail(f"is {self._kind}", allowed)
        try:
            value = float(self.node.value)
        except ValueError:
            raise self.fail(f"{self.node.value} is not a decimal number", allowed) from None
        if math.isnan(value) or not low <= value <= high:
            raise self.fail(f"{self.node.value} is out of range", allowed)
        return value

    def integer(self, low: int, high: int) -> int:
        value = self.number(low, high)
        if not value.is_integer():
            raise self.fail(f"{value:g} is not a whole number", f"give a whole number from {low} to {high}")
        return int(value)

    def size_bytes(self) -> int:
        """Bytes, above zero."""
        word = self.word("write a size such as 4GiB")
        try:
            size = parse_bytes(word)
        except ValueError as error:
            raise self.fail(str(error)) from error
        if size <= 0:
            raise self.fail("is zero", "write a size such as 4GiB")
        if word[-1].isdigit():
            raise self.fail(f"{word} has no unit", "write a size such as 4GiB")
        return size

    def flag(self) -> bool:
        if self._tag != "bool":
            raise self.fail(f"is {self._kind}", "give true or false")
        return str(self.node.value).lower() in {"true", "yes", "on"}

    def scalar(self) -> float | int | str:
        """A number as a number, any other word as it is written."""
        word = self.word()
        if self._tag in {"int", "float"}:
            number = self.number(-math.inf, math.inf)
            return int(number) if self._tag == "int" else number
        return word

    def items(self, allowed: str) -> tuple["Value", ...]:
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.fail(f"is {self._kind}", allowed)
        return tuple(
            Value(node=node, file=self.file, key=f"{self.key}[{i}]", key_line=node.start_mark.line + 1)
            for i, node in enumerate(self.node.value)
        )

    def members(self, allowed: str = "give keys and values") -> dict[str, "Value"]:
        """Every key with its value; a key that is not a word or stands twice is refused."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.fail(f"is {self._kind}", allowed)
        found: dict[str, Value] = {}
        for key_node, node in self.node.value:
            line = key_node.start_mark.line + 1
            word = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
            value = Value(node=node, file=self.file, key=f"{self.key}.{word}".lstrip("."), key_line=line)
            if not isinstance(key_node, yaml.ScalarNode):
                raise value.fail_key("a key is not a plain word", allowed)
            if word in found:
                raise value.fail_key("stands here a second time", f"the first is on line {found[word].key_line}")
            found[word] = value
        return found

    def section(self, allowed: tuple[str, ...]) -> dict[str, "Value"]:
        """Members, of ``allowed`` keys only; one that is left empty counts as absent."""
        names = ", ".join(allowed)
        members = self.members(f"give {names}")
        for name, value in members.items():
            if name not in allowed:
                close = difflib.get_close_matches(name, allowed, n=1)
                meant = f", did you mean {close[0]}?" if close else ""
                raise value.fail_key(f"unknown key{meant}", f"allowed are {names}")
        return {name: value for name, value in members.items() if not value.is_null}

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.node, yaml.MappingNode)

    @property
    def line(self) -> int:
        return int(self.node.start_mark.line) + 1

    @property
    def _tag(self) -> str:
        return self.node.tag.rpartition(":")[2] if isinstance(self.node, yaml.ScalarNode) else ""

    @property
    def _kind(self) -> str:
        if isinstance(self.node, yaml.ScalarNode):
            return "empty" if not self.node.value else _KINDS.get(self._tag, f"a {self._tag}")
        return "a list" if isinstance(self.node, yaml.SequenceNode) else "a mapping"


def compose(text: str, file: str) -> Value:
    """The top of one YAML document. Raises SpecError with the line when it is not one."""

    def wrong(line: int, problem: str, allowed: str = "") -> SpecError:
        return SpecError(file=file, line=line, key="(file)", problem=problem, allowed=allowed)

    if len(text.encode()) > MAX_SPEC_BYTES:
        raise wrong(1, f"is larger than {MAX_SPEC_BYTES} bytes", "a spec names models, it does not hold them")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise wrong(mark.line + 1 if mark else 1, f"is not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise wrong(1, f"is not YAML: {str(error).splitlines()[0]}") from error
    except RecursionError:
        raise wrong(1, "is nested too deeply", "a spec has four levels") from None
    if node is None:
        raise wrong(1, "is empty", "write one with: sizewise init")
    return Value(node=node, file=file, key="")

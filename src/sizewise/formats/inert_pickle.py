"""Pickles as data: which types they name and which tensors they describe, without building anything.

A pickle is a program for a small stack machine. This one moves the same stack with inert values: a name stays a name,
a call stays a record of the call. It cannot run code, and stops at a number of steps.
Source: pickletools of CPython 3.11 to 3.13.
"""

import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from sizewise.formats.found import FormatError, shown

MAX_STEPS = 3_000_000


@dataclass(frozen=True, slots=True)
class Name:
    """A type or function that the pickle refers to."""

    full: str


@dataclass(slots=True)
class Call:
    """What the pickle would call, or build without calling, and with what."""

    name: str
    arguments: object
    state: object = None


@dataclass(frozen=True, slots=True)
class Reference:
    """What a persistent identifier stands for: in torch's pickles, a storage."""

    identifier: object


@dataclass(slots=True)
class Pickle:
    """What one pickle would make, and every name that it mentions, in order."""

    value: object = None
    names: dict[str, None] = field(default_factory=dict)


OnCall = Callable[[Call], None]
_MARK = object()


def read_pickle(stream: BinaryIO, *, on_call: OnCall | None = None, on_build: OnCall | None = None) -> Pickle:
    """Read one pickle and leave the stream behind it.

    ``on_call`` sees each call, ``on_build`` each object as it gets its state. Raises FormatError for one that is cut
    off, damaged, or too long.
    """
    machine = _Machine(on_call, on_build)
    try:
        for steps, (code, argument, _) in enumerate(pickletools.genops(stream)):
            if steps > MAX_STEPS:
                raise FormatError(f"holds a pickle of more than {MAX_STEPS} steps", "it is too complex to be a model")
            machine.step(code.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise FormatError("holds a pickle that is cut off or damaged") from error
    if not machine.stack:
        raise FormatError("holds a pickle of nothing")
    machine.result.value = machine.stack[-1]
    return machine.result


class _Machine:
    def __init__(self, on_call: OnCall | None, on_build: OnCall | None) -> None:
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}
        self.result = Pickle()
        self._on_call = on_call
        self._on_build = on_build

    def step(self, code: str, argument: object) -> None:
        simple = _SIMPLE.get(code)
        if simple is not None:
            simple(self, argument)
        elif code not in _NOTHING:
            # A value that stands in the pickle itself: a number or a text
            self.stack.append(argument)

    def name(self, full: str) -> Name:
        self.result.names[full] = None
        return Name(full)

    def pop_to_mark(self) -> list[object]:
        items = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        items.reverse()
        return items

    def call(self, function: object, arguments: object) -> None:
        # A call of what another call made has no name: nothing that we read does so
        called = Call(function.full if isinstance(function, Name) else "", arguments)
        if self._on_call is not None:
            self._on_call(called)
        self.stack.append(called)

    def global_(self, argument: object) -> None:
        self.stack.append(self.name(str(argument).replace(" ", ".", 1)))

    def stack_global(self, _: object) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise FormatError("holds a pickle that hides the name of a type", "do not open it")
        self.stack.append(self.name(f"{module}.{name}"))

    def extension(self, argument: object) -> None:
        raise FormatError(f"holds a pickle that names a type by the number {shown(argument)}", "do not open it")

    def reduce(self, _: object) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.call(function, arguments)

    def newobj_ex(self, _: object) -> None:
        keywords, arguments, kind = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.call(kind, (arguments, keywords))

    def inst(self, argument: object) -> None:
        arguments = self.pop_to_mark()
        self.call(self.name(str(argument).replace(" ", ".", 1)), tuple(arguments))

    def obj(self, _: object) -> None:
        kind, *arguments = self.pop_to_mark()
        self.call(kind, tuple(arguments))

    def build(self, _: object) -> None:
        state = self.stack.pop()
        built = self.stack[-1]
        if isinstance(built, Call):
            built.state = state
            if self._on_build is not None:
                self._on_build(built)

    def persistent(self, argument: object) -> None:
        self.stack.append(Reference(argument))

    def binary_persistent(self, _: object) -> None:
        self.stack.append(Reference(self.stack.pop()))

    def mark(self, _: object) -> None:
        self.stack.append(_MARK)

    def pop(self, _: object) -> None:
        self.stack.pop()

    def pop_mark(self, _: object) -> None:
        self.pop_to_mark()

    def dup(self, _: object) -> None:
        self.stack.append(self.stack[-1])

    def get(self, argument: object) -> None:
        self.stack.append(self.memo[int(str(argument))])

    def put(self, argument: object) -> None:
        self.memo[int(str(argument))] = self.stack[-1]

    def memoize(self, _: object) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def tuple_(self, _: object) -> None:
        self.stack.append(tuple(self.pop_to_mark()))

    def tuple_of(self, count: int) -> None:
        items = [self.stack.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(items)))

    def list_(self, _: object) -> None:
        self.stack.append(self.pop_to_mark())

    def empty_list(self, _: object) -> None:
        self.stack.append([])

    def append(self, _: object) -> None:
        self._extend([self.stack.pop()])

    def appends(self, _: object) -> None:
        self._extend(self.pop_to_mark())

    def _extend(self, items: list[object]) -> None:
        into = self.stack[-1]
        if isinstance(into, list):
            into.extend(items)

    def empty_dict(self, _: object) -> None:
        self.stack.append({})

    def dict_(self, _: object) -> None:
        self.stack.append(dict(_pairs(self.pop_to_mark())))

    def setitem(self, _: object) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def setitems(self, _: object) -> None:
        self._set(self.pop_to_mark())

    def _set(self, items: list[object]) -> None:
        into = self.stack[-1]
        if isinstance(into, dict):
            into.update(_pairs(items))

    def frozenset_(self, _: object) -> None:
        self.stack.append(self.pop_to_mark())


def _pairs(items: list[object]) -> Iterator[tuple[object, object]]:
    # Only plain keys matter to us; a call or list as a key would not hash
    for key, value in zip(items[0::2], items[1::2], strict=True):
        yield (key if isinstance(key, str | int | bytes) else id(key)), value


_NOTHING = frozenset(("PROTO", "FRAME", "STOP", "READONLY_BUFFER"))
_CONSTANTS: dict[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_SIMPLE: dict[str, Callable[[_Machine, object], None]] = {
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.stack_global,
    "EXT1": _Machine.extension,
    "EXT2": _Machine.extension,
    "EXT4": _Machine.extension,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.reduce,
    "NEWOBJ_EX": _Machine.newobj_ex,
    "INST": _Machine.inst,
    "OBJ": _Machine.obj,
    "BUILD": _Machine.build,
    "PERSID": _Machine.persistent,
    "BINPERSID": _Machine.binary_persistent,
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_mark,
    "DUP": _Machine.dup,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    "MEMOIZE": _Machine.memoize,
    "TUPLE": _Machine.tuple_,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "LIST": _Machine.list_,
    "EMPTY_LIST": _Machine.empty_list,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "DICT": _Machine.dict_,
    "EMPTY_DICT": _Machine.empty_dict,
    "SETITEM": _Machine.setitem,
    "SETITEMS": _Machine.setitems,
    "EMPTY_SET": _Machine.empty_list,
    "ADDITEMS": _Machine.appends,
    "FROZENSET": _Machine.frozenset_,
    **{
        code: lambda machine, _, value=value: machine.stack.append(value)  # type: ignore[misc]
        for code, value in _CONSTANTS.items()
    },
}

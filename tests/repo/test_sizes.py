"""Sizes stop: files at 400 lines, functions at 50, positional parameters at 3, parameters at 6."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repo.paths import ROOT, python_files, shown

STOPS = {"file lines": 400, "lines": 50, "positional": 3, "parameters": 6}
MOST_EXCEPTIONS = 0
EXCEPTIONS_FILE = ROOT / "tests/repo/size_exceptions.txt"

Function = ast.FunctionDef | ast.AsyncFunctionDef
Sizes = dict[tuple[str, str], int]


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function, bool]]:
    """Every function with its dotted name and whether it is a method, nested ones included."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function):
            yield f"{prefix}{node.name}", node, isinstance(tree, ast.ClassDef)
        inside = f"{prefix}{node.name}." if isinstance(node, Function | ast.ClassDef) else prefix
        yield from functions(node, inside)


def body_lines(node: Function) -> int:
    """Lines of a function without its decorators and docstring: explaining is not what the stop is about."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node, clean=False) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def is_command(node: Function) -> bool:
    """A CLI command: each of its parameters is an option that people type, not an argument that code passes."""
    return any(
        ast.unparse(decorator).endswith(".command()")
        or ".command(" in ast.unparse(decorator)
        or ".callback(" in ast.unparse(decorator)
        for decorator in node.decorator_list
    )


def sizes_of(source: str, name: str) -> Sizes:
    """Everything in one file that a stop speaks about: (place, what) -> size."""
    sizes: Sizes = {(name, "file lines"): len(source.splitlines())}
    for function, node, is_method in functions(ast.parse(source)):
        place = f"{name}:{function}"
        sizes[place, "lines"] = body_lines(node)
        if is_command(node):
            continue
        static = any(ast.unparse(decorator) == "staticmethod" for decorator in node.decorator_list)
        own = 1 if is_method and not static else 0
        positional = len(node.args.posonlyargs) + len(node.args.args) - own
        sizes[place, "positional"] = positional
        sizes[place, "parameters"] = positional + len(node.args.kwonlyargs)
    return sizes


def too_large(sizes: Sizes) -> Sizes:
    return {key: size for key, size in sizes.items() if size > STOPS[key[1]]}


def exceptions() -> Sizes:
    lines = [line for line in EXCEPTIONS_FILE.read_text().splitlines() if line and not line.startswith("#")]
    read: Sizes = {}
    for line in lines:
        place, what, size = line.split()
        read[place, "file lines" if what == "lines" and ":" not in place else what] = int(size)
    return read


def all_sizes() -> Sizes:
    sizes: Sizes = {}
    for path in python_files("src"):
        sizes |= sizes_of(path.read_text(), shown(path))
    return sizes


def test_nothing_outgrows_its_stop() -> None:
    allowed = exceptions()
    over = {key: size for key, size in too_large(all_sizes()).items() if size > allowed.get(key, 0)}
    assert not over, "split by ideas, or take fewer parameters:\n" + "\n".join(
        f"{place}: {size} {what.removeprefix('file ')}, the stop is {STOPS[what]}"
        for (place, what), size in sorted(over.items())
    )


def test_exceptions_only_shrink() -> None:
    allowed, now = exceptions(), all_sizes()
    assert len(allowed) <= MOST_EXCEPTIONS, "the list of exceptions may only shrink"
    stale = {key: size for key, size in allowed.items() if now.get(key) != size or size <= STOPS[key[1]]}
    assert not stale, f"write the present size into {EXCEPTIONS_FILE.name}, or take the line out: {stale}"


LONG = "def f():\n" + "    x = 1\n" * 50
DOCUMENTED = 'def f():\n    """' + "words\n" * 60 + '    """\n    return 1\n'


@pytest.mark.parametrize(
    ("source", "found"),
    [
        pytest.param("x = 1\n" * 400, set(), id="400 lines: the stop itself"),
        pytest.param("x = 1\n" * 401, {"file lines"}, id="401 lines"),
        pytest.param(LONG, {"lines"}, id="51 lines"),
        pytest.param(DOCUMENTED, set(), id="a docstring weighs nothing"),
        pytest.param("def f(a, b, c): ...", set(), id="three positional"),
        pytest.param("def f(a, b, c, d): ...", {"positional"}, id="four positional"),
        pytest.param("def f(*, a, b, c, d): ...", set(), id="four keyword-only"),
        pytest.param("def f(*, a, b, c, d, e, f, g): ...", {"parameters"}, id="seven: a type is missing"),
        pytest.param("class C:\n    def f(self, a, b, c): ...", set(), id="self is not counted"),
        pytest.param("class C:\n    def f(self, a, b, c, d): ...", {"positional"}, id="a method"),
        pytest.param("def f():\n    def g(a, b, c, d): ...", {"positional"}, id="a nested function"),
        pytest.param("@app.command()\ndef f(a, b, c, d, e, f, g): ...", set(), id="options of a command"),
    ],
)
def test_sizes_are_measured(source: str, found: set[str]) -> None:
    assert {what for _, what in too_large(sizes_of(source, Path("f.py").name))} == found

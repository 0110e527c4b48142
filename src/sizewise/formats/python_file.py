"""A model that is a Python file: read as a syntax tree, never run here. Contract: docs/models.md."""

import ast

from sizewise.core.tensors import DATATYPE_BYTES, TensorSpec
from sizewise.formats.confine import Source
from sizewise.formats.found import MAX_DIMENSION, FormatError, Found, rows_vary, shown

MAX_BYTES = 1024 * 1024
ADVICE = "define load() and predict(model, inputs): see docs/models.md"
_TAKES = {"load": 0, "predict": 2}


def read_python(source: Source) -> Found:
    """Raises FormatError unless the file has load() and predict(model, inputs) at its top level."""
    if source.size > MAX_BYTES:
        raise FormatError(f"is {source.size} bytes of Python, more than {MAX_BYTES}", "put its data beside it")
    try:
        tree = ast.parse(source.read(0, source.size))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise FormatError(f"is not valid Python: {shown(str(error))}", "correct it") from error
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for name, count in _TAKES.items():
        if name not in functions:
            asynchronous = any(isinstance(node, ast.AsyncFunctionDef) and node.name == name for node in tree.body)
            raise FormatError(f"has {'an async' if asynchronous else 'no'} function {name}()", ADVICE)
        if not _accepts(functions[name].args, count):
            raise FormatError(f"has a {name}() that cannot be called with {count} arguments", ADVICE)
    values = _constants(tree)
    inputs = _specs(values, "INPUTS")
    batchable = values.get("BATCHABLE", rows_vary(inputs) and bool(inputs))
    if not isinstance(batchable, bool):
        raise FormatError(f"has BATCHABLE = {shown(batchable)}", "write True or False")
    return Found(
        format="python",
        platform="python_module",
        runtime="python",
        inputs=inputs,
        outputs=_specs(values, "OUTPUTS"),
        batchable=batchable,
        notes=() if inputs else ("declares no INPUTS: requests are passed on unchecked, one at a time",),
    )


def defines_model(source: Source) -> bool:
    """Whether a Python file means to be a model, rather than to help one."""
    try:
        tree = ast.parse(source.read(0, min(source.size, MAX_BYTES)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return set(_TAKES) <= names


def _accepts(arguments: ast.arguments, count: int) -> bool:
    positional = len(arguments.posonlyargs) + len(arguments.args)
    needed = positional - len(arguments.defaults)
    keywords = any(default is None for default in arguments.kw_defaults)
    return not keywords and needed <= count and (arguments.vararg is not None or count <= positional)


def _constants(tree: ast.Module) -> dict[str, object]:
    values: dict[str, object] = {}
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            if isinstance(target, ast.Name) and target.id in ("INPUTS", "OUTPUTS", "BATCHABLE"):
                values[target.id] = _literal(target.id, node)
    return values


def _literal(name: str, node: ast.Assign | ast.AnnAssign | ast.stmt) -> object:
    value = getattr(node, "value", None)
    try:
        return ast.literal_eval(value) if value is not None else None
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise FormatError(f"has {name} that is not written out as plain values", ADVICE) from error


def _specs(values: dict[str, object], name: str) -> tuple[TensorSpec, ...]:
    listed = values.get(name, [])
    if not isinstance(listed, list | tuple):
        raise FormatError(f"has {name} that is not a list", ADVICE)
    specs = tuple(_spec(item, name) for item in listed)
    if len({spec.name for spec in specs}) != len(specs):
        raise FormatError(f"has {name} with one name twice", "give each tensor a name of its own")
    return specs


def _spec(item: object, name: str) -> TensorSpec:
    if not isinstance(item, dict) or set(item) != {"name", "datatype", "shape"}:
        advice = '{"name": "input", "datatype": "FP32", "shape": [-1, 4]}'
        raise FormatError(f"has {name} with {shown(item)}", f"write {advice}")
    shape = item["shape"]
    if (
        not isinstance(item["name"], str)
        or item["datatype"] not in DATATYPE_BYTES
        or not isinstance(shape, list | tuple)
    ):
        raise FormatError(
            f"has {name} with {shown(item)}", f"use one of {', '.join(DATATYPE_BYTES)} and a list of sizes"
        )
    for size in shape:
        if not isinstance(size, int) or isinstance(size, bool) or not -1 <= size <= MAX_DIMENSION:
            raise FormatError(f"has {name} with the dimension {shown(size)}", "use -1 for one that varies")
    return TensorSpec(name=item["name"], datatype=item["datatype"], shape=tuple(shape))

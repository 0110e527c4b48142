"""``torch.export`` archives (.pt2): inputs, outputs and weights from their JSON, which is checked as a program is.

Loading one is not harmless: PyTorch evaluates the expressions of dynamic dimensions, runs guards as Python code and
unpickles sample inputs without restriction when the safe way fails. So expressions and guards may only be arithmetic,
and pickles only tensors. Source: torch/export/pt2_archive/_package.py and torch/_export/serde of PyTorch 2.13.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from io import BytesIO

from sizewise.core.tensors import DATATYPE_BYTES, TensorSpec
from sizewise.formats import dtypes
from sizewise.formats.archive import Archive
from sizewise.formats.confine import BytesSource
from sizewise.formats.found import (
    FormatError,
    Found,
    UnsafeError,
    Weights,
    as_count,
    as_list,
    as_mapping,
    element_count,
    shown,
    words,
)
from sizewise.formats.torch_pickle import read_member, read_tensors

_PROGRAM_MAX_BYTES = 64 * 1024**2
_NESTED_MAX_BYTES = 256 * 1024**2
_EXPRESSION_MAX_CHARACTERS = 2000

_TARGET = re.compile(r"torch\.ops\.[\w.]+|torch\._?sym_\w+|_operator\.\w+|math\.\w+")
_FILE_OPERATORS = re.compile(r"from_file|read_file|write_file|load_library")
# Functions of sympy and of torch.utils._sympy that symbolic shapes are written with
_FUNCTIONS = words(
    "Abs Add And BitwiseFn_bitwise_and BitwiseFn_bitwise_or CeilDiv CeilToInt CleanDiv Eq Equality FloatPow "
    "FloatTrueDiv Float FloorDiv FloorToInt Ge GreaterThan Gt Identity Integer IntTrueDiv IsNonOverlappingAndDense"
    "Indicator LShift Le LessThan Lt Max Min Mod ModularIndexing Mul Ne Not Or Piecewise Pow PowByNatural PythonMod "
    "RShift Rational RoundDecimal RoundToInt StrictGreaterThan StrictLessThan Symbol ToFloat TruncToFloat TruncToInt "
    "Unequality Where ceiling floor sqrt true false int_oo"
)
_ARITHMETIC = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
    ast.Constant, ast.Load, ast.Name, ast.keyword,
)  # fmt: skip
_TREE_TYPES = frozenset(("builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict",
                         "collections.namedtuple", "collections.deque", "collections.defaultdict"))  # fmt: skip

Json = Mapping[str, object]


def is_export(archive: Archive, folder: str) -> bool:
    return f"{folder}/archive_format" in archive.members or f"{folder}/models/model.json" in archive.members


def read_export(archive: Archive, folder: str) -> Found:
    """What a .pt2 archive holds. Raises UnsafeError for one that would run code of its own when loaded."""
    if archive.under(f"{folder}/data/aotinductor/"):
        raise UnsafeError("holds compiled native code", "save it with torch.export.save, without AOTInductor")
    _check_members(archive, folder)
    models = [name for name in archive.under(f"{folder}/models/") if name.endswith(".json")]
    if len(models) != 1:
        raise FormatError(f"holds {len(models)} programs, not one", "save one program with torch.export.save")
    program = as_mapping(_json(archive, models[0]), "the program")
    _check_program(program)
    weights = Weights()
    stem = models[0].rsplit("/", 1)[-1].removesuffix(".json")
    for kind, config in (("weights", "weights_config"), ("constants", "constants_config")):
        _add_weights(archive, f"{folder}/data/{kind}", config=f"{stem}_{config}.json", weights=weights)
    inputs, outputs, notes = _signature(program)
    return Found(
        format="pytorch",
        platform="pytorch_export",
        runtime="torch" if inputs else None,
        parameters=weights.parameters,
        weight_bytes=weights.by_datatype(),
        inputs=inputs,
        outputs=outputs,
        notes=tuple(
            notes if inputs else [*notes, "it takes no inputs, or others than tensors, so it cannot be served"]
        ),
    )


def _json(archive: Archive, name: str) -> object:
    try:
        return json.loads(archive.read(name, _PROGRAM_MAX_BYTES))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"has a damaged {shown(name)}") from error


def _check_members(archive: Archive, folder: str) -> None:
    """Pickles that PyTorch would open while it loads the archive may hold tensors only."""
    for name in archive.members:
        if "/custom_obj" in name:
            raise UnsafeError("holds objects of other types than tensors")
        if name.startswith(f"{folder}/data/") and name.endswith((".pt", ".pkl", ".pth")):
            _check_nested(archive, name)


def _check_nested(archive: Archive, name: str) -> None:
    data = archive.read(name, _NESTED_MAX_BYTES)
    if not data:
        return
    if data.startswith(b"PK"):
        inner = Archive(BytesSource(data, name))
        found = [read_member(inner, each) for each in inner.members if each.endswith("/data.pkl")]
        if not found:
            raise FormatError(f"has a member {shown(name)} without tensors")
        foreign = [each for pickle in found for each in pickle.foreign]
    else:
        foreign = read_tensors(BytesIO(data)).foreign
    if foreign:
        raise UnsafeError(f"would run {shown(foreign[0])} from {shown(name)} when loaded")


def _add_weights(archive: Archive, folder: str, *, config: str, weights: Weights) -> None:
    if f"{folder}/{config}" not in archive.members:
        return
    entries = as_mapping(as_mapping(_json(archive, f"{folder}/{config}"), config).get("config"), config)
    sizes: dict[str, int] = {}
    for name, value in entries.items():
        entry = as_mapping(value, f"weight {shown(name)}")
        member = archive.members.get(f"{folder}/{entry.get('path_name')}")
        if member is None:
            raise FormatError(f"has no weight {shown(name)}", "copy it again, whole")
        if entry.get("use_pickle"):
            _check_nested(archive, member.name)
        datatype, shape = _meta(as_mapping(entry.get("tensor_meta"), f"weight {shown(name)}"))
        if -1 in shape:
            raise FormatError(f"has a weight {shown(name)} of no fixed size")
        elements = element_count(shape)
        need = dtypes.packed_bytes(datatype, elements)
        # Several weights may be views of one member
        if need > member.size:
            raise FormatError(f"has a weight {shown(name)} of {need} bytes in a member of {member.size}")
        if member.name not in sizes:
            weights.add(datatype, elements, need)
        sizes[member.name] = member.size


def _meta(meta: Json) -> tuple[str, tuple[int, ...]]:
    """Datatype and shape, -1 where a dimension is an expression."""
    datatype = dtypes.TORCH_EXPORT.get(as_count(meta.get("dtype"), "a datatype", most=1000))
    if datatype is None:
        raise FormatError(f"has a tensor of unknown datatype {shown(meta.get('dtype'))}")
    shape = []
    for size in as_list(meta.get("sizes"), "the shape of a tensor"):
        fixed = as_mapping(size, "a dimension").get("as_int")
        shape.append(-1 if fixed is None else as_count(fixed, "a dimension"))
    element_count(tuple(size for size in shape if size != -1))
    return datatype, tuple(shape)


def _signature(program: Json) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...], list[str]]:
    module = as_mapping(program.get("graph_module"), "the graph")
    values = as_mapping(as_mapping(module.get("graph"), "the graph").get("tensor_values"), "the tensors")
    signature = as_mapping(module.get("signature"), "the signature")
    names = list(_users(signature, "input_specs", "user_input"))
    inputs, notes = _specs(values, {name: name for name in names})
    given = list(_users(signature, "output_specs", "user_output"))
    outputs, more = _specs(values, {f"output__{i}" if name else "": name for i, name in enumerate(given)})
    notes += more
    for limits in as_mapping(program.get("range_constraints", {}), "the ranges").values():
        least = as_mapping(limits, "a range").get("min_val")
        if isinstance(least, int) and least > 1:
            notes.append(f"a dimension that varies is at least {least}")
    # A program that wants more than can be sent cannot be called at all
    callable_ = len(inputs) == len(names)
    return tuple(inputs) if callable_ else (), tuple(outputs), notes


def _users(signature: Json, key: str, kind: str) -> Iterator[str]:
    """Names of what callers pass or get; empty where it is not a tensor."""
    for spec in as_list(signature.get(key), key):
        user = as_mapping(spec, key).get(kind)
        if user is not None:
            argument = as_mapping(as_mapping(user, kind).get("arg"), kind)
            tensor = argument.get("as_tensor")
            yield str(as_mapping(tensor, kind).get("name")) if tensor is not None else ""


def _specs(values: Json, names: Mapping[str, str]) -> tuple[list[TensorSpec], list[str]]:
    """Tensors by the name they get here and the one they have in the program; and what cannot be sent."""
    specs, notes = [], []
    for name, own in names.items():
        if not name:
            notes.append("passes something else than tensors, which cannot be sent")
            continue
        datatype, shape = _meta(as_mapping(values.get(own), f"tensor {shown(own)}"))
        if datatype in DATATYPE_BYTES:
            specs.append(TensorSpec(name=name, datatype=datatype, shape=shape))
        else:
            notes.append(f"{shown(name)} is {datatype}, which cannot be sent")
    return specs, notes


def _check_program(program: Json) -> None:
    for guard in as_list(program.get("guards_code", []), "the guards"):
        _check_expression(guard, guard=True)
    waiting: list[object] = [program]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        if not isinstance(value, dict):
            continue
        waiting.extend(value.values())
        if "expr_str" in value:
            _check_expression(value["expr_str"], guard=False)
        if "target" in value and "inputs" in value:
            _check_target(str(value["target"]))
        for key in ("in_spec", "out_spec"):
            if isinstance(value.get(key), str) and value[key]:
                _check_tree(value[key])


def _check_target(target: str) -> None:
    if not _TARGET.fullmatch(target) or _FILE_OPERATORS.search(target):
        raise UnsafeError(f"calls {shown(target)}, which is no tensor operation")


def _check_tree(text: str) -> None:
    """The layout of arguments: containers of Python, no types that would be imported by name."""
    waiting: list[object] = [json.loads(text)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        if isinstance(value, dict):
            waiting.extend(value.values())
            kind = value.get("type")
            if (isinstance(kind, str) and kind not in _TREE_TYPES) or "__enum__" in str(value.get("context")):
                raise UnsafeError(f"takes arguments of type {shown(kind)}")


def _check_expression(expression: object, *, guard: bool) -> None:
    """Raises UnsafeError unless this is arithmetic over dimensions, since PyTorch evaluates it as Python code."""
    text = str(expression)
    if len(text) > _EXPRESSION_MAX_CHARACTERS:
        raise UnsafeError(f"has an expression of {len(text)} characters for a dimension")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnsafeError(f"has {shown(text)} where a dimension should be") from error
    for node in ast.walk(tree):
        if not (isinstance(node, _ARITHMETIC) or _is_call(node, guard=guard)):
            raise UnsafeError(f"has {shown(text)} where a dimension should be")
        if isinstance(node, ast.Name) and node.id.startswith("_"):
            raise UnsafeError(f"has {shown(text)} where a dimension should be")


def _is_call(node: ast.AST, *, guard: bool) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in _FUNCTIONS
    if not guard:
        return False
    # Guards read inputs, as in L['x'].size()[0]
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and node.func.attr == "size"
    if isinstance(node, ast.Attribute):
        return node.attr == "size"
    return isinstance(node, ast.Subscript | ast.Tuple)

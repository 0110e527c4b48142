"""Bodies without datatypes: KServe v1 and SageMaker (``instances``), TF Serving's ``inputs``, and CSV."""

from typing import Any

from sizewise.core.tensors import TensorSpec
from sizewise.protocols.frames import Encoding
from sizewise.protocols.oip.errors import RequestError, shown
from sizewise.protocols.oip.request import InferRequest, Signature, Tensor
from sizewise.protocols.oip.v2 import NOTHING, from_document, in_order, parse
from sizewise.protocols.oip.values import MAX_RANK, checked_head, from_json

UNNAMED = "input"
"""Name of the only input of a model that declares none."""


def decode_v1(body: bytes | memoryview, *, signature: Signature) -> InferRequest:
    """``{"instances": [...]}``, ``{"inputs": ...}``, or a v2 body that came to a v1 address, answered as v2."""
    document = parse(body)
    if "instances" in document:
        return _request(_from_instances(document["instances"], signature), signature, columns=False)
    if "inputs" not in document:
        raise RequestError('the body has neither "instances" nor "inputs"')
    inputs = document["inputs"]
    if type(inputs) is list and inputs and type(inputs[0]) is dict and "datatype" in inputs[0]:
        return from_document(document, tail=NOTHING, signature=signature)
    columns = inputs if type(inputs) is dict else {_only(signature).name: inputs}
    return _request(columns, signature, columns=True)


def decode_csv(body: bytes | memoryview, *, signature: Signature) -> InferRequest:
    """Rows of numbers without a header, for a model with one table as its input; an empty field is NaN."""
    if not signature.casts or len(signature.inputs) != 1 or len(signature.inputs[0].shape) != 2:
        raise RequestError("text/csv is for tabular models with one input: send JSON")
    name = signature.inputs[0].name
    try:
        lines = bytes(body).decode().splitlines()
    except UnicodeDecodeError as error:
        raise RequestError(f"the body is not UTF-8: byte {error.start}") from error
    rows = [_csv_row(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    width = len(rows[0]) if rows else 0
    shape, count = checked_head(name, "FP64", shape=[len(rows), width], signature=signature)
    tensor = from_json(name, "FP64", shape=shape, count=count, data=rows)
    return InferRequest([tensor], _outputs(signature), Encoding.V1_JSON)


def _csv_row(number: int, line: str) -> list[float]:
    try:
        return [float(field) if field.strip() else float("nan") for field in line.replace("_", "?").split(",")]
    except ValueError as error:
        raise RequestError(f"line {number} of the CSV body: {error}; headers are not supported") from error


def _only(signature: Signature) -> TensorSpec:
    if len(signature.inputs) > 1:
        wanted = ", ".join(repr(spec.name) for spec in signature.inputs)
        raise RequestError(f"this model takes {wanted}: give each by its name")
    return signature.inputs[0] if signature.inputs else TensorSpec(name=UNNAMED, datatype="", shape=())


def _from_instances(instances: Any, signature: Signature) -> dict[str, Any]:
    """Columns from rows: a list of values for the only input, or of objects with a value for each input."""
    if type(instances) is not list or not instances:
        raise RequestError("instances must be a list of at least one row")
    if type(instances[0]) is not dict:
        return {_only(signature).name: instances}
    keys = instances[0].keys()
    for index, instance in enumerate(instances):
        if type(instance) is not dict or instance.keys() != keys:
            raise RequestError(f"instance {index} does not name the same inputs as the first one")
    return {name: [instance[name] for instance in instances] for name in keys}


def _request(values: dict[str, Any], signature: Signature, *, columns: bool) -> InferRequest:
    found = {name: _column(name, data, signature) for name, data in values.items()}
    return InferRequest(in_order(found, signature), _outputs(signature), Encoding.V1_JSON, columns=columns)


def _outputs(signature: Signature) -> tuple[str, ...]:
    """All, but of a classifier its prediction only, as KServe's scikit-learn server answers v1."""
    return ("predict",) if "predict" in signature.output_names else signature.output_names


def _column(name: str, data: Any, signature: Signature) -> Tensor:
    if type(data) is not list:
        raise RequestError(f"input {shown(name)} must be a list of rows, not {shown(data)}")
    sizes: list[int] = []
    inner: Any = data
    while type(inner) is list and len(sizes) <= MAX_RANK:
        sizes.append(len(inner))
        inner = inner[0] if inner else None
    spec = signature.by_name.get(name)
    datatype = spec.datatype if spec else _guess(inner)
    shape, count = checked_head(name, datatype, shape=sizes, signature=signature)
    return from_json(name, datatype, shape=shape, count=count, data=data)


def _guess(value: Any) -> str:
    """For a model that does not say what it takes."""
    return {bool: "BOOL", int: "INT64", str: "BYTES"}.get(type(value), "FP64")

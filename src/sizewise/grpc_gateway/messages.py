"""Messages of the protocols spoken here, as a table: no generated code, so no tie to a release of protoc.

They live in a pool of their own: a program may load other people's descriptions of the same messages beside ours. The
numbers are those of the Open Inference Protocol with Triton's extensions, of gRPC's health checking and reflection,
and of the status details.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

INFERENCE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"

_TYPES = {
    "double": 1,
    "float": 2,
    "int64": 3,
    "uint64": 4,
    "int32": 5,
    "bool": 8,
    "string": 9,
    "bytes": 12,
    "uint32": 13,
    "enum": 14,
}
# A line is NUMBER TYPE NAME; `*` repeats, `?` is one of a choice, `map` goes from strings to messages.
_INFERENCE = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "1 bool live",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "1 bool ready",
    "ModelReadyRequest": "1 string name; 2 string version",
    "ModelReadyResponse": "1 bool ready",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "1 string name; 2 string version; 3 string* extensions",
    "ModelMetadataRequest": "1 string name; 2 string version",
    "ModelMetadataResponse": "1 string name; 2 string* versions; 3 string platform; "
    "4 ModelMetadataResponse.TensorMetadata* inputs; 5 ModelMetadataResponse.TensorMetadata* outputs",
    "ModelMetadataResponse.TensorMetadata": "1 string name; 2 string datatype; 3 int64* shape",
    "InferParameter": "1 bool? bool_param; 2 int64? int64_param; 3 string? string_param; "
    "4 double? double_param; 5 uint64? uint64_param",
    "InferTensorContents": "1 bool* bool_contents; 2 int32* int_contents; 3 int64* int64_contents; "
    "4 uint32* uint_contents; 5 uint64* uint64_contents; 6 float* fp32_contents; 7 double* fp64_contents; "
    "8 bytes* bytes_contents",
    "ModelInferRequest": "1 string model_name; 2 string model_version; 3 string id; 4 map(InferParameter) parameters; "
    "5 ModelInferRequest.InferInputTensor* inputs; 6 ModelInferRequest.InferRequestedOutputTensor* outputs; "
    "7 bytes* raw_input_contents",
    "ModelInferRequest.InferInputTensor": "1 string name; 2 string datatype; 3 int64* shape; "
    "4 map(InferParameter) parameters; 5 InferTensorContents contents",
    "ModelInferRequest.InferRequestedOutputTensor": "1 string name; 2 map(InferParameter) parameters",
    "ModelInferResponse": "1 string model_name; 2 string model_version; 3 string id; 4 map(InferParameter) parameters; "
    "5 ModelInferResponse.InferOutputTensor* outputs; 6 bytes* raw_output_contents",
    "ModelInferResponse.InferOutputTensor": "1 string name; 2 string datatype; 3 int64* shape; "
    "4 map(InferParameter) parameters; 5 InferTensorContents contents",
    "ModelStatisticsRequest": "1 string name; 2 string version",
    "ModelStatisticsResponse": "1 ModelStatistics* model_stats",
    "ModelStatistics": "1 string name; 2 string version; 3 uint64 last_inference; 4 uint64 inference_count; "
    "5 uint64 execution_count; 6 InferStatistics inference_stats",
    "InferStatistics": "1 StatisticDuration success; 2 StatisticDuration fail; 3 StatisticDuration queue; "
    "4 StatisticDuration compute_input; 5 StatisticDuration compute_infer; 6 StatisticDuration compute_output",
    "StatisticDuration": "1 uint64 count; 2 uint64 ns",
    "ModelRepositoryParameter": "1 bool? bool_param; 2 int64? int64_param; 3 string? string_param; "
    "4 bytes? bytes_param",
    "RepositoryIndexRequest": "1 string repository_name; 2 bool ready",
    "RepositoryIndexResponse": "1 RepositoryIndexResponse.ModelIndex* models",
    "RepositoryIndexResponse.ModelIndex": "1 string name; 2 string version; 3 string state; 4 string reason",
    "RepositoryModelLoadRequest": "1 string repository_name; 2 string model_name; "
    "3 map(ModelRepositoryParameter) parameters",
    "RepositoryModelLoadResponse": "",
    "RepositoryModelUnloadRequest": "1 string repository_name; 2 string model_name; "
    "3 map(ModelRepositoryParameter) parameters",
    "RepositoryModelUnloadResponse": "",
}
_OTHERS = {
    "grpc.health.v1": {
        "HealthCheckRequest": "1 string service",
        # 1 serving, 2 not serving, 3 unknown: an enumeration and a number are the same bytes
        "HealthCheckResponse": "1 int32 status",
    },
    "google.rpc": {
        "Status": "1 int32 code; 2 string message; 3 Any* details",
        # google.protobuf.Any and Duration, as their bytes are
        "Any": "1 string type_url; 2 bytes value",
        "RetryInfo": "1 Duration retry_delay",
        "Duration": "1 int64 seconds; 2 int32 nanos",
    },
}


def _file(package: str, messages: dict[str, str]) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for path, lines in messages.items():
        owner, _, name = path.rpartition(".")
        message = made[owner].nested_type.add(name=name) if owner else file.message_type.add(name=name)
        made[path] = message
        for line in filter(None, lines.split("; ")):
            _add_field(message, line, scope=f".{package}", path=path)
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, line: str, *, scope: str, path: str) -> None:
    number, kind, name = line.split()
    field = message.field.add(name=name, number=int(number), label=3 if kind.endswith("*") else 1)
    if kind.startswith("map("):
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=1, type=9)
        entry.field.add(name="value", number=2, label=1, type=11, type_name=f"{scope}.{kind[4:-1]}")
        field.label, field.type, field.type_name = 3, 11, f"{scope}.{path}.{entry.name}"
        return
    if kind.endswith("?"):
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0
    bare = kind.rstrip("*?")
    if bare in _TYPES:
        field.type = _TYPES[bare]
    else:
        field.type, field.type_name = 11, f"{scope}.{bare}"


_POOL = descriptor_pool.DescriptorPool()
for _package, _messages in {"inference": _INFERENCE, **_OTHERS}.items():
    _POOL.Add(_file(_package, _messages))

Message = Any
"""A message of the table; its class is made at run time, so no type checker knows its fields."""


def message_class(name: str) -> Any:
    """By full name, such as ``inference.ModelInferRequest``."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


ModelInferRequest = message_class("inference.ModelInferRequest")
ModelInferResponse = message_class("inference.ModelInferResponse")
Status = message_class("google.rpc.Status")
RetryInfo = message_class("google.rpc.RetryInfo")
HealthCheckRequest = message_class("grpc.health.v1.HealthCheckRequest")
HealthCheckResponse = message_class("grpc.health.v1.HealthCheckResponse")

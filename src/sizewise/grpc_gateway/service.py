"""Calls, each answered by one request to the gateway, which alone admits, queues, routes and counts."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn
from urllib.parse import quote

import grpc
import orjson
from google.protobuf import json_format

from sizewise.grpc_gateway.holding import Holding
from sizewise.grpc_gateway.messages import (
    HEALTH,
    INFERENCE,
    HealthCheckRequest,
    HealthCheckResponse,
    Message,
    ModelInferRequest,
    ModelInferResponse,
    RetryInfo,
    Status,
    message_class,
)
from sizewise.grpc_gateway.translate import BAD_ANSWER, BadRequestError, answer_of, body_of
from sizewise.grpc_gateway.upstream import Answer, GatewayGoneError, Upstream

MAX_TIMEOUT_S = 24 * 3600.0
READ_S = 30.0
"""For a request's message to arrive, as for a body over HTTP."""
PASSED_ON = frozenset({"authorization", "x-api-key", "x-request-id"})
SERVING, NOT_SERVING = 1, 2

_Code = grpc.StatusCode
CODES = {
    400: _Code.INVALID_ARGUMENT,
    401: _Code.UNAUTHENTICATED,
    403: _Code.PERMISSION_DENIED,
    404: _Code.NOT_FOUND,
    405: _Code.UNIMPLEMENTED,
    408: _Code.DEADLINE_EXCEEDED,
    413: _Code.RESOURCE_EXHAUSTED,
    415: _Code.INVALID_ARGUMENT,
    422: _Code.INVALID_ARGUMENT,
    429: _Code.RESOURCE_EXHAUSTED,
    431: _Code.RESOURCE_EXHAUSTED,
    500: _Code.INTERNAL,
    501: _Code.UNIMPLEMENTED,
    503: _Code.UNAVAILABLE,
    504: _Code.DEADLINE_EXCEEDED,
}
Context = Any
Call = Callable[[Message, Context], Awaitable[Message]]


class Service:
    def __init__(self, upstream: Upstream, holding: Holding) -> None:
        self._upstream = upstream
        self._holding = holding

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """One for each service."""
        calls: dict[str, Call] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelStatistics": self._statistics,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }
        inference = {
            name: grpc.unary_unary_rpc_method_handler(
                call,
                request_deserializer=message_class(f"inference.{name}Request").FromString,
                response_serializer=message_class(f"inference.{name}Response").SerializeToString,
            )
            for name, call in calls.items()
        }
        # On the wire a stream of one message is a message; like this it is read when there is room for it
        inference["ModelInfer"] = grpc.stream_unary_rpc_method_handler(
            self._infer,
            request_deserializer=ModelInferRequest.FromString,
            response_serializer=ModelInferResponse.SerializeToString,
        )
        check = grpc.unary_unary_rpc_method_handler(
            self._check,
            request_deserializer=HealthCheckRequest.FromString,
            response_serializer=HealthCheckResponse.SerializeToString,
        )
        return (
            grpc.method_handlers_generic_handler(INFERENCE, inference),
            grpc.method_handlers_generic_handler(HEALTH, {"Check": check}),
        )

    # -- inference ----------------------------------------------------------------------------------------------

    async def _infer(self, requests: AsyncIterator[Message], context: Context) -> Message:
        holding = self._holding
        if holding.full:
            await refuse(context, 429, "requests at work hold the limit of memory: try again", retry_after_s=1.0)
        try:
            with holding.reading():
                request = await asyncio.wait_for(anext(requests), READ_S)
        except (StopAsyncIteration, TimeoutError):
            await refuse(context, 408, f"the request did not arrive within {READ_S:g} s: send it faster")
        try:
            head, parts = body_of(request)
        except BadRequestError as error:
            await refuse(context, 400, str(error))
        target = f"{_model(request.model_name, request.model_version)}/infer"
        del request  # its bytes are in parts
        headers = [("Inference-Header-Content-Length", str(len(head)))]
        answer = await self._ask(context, "POST", target, headers=headers, body=[head, *parts])
        try:
            return answer_of(answer.body, int(answer.headers.get(b"inference-header-content-length", b"0")))
        except BAD_ANSWER as error:
            await refuse(context, 500, f"the model's answer cannot be passed on: {error}")

    # -- what needs no model ------------------------------------------------------------------------------------

    async def _server_live(self, _: Message, context: Context) -> Message:
        return _made("ServerLiveResponse", live=(await self._get(context, "/v2/health/live")).status == 200)

    async def _server_ready(self, _: Message, context: Context) -> Message:
        return _made("ServerReadyResponse", ready=(await self._get(context, "/v2/health/ready")).status == 200)

    async def _server_metadata(self, _: Message, context: Context) -> Message:
        return _read("ServerMetadataResponse", await self._ask(context, "GET", "/v2"))

    async def _model_ready(self, request: Message, context: Context) -> Message:
        answer = await self._get(context, f"{_model(request.name, request.version)}/ready")
        if answer.status not in {200, 503}:
            await self._pass_on(context, answer)
        return _made("ModelReadyResponse", ready=answer.status == 200)

    async def _model_metadata(self, request: Message, context: Context) -> Message:
        return _read("ModelMetadataResponse", await self._ask(context, "GET", _model(request.name, request.version)))

    async def _statistics(self, request: Message, context: Context) -> Message:
        target = _model(request.name, request.version) if request.name else "/v2/models"
        return _read("ModelStatisticsResponse", await self._ask(context, "GET", f"{target}/stats"))

    async def _index(self, request: Message, context: Context) -> Message:
        body = orjson.dumps({"ready": request.ready})
        answer = await self._ask(context, "POST", "/v2/repository/index", body=[body])
        return _read("RepositoryIndexResponse", answer, under="models")

    async def _load(self, request: Message, context: Context) -> Message:
        await self._ask(context, "POST", f"/v2/repository/models/{_segment(request.model_name)}/load")
        return _made("RepositoryModelLoadResponse")

    async def _unload(self, request: Message, context: Context) -> Message:
        await self._ask(context, "POST", f"/v2/repository/models/{_segment(request.model_name)}/unload")
        return _made("RepositoryModelUnloadResponse")

    async def _check(self, request: Message, context: Context) -> Message:
        if request.service not in {"", INFERENCE, HEALTH}:
            await context.abort(_Code.NOT_FOUND, f"service {request.service[:80]!r} is not here")
        ready = (await self._get(context, "/v2/health/ready")).status == 200
        return HealthCheckResponse(status=SERVING if ready else NOT_SERVING)

    # -- the gateway --------------------------------------------------------------------------------------------

    async def _get(self, context: Context, target: str) -> Answer:
        return await self._any(context, "GET", target)

    async def _ask(self, context: Context, method: str, target: str, **more: Any) -> Answer:
        """The gateway's answer, which is a good one; with another the call ends."""
        answer = await self._any(context, method, target, **more)
        if answer.status != 200:
            await self._pass_on(context, answer)
        return answer

    async def _any(self, context: Context, method: str, target: str, **more: Any) -> Answer:
        passed = [(key, value) for key, value in context.invocation_metadata() or () if key in PASSED_ON]
        if any(not str(value).isprintable() for _, value in passed):
            await refuse(context, 400, "metadata has characters that no header may have")
        remaining_s = context.time_remaining()
        if remaining_s is not None:
            passed.append(("X-Request-Timeout", f"{min(max(remaining_s, 0.001), MAX_TIMEOUT_S):.3f}"))
        headers = [*more.pop("headers", ()), *passed]
        try:
            return await self._upstream.ask(method, target, headers=headers, **more)
        except GatewayGoneError as error:
            await refuse(context, 503, f"the gateway is being started again ({error}): try again", retry_after_s=1.0)

    async def _pass_on(self, context: Context, answer: Answer) -> NoReturn:
        try:
            text = orjson.loads(answer.body)["error"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            text = f"the gateway answered with {answer.status}"
        after = answer.headers.get(b"retry-after", b"")
        await refuse(context, answer.status, text, retry_after_s=float(after) if after.isdigit() else None)


async def refuse(context: Context, status: int, text: str, *, retry_after_s: float | None = None) -> NoReturn:
    """End the call with the code that stands for an HTTP status; when to try again comes as gRPC has it."""
    code = CODES.get(status, _Code.UNKNOWN)
    trailing: list[tuple[str, str | bytes]] = []
    if retry_after_s is not None:
        details = Status(code=code.value[0], message=text)
        delay = RetryInfo()
        delay.retry_delay.seconds = math.ceil(retry_after_s)
        details.details.add(type_url="type.googleapis.com/google.rpc.RetryInfo", value=delay.SerializeToString())
        trailing = [
            ("retry-after", str(math.ceil(retry_after_s))),
            ("grpc-retry-pushback-ms", str(math.ceil(retry_after_s * 1000))),
            ("grpc-status-details-bin", details.SerializeToString()),
        ]
    await context.abort(code, text, tuple(trailing))
    raise AssertionError("abort raises")


def _model(name: str, version: str) -> str:
    path = f"/v2/models/{_segment(name)}"
    return f"{path}/versions/{_segment(version)}" if version else path


def _segment(name: str) -> str:
    """A name as one part of a path, whatever is in it: a slash stays encoded when the path has been decoded."""
    return quote(name.replace("/", "%2F"), safe="")


def _made(name: str, **fields: Any) -> Message:
    return message_class(f"inference.{name}")(**fields)


def _read(name: str, answer: Answer, *, under: str | None = None) -> Message:
    """A JSON answer as a message; HTTP and gRPC give their fields the same names."""
    document = orjson.loads(answer.body)
    return json_format.ParseDict(document if under is None else {under: document}, _made(name), True)

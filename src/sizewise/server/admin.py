"""The admin API: what the CLI and everybody else who runs the system calls."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException

from sizewise.controller.controller import Controller
from sizewise.controller.deploy import Difference
from sizewise.controller.logs import LogTails, tails
from sizewise.controller.report import Explanation, ModelStatus, Status
from sizewise.controller.served import until_served
from sizewise.core.version import VERSION
from sizewise.protocols.errors import SizewiseError
from sizewise.server.bodies import DeployBody, ShutdownBody, SpecBody
from sizewise.server.metrics import FleetCollector

Prove = Callable[[str | None], None]
"""Raises ForbiddenError unless the caller showed that it owns the state directory."""

WAIT_S = 600.0
_NAME = "/api/v1/models/{name}"
_REFUSED: dict[str, Any] = {
    "description": "Refused or failed; one line says what, how much and what next.",
    "content": {
        "application/json": {
            "schema": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
        }
    },
}
_NEW: dict[str, Any] = {"model": ModelStatus, "description": "The name was not known before."}


def build_api(controller: Controller, prove: Prove, log_dir: Path) -> FastAPI:
    """The API without its guard (``server.guard``), which stands before it."""
    app = FastAPI(
        title="Sizewise admin API",
        version=VERSION,
        docs_url=None,  # these pages load scripts from a foreign host
        redoc_url=None,
        responses={"4XX": _REFUSED, "5XX": _REFUSED},
    )
    # The document says that these need the token; the guard enforces it
    protected = APIRouter(dependencies=[Depends(HTTPBearer(auto_error=False))])
    app.add_exception_handler(SizewiseError, _sizewise_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected_error)
    _add_models(protected, controller, prove)
    _add_system(protected, controller, prove)
    _add_logs(protected, log_dir)
    app.include_router(protected)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return app


def _add_models(app: APIRouter, controller: Controller, prove: Prove) -> None:
    @app.get("/api/v1/models")
    async def list_models() -> dict[str, list[ModelStatus]]:
        await controller.refresh()
        return {"models": list(controller.status().models)}

    @app.post("/api/v1/models", response_model=ModelStatus, responses={201: _NEW})
    async def deploy(body: DeployBody, response: Response, *, wait: bool = False, timeout_s: float = WAIT_S) -> Any:
        """Deploy or change one model. Answers at once; with `wait=true`, when the version serves or has failed.

        A model that may sleep is loaded once to see.
        """
        if body.allow_code:
            prove(body.proof)
        known = controller.registry.find(body.name)
        record = await controller.deploy(body.wants(known.wants if known else None), code_allowed=body.allow_code)
        response.status_code = 200 if known else 201
        await controller.take_effect()
        if wait:
            await until_served(controller, record, min(timeout_s, WAIT_S))
        return controller.model_status(record.name)

    @app.get(_NAME)
    async def show_model(name: str) -> ModelStatus:
        await controller.refresh()
        return controller.model_status(name)

    @app.delete(_NAME)
    async def undeploy(name: str) -> dict[str, str]:
        await controller.undeploy(name)
        return {"name": name, "state": "undeployed"}

    @app.get(f"{_NAME}/decisions")
    async def decisions(
        name: str, limit: Annotated[int, Query(ge=1, le=1000)] = 20
    ) -> dict[str, str | list[Explanation]]:
        """The newest first. Only decisions that changed something are kept."""
        return {"model": name, "decisions": await controller.explain(name, limit)}

    @app.post(f"{_NAME}/profile", status_code=202)
    async def profile(name: str) -> dict[str, str]:
        """Measure again, as soon as there is no traffic."""
        controller.request_profile(name)
        return {"name": name, "state": "queued"}


def _add_system(app: APIRouter, controller: Controller, prove: Prove) -> None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FleetCollector(controller))

    @app.get("/api/v1/status")
    async def status() -> Status:
        await controller.refresh()
        return controller.status()

    @app.post("/api/v1/spec")
    async def apply_spec(body: SpecBody) -> Difference:
        """Make what is deployed equal the spec; the answer is the difference."""
        if body.proof is not None:
            prove(body.proof)
        difference = await controller.apply_spec(body.spec, prune=body.prune, code_allowed=body.proof is not None)
        await controller.take_effect()
        return difference

    @app.post("/api/v1/shutdown", status_code=202)
    async def shutdown(body: ShutdownBody) -> dict[str, str]:
        """Drain and stop everything. Answers at once; everything is gone when the locks are free."""
        controller.request_shutdown(body.drain_s)
        return {"state": "stopping"}

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        await controller.refresh()
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _add_logs(app: APIRouter, log_dir: Path) -> None:
    @app.get("/api/v1/logs")
    def logs(name: str | None = None, last: Annotated[int, Query(ge=0, le=1000)] = 100) -> LogTails:
        """The last lines of one log or of each: a model, or keeper, gateway, controller, warm-RUNTIME."""
        return tails(log_dir, name, last)  # a thread reads: no async function


def _error(status: int, text: str) -> Response:
    # One line, whatever the cause wrote.
    return Response(orjson.dumps({"error": " ".join(text.split())}), status, media_type="application/json")


async def _sizewise_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, SizewiseError)
    response = _error(error.status, str(error))
    response.headers["X-Sizewise-Exit-Code"] = str(error.exit_code)
    return response


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    hint = ""
    if place == "body" and "json" not in request.headers.get("content-type", ""):
        hint = ": send a JSON object with the header Content-Type: application/json"
    return _error(400, f"{place}: {first['msg']}{hint}")


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, f"{request.method} {request.url.path}: {error.detail}")


async def _unexpected_error(_: Request, error: Exception) -> Response:
    return _error(500, f"unexpected {type(error).__name__}: the controller's log says where")

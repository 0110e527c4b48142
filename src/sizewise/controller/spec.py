"""``sizewise.yaml`` as values: what is to be served, on how much of which machine, at which address."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sizewise.controller.yaml_values import Value, compose
from sizewise.core.fleet import Isolation, ScalingPolicy
from sizewise.core.slo import Slo
from sizewise.protocols.backend import CommandSpec
from sizewise.protocols.certificates import TlsFiles
from sizewise.protocols.errors import UsageError

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
HOST = re.compile(r"\*|[A-Za-z0-9]([A-Za-z0-9._-]{0,252})|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*")
"""A name or address as it stands in a ``Host`` header, without brackets and port; ``*`` for any."""
NAME_RULE = "1 to 63 lower-case letters, digits, dots, dashes and underscores, starting with a letter or digit"
SLO_QUANTILES = {"p50_ms": 0.5, "p90_ms": 0.9, "p95_ms": 0.95, "p99_ms": 0.99}
MODEL_KEYS = (
    "uri",
    "command",
    "cwd",
    "env",
    "ready",
    "slo",
    "scaling",
    "timeout_s",
    "max_queue",
    "hold_s",
    "isolation",
    "load_ready",
)
MAX_REPLICAS = 1000
DAY_S = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model as its user wants it. Exactly one of ``uri`` and ``command`` is set."""

    name: str
    uri: str | None = None
    """Absolute path of the file or folder."""
    command: CommandSpec | None = None
    """A server the user brings."""
    slo: Slo | None = None
    """Latency goal. None: no goal, the model is sized for what arrives."""
    scaling: ScalingPolicy = field(default_factory=ScalingPolicy)
    timeout_s: float = 30.0
    """Deadline of a request that names none."""
    max_queue: int = 1024
    """Requests that may wait at the gateway, those for a cold model included; more get 429."""
    hold_s: float = 60.0
    """How long a request may wait for a model to wake; 0 answers 503 at once."""
    isolation: Isolation = Isolation.AUTO
    """Whether the model may share a process with others; ``auto`` leaves it to the decision."""
    load_ready: bool = True
    """Whether it may be opened from a load-ready form, whose answers may differ in the last digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSpec:
    """The budget all models share. None: found out from the machine, its cgroup and the limits of the process."""

    cpus: float | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSpec:
    """Where clients and administrators connect."""

    host: str = "127.0.0.1"
    """Loopback by default: another address needs ``api_keys`` or ``--insecure``."""
    port: int = 8080
    """Data port; 0 takes a free one."""
    admin_port: int = 8081
    """Admin API, always on loopback; 0 takes a free one."""
    allowed_hosts: tuple[str, ...] = ()
    """Names besides loopback ones that a request's Host header may carry."""
    api_keys: str | None = None
    """File with one SHA-256 of an API key per line; None asks for no key."""
    tls: TlsFiles | None = None
    """None: plain HTTP and gRPC, as behind a proxy or on loopback."""
    grpc_port: int | None = None
    """Port of the Open Inference Protocol over gRPC; 0 takes a free one; None: no gRPC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    project: str = "default"
    models: tuple[ModelSpec, ...] = ()
    machine: MachineSpec = field(default_factory=MachineSpec)
    serving: ServingSpec = field(default_factory=ServingSpec)
    source: str = ""
    """The file or folder it was read from."""


def check_name(name: str) -> str:
    """The name, if it may be one of a model. Raises UsageError with the rule."""
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no model name: use {NAME_RULE}")
    return name


def load_spec(path: Path) -> Spec:
    """Read a spec file. Raises SpecError naming file, line, key, problem and what is allowed."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text: give a YAML spec, a folder of models, or deploy the file") from (
            error
        )
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}: write one with: sizewise init") from error
    return parse_spec(text, file=str(path), base=path.absolute().parent)


def parse_spec(text: str, *, file: str, base: Path, check_files: bool = True) -> Spec:
    """``base`` is the folder that relative paths start from; ``check_files`` refuses paths that do not exist."""
    top = compose(text, file).section(("project", "models", "machine", "serving"))
    models = top["models"].members("give a name for each model") if "models" in top else {}
    return Spec(
        project=_name(top["project"]) if "project" in top else Spec().project,
        models=tuple(_model(name, value, base, check_files=check_files) for name, value in models.items()),
        machine=_machine(top["machine"]) if "machine" in top else MachineSpec(),
        serving=_serving(top["serving"], base, check_files=check_files) if "serving" in top else ServingSpec(),
        source=file,
    )


def _name(value: Value) -> str:
    name = value.word(f"use {NAME_RULE}")
    if not NAME.fullmatch(name):
        raise value.fail(f"{name!r} is no name", f"use {NAME_RULE}")
    return name


def _model(name: str, value: Value, base: Path, *, check_files: bool) -> ModelSpec:
    if not NAME.fullmatch(name):
        raise value.fail_key("is no model name", f"use {NAME_RULE}")
    keys = value.section(MODEL_KEYS)
    if ("uri" in keys) == ("command" in keys):
        problem = "has both uri and command" if "uri" in keys else "has neither uri nor command"
        raise value.fail_key(problem, "give exactly one of them")
    for key in ("cwd", "env", "ready"):
        if key in keys and "command" not in keys:
            raise keys[key].fail_key("belongs to a command", "remove it, or give command instead of uri")
    default = ModelSpec(name=name)
    return ModelSpec(
        name=name,
        uri=_uri(keys["uri"], base, check_files=check_files) if "uri" in keys else None,
        command=_command(keys, base) if "command" in keys else None,
        slo=_slo(keys["slo"]) if "slo" in keys else None,
        scaling=_scaling(keys["scaling"]) if "scaling" in keys else default.scaling,
        timeout_s=keys["timeout_s"].number(0.001, DAY_S) if "timeout_s" in keys else default.timeout_s,
        max_queue=keys["max_queue"].integer(0, 1_000_000) if "max_queue" in keys else default.max_queue,
        hold_s=keys["hold_s"].number(0, DAY_S) if "hold_s" in keys else default.hold_s,
        isolation=_isolation(keys) if "isolation" in keys else default.isolation,
        load_ready=keys["load_ready"].flag() if "load_ready" in keys else default.load_ready,
    )


def _isolation(keys: dict[str, Value]) -> Isolation:
    isolation = Isolation(keys["isolation"].choice(tuple(Isolation)))
    if isolation is Isolation.INLINE and "command" in keys:
        raise keys["isolation"].fail("inline is not for a command", f"give {Isolation.AUTO} or {Isolation.PROCESS}")
    return isolation


def _uri(value: Value, base: Path, *, check_files: bool) -> str:
    text = value.text("give the path of a file or folder")
    parts = urlsplit(text)
    if parts.scheme not in {"", "file"} or parts.netloc not in {"", "localhost"}:
        raise value.fail(f"{text} is in a store that is not supported", "give the path of a file or folder")
    named = unquote(parts.path) if parts.scheme else text
    path = (base / named).absolute()
    if check_files and not path.exists():
        raise value.fail(f"{text} does not exist", _start(named, base) or "give the path of a file or folder")
    return str(path)


def _start(text: str, base: Path) -> str:
    """Where a path that was not found was looked for; nothing of one that says so itself."""
    return "" if Path(text).is_absolute() else f"relative paths start from {base}"


def _command(keys: dict[str, Value], base: Path) -> CommandSpec:
    argv = tuple(item.word() for item in keys["command"].items("give a list: the program and its arguments"))
    if not argv:
        raise keys["command"].fail("is empty", "give a list: the program and its arguments")
    ready = keys["ready"].section(("path", "timeout_s")) if "ready" in keys else {}
    default = CommandSpec(argv=argv)
    path = ready["path"].text("give a path such as /healthz") if "path" in ready else default.ready_path
    if not path.startswith("/"):
        raise ready["path"].fail(f"{path} does not start with /", "give a path such as /healthz")
    env = keys["env"].members("give names and values") if "env" in keys else {}
    return CommandSpec(
        argv=argv,
        cwd=str((base / keys["cwd"].text("give a folder")).absolute()) if "cwd" in keys else str(base),
        env=tuple((name, value.word()) for name, value in env.items()),
        ready_path=path,
        ready_timeout_s=ready["timeout_s"].number(0.1, DAY_S) if "timeout_s" in ready else default.ready_timeout_s,
    )


def _slo(value: Value) -> Slo:
    keys = value.section(tuple(SLO_QUANTILES))
    if len(keys) != 1:
        raise value.fail(f"has {len(keys)} goals", f"give exactly one of {', '.join(SLO_QUANTILES)}")
    ((key, goal),) = keys.items()
    return Slo(quantile=SLO_QUANTILES[key], latency_s=goal.number(0.1, DAY_S * 1000) / 1000)


def _scaling(value: Value) -> ScalingPolicy:
    keys = value.section(("min_replicas", "max_replicas", "priority"))
    default = ScalingPolicy()
    low = keys["min_replicas"].integer(0, MAX_REPLICAS) if "min_replicas" in keys else default.min_replicas
    high = keys["max_replicas"].integer(1, MAX_REPLICAS) if "max_replicas" in keys else max(default.max_replicas, low)
    if low > high:
        raise keys["min_replicas"].fail(f"{low} is above max_replicas", f"give a whole number from 0 to {high}")
    priority = keys["priority"].integer(-1000, 1000) if "priority" in keys else default.priority
    return ScalingPolicy(min_replicas=low, max_replicas=high, priority=priority)


def _machine(value: Value) -> MachineSpec:
    keys = value.section(("cpus", "memory", "disk"))
    return MachineSpec(
        cpus=keys["cpus"].number(0.1, 4096) if "cpus" in keys else None,
        memory_bytes=keys["memory"].size_bytes() if "memory" in keys else None,
        disk_bytes=keys["disk"].size_bytes() if "disk" in keys else None,
    )


def _serving(value: Value, base: Path, *, check_files: bool) -> ServingSpec:
    keys = value.section(("host", "port", "admin_port", "grpc_port", "allowed_hosts", "api_keys", "tls"))
    default = ServingSpec()
    port = keys["port"].integer(0, 65535) if "port" in keys else default.port
    admin_port = keys["admin_port"].integer(0, 65535) if "admin_port" in keys else default.admin_port
    if port == admin_port != 0:
        given = keys.get("admin_port") or keys["port"]
        raise given.fail(f"port and admin_port are both {port}", "give two different ports")
    grpc_port = keys["grpc_port"].integer(0, 65535) if "grpc_port" in keys else None
    if grpc_port and grpc_port in {port, admin_port}:
        raise keys["grpc_port"].fail(f"{grpc_port} is another port's", "give three different ports")
    hosts = keys["allowed_hosts"].items("give a list of host names") if "allowed_hosts" in keys else ()
    return ServingSpec(
        host=keys["host"].text("give an address such as 127.0.0.1") if "host" in keys else default.host,
        port=port,
        admin_port=admin_port,
        allowed_hosts=tuple(_host(host) for host in hosts),
        api_keys=_file(keys["api_keys"], base, check_files=check_files) if "api_keys" in keys else None,
        tls=_tls(keys["tls"], base, check_files=check_files) if "tls" in keys else None,
        grpc_port=grpc_port,
    )


def _host(value: Value) -> str:
    host = value.text("give a host name")
    if not HOST.fullmatch(host):
        raise value.fail(f"{host!r} is no host name", "give a name such as models.example.org, without scheme and port")
    return host


def _tls(value: Value, base: Path, *, check_files: bool) -> TlsFiles:
    keys = value.section(("cert", "key"))
    if len(keys) != 2:
        raise value.fail("needs both cert and key", "give two PEM files")
    cert, key = (_file(keys[name], base, check_files=check_files) for name in ("cert", "key"))
    return TlsFiles(cert=cert, key=key)


def _file(value: Value, base: Path, *, check_files: bool) -> str:
    text = value.text("give a file")
    path = (base / text).absolute()
    if check_files and not path.is_file():
        raise value.fail(f"{text} is no file", _start(text, base) or "give a file")
    return str(path)

"""What ``up`` is given, as settings of a controller."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sizewise.controller.spec import Spec
    from sizewise.protocols.certificates import TlsFiles
    from sizewise.server.run import ControllerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """Options of the command line that count more than the spec; None leaves the spec's word."""

    state_dir: Path
    prune: bool
    insecure: bool
    host: str | None
    port: int | None
    admin_port: int | None
    api_keys: Path | None
    grpc_port: int | None
    tls_cert: Path | None
    tls_key: Path | None


def read_target(target: Path) -> "Spec":
    """A spec file, or a folder of models. Raises SpecError, UsageError."""
    from sizewise.controller.folder import folder_spec
    from sizewise.controller.spec import load_spec

    return folder_spec(target) if target.is_dir() else load_spec(target)


def settings_of(spec: "Spec | None", wishes: Wishes, *, detached: bool) -> "ControllerSettings":
    from sizewise.controller.spec import Spec
    from sizewise.server.run import ControllerSettings

    said = spec or Spec()
    serving = replace(
        said.serving,
        host=wishes.host or said.serving.host,
        port=said.serving.port if wishes.port is None else wishes.port,
        admin_port=said.serving.admin_port if wishes.admin_port is None else wishes.admin_port,
        api_keys=said.serving.api_keys if wishes.api_keys is None else str(wishes.api_keys.absolute()),
        grpc_port=said.serving.grpc_port if wishes.grpc_port is None else wishes.grpc_port,
        tls=_tls(wishes) or said.serving.tls,
    )
    return ControllerSettings(
        state_dir=wishes.state_dir.absolute(),
        spec=spec,
        prune=wishes.prune,
        machine=said.machine,
        serving=serving,
        insecure=wishes.insecure,
        detached=detached,
    )


def _tls(wishes: Wishes) -> "TlsFiles | None":
    from sizewise.protocols.certificates import TlsFiles
    from sizewise.protocols.errors import UsageError

    if (wishes.tls_cert is None) != (wishes.tls_key is None):
        raise UsageError("--tls-cert and --tls-key belong together: give both")
    if wishes.tls_cert is None or wishes.tls_key is None:
        return None
    return TlsFiles(cert=str(wishes.tls_cert.absolute()), key=str(wishes.tls_key.absolute()))

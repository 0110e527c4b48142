"""``sizewise up``: serve what a spec or a folder names."""

from pathlib import Path
from typing import Annotated

import typer

from sizewise.cli.app import app
from sizewise.cli.options import DEFAULT_STATE_DIR, Output, OutputOption, StateDirOption

DEFAULT_SPEC = Path("sizewise.yaml")

SpecArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[SPEC|FOLDER]", help="A sizewise.yaml, or a folder: every model file in it is served."),
]
DetachOption = Annotated[
    bool, typer.Option("--detach", "-d", help="Return once it serves; it goes on until: sizewise down.")
]
PruneOption = Annotated[bool, typer.Option("--prune", help="Remove models that were deployed by hand as well.")]
HostOption = Annotated[str | None, typer.Option(help="Address of the data port, instead of the spec's.")]
PortOption = Annotated[int | None, typer.Option(min=0, max=65535, help="Data port; 0 takes a free one.")]
AdminPortOption = Annotated[int | None, typer.Option(min=0, max=65535, help="Admin port; 0 takes a free one.")]
KeysOption = Annotated[Path | None, typer.Option("--api-keys", help="File with the SHA-256 of one API key per line.")]
GrpcPortOption = Annotated[int | None, typer.Option(min=0, max=65535, help="gRPC port; 0 takes a free one.")]
CertOption = Annotated[Path | None, typer.Option("--tls-cert", help="PEM file: the data port and gRPC speak TLS.")]
KeyOption = Annotated[Path | None, typer.Option("--tls-key", help="PEM file: the key of --tls-cert.")]
InsecureOption = Annotated[bool, typer.Option("--insecure", help="Serve a foreign address without API keys.")]


@app.command()
def up(
    spec: SpecArgument = None,
    detach: DetachOption = False,
    prune: PruneOption = False,
    host: HostOption = None,
    port: PortOption = None,
    admin_port: AdminPortOption = None,
    grpc_port: GrpcPortOption = None,
    api_keys: KeysOption = None,
    tls_cert: CertOption = None,
    tls_key: KeyOption = None,
    insecure: InsecureOption = False,
    output: OutputOption = Output.table,
    state_dir: StateDirOption = DEFAULT_STATE_DIR,
) -> None:
    """Serve models, and scale each by what it weighs, until Ctrl-C or `sizewise down`.

    What runs is made equal to SPEC, and the difference is printed; models added by `sizewise deploy` stay. Without
    SPEC, ./sizewise.yaml is used if it is there, else what was served from this state directory before.
    """
    from sizewise.cli import detached, foreground
    from sizewise.cli.targets import Wishes, read_target, settings_of
    from sizewise.controller.layout import is_held

    target = spec if spec is not None else (DEFAULT_SPEC if DEFAULT_SPEC.is_file() else None)
    wanted = None if target is None else read_target(target)
    if detach and wanted is not None and is_held(state_dir):
        raise typer.Exit(detached.apply_to_running(state_dir, wanted, prune=prune, output=output))
    wishes = Wishes(
        state_dir=state_dir,
        prune=prune,
        insecure=insecure,
        host=host,
        port=port,
        admin_port=admin_port,
        api_keys=api_keys,
        grpc_port=grpc_port,
        tls_cert=tls_cert,
        tls_key=tls_key,
    )
    settings = settings_of(wanted, wishes, detached=detach)
    if detach:
        raise typer.Exit(detached.start(settings, output=output))
    foreground.run(settings, output=output)

"""Certificates for tests, as files."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Files:
    cert: Path
    key: Path
    ca: Path


def write(folder: Path, name: str = "tls") -> Files:
    """A new authority and a certificate of it for this machine's own names."""
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost", "127.0.0.1")
    files = Files(folder / f"{name}.pem", folder / f"{name}.key", folder / f"{name}-ca.pem")
    files.key.touch(mode=0o600)
    leaf.private_key_pem.write_to_path(str(files.key))
    leaf.cert_chain_pems[0].write_to_path(str(files.cert))
    authority.cert_pem.write_to_path(str(files.ca))
    return files

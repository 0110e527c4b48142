"""Proof that a caller of the admin API is on this machine and owns the state directory.

A model that is code runs with the rights of whoever runs ``up``. The bearer token alone does not allow deploying one:
a token may have been handed to a scraper or a remote script. The caller also writes a file with a random name into
the private run folder and names it; the controller checks owner, mode, age and content, and deletes it, so that it
serves once. Why: docs/decisions/code-models-need-proof.md.
"""

import hmac
import os
import re
import secrets
import stat
import time
from pathlib import Path

from sizewise.protocols.control import make_run_dir, run_dir
from sizewise.protocols.errors import ForbiddenError

MAX_AGE_S = 60.0
_PATTERN = re.compile(r"[0-9a-f]{16}\.[0-9a-f]{64}")


def write_proof(state_dir: Path) -> str:
    """Called by the CLI; send what it returns as ``proof``."""
    name, secret = secrets.token_hex(8), secrets.token_hex(32)
    path = make_run_dir(state_dir) / f"proof-{name}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as target:
        target.write(secret)
    return f"{name}.{secret}"


def check_proof(state_dir: Path, proof: str | None) -> None:
    """Use up ``proof``. Raises ForbiddenError unless its file is private, ours, fresh and says the same."""
    refused = ForbiddenError(
        "a model that is code is not deployed over HTTP alone: run `sizewise deploy --allow-code` on this machine "
        "or write it into the spec"
    )
    if proof is None or not _PATTERN.fullmatch(proof):
        raise refused
    name, secret = proof.split(".")
    path = run_dir(state_dir) / f"proof-{name}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise refused from error
    with os.fdopen(descriptor) as source:
        path.unlink(missing_ok=True)
        facts = os.fstat(source.fileno())
        content = source.read(len(secret) + 1)
    private = stat.S_ISREG(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & 0o077
    fresh = time.time() - facts.st_mtime <= MAX_AGE_S
    if not (private and fresh and hmac.compare_digest(content, secret)):
        raise refused

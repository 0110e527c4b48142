"""The artifact store on a local disk: one read-only folder per artifact, named by its hash.

A model is never served from the user's path: changing a mapped file kills its readers with SIGBUS.
"""

import contextlib
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sizewise.controller.forms import FormStore
from sizewise.controller.sealed import delete, seal, tree_bytes
from sizewise.core.units import MIB, format_bytes
from sizewise.protocols.artifacts import Artifact, combine_digests, content_hash
from sizewise.protocols.errors import DoesNotFitError, ModelFileError, UnavailableError

_CHUNK_BYTES = 4 * MIB
_TEMPORARY = ".tmp-"
MARGIN_BYTES = 64 * MIB
"""Left free on the file system after a copy: databases and logs live there too."""


class LocalStore:
    """An ArtifactStore in ``root``. ``budget_bytes`` bounds all artifacts together; None leaves it to the disk.

    ``forms`` count too, and go first when room is short.
    """

    def __init__(
        self,
        root: Path,
        *,
        budget_bytes: int | None = None,
        margin_bytes: int = MARGIN_BYTES,
        forms: FormStore | None = None,
    ) -> None:
        self._root = root
        self._forms = forms
        self._budget_bytes = budget_bytes
        self._margin_bytes = margin_bytes
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in root.glob(f"{_TEMPORARY}*"):
            delete(leftover)
        # Walked through once: artifacts do not change, and this is the only one who adds or removes any
        self._sizes = {path.name: tree_bytes(path) for path in root.iterdir() if _is_hash(path.name)}

    def put(self, folder: Path, files: Sequence[str], *, model: str) -> Artifact:
        sources = [(name, _confined(folder, name)) for name in files]
        with _readable(folder):
            need_bytes = sum(path.stat().st_size for _, path in sources)
            # Hashing what is stored already is cheaper than copying it; the size says when that may be so.
            if need_bytes in self.sizes().values():
                known = self.get(content_hash(folder, files))
                if known is not None:
                    return known
        self._check_room(need_bytes, model)
        temporary = self._root / f"{_TEMPORARY}{secrets.token_hex(8)}"
        try:
            return self._copy(sources, temporary)
        except OSError as error:
            raise UnavailableError(
                f"storing model {model!r} failed: {error.strerror or error}: nothing was kept, "
                f"{format_bytes(need_bytes)} are needed in {self._root}"
            ) from error
        finally:
            delete(temporary)

    def get(self, content_hash: str) -> Artifact | None:
        path = self._root / content_hash
        if not _is_hash(content_hash) or not path.is_dir():
            return None
        return Artifact(hash=content_hash, path=path, disk_bytes=tree_bytes(path))

    def remove(self, content_hash: str) -> None:
        path = self._root / content_hash
        if not _is_hash(content_hash) or not path.is_dir():
            return
        # Out of sight in one step: whoever looks meanwhile finds all of it or nothing.
        trash = self._root / f"{_TEMPORARY}{secrets.token_hex(8)}"
        path.rename(trash)
        self._sizes.pop(content_hash, None)
        delete(trash)

    def sizes(self) -> Mapping[str, int]:
        return dict(self._sizes)

    def _check_room(self, need_bytes: int, model: str) -> None:
        if self._budget_bytes is not None:
            left_bytes = self._budget_bytes - sum(self.sizes().values())
            if self._forms is not None:
                self._forms.evict(need_bytes + self._forms.used_bytes - left_bytes)
            if need_bytes > left_bytes:
                raise DoesNotFitError(
                    model=model,
                    resource="the disk budget",
                    need_bytes=need_bytes,
                    have_bytes=max(left_bytes, 0),
                    advice="undeploy a model or raise machine.disk",
                )
        free_bytes = shutil.disk_usage(self._root).free
        if self._forms is not None:
            free_bytes += self._forms.evict(need_bytes + self._margin_bytes - free_bytes)
        if need_bytes + self._margin_bytes > free_bytes:
            raise DoesNotFitError(
                model=model,
                resource="free disk space",
                need_bytes=need_bytes + self._margin_bytes,
                have_bytes=free_bytes,
                advice=f"free some in {self._root} or choose another --state-dir",
            )

    def _copy(self, sources: Sequence[tuple[str, Path]], temporary: Path) -> Artifact:
        temporary.mkdir(mode=0o700)
        digests = []
        for name, source in sources:
            target = temporary / name
            target.parent.mkdir(parents=True, exist_ok=True)
            digests.append((name, _copy_file(source, target)))
        seal(temporary)
        final = self._root / combine_digests(digests)
        # rename onto a folder that has content fails: then somebody stored the same, and that one stays.
        if not final.is_dir():
            temporary.rename(final)
        size_bytes = self._sizes[final.name] = tree_bytes(final)
        return Artifact(hash=final.name, path=final, disk_bytes=size_bytes)


def _is_hash(name: str) -> bool:
    return len(name) == 64 and all(c in "0123456789abcdef" for c in name)


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ModelFileError(
            str(folder), f"cannot be read: {error.strerror or error}", "check its permissions"
        ) from error


def _confined(folder: Path, name: str) -> Path:
    """The file ``name`` in ``folder``; refused when it is elsewhere, no regular file, or a second name of one."""
    path = folder / name
    with _readable(path):
        root, real = folder.resolve(strict=True), path.resolve(strict=True)
        mode = real.stat().st_mode
    if not real.is_relative_to(root):
        raise ModelFileError(str(path), "lies outside the model's folder", "copy it into the folder")
    if not stat.S_ISREG(mode):
        raise ModelFileError(str(path), "is not a regular file", "a model is made of regular files only")
    return real


def _copy_file(source: Path, target: Path) -> str:
    """Copy and return the SHA-256 of what was written, so that a source which changes cannot lie about it."""
    digest = hashlib.sha256()
    with _readable(source):
        # O_NOFOLLOW: what was checked a moment ago may have become a link since.
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as reader, target.open("xb", buffering=0) as writer:
        while chunk := reader.read(_CHUNK_BYTES):
            digest.update(chunk)
            view = memoryview(chunk)
            while view:
                view = view[writer.write(view) :]
        os.fdatasync(writer.fileno())
    return digest.hexdigest()

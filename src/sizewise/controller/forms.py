"""Load-ready forms on a local disk: one read-only folder for each, ``ROOT/HASH/KEY``, whole or absent."""

import logging
import secrets
import shutil
import threading
from collections.abc import Mapping, Set
from dataclasses import replace
from pathlib import Path

from sizewise.controller.sealed import delete, seal, sync, tree_bytes
from sizewise.core.forms import Form, victims
from sizewise.protocols.serde import dumps, loads

log = logging.getLogger(__name__)

ABOUT = "form.json"
_TEMPORARY = ".tmp-"


class FormStore:
    """What is there is kept in memory: it is asked for at every decision. Other calls block; use a thread.

    A writer puts new mappings in place of the old ones, so that readers need no lock.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in root.glob(f"{_TEMPORARY}*"):
            delete(leftover)
        self._writing = threading.RLock()
        self._forms: Mapping[str, Mapping[str, Form]] = {}
        for about in root.glob(f"*/*/{ABOUT}"):
            self._take_in(about.parent)

    def find(self, content_hash: str, name: str | None = None) -> Form | None:
        """The newest form of an artifact, or the one of that name. Does not block."""
        forms = [f for f in self._forms.get(content_hash, {}).values() if name in {None, f.name}]
        return forms[-1] if forms else None

    @property
    def used_bytes(self) -> int:
        return sum(self.sizes().values())

    def sizes(self) -> Mapping[str, int]:
        """Bytes on disk by ``HASH/KEY``. Does not block."""
        return {f"{h}/{f.key}": f.disk_bytes for h, forms in self._forms.items() for f in forms.values()}

    def begin(self) -> Path:
        """A folder to write a form into; ``commit`` it, or ``abandon`` it. A crash leaves it to the next start."""
        folder = self.root / f"{_TEMPORARY}{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        return folder

    def commit(self, folder: Path, content_hash: str, form: Form) -> Form:
        """Take what was written in ``folder`` as ``form``; other forms of the artifact go. Raises OSError."""
        final = self.root / content_hash / form.key
        form = replace(form, path=str(final), disk_bytes=tree_bytes(folder), files=_files(folder))
        (folder / ABOUT).write_bytes(dumps(form))
        seal(folder)
        sync(folder)
        with self._writing:
            final.parent.mkdir(mode=0o700, exist_ok=True)
            delete(final)
            folder.chmod(0o700)  # a folder that may not be written to may not be moved either
            folder.rename(final)
            final.chmod(0o555)
            sync(final.parent)
            for other in self._forms.get(content_hash, {}).keys() - {form.key}:
                self.remove(content_hash, other)
            self._forms = {**self._forms, content_hash: {form.key: form}}
        return form

    def abandon(self, folder: Path) -> None:
        delete(folder)

    def remove(self, content_hash: str, key: str) -> None:
        """Replicas that have it open go on; those that start later open what was deployed."""
        with self._writing:
            left = {k: form for k, form in self._forms.get(content_hash, {}).items() if k != key}
            others = {h: forms for h, forms in self._forms.items() if h != content_hash}
            self._forms = {**others, content_hash: left} if left else others
            # Out of sight in one step: whoever looks meanwhile finds all of it or nothing.
            trash = self.root / f"{_TEMPORARY}{secrets.token_hex(8)}"
            path = self.root / content_hash / key
            if path.is_dir():
                path.chmod(0o700)
                path.rename(trash)
                delete(trash)

    def evict(self, need_bytes: int) -> int:
        """Remove forms to free so much; what was freed. All or nothing."""
        sizes = self.sizes()
        gone = victims(sizes, need_bytes)
        for each in gone:
            log.info("form %s goes to make room", each)
            self.remove(*each.split("/"))
        return sum(sizes[each] for each in gone)

    def sweep(self, hashes: Set[str], keys: Set[str]) -> None:
        """Keep the forms of ``hashes`` whose key is among ``keys``: no others will be opened again."""
        for each in self.sizes():
            content_hash, key = each.split("/")
            if content_hash not in hashes or key not in keys:
                log.info("form %s is not needed any more", each)
                self.remove(content_hash, key)
        for folder in self.root.iterdir():
            # What a crash left between two names, and what another version wrote
            if folder.name not in self._forms and not folder.name.startswith(_TEMPORARY):
                delete(folder)

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.root).free

    def _take_in(self, folder: Path) -> None:
        try:
            form = loads(Form, (folder / ABOUT).read_bytes())
        except (OSError, ValueError):
            return  # swept
        if form.key == folder.name and (folder / form.entry).is_file():
            known = self._forms.get(folder.parent.name, {})
            moved = replace(form, path=str(folder), files=_files(folder))
            self._forms = {**self._forms, folder.parent.name: {**known, form.key: moved}}


def _files(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.iterdir() if path.name != ABOUT))

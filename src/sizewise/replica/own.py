"""What a replica does to itself: give memory back, step forward when the kernel must end somebody."""

import gc
from pathlib import Path

from sizewise.system.memory import give_back_memory

SELF = Path("/proc/self")
REPLICA_OOM_SCORE = 500
"""The kernel ends a replica before anything that serves other models too."""


def release_memory() -> None:
    """Give back what loading needed and serving does not, and let the collector forget the rest."""
    gc.collect()
    gc.freeze()
    give_back_memory()


def prefer_in_oom(score: int = REPLICA_OOM_SCORE) -> None:
    """Raise oom_score_adj; what was set higher stays. Lowering it would need a privilege, raising does not."""
    path = SELF / "oom_score_adj"
    if int(path.read_text()) < score:
        path.write_text(str(score))

"""What a replica does to itself: step forward when the kernel must end somebody."""

from pathlib import Path

SELF = Path("/proc/self")
REPLICA_OOM_SCORE = 500
"""The kernel ends a replica before anything that serves other models too."""


def prefer_in_oom(score: int = REPLICA_OOM_SCORE) -> None:
    """Raise oom_score_adj; what was set higher stays. Lowering it would need a privilege, raising does not."""
    path = SELF / "oom_score_adj"
    if int(path.read_text()) < score:
        path.write_text(str(score))

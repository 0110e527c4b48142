"""Both sessions on a load-ready form, side by side."""

from sizewise.cli.show_stages import Column, stages_view

MAPPED = Column(name="mapped", open_s=0.02, p50_s={1: 0.01, 8: 0.03}, ready=0)
PACKED = Column(name="packed", open_s=None, p50_s={1: 0.01}, ready=2)


def rows(*stages: Column) -> list[tuple[str, ...]]:
    columns = stages_view(stages).columns
    return list(zip(*(map(str, column.cells) for column in columns), strict=True))


def test_what_is_not_measured_is_not_made_up() -> None:
    assert rows(MAPPED, PACKED) == [
        ("replicas that answer from it", "0", "2"),
        ("open, first call included", "20.0 ms", "-"),
        ("p50 at batch 1", "10.0 ms", "10.0 ms"),
        ("p50 at batch 8", "30.0 ms", "-"),
    ]


def test_without_a_system_nobody_answers() -> None:
    alone = Column(name="mapped", open_s=0.02, p50_s={})
    assert rows(alone) == [("open, first call included", "20.0 ms")]

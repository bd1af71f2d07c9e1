"""Two that make the same thing of what both write: whatever the order of their steps, it is made of what was written last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, combinations, cycle
from threading import Semaphore, Thread

import numpy as np
import pytest

from isofield.omezarr.canvas import create_canvas
from isofield.omezarr.settling import until_settled, versions
from isofield.omezarr.spec import OutputSpec
from isofield.omezarr.store import shard_rois, write_shard

N_STEPS = 12
Parts = list[int | None]
"""How often each of two parts was written; None: it is not there."""


class Turns:
    """Two threads, of which at each moment one runs: each takes a step when it is told to."""

    def __init__(self, actors: list[Callable[[Callable[[], None]], None]]) -> None:
        self.go, self.stopped = [Semaphore(0) for _ in actors], Semaphore(0)
        self.ended = [False for _ in actors]
        for k, actor in enumerate(actors):
            Thread(target=self._run, args=(k, actor), daemon=True).start()

    def _run(self, k: int, actor: Callable[[Callable[[], None]], None]) -> None:
        def step() -> None:
            self.stopped.release()
            assert self.go[k].acquire(timeout=60)

        assert self.go[k].acquire(timeout=60)
        try:
            actor(step)
        finally:
            self.ended[k] = True
            self.stopped.release()

    def play(self, order: Iterator[int]) -> None:
        for k in order:
            if all(self.ended):
                return
            if not self.ended[k]:
                self.go[k].release()
                assert self.stopped.acquire(timeout=60)


def outcome(order: tuple[int, ...], parts: Parts, settle: Callable) -> tuple[Parts, Parts | None]:
    """What is written in the end, and what the common part was made from."""
    common: Parts | None = None

    def run(own: int) -> Callable[[Callable[[], None]], None]:
        def actor(step: Callable[[], None]) -> None:
            nonlocal common
            parts[own] = (parts[own] or 0) + 1
            step()
            if None in parts:
                return

            def look() -> Parts:
                seen = list(parts)
                step()
                return seen

            def make() -> None:
                nonlocal common
                read = list(parts)
                step()
                common = read
                step()

            settle(look, make)

        return actor

    Turns([run(0), run(1)]).play(chain(order, cycle((0, 1))))
    return parts, common


def orders() -> Iterator[tuple[int, ...]]:
    """All in which two take six steps each; then they take turns."""
    for firsts in combinations(range(N_STEPS), N_STEPS // 2):
        yield tuple(0 if k in firsts else 1 for k in range(N_STEPS))


@pytest.mark.parametrize("before", [(None, None), (1, 1), (None, 1)], ids=["new", "made once", "one half new"])
def test_in_every_order_the_common_part_is_made_from_what_was_written_last(before):
    for order in orders():
        written, made_from = outcome(order, list(before), until_settled)
        assert made_from == written, order


def test_without_looking_again_it_is_not():
    """Negative control: a run that was held up publishes what it read before another one wrote."""

    def once(look, make):
        look()
        make()

    stale = [order for order in orders() if (found := outcome(order, [1, 1], once))[0] != found[1]]
    assert 0 < len(stale) < sum(1 for _ in orders())


@pytest.mark.parametrize("ome_zarr", ["0.5", "0.4"])
def test_a_version_is_one_of_a_file_and_changes_when_it_is_written(tmp_path, ome_zarr):
    spec = OutputSpec(chunk_vox=8, shard_vox=16, pyramid_min_vox=16, ome_zarr=ome_zarr)
    create_canvas(tmp_path / "a", (16, 16, 32), "uint8", spec, voxel_size_nm=(4, 4, 4))
    left, right = shard_rois((16, 16, 32), 16)
    both = left.between(left.offset, right.end)
    assert set(versions(tmp_path / "a", 0, both)) == {None}
    for shard in (left, right):
        write_shard(tmp_path / "a", 0, shard, np.ones((16, 16, 16), "uint8"))
    first = versions(tmp_path / "a", 0, both)
    assert len(set(first)) == len(first) == {"0.5": 2, "0.4": 16}[ome_zarr]
    assert versions(tmp_path / "a", 0, both) == first
    # The same bytes, but somebody was here.
    write_shard(tmp_path / "a", 0, right, np.ones((16, 16, 16), "uint8"))
    assert versions(tmp_path / "a", 0, left) == first[: len(first) // 2]
    assert all(a != b for a, b in zip(versions(tmp_path / "a", 0, right), first[len(first) // 2 :], strict=True))

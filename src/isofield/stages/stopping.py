"""How stages end early: for lack of blocks, or asked to by a scheduler before the wall time, by preemption, by a person."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StoppedError(Exception):
    """A stage ended early because it was asked to; what it had is saved, and running it again goes on from there."""


class BlocksFailedError(Exception):
    """Some blocks of a job could not be fitted; the others are done and kept."""


class StopRequest:
    """Notes SIGTERM and SIGUSR1 while it is entered, in the main thread, instead of dying of them.

    `if request.made: ...` where there is something to save; a second signal kills at once.
    """

    def __init__(self) -> None:
        self.made: str | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.made = signal.Signals(number).name
        for known in SIGNALS:
            signal.signal(known, signal.SIG_DFL)

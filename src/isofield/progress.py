"""Progress of long stages: one line redrawn on a terminal, plain lines now and then in a log file."""

from __future__ import annotations

import os
import sys
import time


class Progress:
    """Counts up to `total` `unit`s and says how fast and how long still, on standard error.

    On a terminal the line is redrawn twice a second; elsewhere a plain line is written every `log_every_s` seconds and at
    the end, so that log files stay short and readable.
    """

    def __init__(self, what: str, total: int, unit: str, done: int = 0, log_every_s: float = 15.0) -> None:
        self.what, self.total, self.unit, self.first = what, total, unit, done
        self.started = time.monotonic()
        self.terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.every = 0.5 if self.terminal else log_every_s
        self.last = self.started if not self.terminal else 0.0

    def update(self, done: int, note: str = "") -> None:
        now = time.monotonic()
        if now - self.last < self.every and done < self.total:
            return
        self.last = now
        line = f"{self.what}: {done}/{self.total} {self.unit}{self._pace(done, now)}{'  ' + note if note else ''}"
        end = "\n" if not self.terminal or done >= self.total else ""
        start = "\r\x1b[2K" if self.terminal else ""
        print(start + line, end=end, file=sys.stderr, flush=True)

    def _pace(self, done: int, now: float) -> str:
        elapsed = now - self.started
        rate = (done - self.first) / elapsed if elapsed > 0 else 0.0
        if rate <= 0:
            return ""
        if done >= self.total:
            return f" in {_clock(elapsed)} ({rate:.3g} {self.unit}/s)"
        return f" ({rate:.3g} {self.unit}/s, {_clock((self.total - done) / rate)} left)"


def say(text: str) -> None:
    """One plain line on standard error."""
    print(text, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

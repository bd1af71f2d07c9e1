"""The one exception a user is meant to read."""

from __future__ import annotations


class InputError(Exception):
    """Something the user gave cannot be used. Names the thing, its value, the limit and the remedy.

    The command line prints it on one line and exits with status 2; nothing has been written by then.
    """

    def __init__(self, thing: str, value: object, limit: str, remedy: str) -> None:
        self.thing, self.value, self.limit, self.remedy = thing, value, limit, remedy
        super().__init__(f"{thing}: {value!r}: {limit}. {remedy}")

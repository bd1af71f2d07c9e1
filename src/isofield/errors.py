"""The one exception a user is meant to read."""

from __future__ import annotations

import errno


class InputError(Exception):
    """Something the user gave cannot be used. Names the thing, its value, the limit and the remedy.

    The command line prints it on one line and exits with status 2; nothing has been written by then.
    """

    def __init__(self, thing: str, value: object, limit: str, remedy: str) -> None:
        self.thing, self.value, self.limit, self.remedy = thing, value, limit, remedy
        super().__init__(f"{thing}: {value!r}: {limit}. {remedy}")


class UnreadableError(InputError):
    """The source, or a part of it, cannot be read; `__cause__` is what was met.

    place: the voxels that cannot be read, as "z 0 to 4, y 0 to 32, x 0 to 32"; what does not need them can be made all the same.
    None where nothing of the source can be.
    """

    def __init__(self, thing: str, value: object, limit: str, remedy: str, place: str | None = None) -> None:
        self.place = place
        super().__init__(thing, value, limit, remedy)


STORAGE_ERRORS = {
    errno.ENOSPC: "Free some space, or move run.results or output.path to where there is some",
    errno.EDQUOT: "Free some of your quota, or move run.results or output.path to where there is some",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "Mount it for writing, or set run.results or output.path to where you may write",
    errno.EACCES: "Set its permissions, or run.results or output.path to where you may write",
    errno.EPERM: "Set its permissions, or run.results or output.path to where you may write",
    errno.EIO: "Have the disk or its server looked at",
    errno.ESTALE: "Its server was restarted: mount it again",
    errno.EMFILE: "Raise the limit on open files (ulimit -n)",
}
"""What can be wrong with a disk, not with this program, and what to do about it."""


def storage_problem(error: OSError) -> str | None:
    """One line for the user about a disk that does not do what is asked; None for any other error."""
    remedy = STORAGE_ERRORS.get(error.errno or 0)
    if remedy is None:
        return None
    where = repr(str(error.filename)) if error.filename else "disk"
    return f"{where}: {error.strerror}. {remedy}; then run again: what is done is kept"

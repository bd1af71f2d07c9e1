"""Google Cloud Storage through gcsfs, where it is to be spoken to otherwise than S3. Imports gcsfs."""

from __future__ import annotations

import logging
from functools import cache

from aiohttp import ClientError, ClientSession
from gcsfs import retry
from gcsfs.core import GCSFileSystem
from google.auth.exceptions import GoogleAuthError

# It logs what a server says, with a traceback, and that goes to standard error where nobody set up logging.
logging.getLogger("gcsfs").addHandler(logging.NullHandler())
logging.getLogger("gcsfs").propagate = False

_BYTES = {"Content-Type": "application/octet-stream"}
_RETRY_ERRORS = tuple(kind for kind in vars(retry).values() if isinstance(kind, type) and issubclass(kind, Exception))


class Client(GCSFileSystem):
    """gcsfs without gRPC, through which it asks for the kind of a bucket; where it may not, again before every request."""

    @staticmethod
    def close_session(loop: object, session: ClientSession | None, asynchronous: bool = False) -> None:
        """As gcsfs does, but for a session of zarr's loop: to close that in its own fails, loudly, as the process ends."""
        if not asynchronous:
            GCSFileSystem.close_session(loop, session)
        elif session is not None and session.connector is not None:
            session.connector._close()

    async def _pipe_file(self, path: str, data: bytes, **kwargs: object) -> None:
        """One request whose body is the file.

        gcsfs itself wraps it into MIME with bare line feeds, of which a carriage return at the end of a file may become part.
        """
        if not data:
            return await super()._pipe_file(path, data, **kwargs)
        bucket, key, _ = self.split_path(path)
        address = f"{self._location}/upload/storage/v1/b/{bucket}/o"
        await self._call("POST", address, uploadType="media", name=key, data=data, headers=_BYTES)
        return None


def lacks_bucket(fs: Client, bucket: str) -> bool:
    """Whether there is no such bucket, as far as the server tells who is asking."""
    try:
        _find_bucket(fs, bucket)
    except FileNotFoundError:
        return True
    except Exception as error:
        if not is_failure(error):
            raise
    return False


@cache
def _find_bucket(fs: Client, bucket: str) -> None:
    """Raises FileNotFoundError. One that was found is not asked for again. By listing: who reads seldom may see the bucket."""
    fs.call("GET", "b/{}/o", bucket, maxResults=1, fields="kind")


def is_failure(error: Exception) -> bool:
    """Whether gcsfs raises this when a request fails."""
    refused = isinstance(error, ValueError) and str(error).startswith(("Bad Request: ", "Bucket is requester pays"))
    return refused or isinstance(error, (OSError, ClientError, GoogleAuthError, *_RETRY_ERRORS))

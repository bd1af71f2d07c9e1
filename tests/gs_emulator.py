"""Starts gcp-storage-emulator, taught the ranges that count from the end of a file, as Google's server knows them.

Readers of sharded Zarr ask for the index of a shard in this way. The emulator would answer with all of the file.
"""

from __future__ import annotations

import re

from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import objects

_download = objects.download


def download(request, response, storage, *args, **kwargs) -> None:
    if last := re.fullmatch(r"bytes=-(\d+)", request.get_header("range", "")):
        try:
            size = int(storage.get_file_obj(request.params["bucket_name"], request.params["object_id"])["size"])
        except NotFound:
            size = 0
        headers = request._request_handler.headers
        headers.replace_header("range", f"bytes={max(size - int(last[1]), 0)}-")
    _download(request, response, storage, *args, **kwargs)


objects.download = download

if __name__ == "__main__":
    # Looks its handlers up when it is imported.
    from gcp_storage_emulator.__main__ import main

    main()

"""Fetching a file with pooch: whole or not at all, and whatever fails as one reason."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

from resnet_core.errors import InputError


class DownloadError(InputError):
    """A file could not be fetched. The message is the reason alone: who asked says what to do."""


def download(address: str, path: Path, checksum: str | None = None) -> None:
    """Fetch an address to a path, with a bar on a terminal; `checksum` is "md5:…" or "sha256:…", all digits.

    Raises DownloadError.
    """
    try:
        import pooch  # type: ignore[import-untyped]
    except ImportError as error:
        raise DownloadError('pooch is not installed: pip install "pooch>=1.8" "tqdm>=4.66"') from error
    pooch.get_logger().setLevel("WARNING")  # a progress bar or a one-line error is enough
    try:
        bar = sys.stderr.isatty()
        pooch.retrieve(address, known_hash=checksum, fname=path.name, path=path.parent, progressbar=bar)
    except Exception as error:  # the network, the disk and the checksum raise different kinds
        raise DownloadError(reason_of(error, address)) from error


def reason_of(error: BaseException, address: str) -> str:
    """Why an address was not fetched, in a few words; what libraries raise is no sentence where there is no network."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror | ConnectionRefusedError | TimeoutError):
            return f"no connection to {urlsplit(address).hostname}"
        cause = cause.__cause__ or cause.__context__
    return " ".join(str(error).split()) or type(error).__name__

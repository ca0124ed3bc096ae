"""Fetching a file with pooch: whole or not at all, and whatever fails as one reason."""

from __future__ import annotations

import sys
from pathlib import Path

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
        raise DownloadError(" ".join(str(error).split()) or type(error).__name__) from error

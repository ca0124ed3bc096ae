"""Published weights by name, `torchvision:resnet50`: an address, a checksum, and a folder in which they are kept.

Addresses and checksums of torchvision's and Keras' files are theirs (torchvision 0.29.1, Keras 3.15.1): of the former
the first eight digits of the SHA-256, of the latter the MD5. For files of the Hugging Face Hub, which `hf:` and `timm:`
name, the hub says the SHA-256 before it sends them, but for small ones.

Eight digits are soon found again, and an MD5 can be forged. The whole SHA-256 of what was fetched first is therefore
kept beside the file, as `sha256sum` writes it, and both are compared whenever the file is used.
"""

from __future__ import annotations

import hashlib
import os
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from resnet_core.data.download import DownloadError, download, reason_of
from resnet_core.data.named import default_folder
from resnet_core.errors import InputError, WeightsError
from resnet_core.files import read_bytes, write_atomically
from resnet_core.preparation import IMAGENET_DEVIATION, IMAGENET_MEAN, Preparation

#: What stands before a name.
SOURCES = ("torchvision", "keras", "timm", "hf")

#: A part of a name begins with no dot, so that none leads out of the folder.
_PART = r"[A-Za-z0-9_\-][\w.\-]*"
_NAME = re.compile(rf"({'|'.join(SOURCES)}):({_PART}(?:/{_PART})*)(?:[:@]({_PART}))?")

#: Where the files lie. The hub's is what its own programs read from the environment.
ADDRESSES = {
    "torchvision": "https://download.pytorch.org/models/",
    "keras": "https://storage.googleapis.com/tensorflow/keras-applications/resnet/",
    "hf": os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/") + "/",
}

#: {network: {version: (digits in the file's name, shorter side of the picture before 224 x 224 are cut)}}, the default
#: of torchvision last.
TORCHVISION: dict[str, dict[str, tuple[str, int]]] = {
    "resnet18": {"IMAGENET1K_V1": ("f37072fd", 256)},
    "resnet34": {"IMAGENET1K_V1": ("b627a593", 256)},
    "resnet50": {"IMAGENET1K_V1": ("0676ba61", 256), "IMAGENET1K_V2": ("11ad3fa6", 232)},
    "resnet101": {"IMAGENET1K_V1": ("63fe2227", 256), "IMAGENET1K_V2": ("cd907fc2", 232)},
    "resnet152": {"IMAGENET1K_V1": ("394f9c45", 256), "IMAGENET1K_V2": ("f82ba261", 232)},
    "resnext50_32x4d": {"IMAGENET1K_V1": ("7cdf4587", 256), "IMAGENET1K_V2": ("1a0047aa", 232)},
    "resnext101_32x8d": {"IMAGENET1K_V1": ("8ba56ff5", 256), "IMAGENET1K_V2": ("110c445d", 232)},
    "resnext101_64x4d": {"IMAGENET1K_V1": ("173b62eb", 232)},
    "wide_resnet50_2": {"IMAGENET1K_V1": ("95faca4d", 256), "IMAGENET1K_V2": ("9ba9bcbe", 232)},
    "wide_resnet101_2": {"IMAGENET1K_V1": ("32ee1156", 256), "IMAGENET1K_V2": ("d733dc28", 232)},
}
#: {network: MD5 of its file with the head}.
KERAS = {
    "resnet50": "2cb95161c43110f7111970584f804107",
    "resnet101": "f1aeb4b969a6efcfb50fad2f0c20cfc5",
    "resnet152": "100835be76be38e30d865e96f2aaae62",
    "resnet50v2": "3ef43a0b657b3be2300d5770ece849e0",
    "resnet101v2": "6343647c601c52e1368623803854d971",
    "resnet152v2": "a49b44d1979771252814e80f8ec446f9",
}
_NAMED = {"sha256": "SHA-256", "md5": "MD5"}

#: Of a repository on the hub: the configuration, then the weights.
_FILES = ("config.json", "model.safetensors")


class Verified(NamedTuple):
    """A file that was fetched, and what of it was compared: `published` is "sha256:…" or "md5:…", "" for nothing.

    `published` has the digits that the publisher says, which may be the first alone; `sha256` is whole, `first` says
    whether it was recorded just now, so that there was nothing to compare it with.
    """

    path: Path
    address: str
    published: str
    sha256: str
    first: bool

    def told(self) -> str:
        """What was compared, in words."""
        kind, _, digits = self.published.partition(":")
        whose = "the publisher says no checksum"
        if self.published:
            part = "" if len(digits) == 2 * hashlib.new(kind).digest_size else f"the first {len(digits)} digits of "
            whose = f"{part}the published {_NAMED[kind]} ({digits})"
        if self.first:
            return f"{whose}; the whole SHA-256 is recorded, from now on it is compared"
        return f"{whose}; the whole SHA-256, as recorded when it was first fetched"


class Published(NamedTuple):
    """Weights that were fetched: the format of their names, and what their publisher says of pictures and classes."""

    name: str
    files: tuple[Verified, ...]  #: the weights last
    format: str
    preparation: Preparation | None = None
    classes: tuple[str, ...] | None = None

    @property
    def path(self) -> Path:
        """The file of weights; of a repository with its configuration, the folder."""
        return self.files[-1].path if len(self.files) == 1 else self.files[-1].path.parent


def is_name(name: object) -> bool:
    """Whether this is a name of published weights, and no file."""
    return bool(_NAME.fullmatch(str(name))) and not Path(str(name)).exists()


def fetched(name: str) -> Published:
    """The published weights of a name, from the folder of those that were fetched before, or from their address.

    Raises InputError, one line, for an unknown name and where the address cannot be reached, WeightsError for a file
    that is not the one that was published.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise InputError(f"weights: received {name!r}; expected a file, or a name such as torchvision:resnet50")
    source, network, version = match.groups()
    if source == "torchvision":
        return _torchvision(name, network, version)
    if source == "keras":
        return _keras(name, network)
    repository = f"timm/{network}" if source == "timm" else network
    return Published(name, _repository(name, repository, version or "main"), source)


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The names of ImageNet's 1000 classes, in the order that every library has (torchvision's names)."""
    return tuple(Path(__file__).with_name("imagenet_classes.txt").read_text(encoding="utf-8").splitlines())


def _torchvision(name: str, network: str, version: str | None) -> Published:
    versions = _known(name, network, TORCHVISION)
    digits, side = _known(name, version or list(versions)[-1], versions)
    file = _fetch(name, ADDRESSES["torchvision"], f"{network}-{digits}.pth", f"sha256:{digits}")
    pictures = Preparation(size=(224, 224), crop=224 / side, mean=IMAGENET_MEAN, deviation=IMAGENET_DEVIATION)
    return Published(name, (file,), "torchvision", pictures, imagenet_classes())


def _keras(name: str, network: str) -> Published:
    digest = _known(name, network, KERAS)
    file = _fetch(name, ADDRESSES["keras"], f"{network}_weights_tf_dim_ordering_tf_kernels.h5", f"md5:{digest}")
    return Published(name, (file,), "keras", None, imagenet_classes())


def _known(name: str, key: str, table: dict[str, Any]) -> Any:
    if key not in table:
        raise InputError(f"weights: received {name!r}, and {key} is not published; expected one of {', '.join(table)}")
    return table[key]


def _repository(name: str, repository: str, revision: str) -> tuple[Verified, ...]:
    """A repository's configuration and weights, in a folder."""
    address = f"{ADDRESSES['hf']}{repository}/resolve/{revision}/"
    folder = Path("hf", *repository.split("/"), revision)
    return tuple(_fetch(name, address, file, None, folder) for file in _FILES)


def _fetch(name: str, address: str, file: str, published: str | None, folder: Path | None = None) -> Verified:
    """The file in its folder, fetched if it is not there, with its checksums compared.

    Without a published checksum, it is the one that the hub says, which is kept beside the file.
    """
    path = default_folder() / "weights" / (folder or name.partition(":")[0]) / file
    said, record = (path.with_name(f"{file}.{ending}") for ending in ("checksum", "sha256"))
    if not path.is_file():
        if published is None:  # a revision may be a branch, whose file is another by now
            said.unlink(missing_ok=True)
            record.unlink(missing_ok=True)
        _download(name, address + file, path, said if published is None else None)
    if published is None:
        published = _kept(said)
    kind, _, digits = published.partition(":")
    if published and kind not in _NAMED:
        raise WeightsError(f"{said}: received {published[:80]!r}; expected sha256:DIGITS; remove it, and fetch again")
    whole = _digest(path, "sha256")
    found = whole if kind in ("", "sha256") else _digest(path, kind)
    if published and not (digits and found.startswith(digits)):
        path.unlink()
        raise WeightsError(f"{name}: {address}{file} has the {_NAMED[kind]} {found}, and was published with {digits}")
    recorded = _kept(record).partition(" ")[0]
    if not recorded:
        write_atomically(record, f"{whole}  {file}\n".encode())
    elif whole != recorded:
        path.unlink()
        raise WeightsError(
            f"{name}: {address}{file} has the SHA-256 {whole}, and had {recorded} when it was first fetched, "
            f"as {record} says; if it was replaced there, remove that record"
        )
    return Verified(path, address + file, published, whole, not recorded)


def _kept(path: Path) -> str:
    """What stands in the file of a checksum; "" if there is none."""
    return read_bytes(path, "a checksum").decode("ascii", "replace").strip() if path.is_file() else ""


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, kind).hexdigest()


def _download(name: str, address: str, path: Path, said: Path | None) -> None:
    """Fetch a file; before it, into `said`, the SHA-256 that the hub says of a large one."""
    try:
        if said is not None and (digits := _said_by_hub(name, address)):
            said.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(said, f"sha256:{digits}\n".encode())
        download(address, path)
    except DownloadError as error:
        reason = str(error)[:120]
        raise InputError(
            f"weights: {name}: {address} cannot be fetched ({reason}); fetch it elsewhere and give the file"
        ) from error


class _Still(HTTPRedirectHandler):
    """Follows no redirection: the hub says the checksum where it sends one on."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


def _said_by_hub(name: str, address: str) -> str | None:
    """The SHA-256 of a large file; of a small one the hub says none."""
    try:
        headers = build_opener(_Still).open(Request(address, method="HEAD"), timeout=30).headers
    except HTTPError as error:
        if error.code in (401, 404):
            raise InputError(f"weights: received {name!r}, and there is no {address}") from error
        headers = error.headers
    except OSError as error:
        raise DownloadError(reason_of(error, address)) from error
    digits = (headers.get("X-Linked-Etag") or "").strip('"')
    return digits if re.fullmatch(r"[0-9a-f]{64}", digits) else None

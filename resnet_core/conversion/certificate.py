"""The certificate of a conversion: what both files hold, how the network is known, and the error that was measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resnet_core.architecture import taps
from resnet_core.backend import load_backend
from resnet_core.conversion.own_programs import own_output
from resnet_core.conversion.read import Imported
from resnet_core.data.prepare import sample_images
from resnet_core.errors import WeightsError, WorkerError
from resnet_core.json_values import finite
from resnet_core.numerics import log_softmax, relative_error
from resnet_core.preparation import standard_preparation
from resnet_core.specification import to_fields
from resnet_core.tolerances import TOLERANCES
from resnet_core.version import __version__
from resnet_core.weights import cast, half_precision

#: Pictures that both sides are shown, and their longest side.
PICTURES, SIDE = 2, 96
REFEREE = "the NumPy reference, float64"


@dataclass(frozen=True)
class Measurement:
    """How far outputs are apart: {tap: max|a - b| / max|b|}, as a referee computes one side, and what each may be."""

    referee: str
    errors: Mapping[str, float]
    tolerance: float

    @property
    def equal(self) -> bool:
        """Whether every error is within the tolerance."""
        return all(error <= self.tolerance for error in self.errors.values())

    def to_json(self) -> dict[str, Any]:
        """{"referee", "max_error", "tolerance"}."""
        return {"referee": self.referee, "max_error": dict(self.errors), "tolerance": self.tolerance}

    def __str__(self) -> str:
        worst = max(self.errors, key=lambda tap: self.errors[tap])
        return f"{self.errors[worst]:.1e} at {worst} ({self.referee})"


@dataclass(frozen=True)
class Certificate:
    """What was converted, and how far the outputs are apart.

    `measured` has a measurement for each referee, the NumPy reference first.
    """

    source: Mapping[str, Any]
    destination: Mapping[str, Any]
    tensors: list[Mapping[str, str]]
    not_carried: tuple[str, ...]
    rewritten: tuple[str, ...]
    pictures: str
    measured: tuple[Measurement, ...]
    not_heard: tuple[str, ...] = ()  #: referees that are installed and could not run, in sentences

    @property
    def equal(self) -> bool:
        """Whether both files compute the same, as every referee says."""
        return all(measurement.equal for measurement in self.measured)

    @property
    def errors(self) -> Mapping[str, float]:
        """What the NumPy reference measured."""
        return self.measured[0].errors

    def to_json(self) -> dict[str, Any]:
        """The certificate's content, as `DST.certificate.json` holds it."""
        return {
            "certificate": 1,
            "resnet-core": __version__,
            "equal": self.equal,
            "source": self.source,
            "destination": self.destination,
            "rewritten": list(self.rewritten),
            "not_carried": list(self.not_carried),
            "tensors": self.tensors,
            "pictures": self.pictures,
            "measured": [measurement.to_json() for measurement in self.measured],
            "not_heard": list(self.not_heard),
        }

    def text(self) -> str:
        """The JSON, for a file."""
        return json.dumps(finite(self.to_json()), indent=1) + "\n"

    def sentence(self) -> str:
        """The result in a sentence."""
        verdict = "Equal" if self.equal else "NOT equal"
        told = "; ".join(str(measurement) for measurement in self.measured)
        return f"{verdict}: {len(self.tensors)} tensors; on {self.pictures} the largest error is {told}."


def certify(
    source: Imported, destination: Imported, *, rewritten: tuple[str, ...] = (), exact: bool = False
) -> Certificate:
    """The certificate of two files: both run on the same pictures, each as the network that its file is known to be.

    Both are computed in float64, so that with `exact` nothing may differ: the same numbers under other names. Else
    they may differ by what float32 makes of rewritten numbers.

    Raises WeightsError where they take other pictures or give other outputs.
    """
    for name in ("in_channels", "classes", "global_pool"):
        own, other = getattr(source.spec, name), getattr(destination.spec, name)
        if own != other:
            raise WeightsError(f"certify: {name} is {own} in {source.path}, and {other} in {destination.path}")
    if taps(source.spec) != taps(destination.spec):
        raise WeightsError(f"certify: {source.path} and {destination.path} have other stages")
    size = _size(source, destination)
    images = sample_images(standard_preparation(size, source.spec.in_channels), PICTURES).astype(np.float64)
    expected, found = _outputs(source, images), _outputs(destination, images)
    for tap, array in expected.items():
        if array.shape != found[tap].shape:
            shapes = f"{array.shape[1:]} in {source.path}, and {found[tap].shape[1:]} in {destination.path}"
            raise WeightsError(f"certify: {tap} has the shape {shapes}: they are other networks")
    first = Measurement(
        REFEREE,
        {tap: relative_error(found[tap], expected[tap]) for tap in expected},
        0.0 if exact else TOLERANCES["output"]["float32"],
    )
    others = list(_by_their_own(source, destination, images, expected, exact=exact))
    return Certificate(
        _about(source),
        _about(destination),
        _tensors(source, destination),
        _not_carried(source, destination),
        rewritten,
        f"{PICTURES} pictures of {size[0]} x {size[1]}",
        (first, *(each for each in others if isinstance(each, Measurement))),
        tuple(each for each in others if isinstance(each, str)),
    )


def _by_their_own(
    source: Imported, destination: Imported, images: np.ndarray, expected: Mapping[str, np.ndarray], *, exact: bool
) -> Iterator[Measurement | str]:
    """The logits of each side as its own program computes them, against the reference on the source.

    A sentence in its place where a program that is installed cannot run.
    """
    if "logits" not in expected:
        return
    for side, role in ((source, "source"), (destination, "destination")):
        try:
            own = own_output(side, images.astype(np.float32))
        except WorkerError as error:
            yield f"the {role}'s own program is installed and could not run: {error}"
            continue
        if own is not None:
            tap, truth = "logits", expected["logits"]
            if side.probabilities:
                tap, truth = "probabilities", np.exp(log_softmax(truth))
            # Rewritten numbers are rounded to float32, whatever computes with them.
            dtype = own.logits.dtype.name if exact or side is source else "float32"
            off = relative_error(own.logits.reshape(truth.shape), truth)
            yield Measurement(f"the {role} in {own.program}", {tap: off}, TOLERANCES["output"][dtype])


def _size(source: Imported, destination: Imported) -> tuple[int, int]:
    for side in (source, destination):
        if side.network is not None and side.recognized is not None:
            return side.spec.input_size  # another program's graph may take no other
    height, width = source.spec.input_size
    return min(height, SIDE), min(width, SIDE)


def _outputs(side: Imported, images: np.ndarray) -> dict[str, np.ndarray]:
    numpy = load_backend("numpy")
    model = numpy.build(side.spec, weights=cast(side.weights, "float64"), taps=taps(side.spec), dtype="float64")
    return dict(numpy.predict(model, images))


def _about(side: Imported) -> dict[str, Any]:
    """What a file is, and how its network is known."""
    path, found = side.path, side.recognized
    about: dict[str, Any] = {
        "file": path.name,
        "bytes": sum(file.stat().st_size for file in side.files),
        "sha256": _sha256(path, side.files),
        "format": "resnet" if found is None else found.format.name,
        "program": side.title,
        "spec": to_fields(side.spec),
    }
    if found is None:
        about["known_by"] = "the spec in the file, whose digest was checked"
    elif side.network is not None:
        about["known_by"] = "the graph's nodes with their attributes"
    elif found.ordered_as:
        about["known_by"] = f"known from the order of {found.ordered_as}, since its layers have no names, and shapes"
        about["stated"] = dict(found.stated)
    elif found.stated:
        about["known_by"] = "names and shapes; what they do not show is the program's"
        about["stated"] = dict(found.stated)
    else:
        about["known_by"] = "names and shapes, and the spec that was given; what they do not show is the program's"
    if side.published is not None:
        files = [{"address": file.address, "compared": file.told()} for file in side.published.files]
        about["published"] = {"name": side.published.name, "files": files}
    if found is not None and found.namesakes:
        about["namesakes"] = list(found.namesakes)
    if (half := half_precision(side.weights)) is not None:
        about["numbers"] = f"{half} in all kernels, float32 here"
    if side.preparation is not None:
        about["preparation"] = str(side.preparation) + (" (assumed)" if side.assumed else "")
    return about


def _sha256(path: Path, files: list[Path]) -> str:
    """Of a file's bytes; of several files, of the lines that sha256sum would write for them."""
    digests = {}
    for name in files:
        with name.open("rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    if list(digests) == [path]:
        return digests[path]
    folder = path if path.is_dir() else path.parent
    lines = "".join(f"{digest}  {name.relative_to(folder)}\n" for name, digest in digests.items())
    return hashlib.sha256(lines.encode()).hexdigest()


def _tensors(source: Imported, destination: Imported) -> list[Mapping[str, str]]:
    """What each tensor is called here, in the source and in the destination."""
    there, here = _called(source), _called(destination)
    names = dict.fromkeys((*there, *here))
    return [{"name": name, "source": there.get(name, "none"), "destination": here.get(name, "none")} for name in names]


def _called(side: Imported) -> dict[str, str]:
    if side.recognized is None:
        return {name: name for name in side.weights}
    return {here: there for there, here in side.recognized.names.items()}


def _not_carried(source: Imported, destination: Imported) -> tuple[str, ...]:
    """Tensors that are no part of the network, and what the destination has no place for."""
    about = []
    if source.preparation is not None and (destination.preparation is None or destination.assumed):
        about.append("how pictures are prepared")
    if source.classes is not None and destination.classes is None:
        about.append("the names of the classes")
    return (*(source.recognized.left_out if source.recognized else ()), *about)

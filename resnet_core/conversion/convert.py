"""From anyone's weights to anyone's, with a certificate beside the result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from resnet_core.backend import environment
from resnet_core.conversion.certificate import Certificate, certify
from resnet_core.conversion.configuration import transformers_files
from resnet_core.conversion.export import Exported, export_weights
from resnet_core.conversion.formats import FORMATS
from resnet_core.conversion.read import FILES, Imported, backend_that_reads, import_weights
from resnet_core.errors import InputError
from resnet_core.files import new_folder, replacing, write_atomically
from resnet_core.safetensors_file import safetensors_bytes
from resnet_core.source_text import plain
from resnet_core.specification import ResNetSpec
from resnet_core.weight_file import save_weights
from resnet_core.weights import some
from resnet_core.workers.parent import Worker

#: What `--to` and `--from` take: this project's own, and the others.
NAMES = ("resnet", *FORMATS)


@dataclass(frozen=True)
class Conversion:
    """What was read, what was written, and the proof that both compute the same."""

    source: Imported
    destination: Path
    certificate: Certificate
    proof: Path  #: the certificate's file
    exported: Exported | None = None  #: None where the destination is this project's own

    def told(self) -> list[str]:
        """What was done, in a few lines."""
        found, spec = self.source, self.source.spec
        lines = [f"{found.path.name}: {found.title}, {spec.name or 'a network without a name'}, {spec.classes} classes"]
        stated = {} if found.recognized is None else found.recognized.stated
        if stated:
            lines.append("  not in the file, and so as its program has it: " + _listed(stated))
        if found.recognized is not None and found.recognized.namesakes:
            same = " and ".join(found.recognized.namesakes)
            lines.append(f"  the same names have {same}; if it is one of these, say so by --spec")
        if found.recognized is not None and found.recognized.left_out:
            left_out = found.recognized.left_out
            lines.append(f"  not carried: {len(left_out)} tensors that are no part of the network ({some(left_out)})")
        if found.assumed:
            lines.append(f"  pictures are prepared as its program does it: {found.preparation}")
        if self.exported is not None:
            lines.append(f"{self.destination.name}: {self.exported.format.title} ({self.exported.style.name})")
            lines += [f"  to be told to its program: {_listed(self.exported.chosen)}"] if self.exported.chosen else []
            lines += [f"  rewritten: {sentence}" for sentence in self.exported.rewritten]
        return [*lines, self.certificate.sentence(), f"The certificate is {self.proof}."]


def _listed(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{field} = {plain(value)}" for field, value in fields.items())


def convert(
    source: str | Path,
    destination: str | Path,
    *,
    spec: ResNetSpec | None = None,
    source_format: str | None = None,
    destination_format: str | None = None,
) -> Conversion:
    """Read weights, write them in another format, read what was written, and prove that it computes the same.

    The certificate is written beside the result, `DESTINATION.certificate.json`. Where both do not compute the same,
    neither file is left. Raises InputError, one line, for weights that cannot be read, a network that the other
    library does not have, and a destination that cannot be written.
    """
    target = Path(destination)
    wanted = _format(target, destination_format)
    if not target.parent.is_dir():  # before anything is read
        raise InputError(f"{target}: {target.parent} is no folder; make it first, or write elsewhere")
    found = import_weights(source, spec, source_format)
    proof = target.with_name(target.name + ".certificate.json")
    exported = None if wanted == "resnet" else export_weights(found.spec, found.weights, wanted)
    place = new_folder(target) if target.suffix == "" else replacing(target)
    with replacing(proof) as paper, place as temporary:
        if exported is None:
            save_weights(temporary, found.weights, found.spec, preparation=found.preparation, classes=found.classes)
            back = import_weights(temporary)
        elif target.suffix == "":
            _write(temporary / FILES[0], exported)
            for name, content in transformers_files(exported.spec, found.preparation, found.classes).items():
                (temporary / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            back = import_weights(temporary)
        else:
            _write(temporary, exported)
            back = import_weights(temporary, exported.spec, wanted)
        rewritten = () if exported is None else exported.rewritten
        certificate = certify(found, back, rewritten=rewritten, exact=not rewritten)
        certificate = replace(certificate, destination={**certificate.destination, "file": target.name})
        if not certificate.equal:
            raise InputError(f"{target}: not written, since it would not compute the same: {certificate.sentence()}")
        paper.write_text(certificate.text(), encoding="utf-8")
    return Conversion(found, target, certificate, proof, exported)


def _format(target: Path, name: str | None) -> str:
    """The format to write. Raises InputError where the ending leaves it open, or does not go with it."""
    if name is not None and name not in NAMES:
        raise InputError(f"to: received {name!r}; expected one of {', '.join(NAMES)}")
    writes = {"resnet": (".safetensors",), **{own.name: own.writes for own in FORMATS.values()}}
    known = [own for own, endings in writes.items() if target.suffix in endings]
    if not known:
        listed = ", ".join(dict.fromkeys(ending for endings in writes.values() for ending in endings if ending))
        raise InputError(
            f"{target}: received the ending {target.suffix!r}; expected one of {listed}, or for hf a folder"
        )
    if name is None and len(known) > 1 and known[0] != "resnet":
        raise InputError(f"to: received none; {target.suffix} may be {' or '.join(known)}")
    if name is not None and name not in known:
        raise InputError(f"{target}: received the ending {target.suffix} for {name}; it is one of {', '.join(known)}")
    return name or known[0]


def _write(path: Path, exported: Exported) -> None:
    """The tensors in a file, with PyTorch's counters at 0."""
    arrays: dict[str, np.ndarray] = {}
    for name, array in exported.arrays.items():
        arrays[name] = np.ascontiguousarray(array)
        if exported.format.layout == "oihw" and name.endswith(".running_var"):
            arrays[f"{name.removesuffix('running_var')}num_batches_tracked"] = np.zeros((), np.int64)
    if path.suffix == ".safetensors":
        write_atomically(path, safetensors_bytes(arrays, {"format": "pt"}))
        return
    backend = backend_that_reads(path)
    with Worker(defaults=environment(backend)) as worker:
        worker.call("write_state_dict", arrays, backend=backend, path=str(path.absolute()))

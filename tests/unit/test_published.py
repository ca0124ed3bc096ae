"""Weights by name: fetched once, checked each time, with pictures and classes. A server on this machine has them."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import resnet_core as rn
from command_line import in_process
from resnet_core.conversion import published
from resnet_core.conversion.convert import convert
from resnet_core.conversion.export import export_weights
from resnet_core.conversion.published import fetched, imagenet_classes, is_name
from resnet_core.conversion.read import import_weights
from resnet_core.errors import InputError, WeightsError

pytest.importorskip("pooch", reason="pooch is not installed: pip install 'resnet-core[train]'")

FILES = Path(__file__).parents[1] / "referees" / "files"
NARROW = rn.spec("resnet50d", channels=(8, 8, 8, 16), depths=(1, 1, 1, 1), classes=5)


class Handler(SimpleHTTPRequestHandler):
    """Files of a folder; asked for the head of a large one, it sends on and says the SHA-256, as the hub does."""

    asked: ClassVar[list[str]] = []
    said: ClassVar[str] = ""  #: a checksum in the place of the file's

    def do_HEAD(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.suffix != ".safetensors" or not path.is_file():
            return super().do_HEAD()
        self.send_response(302)
        self.send_header("Location", "/elsewhere")
        self.send_header("X-Linked-Etag", f'"{self.said or hashlib.sha256(path.read_bytes()).hexdigest()}"')
        return self.end_headers()

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *arguments: Any) -> None: ...


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that every address leads to, and an empty one for what is fetched."""
    folder = tmp_path / "served"
    folder.mkdir()
    Handler.asked, Handler.said = [], ""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    monkeypatch.setattr(published, "ADDRESSES", dict.fromkeys(published.ADDRESSES, address))
    monkeypatch.setenv("RESNET_DATA", str(tmp_path / "cache"))
    yield folder
    server.shutdown()
    server.server_close()


def torchvision_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file as torchvision publishes one, with its digits in the name."""
    torch = pytest.importorskip("torch")
    spec = rn.spec("resnet18")
    arrays = export_weights(spec, rn.probe_weights(spec), "torchvision").arrays
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, folder / "w.pth")
    digits = hashlib.sha256((folder / "w.pth").read_bytes()).hexdigest()[:8]
    (folder / "w.pth").rename(folder / f"resnet18-{digits}.pth")
    monkeypatch.setitem(published.TORCHVISION, "resnet18", {"IMAGENET1K_V1": (digits, 256)})


def hub(folder: Path, repository: str) -> Path:
    """A repository of timm's on the hub."""
    place = folder / repository / "resolve" / "main"
    place.mkdir(parents=True)
    rn.save_weights(folder / "w.safetensors", rn.probe_weights(NARROW), NARROW)
    convert(folder / "w.safetensors", place / "model.safetensors", destination_format="timm")
    about = {"architecture": "resnet50d", "num_classes": 5, "pretrained_cfg": {"input_size": [3, 64, 64]}}
    (place / "config.json").write_text(json.dumps(about))
    return place


def test_torchvisions_weights_by_name(served: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torchvision_file(served, monkeypatch)
    found = import_weights("torchvision:resnet18")
    assert found.spec == rn.spec("resnet18")
    assert found.preparation is not None
    assert (found.assumed, found.preparation.crop) == (False, 224 / 256)
    assert found.classes == imagenet_classes()
    own = rn.probe_weights(found.spec)
    assert all(np.array_equal(found.weights[name], array) for name, array in own.items())
    import_weights("torchvision:resnet18:IMAGENET1K_V1")
    assert len(Handler.asked) == 1  # the second time from the folder
    from PIL import Image

    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    done = in_process("predict", "torchvision:resnet18", tmp_path / "a.png", "--backend", "numpy", "--json")
    assert done.stderr == ""  # nothing is assumed
    assert json.loads(done.stdout)[0]["top"][0]["label"] in imagenet_classes()


def test_a_file_that_is_not_the_published_one_is_refused_and_gone(
    served: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torchvision_file(served, monkeypatch)
    path = fetched("torchvision:resnet18").path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"^torchvision:resnet18: http.* has the SHA-256 .*, and was published with"):
        fetched("torchvision:resnet18")
    assert not path.exists()
    assert fetched("torchvision:resnet18").path == path  # a fresh copy


def test_the_hub_says_the_checksum(served: Path) -> None:
    place = hub(served, "timm/narrow.own")
    found = import_weights("timm:narrow.own")
    assert found.spec.channels == (8, 8, 8, 16)
    assert found.spec.stem_type == "deep"
    assert found.published is not None
    configuration, weights = found.published.files
    assert configuration.told().startswith("the publisher says no checksum; the whole SHA-256 is recorded")
    assert weights.told().startswith(f"the published SHA-256 ({weights.sha256}); ")  # all of it
    kept = list((served.parent / "cache").rglob("model.safetensors"))
    assert len(kept) == 1
    data = bytearray(kept[0].read_bytes())
    data[-5] ^= 1
    kept[0].write_bytes(data)
    with pytest.raises(WeightsError, match="was published with"):
        import_weights("timm:narrow.own")
    (place / "model.safetensors").write_bytes(bytes(data))  # another file is another checksum, which the hub says
    changed = import_weights("hf:timm/narrow.own@main")
    assert changed.weights.keys() == found.weights.keys()
    configuration.path.write_text("{}")  # of which nothing is published
    with pytest.raises(WeightsError, match=r"config\.json has the SHA-256 .*, and had .* when it was first fetched"):
        import_weights("timm:narrow.own")
    assert import_weights("timm:narrow.own").spec == found.spec  # a fresh copy


def test_a_checksum_of_the_hub_that_is_not_the_files_is_noticed_at_once(served: Path) -> None:
    hub(served, "timm/narrow.own")
    Handler.said = "0" * 64
    with pytest.raises(WeightsError, match=rf"has the SHA-256 \w{{64}}, and was published with {'0' * 64}$"):
        import_weights("timm:narrow.own")
    assert not list((served.parent / "cache").rglob("model.safetensors*sha256"))


def keras_file(folder: Path, monkeypatch: pytest.MonkeyPatch, digest: str = "") -> Path:
    """A file that Keras wrote, under the address of a published one."""
    path = folder / "resnet50_weights_tf_dim_ordering_tf_kernels.h5"
    path.write_bytes((FILES / "keras_v1.h5").read_bytes())
    monkeypatch.setitem(published.KERAS, "resnet50", digest or hashlib.md5(path.read_bytes()).hexdigest())
    return path


def test_keras_weights_by_name_and_what_was_compared(
    served: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keras_file(served, monkeypatch)
    digest = published.KERAS["resnet50"]
    done = in_process("convert", "keras:resnet50", tmp_path / "w.safetensors")
    assert f"the published MD5 ({digest}); the whole SHA-256 is recorded, from now on" in " ".join(done.stdout.split())
    again = convert("keras:resnet50", tmp_path / "w.safetensors")
    source = json.loads(again.proof.read_text())["source"]
    (file,) = source["published"]["files"]
    assert source["published"]["name"] == "keras:resnet50"
    assert file["address"].endswith("/resnet50_weights_tf_dim_ordering_tf_kernels.h5")
    assert file["compared"] == (
        f"the published MD5 ({digest}); the whole SHA-256, as recorded when it was first fetched"
    )
    record = next((tmp_path / "cache").rglob("*.sha256"))
    assert record.read_text() == f"{source['sha256']}  {file['address'].rpartition('/')[2]}\n"


def test_a_wrong_md5_is_refused_and_nothing_is_kept(
    served: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keras_file(served, monkeypatch, "0" * 32)
    done = in_process("convert", "keras:resnet50", tmp_path / "w.safetensors")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.search(rf"has the MD5 \w{{32}}, and was published with {'0' * 32}$", line)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not (tmp_path / "w.safetensors").exists()


def test_wrong_digits_in_a_files_name_are_refused(
    served: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (served / "resnet18-01234567.pth").write_bytes(b"another file")
    monkeypatch.setitem(published.TORCHVISION, "resnet18", {"IMAGENET1K_V1": ("01234567", 256)})
    with pytest.raises(WeightsError, match=r"has the SHA-256 \w{64}, and was published with 01234567$"):
        fetched("torchvision:resnet18")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_file_with_the_published_digits_is_still_the_one_that_was_first(
    served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few digits are found again by trying; here it is one, so that the test need not try long."""
    same = [data for data in map(bytes, range(200)) if hashlib.sha256(data).hexdigest().startswith("a")]
    (served / "resnet18-a.pth").write_bytes(same[0])
    monkeypatch.setitem(published.TORCHVISION, "resnet18", {"IMAGENET1K_V1": ("a", 256)})
    first, again = fetched("torchvision:resnet18").files[0], fetched("torchvision:resnet18").files[0]
    assert (first.first, again.first) == (True, False)
    assert first.told().startswith("the first 1 digits of the published SHA-256 (a)")
    words = f"and had {first.sha256} when it was first fetched, as .*sha256 says; if it was replaced there, remove"
    first.path.write_bytes(same[1])
    with pytest.raises(WeightsError, match=words):
        fetched("torchvision:resnet18")
    (served / "resnet18-a.pth").write_bytes(same[1])  # replaced where it is published
    with pytest.raises(WeightsError, match=words):
        fetched("torchvision:resnet18")
    first.path.with_name(f"{first.path.name}.sha256").unlink()
    assert fetched("torchvision:resnet18").files[0].first


def test_a_damaged_checksum_is_one_line(served: Path) -> None:
    hub(served, "timm/narrow.own")
    fetched("timm:narrow.own")
    (said,) = (served.parent / "cache").rglob("*.checksum")
    said.write_text("crc:1234")
    with pytest.raises(WeightsError, match="received 'crc:1234'; expected sha256:DIGITS; remove it"):
        fetched("timm:narrow.own")


def test_names(served: Path) -> None:
    assert is_name("torchvision:resnet50")
    assert is_name("hf:microsoft/resnet-50")
    assert not is_name("resnet50")
    assert not is_name("hf:../../elsewhere")
    assert not is_name("weights.pth")
    assert len(imagenet_classes()) == 1000
    for name, words in {
        "torchvision:resnet20": "resnet20 is not published; expected one of resnet18, resnet34",
        "torchvision:resnet50:V3": "V3 is not published; expected one of IMAGENET1K_V1, IMAGENET1K_V2",
        "keras:resnet20": "resnet20 is not published; expected one of resnet50, resnet101",
        "hf:nobody/nothing": "and there is no http",
    }.items():
        with pytest.raises(InputError, match=words):
            import_weights(name)


def test_without_a_network_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "ADDRESSES", dict.fromkeys(published.ADDRESSES, "http://127.0.0.1:9/"))
    monkeypatch.setenv("RESNET_DATA", str(tmp_path))
    for name in ("torchvision:resnet18", "hf:microsoft/resnet-50"):
        done = in_process("convert", name, tmp_path / "w.safetensors")
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"resnet: weights: {name}: http://127.0.0.1:9/")
        assert line.endswith("cannot be fetched (no connection to 127.0.0.1); fetch it elsewhere and give the file")
    assert not list(tmp_path.rglob("*.pth"))

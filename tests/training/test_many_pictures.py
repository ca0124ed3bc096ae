"""A million pictures: a start that takes seconds from the index, and memory that hardly knows how many there are."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from resnet_core.data.images import sample_fashion
from shards import write_tar

#: Bytes a picture that a process may have more than with few: the index, labels and two orders of an epoch, each of
#: which is there twice for a moment.
MOST_BYTES = 150
#: Seconds of a processor in which it starts again, to the first batch, whatever else the machine does; measured are 5.
MOST_SECONDS = 30
FEW = 1_000


def contents(count: int) -> list[bytes]:
    """Pictures of 8 x 8, each another."""
    found = []
    for picture in sample_fashion(count)[0]:
        written = io.BytesIO()
        Image.fromarray(picture[4:20:2, 4:20:2, 0]).convert("RGB").save(written, "JPEG")
        found.append(written.getvalue())
    return found


def write_folder(folder: Path, pictures: int, classes: int) -> Path:
    """`pictures` to train on and one of each class to test; the files of 100 pictures, under many names each."""
    folder.mkdir()
    files = []
    for number, content in enumerate(contents(100)):
        files.append(folder / f"{number}.picture")
        files[-1].write_bytes(content)
    for label in range(classes):
        for part, count in (("train", pictures // classes), ("val", 1)):
            own = folder / part / f"n{label:08}"
            own.mkdir(parents=True)
            for number in range(count):
                os.link(files[(label + number) % 100], own / f"n{label:08}_{number}.JPEG")
    return folder


def started(data: Path, cache: Path) -> dict[str, Any]:
    process = subprocess.run(
        [sys.executable, Path(__file__).with_name("many_pictures.py"), data],
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_million_pictures(tmp_path: Path) -> None:
    few = write_folder(tmp_path / "few", FEW, 10)
    many = write_folder(tmp_path / "many", 1_000_000, 1_000)
    started(few, tmp_path)
    small = started(few, tmp_path)
    first = started(many, tmp_path)
    again = started(many, tmp_path)
    print(json.dumps({"small": small, "first": first, "again": again}, indent=1))
    assert first["pictures"] == again["pictures"] == 1_001_000
    assert first["looked"] == ["many: looking at 1,001,000 pictures that are new or have changed"]
    assert again["looked"] == []
    assert again["fingerprint"] == first["fingerprint"]
    assert sum(again["cpu"]) < MOST_SECONDS
    for found in (first, again):
        assert found["anonymous"] - small["anonymous"] < MOST_BYTES * found["pictures"]
        assert found["grown"] < 2**24, "steps take no more memory the longer a run is"
    one = many / "train" / "n00000007" / "n00000007_5.JPEG"
    content = one.read_bytes()
    one.unlink()
    one.write_bytes(content)
    changed = started(many, tmp_path)
    assert changed["looked"] == []  # one is not many; it is looked at nevertheless
    assert changed["fingerprint"] == first["fingerprint"], "of the same name and size"


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_hundred_thousand_pictures_in_tar_files(tmp_path: Path) -> None:
    own = contents(100)
    for part, count in (("train", 10), ("val", 1)):
        for shard in range(count):
            members = []
            for number in range(10_000):
                members += [(f"{number}.jpg", own[number % 100]), (f"{number}.cls", str(number % 100).encode())]
            write_tar(tmp_path / "tars" / f"{part}-{shard:02}.tar", members)
    first, again = (started(tmp_path / "tars", tmp_path) for _ in range(2))
    print(json.dumps({"first": first, "again": again}, indent=1))
    assert first["pictures"] == again["pictures"] == 110_000
    assert again["looked"] == []
    assert again["fingerprint"] == first["fingerprint"]
    assert again["cpu"][0] < first["cpu"][0] / 3
    assert again["grown"] < 2**24

"""Files: written whole or not at all, to where the user said, and read only where they end."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from resnet_core import files, temporary
from resnet_core.errors import InputError
from resnet_core.files import (
    append_lines,
    new_folder,
    read_bytes,
    replacing,
    require_file,
    require_folder,
    require_writable,
    write_atomically,
    write_new,
)
from resnet_core.temporary import remove_leftovers, temporary_file

OLD, NEW = b"old", b"new content\n"


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "_seen", set())


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# Writing


def test_a_file_is_written_through_links_which_stay(tmp_path: Path) -> None:
    target = tmp_path / "there" / "target"
    target.parent.mkdir()
    for content in (None, OLD):  # a link to nothing yet, and one to a file
        if content is not None:
            target.write_bytes(content)
        (first, second) = tmp_path / "first", tmp_path / "second"
        for link, to in ((second, target), (first, Path("second"))):
            link.unlink(missing_ok=True)
            link.symlink_to(to)
        write_atomically(first, NEW)
        assert target.read_bytes() == NEW
        assert first.is_symlink()
        assert second.is_symlink()
        assert names(target.parent) == {"target"}
        target.unlink()


def test_a_loop_of_links_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InputError, match=r"cannot be written \(Too many levels of symbolic links\)"):
        write_atomically(tmp_path / "loop", NEW)


def test_a_device_stays_a_device() -> None:
    before = Path(os.devnull).stat()
    write_atomically(Path(os.devnull), NEW)
    require_writable(Path(os.devnull))
    after = Path(os.devnull).stat()
    assert stat.S_ISCHR(after.st_mode)
    assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_device_is_one_line() -> None:
    with pytest.raises(InputError, match=r"^/dev/full: cannot be written \(No space left on device\)"):
        write_atomically(Path("/dev/full"), NEW)


def test_a_pipe_gets_the_content_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match=r"cannot be written \(No such device or address\)"):
        write_atomically(pipe, NEW)  # nobody reads it: no waiting for ever
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, NEW)
    assert os.read(reader, 100) == NEW
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert names(tmp_path) == {"pipe"}


def test_standard_output_is_a_stream_also_where_it_is_a_file(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from resnet_core.files import write_atomically; print('before');"
        "write_atomically(Path('/dev/stdout'), b'between\\n'); print('after')"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout == "before\nbetween\nafter\n"
    with (tmp_path / "out").open("a") as out:
        subprocess.run(command, stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "before\nbetween\nafter\n"


def test_permissions_are_kept_and_new_files_follow_the_umask(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.write_bytes(OLD)
    private.chmod(0o640)
    with replacing(private) as beside:
        assert stat.S_IMODE(beside.stat().st_mode) == 0o600  # nobody reads it meanwhile who may not read the old one
        beside.unlink()
        beside.write_bytes(NEW)
    assert stat.S_IMODE(private.stat().st_mode) == 0o640
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "new", NEW)
        with new_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o750


def test_threads_do_not_change_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:

        def write(number: int) -> None:
            for _ in range(20):
                write_atomically(tmp_path / str(number), NEW)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        assert os.umask(before) == 0o022
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o644}


@pytest.mark.parametrize("length", [1, 240, 255])
def test_a_name_may_be_as_long_as_the_file_system_takes(length: int, tmp_path: Path) -> None:
    write_atomically(tmp_path / ("n" * length), NEW)
    write_atomically(tmp_path / (("n" * length)[: length - 9] + ".tar.json"[-length:]), NEW)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("", "Is a directory"),
        ("folder", "Is a directory"),
        ("missing/x.json", None),
        ("file/x.json", "Not a directory"),
        ("n" * 256, "File name too long"),
        ("nu\0ll", "null"),
        ("/proc/x", ""),
    ],
)
def test_an_impossible_place_is_said_before_the_work(
    place: str, words: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(OLD)
    told = rf"cannot be written \(.*{words}.*\); nothing was changed$"
    if words is None:
        told = r"^missing/x\.json: missing is no folder; make it first, or write elsewhere$"
    for function in (require_writable, lambda path: write_atomically(path, NEW)):
        with pytest.raises(InputError, match=told):
            function(Path(place))
    assert names(tmp_path) == {"folder", "file"}


def test_a_possible_place_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(OLD)
    require_writable(tmp_path / "old")
    require_writable(tmp_path / "new")
    require_folder(tmp_path / "a" / "b" / "c")
    require_folder(tmp_path)
    assert names(tmp_path) == {"old"}
    assert (tmp_path / "old").read_bytes() == OLD


@pytest.mark.parametrize("place", ["file", "file/run", "n" * 256, "a/" + "n" * 256, "/proc/run"])
def test_an_impossible_folder_is_said_before_the_work(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(InputError, match="cannot be written"):
        require_folder(Path(place))
    assert names(tmp_path) == {"file"}


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(OLD)

    def stopped() -> None:
        with replacing(path) as beside:
            beside.write_bytes(NEW)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert path.read_bytes() == OLD
    assert names(tmp_path) == {"file.txt"}


def test_a_new_file_is_never_another_one(tmp_path: Path) -> None:
    write_new(tmp_path / "program.py", NEW)
    write_new(tmp_path / "program.py", NEW)
    with pytest.raises(InputError, match="is there with other content"):
        write_new(tmp_path / "program.py", OLD)
    write_new(Path(os.devnull), NEW)


def test_lines_are_not_appended_to_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    with pytest.raises(InputError, match="is not a regular file"):
        append_lines(tmp_path / "log", ["line"])


# What killed processes leave

KILLED = """
import os, signal, sys
from pathlib import Path
from resnet_core.files import new_folder, replacing
context = {"file": replacing, "folder": new_folder}[sys.argv[1]](Path(sys.argv[2]))
beside = context.__enter__()
print(beside.name, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_left_goes_with_the_next_write(kind: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, kind, str(tmp_path / "weights.safetensors")]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == -9
    assert names(tmp_path) == {process.stdout.strip()}
    assert process.stdout.strip().endswith(".safetensors")
    write_atomically(tmp_path / "other", NEW)
    assert names(tmp_path) == {"other"}


def test_what_a_living_process_writes_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = temporary_file(tmp_path, "weights.safetensors")
    foreign = tmp_path / ".resnet-00000000-1-1-00000000.txt"
    foreign.touch()
    for name in (".resnet-mine", ".resnet-notes.txt", "resnet-00000000-1-1-00000000"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert len(names(tmp_path)) == 5
    os.utime(foreign, (0, 0))  # of another machine, and a day old
    number = int(beside.name.split("-")[2])
    reused = beside.with_name(beside.name.replace(f"-{number}-", f"-{number}-1", 1))  # another process of that number
    reused.touch()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == {beside.name, ".resnet-mine", ".resnet-notes.txt", "resnet-00000000-1-1-00000000"}


# Reading


@pytest.fixture
def strange(tmp_path: Path) -> dict[str, Path]:
    """What is no file that ends."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    return {name: tmp_path / name for name in ("pipe", "folder", "device", "loop")}


@pytest.mark.parametrize("name", ["pipe", "folder", "device", "loop"])
def test_only_regular_files_are_read(name: str, strange: dict[str, Path]) -> None:
    for function in (require_file, read_bytes):
        with pytest.raises(InputError, match=r"is not a regular file|is a directory|cannot be read"):
            function(strange[name], "a file")


def test_a_pipe_that_takes_the_place_of_a_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between looking and opening; opening it would wait for a writer."""
    (tmp_path / "file").write_bytes(OLD)
    real, found = os.open, (tmp_path / "file").stat()
    (tmp_path / "file").unlink()
    os.mkfifo(tmp_path / "file")
    monkeypatch.setattr(files.os, "stat", lambda path: found)
    with pytest.raises(InputError, match="is not a regular file"):
        require_file(tmp_path / "file", "a file")
    assert os.open is real


def test_reading_has_a_bound(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 11)
    assert len(read_bytes(tmp_path / "file", "a file", most=11)) == 11
    with pytest.raises(InputError, match=r"has more than 10 bytes; expected a short file$"):
        read_bytes(tmp_path / "file", "a short file", most=10)


@pytest.mark.parametrize("name", ["nu\0ll", "n" * 300, "missing"])
def test_a_name_that_cannot_be_is_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file|cannot be read"):
        read_bytes(tmp_path / name, "a file")


def test_errors_of_reading_have_their_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path, flags: int) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / "file").write_bytes(OLD)
    monkeypatch.setattr(files.os, "open", broken)
    with pytest.raises(InputError, match=r"cannot be read \(Input/output error\); expected a file"):
        read_bytes(tmp_path / "file", "a file")

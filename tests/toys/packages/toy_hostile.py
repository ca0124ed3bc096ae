"""A backend that computes right, but for one verb, which does what the toy's name says behind two underscores."""

import contextlib
import json
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import resnet_numpy as right
from resnet_core.errors import InputError, ResNetError, WeightsError
from resnet_numpy import *  # noqa: F403

KIND = __name__.partition("__")[2]


def raising(error):
    def verb(*_, **__):
        raise error

    return verb


def doing(act):
    """Act, and then answer as if nothing had happened."""

    def verb(model, images):
        if "TOY_HOSTILE_PROCESS" in os.environ:  # who must not outlive its parent
            Path(os.environ["TOY_HOSTILE_PROCESS"]).write_text(f"{os.getpid()}\n")
        act()
        return right.predict(model, images)

    return verb


def once(act):
    """The first time alone: what forks each time would soon fill the machine."""
    done = []
    return lambda: done or (done.append(True), act())


def of_taps(change):
    """`predict` of a model with taps is changed, of one without it is right."""

    def verb(model, images):
        found = right.predict(model, images)
        return change(found) if isinstance(found, dict) else found

    return verb


def of_all(change):
    def verb(model, images):
        found = right.predict(model, images)
        return {tap: change(array) for tap, array in found.items()} if isinstance(found, dict) else change(found)

    return verb


def of_weights(change):
    return lambda model: change(right.get_weights(model))


def first(change):
    """Another first tensor."""

    def verb(found):
        name = next(iter(found))
        return {**found, name: change(found[name])}

    return of_weights(verb)


def without_first(found):
    return dict(list(found.items())[1:])


def renamed(found):
    return {f"{name}.": array for name, array in found.items()}


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class printable(ResNetError):
    pass


class Own(WeightsError):
    pass


class Base(BaseException):
    pass


class NoArray:
    def __array__(self, *_, **__):
        raise RuntimeError("this is no array")


def descriptors():
    return [int(path.name) for path in Path("/proc/self/fd").iterdir() if int(path.name) > 2]


def write_everywhere(text, times=1):
    for descriptor in [1, 2, *descriptors()]:
        with contextlib.suppress(OSError):
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                for _ in range(times):
                    os.write(descriptor, text)


def close_all():
    os.closerange(0, 1000)


def fork(child):
    def act():
        if os.fork() == 0:
            child()
            os._exit(0)

    return act


def holding_the_pipes():
    os.setsid()
    time.sleep(12)


def fork_holder_and_exit():
    fork(holding_the_pipes)()
    os._exit(4)


def folder():
    """The folder of this worker: that with its request in it."""
    return next(path.parent for path in Path(tempfile.gettempdir()).glob("resnet-*/request*.arrays"))


def answers():
    """The files of the answers that may come next."""
    return [folder() / f"answer{number}.arrays" for number in range(2, 9)]


def instead_of_the_answer(make):
    """Something else stands where the arrays of the answer are to be written."""

    def act():
        for path in answers():
            path.unlink(missing_ok=True)
            make(path)

    return act


def answer_with(arrays):
    """Write these bytes as the arrays, answer as the child would, and let them be read."""

    def act():
        for path in answers():
            path.write_bytes(arrays)
        forge('{"result": null, "arrays": true}')
        time.sleep(600)

    return act


def forge(answer):
    for number in range(2, 9):
        write_everywhere(f"\nresnet-answer {number} {answer}\n".encode())


def remove_folder():
    subprocess.run(["rm", "-rf", folder()], check=True)


def limit(kind):
    return lambda: resource.setrlimit(kind, (0, resource.getrlimit(kind)[1]))


def break_json():
    json.dumps = None


def spin():
    while True:
        pass


def spin_without_giving_up_the_interpreter():
    re.match(r"(a|a)*b", "a" * 60)


def kill_with(number):
    return lambda: os.kill(os.getpid(), number)


def structured(array):
    return np.zeros(array.shape, [("a", "f8")])


PREDICT = {
    # something else than arrays
    "none": lambda model, images: None,
    "text": lambda model, images: "logits",
    "bytes": lambda model, images: b"logits",
    "number": lambda model, images: 1.0,
    "list": of_all(lambda array: array.tolist()),
    "no_array": lambda model, images: NoArray(),
    "generator": lambda model, images: (image for image in images),
    "class": lambda model, images: dict,
    "itself": lambda model, images: model,
    # other names
    "empty_dict": of_taps(lambda found: {}),
    "always_dict": lambda model, images: {"logits": images},
    "never_dict": of_taps(lambda found: found["logits"]),
    "tap_missing": of_taps(without_first),
    "tap_renamed": of_taps(renamed),
    "tap_more": of_taps(lambda found: {**found, "another": found["logits"]}),
    "tap_numbers": of_taps(lambda found: dict(enumerate(found.values()))),
    # other shapes
    "transposed": of_all(np.transpose),
    "scalar": of_all(np.sum),
    "empty": of_all(lambda array: array[:0]),
    "short": of_all(lambda array: array[:-1]),
    "flat": of_all(np.ravel),
    "more_axes": of_all(lambda array: array[None]),
    # other numbers
    "imaginary": of_all(lambda array: array + 5j),
    "complex_zero": of_all(lambda array: array + 0j),
    "object": of_all(lambda array: array.astype(object)),
    "structured": of_all(structured),
    "array_of_text": of_all(lambda array: array.astype(str)),
    "array_of_bytes": of_all(lambda array: array.astype("S")),
    "bool": of_all(lambda array: array > 0),
    "integer": of_all(lambda array: array.astype(int)),
    "date": of_all(lambda array: array.astype("m8[s]")),
    "nan": of_all(lambda array: array * np.nan),
    "infinite": of_all(lambda array: array + np.inf),
    "huge": of_all(lambda array: array + 1e300),
    # errors
    "error_empty": raising(ValueError()),
    "error_long": lambda model, images: raising(ValueError("x" * 20_000_000))(),
    "error_lines": raising(ValueError("one\ntwo\r\nthree")),
    "error_escapes": raising(ValueError("\x1b[2J\x1b]0;title\x07\u202e\ud800")),
    "error_unspeakable": raising(Unspeakable()),
    "error_own": raising(Own("own weights")),
    "error_printable": raising(printable("own error")),
    "error_input": raising(InputError("images: these are not liked")),
    "error_group": raising(ExceptionGroup("several", [ValueError("one")])),
    "error_memory": raising(MemoryError()),
    "error_recursion": raising(RecursionError("too deep")),
    "error_stop": raising(StopIteration()),
    "error_exit_0": raising(SystemExit(0)),
    "error_exit_text": raising(SystemExit("this toy is tired")),
    "error_interrupt": raising(KeyboardInterrupt()),
    "error_base": raising(Base("not an Exception")),
    # ends
    "exit_0": doing(lambda: os._exit(0)),
    "exit_255": doing(lambda: os._exit(255)),
    "segmentation": doing(kill_with(signal.SIGSEGV)),
    "abort": doing(os.abort),
    "terminated": doing(kill_with(signal.SIGTERM)),
    "real_time_signal": doing(kill_with(40)),
    # what is printed
    "error_flood": doing(lambda: [os.write(2, b"x" * 2**20) for _ in range(300)] and os._exit(5)),
    "error_flood_of_lines": doing(lambda: [os.write(2, b"line\n" * 2**17) for _ in range(50)]),
    "output_flood": doing(lambda: [os.write(1, b"x" * 2**20) for _ in range(50)]),
    "not_utf_8": doing(lambda: write_everywhere(b"\xff\xfe\x80\n")),
    "half_a_line": doing(lambda: write_everywhere(b"half a line")),
    "garbage": doing(lambda: write_everywhere(b"{}\nnull\n\0\0\n[[[[\n", 100)),
    "endless_line": doing(lambda: write_everywhere(b"x" * 2**16, 2000)),
    "endless_answer": doing(
        lambda: (
            write_everywhere(b"\nresnet-answer 3 " + b"x" * 2**16, 1)
            or [write_everywhere(b"x" * 2**16) for _ in range(2**11)]
        )
    ),
    "forged": doing(lambda: forge('{"result": null, "arrays": false}')),
    "forged_number": doing(lambda: write_everywhere(b"\nresnet-answer 99 {}\n")),
    "forged_kind": doing(lambda: forge('{"error": "this kind is none", "kind": "printable"}')),
    "forged_null": doing(lambda: forge("null")),
    "forged_list": doing(lambda: forge('{"error": [1], "kind": {}}')),
    "forged_deep": doing(lambda: forge("[" * 20_000)),
    "forged_digits": doing(lambda: forge("9" * 6000)),
    "forged_flood": doing(lambda: [forge("{}") for _ in range(2000)]),
    # what is closed, left open, forked
    "closed_and_gone": doing(lambda: [close_all(), os._exit(0)]),
    "closed_and_hangs": doing(lambda: [close_all(), time.sleep(600)]),
    "closed_and_answers": doing(close_all),
    "reads_input": doing(lambda: sys.stdin.read() and os.read(0, 1)),
    "forked_both_answer": doing(once(os.fork)),
    "forked_and_hangs": doing(once(fork(lambda: time.sleep(600)))),
    "forked_with_the_pipes": doing(once(fork(holding_the_pipes))),
    "forked_with_the_pipes_and_exits": doing(fork_holder_and_exit),
    "daemon": doing(once(lambda: subprocess.Popen(["sleep", "12"], start_new_session=True))),
    "thread": doing(once(lambda: threading.Thread(target=time.sleep, args=(600,)).start())),
    "no_streams": doing(lambda: [setattr(sys, name, None) for name in ("stdin", "stdout", "stderr")]),
    "no_json": doing(break_json),
    "elsewhere": doing(lambda: os.chdir("/")),
    # the files of the answer
    # once: a second act would remove what the parent may be about to open
    "answer_is_a_pipe": doing(
        once(lambda: [instead_of_the_answer(os.mkfifo)(), forge('{"result": null, "arrays": true}')])
    ),
    "answer_is_a_device": doing(
        once(
            lambda: [
                instead_of_the_answer(lambda path: path.symlink_to("/dev/zero"))(),
                forge('{"result": null, "arrays": true}'),
            ]
        )
    ),
    "answer_is_a_folder": doing(instead_of_the_answer(Path.mkdir)),
    "answer_is_empty": doing(answer_with(b"")),
    "answer_is_text": doing(answer_with(b"text\n" * 100)),
    "answer_has_numbers": doing(answer_with(b"[1, 2]\n")),
    "answer_claims_all_memory": doing(
        answer_with(
            b'["output"]\n\x93NUMPY\x01\x00\x56\x00'
            + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,)}".ljust(85)
            + b"\n"
        )
    ),
    "folder_removed": doing(once(remove_folder)),
    "no_descriptors": doing(limit(resource.RLIMIT_NOFILE)),
    "no_file_size": doing(limit(resource.RLIMIT_FSIZE)),
    # hanging
    "hangs": doing(lambda: time.sleep(600)),
    "stops": doing(kill_with(signal.SIGSTOP)),
    "spins": doing(spin),
    "spins_alone": doing(spin_without_giving_up_the_interpreter),
    "deaf": doing(lambda: [signal.signal(each, signal.SIG_IGN) for each in (1, 2, 15)] and time.sleep(600)),
}

GET_WEIGHTS = {
    "weights_none": lambda model: None,
    "weights_list": of_weights(lambda found: list(found.values())),
    "weights_zero": of_weights(lambda found: {name: 0 * array for name, array in found.items()}),
    "weights_last_bit": first(lambda array: np.nextafter(array, np.inf)),
    "weights_nan": first(lambda array: array * np.nan),
    "weights_transposed": of_weights(lambda found: {name: array.T for name, array in found.items()}),
    "weights_missing": of_weights(without_first),
    "weights_renamed": of_weights(renamed),
    "weights_object": first(lambda array: array.astype(object)),
    "weights_complex": first(lambda array: array + 0j),
    "weights_text": first(lambda array: "kernel"),
    "weights_numbered": of_weights(lambda found: dict(enumerate(found.values()))),
}

VERSIONS = {
    "versions_none": None,
    "versions_list": ["1.0"],
    "versions_text": "1.0",
    "versions_number": {"toy": 1.0},
    "versions_object": {"toy": object()},
}

CONFIGURE = {
    "device_none": None,
    "device_list": ["cpu"],
    "device_dict": {"cpu": 0},
    "device_number": 0,
}

PEAK = {
    "memory_text": "much",
    "memory_list": [1],
    "memory_nan": float("nan"),
    "memory_infinite": float("inf"),
    "memory_negative": -1,
    "memory_of_5000_digits": 10**5000,
}

BUILD = {
    "build_hangs": lambda *_, **__: time.sleep(600),
    "build_none": lambda *_, **__: None,
    "build_exit": lambda *_, **__: os._exit(6),
}

if KIND in PREDICT:
    predict = lambda model, images: PREDICT[KIND](model, images)  # noqa: E731
elif KIND in GET_WEIGHTS:
    get_weights = lambda model: GET_WEIGHTS[KIND](model)  # noqa: E731
elif KIND in VERSIONS:
    versions = lambda: VERSIONS[KIND]  # noqa: E731
elif KIND in CONFIGURE:
    configure = lambda device="cpu", dtype="float32": CONFIGURE[KIND]  # noqa: E731
elif KIND in PEAK:
    peak_device_memory = lambda: PEAK[KIND]  # noqa: E731
elif KIND in BUILD:

    def build(spec, *, weights=None, seed=0, taps=(), dtype=None):
        return BUILD[KIND]()

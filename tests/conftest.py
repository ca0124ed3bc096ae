"""Options of the whole suite: `--device`, `--require-device`, `--long`."""

from __future__ import annotations

from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("resnet")
    group.addoption("--device", choices=["cpu", "gpu"], default="cpu", help="where the backends compute")
    group.addoption(
        "--require-device", choices=["cpu", "gpu"], default=None, help="like --device, but fail instead of skipping"
    )
    group.addoption(
        "--long",
        action="store_true",
        help="300 random specs instead of 50, training runs killed 30 times instead of 3, test pictures in NumPy too, "
        "programs of the whole zoo",
    )
    group.addoption(
        "--python",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="a backend's own interpreter; may be repeated",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--numprocesses`, a folder's tests stay together, but for the parity tests, which are most of the work.

    What stays together shares its workers: no framework is started and no network compiled twice.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            _, folder, file = nodeid.partition("::")[0].split("/")[:3]
            part = "zoo" if file == "test_zoo.py" else "referees" if "referee" in file else "rest"
            return f"{folder} {part}" if folder == "parity" else folder

    return ByFolder(config, log)


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """ "cpu" or "gpu", as asked for."""
    return request.config.getoption("--require-device") or request.config.getoption("--device")


@pytest.fixture(scope="session")
def device_required(request: pytest.FixtureRequest) -> bool:
    """Whether a backend without the device is a failure."""
    return request.config.getoption("--require-device") is not None


@pytest.fixture(scope="session")
def pythons(request: pytest.FixtureRequest) -> dict[str, str]:
    """{backend: interpreter} as given by --python."""
    return dict(assignment.split("=", 1) for assignment in request.config.getoption("--python"))

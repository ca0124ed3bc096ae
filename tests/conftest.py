"""Options of the whole suite: `--device`, `--require-device`, `--long`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings

# A loaded machine is no reason to fail.
settings.register_profile("resnet", deadline=None)
settings.load_profile("resnet")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("resnet")
    group.addoption("--device", choices=["cpu", "gpu"], default="cpu", help="where the backends compute")
    group.addoption(
        "--require-device", choices=["cpu", "gpu"], default=None, help="like --device, but fail instead of skipping"
    )
    group.addoption(
        "--long",
        action="store_true",
        help="also the tests that are marked long, 300 random specs instead of 30, runs killed 30 times instead of 3, "
        "programs of the whole zoo",
    )
    group.addoption(
        "--python",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="a backend's own interpreter; may be repeated",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is marked long is left out, unless it was asked for or the kit, which runs on a CPU, cannot say it."""
    device = config.getoption("--require-device") or config.getoption("--device")
    if not config.getoption("--long") and device == "cpu":
        left_out = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--numprocesses`, what shares worker processes stays together: no framework and no browser is started twice.

    Tests that start processes of their own go one by one, and last, so that no core waits for the other.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            _, folder, file = nodeid.partition("::")[0].split("/")[:3]
            if folder == "parity":
                return "zoo" if file == "test_zoo.py" else "referees" if "referee" in file else "the rest of parity"
            alone = file if file in ("test_bench.py", "test_site.py") else nodeid
            return {"browser": folder, "conformance": folder, "unit": file, "source": file}.get(folder, alone)

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

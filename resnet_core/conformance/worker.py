"""What a worker process of the kit is asked to do: load the backend, run one check, plant one defect."""

from __future__ import annotations

from typing import Any

from resnet_core.backend import PARALLEL_HOMES, load_backend
from resnet_core.conformance.check import CHECKS, CONVOLUTIONS, HALF_PRECISION, LEFT_OUT, Context, Violation
from resnet_core.conformance.defects import DEFECTS, Proxy
from resnet_core.workers.child import Arrays, Session

Answer = tuple[Any, None]


def open_backend(session: Session, arrays: Arrays, *, backend: str, dtype: str, configure: bool) -> Answer:
    """Import the backend and, where that is wanted, set the process up. Answers what it is and offers.

    One whose float64 is not exact is never configured for it.
    """
    session.backend = load_backend(backend)  # type: ignore[assignment]
    exact = session.backend.exact_float64()
    if configure and (exact or dtype == "float32"):
        session.backend.configure("cpu", dtype)
    found = {name: getattr(session.backend, name, None) for name in LEFT_OUT}
    offered = [name for name, own in found.items() if callable(own) or (name in (HALF_PRECISION, CONVOLUTIONS) and own)]
    if getattr(session.backend, "ONE_PROCESS", ""):
        offered = [name for name in offered if name not in PARALLEL_HOMES]
    offered += getattr(getattr(session.backend, "Trainer", None), "inputs", ())
    offered += ["grouped"] if getattr(getattr(session.backend, "ParallelTrainer", None), "grouped", False) else []
    return {"exact_float64": exact, "offered": offered, "versions": session.backend.versions()}, None


def run_check(session: Session, arrays: Arrays, *, name: str, case: str, dtype: str) -> Answer:
    """What is wrong, in one line, or None."""
    return _violation(Context(session.backend, dtype), name, case), None


def run_defect(session: Session, arrays: Arrays, *, name: str) -> Answer:
    """None where the planted defect is caught, else one line."""
    defect = DEFECTS[name]
    proxy = Proxy(session.backend, defect.plant(session.backend))
    try:
        CHECKS[defect.check](Context(proxy, defect.dtype), defect.case)
    except Violation:
        return None, None
    except Exception as error:
        return f"ended in {_line(error)}; expected a violation of: {defect.check}", None
    return f"was not caught by: {defect.check}", None


def _violation(context: Context, name: str, case: str) -> str | None:
    try:
        CHECKS[name](context, case)
    except Violation as violation:
        return " ".join(str(violation).split())
    except Exception as error:
        return _line(error)
    return None


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300] or 'no message'}"

"""A parent with one rank, as a launcher starts it: `watching_parent.py RANK RANKS PORT HOST TIMES PROGRAM [OWN]`.

TIMES is JSON of the constants that are shortened. Prints "met" and its rank's process, then the line of a failure. OWN
is run in the parent itself once it has met: what a parent must not do.
"""

from __future__ import annotations

import json
import sys

from resnet_core.errors import WorkerError
from resnet_core.workers import heartbeat, ranks
from resnet_core.workers.meeting import Seat, meet


def main() -> int:
    rank, count, port, host, times, program, *own = sys.argv[1:]
    for name, seconds in json.loads(times).items():
        setattr(ranks if hasattr(ranks, name) else heartbeat, name, seconds)
    seat = Seat(int(rank), int(count), "127.0.0.1", int(port), host)
    others, _ = meet(seat, lambda: None, lambda line: None)
    child = ranks.Rank(seat.rank, [sys.executable, "-c", program], {}, (), name=seat.name)
    print("met", child.process.pid, flush=True)
    for text in own:
        exec(text)
    try:
        code = ranks.supervise([child], others)
        others.leave()
    except WorkerError as error:
        print(error, flush=True)
        others.fail(str(error))
        code = 1
    others.close()
    return code


if __name__ == "__main__":
    sys.exit(main())

"""Ends its process group when the supervisor is gone, however it went.

The supervisor puts every process that it starts into this one's group and holds the other end of its standard
input. However the supervisor dies, the system closes that end. This holds on Linux and macOS alike, and a group,
unlike a list of process ids, cannot be out of date.

It is started by its path and imports nothing of Dossier, to be small and there at once.
"""

import os
import signal
import time

GRACE_S = 2.0


def main() -> None:
    """Wait for the end of the supervisor, then end the group, and this process with it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.read(0, 1)
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()

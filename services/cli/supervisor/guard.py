"""A process that ends its process group when the supervisor ends, even by SIGKILL.

The supervisor starts every process in this one's group and holds the other end of its standard input. When the
supervisor dies, the system closes that end. This holds on Linux and macOS alike, and a group, unlike a list of process
ids, cannot be out of date.

It is started by its path and imports nothing of Dossier, so that it is small and starts at once.
"""

import os
import signal
import time

GRACE_S = 2.0


def main() -> None:
    """Wait until standard input closes; then send SIGTERM to the group, and SIGKILL 2 s later, which ends this too."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.read(0, 1)
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()

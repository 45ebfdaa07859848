"""A program that prints how it was started, and ends as it is asked to: it compares a fork with an interpreter."""

import atexit
import json
import os
import signal
import sys
import time


def main() -> None:
    """Print, then end by the number, the exception or the wait that the first argument asks for."""
    atexit.register(print, "at exit")
    inherited = {name: value for name, value in os.environ.items() if name.startswith("MIRROR_")}  # noqa: TID251
    how = {
        "arguments": sys.argv[1:],
        "name": __name__,
        "folder": os.getcwd(),
        "environment": inherited,
        "path": sys.path[0] == os.getcwd(),
        "session": os.getsid(0) == os.getpid(),
        "buffers": [[file.line_buffering, file.write_through] for file in (sys.stdout, sys.stderr)],
        "handlers": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
    }
    print(json.dumps(how))
    print("é", file=sys.stderr, flush=True)
    match sys.argv[1:]:
        case ["raise"]:
            raise ValueError("as asked")
        case ["wait"]:
            sys.stdout.flush()
            time.sleep(600)
        case [code]:
            sys.exit(int(code))


if __name__ == "__main__":
    main()

"""What processes have used, as Linux counts it."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time that these processes have used together, in user and system mode."""
    return sum(_ticks(pid) for pid in pids) / _TICKS_A_SECOND


def _ticks(pid: int) -> int:
    after_name = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(after_name[11]) + int(after_name[12])


def peak_rss_mb(pids: Iterable[int]) -> float:
    """The most memory (MiB) that each of these processes ever had, summed."""
    return sum(_kib(pid, "VmHWM") for pid in pids) / 1024


def rss_mb(pids: Iterable[int]) -> float:
    """The memory (MiB) that these processes have now, summed."""
    return sum(_kib(pid, "VmRSS") for pid in pids) / 1024


def _kib(pid: int, what: str) -> int:
    found = re.search(rf"{what}:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found, f"Process {pid} has ended."
    return int(found[1])

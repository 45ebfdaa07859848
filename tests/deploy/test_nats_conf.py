"""The NATS configuration is one that the real server starts with, and it keeps what it acknowledges."""

import json
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from shared.contracts.envelope import MAX_BYTES

CONF = Path(__file__).parents[2] / "deploy" / "nats.conf"
NATS_SERVER = Path(sysconfig.get_path("scripts"), "nats-server")


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """The configuration as it is deployed, with its data in a temporary folder."""
    text = CONF.read_text()
    assert text.count('store_dir: "/data"') == 1
    here = tmp_path / "nats.conf"
    here.write_text(text.replace("/data", f"{tmp_path}/data"))
    return here


def test_the_server_accepts_it(conf: Path):
    tried = subprocess.run([NATS_SERVER, "-t", "-c", conf], capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stderr


def test_the_server_would_refuse_a_misspelt_setting(conf: Path):
    conf.write_text(conf.read_text().replace("max_payload", "max_paylod"))
    assert subprocess.run([NATS_SERVER, "-t", "-c", conf], capture_output=True, check=False).returncode != 0


@pytest.fixture
def monitor(conf: Path) -> Iterator[HTTPConnection]:
    """The monitoring port of a server that runs with the configuration, on free ports of this machine."""
    free = ["--addr", "127.0.0.1", "--port", "-1", "--http_port", "-1"]
    with subprocess.Popen([NATS_SERVER, "-c", conf, *free], stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        try:
            log = ""
            while "Server is ready" not in log:
                line = server.stderr.readline()
                assert line, f"The server stopped: {log}"
                log += line
            address = re.search(r"Starting http monitor on (\S+)", log)
            assert address
            link = HTTPConnection(address[1], timeout=10)
            yield link
            link.close()
        finally:
            server.terminate()
            server.stderr.read()


def asked(link: HTTPConnection, path: str) -> dict[str, Any]:
    link.request("GET", path)
    return json.loads(link.getresponse().read())


def test_an_acknowledged_message_is_on_disk(monitor: HTTPConnection):
    assert asked(monitor, "/jsz")["config"]["sync_always"]


def test_the_health_check_that_compose_asks_is_answered(monitor: HTTPConnection):
    assert asked(monitor, "/healthz") == {"status": "ok"}


def test_the_largest_message_fits(monitor: HTTPConnection):
    assert asked(monitor, "/varz")["max_payload"] > MAX_BYTES

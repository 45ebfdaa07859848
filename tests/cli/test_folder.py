"""The data folder: its state file and its lock."""

import asyncio
import os
import stat
import subprocess
import sys

import pytest

from services.cli.shell.folder import Folder, Lock, Running

HERE = Running(os.getpid(), ("nats://127.0.0.1:4222",), "http://127.0.0.1:8400")


@pytest.fixture
def folder(tmp_path):
    folder = Folder(tmp_path / "data")
    folder.create()
    return folder


@pytest.fixture
def locked(folder):
    lock = Lock.take(folder.path / "up.lock")
    yield
    lock.release()


@pytest.mark.usefixtures("locked")
def test_what_is_announced_is_found(folder):
    folder.announce(HERE)
    assert folder.running() == HERE


def test_nobody_else_may_read_the_announcement_for_a_nats_url_can_have_a_password_in_it(folder):
    folder.announce(HERE)
    assert stat.S_IMODE(folder.state.stat().st_mode) == 0o600


@pytest.mark.usefixtures("locked")
def test_an_announcement_replaces_another_and_leaves_nothing_beside_it(folder):
    folder.announce(HERE)
    folder.announce(Running(os.getpid(), ("nats://127.0.0.1:4223",), "http://127.0.0.1:8401"))
    assert [path.name for path in folder.path.glob("up.json*")] == ["up.json"]
    assert folder.running().api == "http://127.0.0.1:8401"


@pytest.mark.usefixtures("locked")
def test_what_is_withdrawn_is_gone_also_a_second_time(folder):
    folder.announce(HERE)
    folder.withdraw()
    folder.withdraw()
    assert folder.running() is None


@pytest.mark.usefixtures("locked")
def test_the_announcement_of_a_process_that_has_died_is_nobodys(folder):
    died = subprocess.Popen([sys.executable, "-c", ""])
    died.wait()
    folder.announce(Running(died.pid, HERE.nats, HERE.api))
    assert folder.running() is None


def test_an_announcement_of_a_process_id_that_now_is_another_programs_is_nobodys(folder):
    folder.announce(HERE)
    assert folder.running() is None


@pytest.mark.usefixtures("locked")
@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}'])
def test_a_file_that_says_nothing_is_nobodys(folder, text):
    folder.state.write_text(text)
    assert folder.running() is None


def test_only_one_has_the_lock(folder):
    first = asyncio.run(folder.lock(within_s=0))
    assert asyncio.run(folder.lock(within_s=0.2)) is None
    first.release()
    second = asyncio.run(folder.lock(within_s=0))
    assert second
    second.release()


def test_the_lock_lasts_as_long_as_any_process_has_it(folder):
    path = folder.path / "up.lock"
    lock = Lock.take(path)
    heir = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock.descriptor,))
    lock.release()
    assert Lock.take(path) is None
    heir.communicate(b"\n")
    again = Lock.take(path)
    assert again
    again.release()

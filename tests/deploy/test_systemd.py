"""The units for one machine are taken by systemd, confined, and fit the program and each other."""

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from importlib.util import find_spec
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis.strategies import ip_addresses

from services.fetcher.web.addresses import is_public
from shared.runtime.settings import Settings
from tests.harness.environment import ROOT, inherited

SYSTEMD = ROOT / "deploy" / "systemd"
SERVICES = ("coordinator", "planner", "fetcher", "synthesizer", "notifier")
UNITS = ("dossier-nats.service", *(f"dossier@{name}.service" for name in SERVICES))
EXPOSED_AT_MOST = 15
"""Of 100, as `systemd-analyze security` counts; a service without any confinement has 96."""

every_service = pytest.mark.parametrize("name", SERVICES)
Unit = dict[str, list[str]]


def analyze(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """What systemd has to say of the units, the program being this Python's. A machine without systemd fails."""
    if shutil.which("systemd-analyze") is None:
        raise FileNotFoundError("There is no systemd-analyze on PATH; on Debian it is in the package systemd.")
    shutil.copytree(SYSTEMD, folder, dirs_exist_ok=True)
    for path in folder.glob("*.service"):
        path.write_text(path.read_text().replace("/opt/dossier/bin", str(Path(sys.executable).parent)))
    for name in SERVICES:
        shutil.copy(folder / "dossier@.service", folder / f"dossier@{name}.service")
    command = ["systemd-analyze", *arguments]
    return subprocess.run(
        command, env=inherited({"SYSTEMD_UNIT_PATH": f"{folder}:"}), capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("unit", ["dossier.target", *UNITS])
def test_systemd_takes_each_unit(tmp_path: Path, unit: str):
    verified = analyze(tmp_path, "verify", "--man=no", unit)
    assert [line for line in verified.stderr.splitlines() if "dossier" in line] == []
    assert verified.returncode == 0


def test_systemd_would_not_take_a_misspelt_setting(tmp_path: Path):
    (tmp_path / "dossier@fetcher.service.d").mkdir()
    (tmp_path / "dossier@fetcher.service.d" / "x.conf").write_text("[Service]\nProtectSytem=strict\n")
    assert "ProtectSytem" in analyze(tmp_path, "verify", "--man=no", "dossier@fetcher.service").stderr


@pytest.mark.parametrize("unit", UNITS)
def test_each_unit_is_confined(tmp_path: Path, unit: str):
    judged = analyze(tmp_path, "security", "--offline=true", f"--threshold={EXPOSED_AT_MOST}", "--no-pager", unit)
    assert judged.returncode == 0, judged.stdout


def unit(name: str) -> Unit:
    """The settings of a unit with its drop-ins, each with all its words; one that is set to nothing begins anew."""
    template = "dossier@.service" if "@" in name else name
    found: Unit = defaultdict(list)
    for path in (SYSTEMD / template, *sorted((SYSTEMD / f"{name}.d").glob("*.conf"))):
        for key, value in re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE):
            if value:
                found[key] += value.split()
            else:
                found[key].clear()
    return found


def variables(name: str) -> dict[str, str]:
    """What a service is told: by its unit, by the settings of all, and by its own."""
    given_ = unit(f"dossier@{name}.service")["Environment"]
    lines = [line for file in ("dossier.env", f"env/{name}.env") for line in (SYSTEMD / file).read_text().splitlines()]
    return dict(each.split("=", 1) for each in (*given_, *lines) if each and not each.startswith("#"))


@every_service
def test_each_service_runs_a_module_that_exists(name: str):
    command = [word.replace("%i", name) for word in unit(f"dossier@{name}.service")["ExecStart"]]
    assert command == ["/opt/dossier/bin/python", "-m", f"services.{name}"]
    assert find_spec(f"services.{name}.__main__")


def test_the_target_starts_everything_that_needs_no_further_file():
    assert set(unit("dossier.target")["Wants"]) == set(UNITS) - {"dossier@notifier.service"}


@every_service
def test_each_variable_is_a_setting(name: str):
    settings = {field.validation_alias or f"DOSSIER_{key.upper()}" for key, field in Settings.model_fields.items()}
    mentioned = set(
        re.findall(r"^# ((?:DOSSIER|OPENAI)_\w+)=", (SYSTEMD / f"env/{name}.env").read_text(), re.MULTILINE)
    )
    assert {*variables(name), *mentioned} - {"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"} <= settings


def test_each_has_ports_of_its_own():
    ports = [value for name in SERVICES for key, value in variables(name).items() if key.endswith("_PORT")]
    assert len(ports) == len(set(ports)) == len(SERVICES) + 1


@every_service
def test_each_has_its_own_key_to_nats_and_sees_no_other(name: str):
    settings = unit(f"dossier@{name}.service")
    keys = [each for each in settings["LoadCredential"] if each.endswith(".nk")]
    assert keys == ["seed.nk:/var/lib/dossier/keys/%i.nk"]
    assert variables(name)["DOSSIER_NATS_SEED"] == "%d/seed.nk"
    assert "-/var/lib/dossier/keys" in settings["InaccessiblePaths"]
    assert "-/var/lib/dossier/keys" in unit("dossier-nats.service")["InaccessiblePaths"]


@every_service
def test_a_service_has_time_to_finish_what_it_has_in_hand(name: str):
    assert float(unit(f"dossier@{name}.service")["TimeoutStopSec"][0]) > Settings.model_fields["grace_s"].default


@pytest.mark.parametrize("name", UNITS)
def test_each_is_kept_running_and_speaks_to_the_journal(name: str):
    settings = unit(name)
    assert settings["Restart"] == ["always"]
    assert settings["StartLimitIntervalSec"] == ["0"]
    assert settings["StandardOutput"] == settings["StandardError"] == ["journal"]


@every_service
def test_each_writes_to_its_own_folder_alone(name: str):
    settings = unit(f"dossier@{name}.service")
    assert settings["DynamicUser"] == ["yes"]
    assert settings["StateDirectory"] == ["dossier-%i"]
    assert variables(name)["DOSSIER_DATA"] == "%S/dossier-%i"
    assert "ReadWritePaths" not in settings


def reaches(name: str, address: IPv4Address | IPv6Address) -> bool:
    """Whether systemd lets a service connect there."""
    settings = unit(f"dossier@{name}.service")
    named = {"any": ["0.0.0.0/0", "::/0"], "localhost": ["127.0.0.0/8", "::1/128"]}
    allowed, denied = (
        [ip_network(each) for word in settings[key] for each in named.get(word, [word])]
        for key in ("IPAddressAllow", "IPAddressDeny")
    )
    return any(address in network for network in allowed) or not any(address in network for network in denied)


@example(IPv4Address("169.254.169.254"))
@example(IPv4Address("10.0.0.1"))
@example(IPv6Address("fd00::1"))
@example(IPv6Address("64:ff9b::a00:1"))
@given(ip_addresses())
def test_no_service_reaches_a_private_address_but_this_machine(address: IPv4Address | IPv6Address):
    for name in SERVICES:
        assert address.is_loopback or is_public(address) or not reaches(name, address), name


@pytest.mark.parametrize("address", [IPv4Address("8.8.8.8"), IPv6Address("2606:4700::1111")])
def test_those_reach_the_internet_who_have_something_to_do_there(address: IPv4Address | IPv6Address):
    assert {name for name in SERVICES if reaches(name, address)} == set(SERVICES) - {"coordinator"}


def test_everybody_reaches_nats_on_this_machine():
    assert all(reaches(name, IPv4Address("127.0.0.1")) for name in SERVICES)

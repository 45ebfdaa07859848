"""`dossier nats init`: what it writes, and what it leaves alone."""

import stat
import subprocess
from itertools import combinations
from pathlib import Path, PurePath

import pytest
from cryptography import x509

from services.cli.lockdown import nkey
from services.cli.lockdown.init import Layout
from services.cli.lockdown.permissions import ACCOUNT_INFO, USERS, User
from services.cli.shell.refusal import Refusal
from tests.harness.environment import nats_server
from tests.harness.locked import Locked, dossier, initialized

USED = ("coordinator", "planner", "fetcher", "synthesizer", "notifier", "requester", "approver", "subscriber")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three nodes on other machines."""
    folder = tmp_path_factory.mktemp("init") / "locked"
    initialized(elsewhere(folder))
    return folder


def elsewhere(folder: Path) -> Layout:
    hosts = tuple(f"nats-{n}.example.com" for n in (1, 2, 3))
    return Layout(folder, nodes=3, hosts=hosts, at=PurePath("/etc/dossier"), store="20GB")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_writes_a_key_for_everybody_a_certificate_for_every_node_and_the_configuration(folder: Path):
    keys = {f"keys/{user}.nk" for user in (*USED, "operator", "system")}
    tls = {f"tls/{name}.{kind}" for name in ("ca", "n1", "n2", "n3") for kind in ("pem", "key")}
    conf = {f"nats/{name}.conf" for name in ("accounts", "n1", "n2", "n3")}
    assert contents(folder).keys() == keys | tls | conf


def test_what_is_secret_is_its_owners_alone(folder: Path):
    for path in [*folder.glob("keys/*"), *folder.glob("tls/*.key")]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "keys").stat().st_mode) == 0o700


def test_the_configuration_has_public_keys_and_no_seed(folder: Path):
    accounts = (folder / "nats" / "accounts.conf").read_text()
    for seed in folder.glob("keys/*"):
        assert nkey.public_key(seed.read_text()) in accounts
        assert seed.read_text().strip() not in accounts


def test_nodes_on_other_machines_are_reached_by_name_and_find_the_folder_where_it_will_be(folder: Path):
    conf = (folder / "nats" / "n2.conf").read_text()
    assert 'listen: "0.0.0.0:4222"' in conf
    assert '"tls://nats-3.example.com:6222"' in conf
    assert 'key_file: "/etc/dossier/tls/n2.key"' in conf
    assert "max_file_store: 20GB" in conf
    assert "sync_interval: always" in conf


def test_what_is_there_is_kept_and_said_to_be(folder: Path):
    before = contents(folder)
    (folder / "nats" / "n3.conf").unlink()
    said = initialized(elsewhere(folder))
    assert contents(folder) == before
    assert f"wrote  {folder}/nats/n3.conf" in said
    assert f"kept   {folder}/keys/operator.nk" in said
    assert said.count("wrote") == 1


def test_the_command_takes_all_of_it(tmp_path: Path):
    folder = tmp_path / "locked"
    hosts = [part for n in (1, 2, 3) for part in ("--host", f"nats-{n}.example.com")]
    more = ("--nodes", "3", "--at", "/etc/dossier", "--store", "20GB", "--port", "5222")
    assert "5222" in dossier("nats", "init", str(folder), *hosts, *more).stderr
    conf = (folder / "nats" / "n3.conf").read_text()
    assert all(part in conf for part in ("nats-1.example.com:7222", "/etc/dossier", "20GB", "0.0.0.0:5222"))


def test_one_certificate_may_be_for_all_names_of_a_domain(tmp_path: Path):
    initialized(Layout(tmp_path, hosts=("*.nats.svc.cluster.local",)))
    certificate = x509.load_pem_x509_certificate((tmp_path / "tls" / "node.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["*.nats.svc.cluster.local"]


def test_no_seed_is_ever_shown(tmp_path: Path):
    locked = Locked(tmp_path, 1)
    assert "operator.nk" in locked.said
    for seed in locked.folder.glob("keys/*"):
        assert seed.read_text().strip() not in locked.said


def test_the_server_takes_the_configuration_of_one_node(tmp_path: Path):
    conf = Locked(tmp_path, 1).folder / "nats" / "node.conf"
    tried = subprocess.run([nats_server(), "-t", "-c", conf], capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stderr


def test_a_node_can_be_certified_while_the_authoritys_key_is_there_and_not_without(tmp_path: Path):
    folder = Locked(tmp_path, 1).folder
    for name in ("node.pem", "node.key"):
        (folder / "tls" / name).unlink()
    key = (folder / "tls" / "ca.key").rename(tmp_path / "ca.key")
    with pytest.raises(Refusal, match=r"takes tls/ca\.key"):
        initialized(Layout(folder))
    assert not (folder / "tls" / "node.key").exists()
    key.rename(folder / "tls" / "ca.key")
    initialized(Layout(folder))
    assert (folder / "tls" / "node.pem").exists()


def test_a_key_that_is_none_is_neither_used_nor_overwritten(tmp_path: Path):
    folder = tmp_path / "locked"
    (folder / "keys").mkdir(parents=True)
    (folder / "keys" / "planner.nk").write_text("a secret that is no key")
    with pytest.raises(Refusal, match=r"keys/planner\.nk is not the seed") as refused:
        initialized(Layout(folder))
    assert "a secret" not in str(refused.value)
    assert (folder / "keys" / "planner.nk").read_text() == "a secret that is no key"


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (Layout(Path("f"), nodes=2), "1 or 3"),
        (Layout(Path("f"), nodes=3, hosts=("a", "b")), "name all 3 nodes"),
        (Layout(Path("f"), hosts=('a"; }',)), "not a host name"),
        (Layout(Path("f"), nodes=3, hosts=("*.a", "b", "c")), "one of its own"),
        (Layout(Path("f"), store="much"), "not a size"),
    ],
    ids=["two-nodes", "too-few-hosts", "bad-host", "a-star-among-three", "bad-size"],
)
def test_what_cannot_be_set_up_is_refused_before_anything_is_written(wanted: Layout, says: str):
    with pytest.raises(Refusal, match=says):
        wanted.servers()


@pytest.mark.parametrize("user", USERS, ids=lambda user: user.name)
def test_no_subject_leads_into_the_store_by_two_ways_at_once(user: User):
    """It would be sent there twice."""
    subjects = [ACCOUNT_INFO, *(may.subject for may in user.may)]
    assert not [pair for pair in combinations(subjects, 2) if overlap(*pair)]


def overlap(one: str, other: str) -> bool:
    """Return True if a subject matches both patterns."""
    ours, theirs = one.split("."), other.split(".")
    for a, b in zip(ours, theirs, strict=False):
        if ">" in (a, b):
            return True
        if a != b and "*" not in (a, b):
            return False
    return len(ours) == len(theirs)

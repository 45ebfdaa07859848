"""The configuration of NATS servers: accounts, and one file a node. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Final

from msgspec import Struct

from services.cli.lockdown.permissions import (
    ACCOUNT_INFO,
    INFORMED,
    OPERATOR,
    STORE,
    SYSTEM,
    USERS,
    WHOAMI,
    Answers,
    User,
    heard,
    services,
)

ACCOUNTS: Final = "accounts.conf"
ROUTE_OFFSET: Final = 2_000
MONITOR_OFFSET: Final = 4_000
"""From a node's port for clients to that for its peers and that for its monitoring: 4222, 6222, 8222."""

_RESPONSES: Final[Mapping[Answers, str]] = {"one": "", "many": ', response_type: "stream"'}


class Node(Struct, frozen=True):
    """One server: how it is called, by which name and port it is reached, and at which address it listens."""

    name: str
    host: str
    port: int
    listen: str


class Place(Struct, frozen=True):
    """Where the servers find the folder, and how much of its disk the log may take."""

    folder: PurePath
    store: str


def accounts(keys: Mapping[str, str]) -> str:
    """The accounts and their users, from the public key of each user."""
    return _text(
        "# Who may do what, the same for every node. Written by `dossier nats init`.",
        "# Each user has an account of its own, and what that imports is all that the user reaches of the store.",
        "# To have it written anew after an upgrade, remove this file and run the command again: keys are kept.",
        "accounts {",
        *_store(keys[OPERATOR]),
        *(line for user in USERS for line in _account(user, keys[user.name])),
        "",
        "  # Sees the servers ($SYS.REQ.SERVER.PING and the like), and nothing that is stored.",
        f"  {SYSTEM.upper()} {{",
        f"    users: [{{nkey: {keys[SYSTEM]}}}]",
        "  }",
        "}",
        f"system_account: {SYSTEM.upper()}",
    )


def node(one: Node, nodes: Sequence[Node], place: Place) -> str:
    """The configuration of one node among all of them. One setting a line: the server takes no two."""
    return _text(
        "# A NATS server for Dossier, locked down. Written by `dossier nats init`; start it with",
        f"#   nats-server --config {place.folder / 'nats' / f'{one.name}.conf'}",
        f"server_name: {one.name}",
        f"listen: {json.dumps(f'{one.listen}:{one.port}')}",
        "",
        "# For this machine only: it asks nobody who they are.",
        f'http: "127.0.0.1:{one.port + MONITOR_OFFSET}"',
        "",
        "# Dossier sends no message over 256 KiB; the rest is room for headers.",
        "max_payload: 1MB",
        "",
        "# Clients prove who they are by their nkey, servers by these.",
        *_tls(one, place),
        "",
        "jetstream {",
        f"  store_dir: {_quoted(place.folder / 'data' / one.name)}",
        "  # Acknowledge what is on the disk, and nothing before.",
        "  sync_interval: always",
        "  # Less than the disk has: a disk that is full to the last byte takes a restart to recover from.",
        f"  max_file_store: {place.store}",
        "  max_memory_store: 256MB",
        "}",
        *(_cluster(one, nodes, place) if len(nodes) > 1 else ()),
        "",
        f'include "{ACCOUNTS}"',
    )


def _text(*lines: str) -> str:
    return "\n".join((*lines, ""))


def _tls(one: Node, place: Place, *more: str) -> Iterator[str]:
    yield "tls {"
    yield f"  cert_file: {_quoted(place.folder / 'tls' / f'{one.name}.pem')}"
    yield f"  key_file: {_quoted(place.folder / 'tls' / f'{one.name}.key')}"
    yield "  timeout: 5"
    yield from more
    yield "}"


def _cluster(one: Node, nodes: Sequence[Node], place: Place) -> Iterator[str]:
    peers = ", ".join(_quoted(f"tls://{peer.host}:{peer.port + ROUTE_OFFSET}") for peer in nodes)
    yield ""
    yield "cluster {"
    yield "  name: dossier"
    yield f"  listen: {json.dumps(f'{one.listen}:{one.port + ROUTE_OFFSET}')}"
    yield f"  routes: [{peers}]"
    yield "  # Clients name every node themselves; addresses that a server tells them are in no certificate."
    yield "  no_advertise: true"
    yield "  # Nobody is a peer whose certificate is not from this authority."
    for line in _tls(one, place, f"  ca_file: {_quoted(place.folder / 'tls' / 'ca.pem')}", "  verify: true"):
        yield f"  {line}"
    yield "}"


def _store(key: str) -> Iterator[str]:
    yield "  # The streams. The operator alone is in here, and may do everything: purge, delete, change, make keys."
    yield f"  {STORE} {{"
    yield "    jetstream: enabled"
    yield f"    users: [{{nkey: {key}}}]"
    yield "    exports: ["
    yield f"      {{service: {_quoted(ACCOUNT_INFO)}}}"
    for subject, (answers, names) in services().items():
        yield f"      {{service: {_quoted(subject)}, accounts: [{', '.join(names)}]{_RESPONSES[answers]}}}"
    yield from _heard(STORE)
    yield "    ]"
    yield "  }"


def _heard(source: str) -> Iterator[str]:
    for subject, names in heard(source).items():
        yield f"      {{stream: {_quoted(subject)}, accounts: [{', '.join(names)}]}}"


def _account(user: User, key: str) -> Iterator[str]:
    yield ""
    yield f"  # {user.name.capitalize()}: {user.about}."
    yield f"  {user.account} {{"
    yield "    users: [{"
    yield f"      nkey: {key}"
    yield "      permissions: {"
    yield "        publish: ["
    for may in (*user.may, *user.says):
        yield f"          {_quoted(may.subject)}  # {may.why}"
    if user.name in INFORMED:
        yield f"          {_quoted(ACCOUNT_INFO)}  # how much room there is"
    yield f"          {_quoted(WHOAMI)}  # who it is to this server"
    yield "        ]"
    yield "        subscribe: ["
    yield '          "_INBOX.>"  # answers; nobody else is in this account'
    for hears in user.hears:
        yield f"          {_quoted(hears.subject)}  # {hears.why}"
    yield "        ]"
    yield "      }"
    yield "    }]"
    yield "    imports: ["
    for subject in (ACCOUNT_INFO, *(may.subject for may in user.may)):
        yield f"      {{service: {{account: {STORE}, subject: {_quoted(subject)}}}}}"
    for hears in user.hears:
        yield f"      {{stream: {{account: {hears.source}, subject: {_quoted(hears.subject)}}}}}"
    yield "    ]"
    if heard(user.account):
        yield "    exports: ["
        yield from _heard(user.account)
        yield "    ]"
    yield "  }"


def _quoted(text: object) -> str:
    return json.dumps(str(text), ensure_ascii=False)

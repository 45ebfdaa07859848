"""Configuration of NATS servers: the accounts, and one file for each node. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Final

from msgspec import Struct

from services.cli.lockdown.permissions import (
    ACCOUNT_INFO,
    INBOX,
    INFORMED,
    OPERATOR,
    STORE,
    SYSTEM,
    USERS,
    WHOAMI,
    Answers,
    User,
    services,
    subscribers,
)

ACCOUNTS: Final = "accounts.conf"
ROUTE_OFFSET: Final = 2_000
MONITOR_OFFSET: Final = 4_000
"""Offsets of the ports for routes and for monitoring from the port for clients: 4222, 6222, 8222."""

_RESPONSES: Final[Mapping[Answers, str]] = {"one": "", "many": ', response_type: "stream"'}


class Node(Struct, frozen=True):
    """One server: its name, the host and port by which it is reached, and the address at which it listens."""

    name: str
    host: str
    port: int
    listen: str


class Place(Struct, frozen=True):
    """Path of the folder on the servers, and the disk space for the store, as in `10GB`."""

    folder: PurePath
    store: str


def accounts(keys: Mapping[str, str]) -> str:
    """The file of accounts. `keys` are the public keys of all users by name."""
    return _text(
        "# Permissions of each user, the same for every node. Written by `dossier nats init`.",
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
    """The file of one node among `nodes`. Each line has one setting, since the server accepts no two."""
    return _text(
        "# A NATS server for Dossier, locked down. Written by `dossier nats init`; start it with",
        f"#   nats-server --config {place.folder / 'nats' / f'{one.name}.conf'}",
        f"server_name: {one.name}",
        f"listen: {json.dumps(f'{one.listen}:{one.port}')}",
        "",
        "# For this machine only: it requires no key.",
        f'http: "127.0.0.1:{one.port + MONITOR_OFFSET}"',
        "",
        "# Dossier sends no message over 256 KiB; the rest is for headers.",
        "max_payload: 1MB",
        "",
        "# Clients authenticate by their nkey, servers by these.",
        *_tls(one, place),
        "",
        "jetstream {",
        f"  store_dir: {_quoted(place.folder / 'data' / one.name)}",
        "  # Acknowledge a message when it is on the disk, and not before.",
        "  sync_interval: always",
        "  # Less than the disk has: to recover from a full disk takes a restart.",
        f"  max_file_store: {place.store}",
        "  max_memory_store: 256MB",
        "}",
        *(_cluster(one, nodes, place) if len(nodes) > 1 else ()),
        "",
        f'include "{ACCOUNTS}"',
    )


def _text(*lines: str) -> str:
    """The lines as a file."""
    return "\n".join((*lines, ""))


def _tls(one: Node, place: Place, *more: str) -> Iterator[str]:
    """Lines of a TLS block with the node's certificate and `more` settings."""
    yield "tls {"
    yield f"  cert_file: {_quoted(place.folder / 'tls' / f'{one.name}.pem')}"
    yield f"  key_file: {_quoted(place.folder / 'tls' / f'{one.name}.key')}"
    yield "  timeout: 5"
    yield from more
    yield "}"


def _cluster(one: Node, nodes: Sequence[Node], place: Place) -> Iterator[str]:
    """Lines of the cluster block with routes to all nodes."""
    peers = ", ".join(_quoted(f"tls://{peer.host}:{peer.port + ROUTE_OFFSET}") for peer in nodes)
    yield ""
    yield "cluster {"
    yield "  name: dossier"
    yield f"  listen: {json.dumps(f'{one.listen}:{one.port + ROUTE_OFFSET}')}"
    yield f"  routes: [{peers}]"
    yield "  # Clients name every node themselves; addresses that servers advertise are in no certificate."
    yield "  no_advertise: true"
    yield "  # Peers need a certificate of this authority."
    for line in _tls(one, place, f"  ca_file: {_quoted(place.folder / 'tls' / 'ca.pem')}", "  verify: true"):
        yield f"  {line}"
    yield "}"


def _store(key: str) -> Iterator[str]:
    """Lines of the account with the streams. `key` is the operator's; exports name the accounts that import them."""
    yield "  # The streams. Only the operator is in this account, and may do everything: purge, delete, create keys."
    yield f"  {STORE} {{"
    yield "    jetstream: enabled"
    yield f"    users: [{{nkey: {key}}}]"
    yield "    exports: ["
    yield f"      {{service: {_quoted(ACCOUNT_INFO)}}}"
    for subject, (answers, names) in services().items():
        yield f"      {{service: {_quoted(subject)}, accounts: [{', '.join(names)}]{_RESPONSES[answers]}}}"
    yield from _stream_exports(STORE)
    yield "    ]"
    yield "  }"


def _stream_exports(account: str) -> Iterator[str]:
    """Lines of the exports of messages that are published in this account."""
    for subject, names in subscribers(account).items():
        yield f"      {{stream: {_quoted(subject)}, accounts: [{', '.join(names)}]}}"


def _account(user: User, key: str) -> Iterator[str]:
    """Lines of the account of one user: its permissions, its imports, and its exports if others subscribe to it."""
    yield ""
    yield f"  # {user.name.capitalize()}: {user.about}."
    yield f"  {user.account} {{"
    yield "    users: [{"
    yield f"      nkey: {key}"
    yield "      permissions: {"
    yield "        publish: ["
    for may in (*user.may, *user.announces):
        yield f"          {_quoted(may.subject)}  # {may.why}"
    if user.name in INFORMED:
        yield f"          {_quoted(ACCOUNT_INFO)}  # free space"
    yield f"          {_quoted(WHOAMI)}  # its own user and permissions"
    yield "        ]"
    yield "        subscribe: ["
    yield f'          "{INBOX}"  # answers; no other user is in this account'
    for topic in user.listens:
        yield f"          {_quoted(topic.subject)}  # {topic.why}"
    yield "        ]"
    yield "      }"
    yield "    }]"
    yield "    imports: ["
    for subject in (ACCOUNT_INFO, *(may.subject for may in user.may)):
        yield f"      {{service: {{account: {STORE}, subject: {_quoted(subject)}}}}}"
    for topic in user.listens:
        yield f"      {{stream: {{account: {topic.source}, subject: {_quoted(topic.subject)}}}}}"
    yield "    ]"
    if subscribers(user.account):
        yield "    exports: ["
        yield from _stream_exports(user.account)
        yield "    ]"
    yield "  }"


def _quoted(text: object) -> str:
    """The text as a quoted string of the configuration."""
    return json.dumps(str(text), ensure_ascii=False)

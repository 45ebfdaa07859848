"""Keys of NATS users: Ed25519, in the encoding of NATS. The package `nkeys` has no types."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

import nkeys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def new_seed() -> str:
    """The seed of a new user key. It is secret: with it, a client authenticates as the user."""
    seed: bytes = nkeys.encode_seed(Ed25519PrivateKey.generate().private_bytes_raw(), nkeys.PREFIX_BYTE_USER)
    return seed.decode()


def public_key(seed: str) -> str:
    """The public key of a seed. Raises `ValueError`, without the text, if it is not a seed."""
    try:
        pair = nkeys.from_seed(bytearray(seed.strip().encode()))
    except (nkeys.NkeysError, ValueError, IndexError):
        raise ValueError("This is not the seed of an nkey.") from None
    return bytes(pair.public_key).decode()

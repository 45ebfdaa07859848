"""The keys that users prove with who they are: Ed25519, in the form that NATS gives them. `nkeys` has no types."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

import nkeys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def made() -> str:
    """The seed of a new user. It is the secret; whoever has it is that user."""
    seed: bytes = nkeys.encode_seed(Ed25519PrivateKey.generate().private_bytes_raw(), nkeys.PREFIX_BYTE_USER)
    return seed.decode()


def public(seed: str) -> str:
    """The public key of a user. Raises `ValueError` for what is no seed, without a word of it."""
    try:
        pair = nkeys.from_seed(bytearray(seed.strip().encode()))
    except (nkeys.NkeysError, ValueError, IndexError):
        raise ValueError("This is no seed of an nkey.") from None
    return bytes(pair.public_key).decode()

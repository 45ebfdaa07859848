"""A certificate authority, and server certificates that it signs."""

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

AUTHORITY_LASTS: Final = timedelta(days=3_650)
SERVER_LASTS: Final = timedelta(days=730)
_SKEW: Final = timedelta(hours=1)
"""A certificate is valid this long before its creation, for clients whose clock is behind."""


class Pair(Struct, frozen=True):
    """A certificate and its private key, in PEM."""

    certificate: bytes
    key: bytes


class NoAuthority(ValueError):
    """A pair is not the certificate of an authority with its EC key."""


def authority(now: datetime) -> Pair:
    """A new authority, valid for ten years. It can sign servers, but no further authorities."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Dossier NATS authority")
    made = (
        _builder(name, name, key.public_key(), now, AUTHORITY_LASTS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _pair(made, key)


def server(ca: Pair, name: str, hosts: Sequence[str], now: datetime) -> Pair:
    """A certificate for a server at these host names or addresses, valid for two years. Raises `NoAuthority`.

    It is a client certificate too, since servers of a cluster connect to each other.
    """
    issuer, signer = _loaded(ca)
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        _builder(_name(name), issuer.subject, key.public_key(), now, SERVER_LASTS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return _pair(made, key)


def _loaded(ca: Pair) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The parsed pair. Raises `NoAuthority` if it cannot be parsed, or the key is not that of the certificate."""
    try:
        certificate = x509.load_pem_x509_certificate(ca.certificate)
        key = load_pem_private_key(ca.key, password=None)
    except (ValueError, TypeError) as error:
        raise NoAuthority from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
        raise NoAuthority
    return certificate, key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lasts: timedelta
) -> x509.CertificateBuilder:
    """A builder with names, public key, serial number and validity from `now` on."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + lasts)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    """Key usage of an authority if `signs`, else of a server."""
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    """A name of one common name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(host: str) -> x509.GeneralName:
    """The address, if `host` is one, else the DNS name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    """The certificate and its unencrypted key in PEM."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Pair(certificate.public_bytes(Encoding.PEM), pem)

"""Certificates for servers on loopback that answer nobody but each other."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from unbraid.cluster.local.ports import LOOPBACK

AUTHORITY = "unbraid authority"
VALID_DAYS = 3650
"""They are made anew at each start."""


class Certificates(NamedTuple):
    """What a server needs in order to prove itself, and to recognise its own clients; all in PEM.

    Attributes:
        authority: the certificate of the authority. Its key is not kept: nobody can issue another certificate.
        certificate, key: of the servers and their clients.
    """

    authority: bytes
    certificate: bytes
    key: bytes


def issue_certificates() -> Certificates:
    """Make an authority and one certificate for loopback that it has signed, for servers and clients."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import NameOID

    now = datetime.now(UTC)

    def unsigned(name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, AUTHORITY)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=VALID_DAYS))
            .add_extension(x509.BasicConstraints(ca=name == AUTHORITY, path_length=None), critical=True)
        )

    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))])
    authority = unsigned(AUTHORITY, authority_key).sign(authority_key, SHA256())
    certificate = unsigned("unbraid", key).add_extension(addresses, critical=False).sign(authority_key, SHA256())
    return Certificates(
        authority.public_bytes(Encoding.PEM),
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )

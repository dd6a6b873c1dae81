"""X.509 certificates for a federation's server (RFC 5280): a CA of its own, and certificates with the names that clients connect to.

ECDSA on P-256, SHA-256. The CA signs servers only; clients are known by their node keys (:mod:`server.deployment.node_keys`).
"""

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from server.errors import ServerError

CA_DAYS, SERVER_DAYS = 3650, 397
"""397 days is the most that current TLS clients accept of a server's certificate."""

_BACKDATED = timedelta(minutes=5)
"""Clocks differ."""


@dataclass(frozen=True)
class Issued:
    """A certificate with its private key, both PEM."""

    certificate: bytes
    key: bytes


def make_ca(name: str, days: int = CA_DAYS) -> Issued:
    """Return a new CA that may sign end-entity certificates only (path length 0)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        _builder(subject, subject, key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _issue(builder, key, key)


def make_server(ca: Issued, hosts: list[str], days: int = SERVER_DAYS) -> Issued:
    """Return a server certificate for these host names and IP addresses, signed by ``ca``.

    Raises
    ------
    ServerError
        There is no host, or one is neither a name nor an address; or ``ca`` is no CA.
    """
    if not hosts:
        raise ServerError("a server certificate needs the names that clients connect to: give --host")
    issuer, issuer_key = _load(ca)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_name(hosts[0]), issuer.subject, key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    return _issue(builder, key, issuer_key)


def write_issued(issued: Issued, certificate: Path, key: Path) -> None:
    """Write a certificate, and its key, which only its owner can read; what exists is never overwritten.

    Raises
    ------
    ServerError
        A file exists, or cannot be written.
    """
    for path, data, mode in ((key, issued.key, 0o600), (certificate, issued.certificate, 0o644)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(data)
        except OSError as error:
            raise ServerError(f"cannot write {path}: {error.strerror}") from error


def read_issued(certificate: Path, key: Path) -> Issued:
    """Read what :func:`write_issued` wrote; raises ServerError where it cannot."""
    try:
        return Issued(certificate.read_bytes(), key.read_bytes())
    except OSError as error:
        raise ServerError(f"cannot read {error.filename}: {error.strerror}") from error


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )


def _issue(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey) -> Issued:
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Issued(builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), secret)


def _load(ca: Issued) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate(ca.certificate)
        key = serialization.load_pem_private_key(ca.key, None)
    except (ValueError, TypeError) as error:
        raise ServerError("ca.crt and ca.key are no CA: make one with 'lunaria certs' in a new folder") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
        raise ServerError("ca.key does not belong to ca.crt: bring both back from the same place")
    return certificate, key


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise ServerError(f"{host!r} is neither a host name nor an IP address") from error

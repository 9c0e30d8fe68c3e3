"""Certificates: one that browsers accept by its hash (ECDSA, at most 14 days),
and those of workers, with an authority."""

import dataclasses
import datetime
import hashlib
import ipaddress
import pathlib
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NAMES = ["localhost", "a.test", "b.test"]


@dataclasses.dataclass
class Certificate:
    path: pathlib.Path
    key_path: pathlib.Path
    sha256: bytes

    @classmethod
    def create(cls, directory):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME,
                                             NAMES[0])])
        now = datetime.datetime.now(datetime.timezone.utc)
        names = [x509.DNSName(name) for name in NAMES]
        names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))

        certificate = (
            x509.CertificateBuilder()
            .subject_name(name).issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=10))
            .add_extension(x509.SubjectAlternativeName(names), False)
            .sign(key, hashes.SHA256()))

        self = cls(directory / "certificate.pem", directory / "key.pem",
                   hashlib.sha256(certificate.public_bytes(
                       serialization.Encoding.DER)).digest())
        self.path.write_bytes(certificate.public_bytes(
            serialization.Encoding.PEM))
        self.key_path.write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()))
        return self


class Authority:
    """Issues certificates for workers and for nginx, all in one folder.

    issuer  another one, which has issued the certificate of this one
    path    its own certificate
    """

    def __init__(self, directory, name="authority", issuer=None):
        self.directory = directory
        self.issuer = issuer
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME,
                                                  name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.path = directory / f"{name}.pem"
        issuer = issuer or self
        self.certificate = (
            issuer._builder(self.name, self.key.public_key())
            .add_extension(x509.BasicConstraints(True, None), True)
            .sign(issuer.key, hashes.SHA256()))
        self.path.write_bytes(self.certificate.public_bytes(
            serialization.Encoding.PEM))

    def _builder(self, subject, key, days=10):
        now = datetime.datetime.now(datetime.timezone.utc)
        return (x509.CertificateBuilder()
                .subject_name(subject).issuer_name(self.name).public_key(key)
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(days=30))
                .not_valid_after(now + datetime.timedelta(days=days)))

    def issue(self, *names, days=10, password=None):
        """A certificate for these names; days < 0: it has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME,
                                                names[0])])
        certificate = (
            self._builder(subject, key.public_key(), days)
            .add_extension(x509.BasicConstraints(False, None), True)
            .add_extension(x509.SubjectAlternativeName(
                [x509.DNSName(name) for name in names]), False)
            .sign(self.key, hashes.SHA256()))
        encoded = certificate.public_bytes(serialization.Encoding.PEM)
        above = self
        while above.issuer:
            encoded += above.path.read_bytes()
            above = above.issuer
        stem = self.directory / f"{certificate.serial_number:x}"
        issued = Certificate(
            stem.with_suffix(".pem"), stem.with_suffix(".key"),
            certificate.fingerprint(hashes.SHA256()))
        issued.path.write_bytes(encoded)
        issued.key_path.write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password) if password
            else serialization.NoEncryption()))
        return issued

    def revoke(self, *issued):
        """Path of a list of revoked certificates."""
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (x509.CertificateRevocationListBuilder()
                   .issuer_name(self.name)
                   .last_update(now - datetime.timedelta(days=1))
                   .next_update(now + datetime.timedelta(days=1)))
        for one in issued:
            serial = x509.load_pem_x509_certificate(
                one.path.read_bytes()).serial_number
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial)
                .revocation_date(now - datetime.timedelta(days=1)).build())
        path = self.directory / f"revoked{len(issued)}.pem"
        path.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(
            serialization.Encoding.PEM))
        return path


def tls_context(certificate, alpn=(), client_ca=None):
    """For a server; client_ca: path of an authority, whose certificates
    clients must have."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.path, certificate.key_path)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    return context

"""A certificate that browsers accept by its hash: ECDSA, at most 14 days."""

import dataclasses
import datetime
import hashlib
import ipaddress
import pathlib

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

"""Servers that do one thing to whoever connects, over loopback, and a certificate that nobody trusts."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path


class Received:
    """What a server was sent, and where it listens."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.data = b""


@contextmanager
def serving(act: Callable[[socket.socket, Received], None]) -> Iterator[Received]:
    """Let every connection be dealt with in a thread of its own.

    :param act: is given the connection, which is closed after it.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        received = Received(listener.getsockname()[1])

        def deal_with(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                act(connection, received)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=deal_with, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield received


def answer(text: bytes) -> Callable[[socket.socket, Received], None]:
    """Read something, and answer with a text."""

    def act(connection: socket.socket, received: Received) -> None:
        received.data += connection.recv(65536)
        connection.sendall(text)

    return act


def with_tls(
    certificate: Path, act: Callable[[socket.socket, Received], None]
) -> Callable[[socket.socket, Received], None]:
    """Do so behind TLS."""
    context = server_context(certificate)

    def secured(connection: socket.socket, received: Received) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            act(tls, received)

    return secured


def server_context(certificate: Path) -> ssl.SSLContext:
    """Return what a server speaks TLS with.

    :param certificate: a file with its key in it as well.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def write_certificate(path: Path, host: str) -> Path:
    """Write a certificate that its own key has signed, and the key, into one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(certificate.public_bytes(pem) + secret)
    return path

"""The plain words that come before TLS on ports where a connection begins without it.

The dialogues are short and written out here. The standard library's clients for mail read as many lines as
a server sends, and buffer what follows its go-ahead, which is where injected commands hide.
"""

import socket
import time
from collections.abc import Callable
from typing import Final

__all__ = ["PROTOCOLS", "PreludeError", "prelude"]

#: Bytes that a server may say before TLS; greetings and lists of capabilities have a few hundred.
_LIMIT: Final = 1 << 16
_CHUNK: Final = 4096
#: Bytes of an answer that an error repeats.
_EXCERPT: Final = 100


class PreludeError(Exception):
    """The server does not come to TLS.

    Attributes
    ----------
    kind : str
        As in the table ``observations``: ``"not_tls"`` if it does not offer TLS or speaks something else,
        ``"refused"`` if it sends us away, being busy, say.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def prelude(protocol: str, connection: socket.socket, server_name: str, *, timeout_s: float) -> None:
    """Ask a server for TLS, up to where the client's first TLS record is due.

    Parameters
    ----------
    protocol : str
        One of `PROTOCOLS`.
    connection : socket
        Connected and blocking. Its timeout is as before in the end.
    server_name : str
        What errors call the server.
    timeout_s : float
        Seconds for all of it, however slowly the server speaks.

    Raises
    ------
    PreludeError
        If the server does not come to TLS. Also if it says more after its go-ahead: only the handshake may
        follow, and what came in plain text must not be taken for what came under TLS.
    OSError
        If the connection breaks or is closed (`ConnectionResetError`), or time is up (`TimeoutError`).
    """
    before = connection.gettimeout()
    wire = _Wire(connection, time.monotonic() + timeout_s)
    try:
        _DIALOGUES[protocol](wire)
        if wire.rest:
            raise _not_tls("more after its go-ahead", wire.rest)
    except PreludeError as error:
        raise PreludeError(error.kind, f"{server_name} ({protocol}) {error}") from None
    finally:
        connection.settimeout(before)


class _Wire:
    """A connection, read in bounded time and amount."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self.connection = connection
        self.rest = b""
        self._deadline = deadline
        self._received = 0

    def line(self) -> bytes:
        """Give the next line, without its end."""
        while b"\n" not in self.rest:
            self._receive()
        line, _, self.rest = self.rest.partition(b"\n")
        return line.removesuffix(b"\r")

    def take(self, count: int) -> bytes:
        """Give exactly so many bytes."""
        if count > _LIMIT:
            raise _not_tls(f"a message of {count} bytes", self.rest)
        while len(self.rest) < count:
            self._receive()
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def send(self, data: bytes) -> None:
        self._arm()
        self.connection.sendall(data)

    def _receive(self) -> None:
        if self._received >= _LIMIT:
            raise _not_tls(f"{self._received} bytes and no end", self.rest)
        self._arm()
        chunk = self.connection.recv(_CHUNK)
        if not chunk:
            raise ConnectionResetError("closed before TLS began")
        self._received += len(chunk)
        self.rest += chunk

    def _arm(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no time left before TLS began")
        self.connection.settimeout(left)


def _smtp(wire: _Wire) -> None:
    """RFC 3207; replies as in RFC 5321, section 4.2."""
    _smtp_reply(wire, b"220")
    wire.send(b"EHLO %s\r\n" % _own_address(wire.connection))
    offers = _smtp_reply(wire, b"250")
    if b"STARTTLS" not in (offer.strip().upper() for offer in offers):
        raise _not_tls("no offer of STARTTLS", b" ".join(offers))
    wire.send(b"STARTTLS\r\n")
    _smtp_reply(wire, b"220")


def _smtp_reply(wire: _Wire, wanted: bytes) -> list[bytes]:
    """Read a reply of one or more lines, and give their texts."""
    texts = []
    while True:
        line = wire.line()
        code, more, text = line[:3], line[3:4], line[4:]
        if not (code.isdigit() and more in (b"", b" ", b"-")):
            raise _not_tls("something that is not SMTP", line)
        texts.append(text)
        if more != b"-":
            break
    if code != wanted:
        # 421: closing down; 454: no TLS for the moment; 554 as the greeting: no service for us.
        raise _refused(line) if code in (b"421", b"454", b"554") else _not_tls("no", line)
    return texts


def _own_address(connection: socket.socket) -> bytes:
    """Write our own address as RFC 5321, section 4.1.3, wants it of clients without a name."""
    tag = "IPv6:" if connection.family == socket.AF_INET6 else ""
    return f"[{tag}{connection.getsockname()[0]}]".encode()


def _imap(wire: _Wire) -> None:
    """RFC 9051, sections 6.2.1 and 7.1."""
    greeting = wire.line()
    if greeting.upper().startswith(b"* BYE"):
        raise _refused(greeting)
    if not greeting.upper().startswith(b"* OK"):
        raise _not_tls("something that is no greeting of IMAP", greeting)
    wire.send(b"a STARTTLS\r\n")
    while (line := wire.line()).startswith(b"* "):
        if line.upper().startswith(b"* BYE"):
            raise _refused(line)
    if not line.upper().startswith(b"A OK"):
        raise _not_tls("no", line)


def _pop3(wire: _Wire) -> None:
    """RFC 2595, section 4; responses as in RFC 1939, section 3."""
    greeting = wire.line()
    if greeting.upper().startswith(b"-ERR"):
        raise _refused(greeting)
    if not greeting.upper().startswith(b"+OK"):
        raise _not_tls("something that is no greeting of POP3", greeting)
    wire.send(b"STLS\r\n")
    line = wire.line()
    if not line.upper().startswith(b"+OK"):
        raise _not_tls("no", line)


#: LDAPMessage with message ID 1 and an extended request for StartTLS (RFC 4511, sections 4.12 and 4.14).
_START_TLS: Final = bytes.fromhex("301d020101 7718 8016") + b"1.3.6.1.4.1.1466.20037"
_BUSY: Final = 51


def _ldap(wire: _Wire) -> None:
    """RFC 4511, section 4.14. Lengths may be longer than need be: Active Directory gives four bytes."""
    wire.send(_START_TLS)
    tag, message = _element(wire.take)
    message_id, rest = _inner(message, 0x02) if tag == 0x30 else (b"", b"")
    # [APPLICATION 24] is the answer; as message 0, it is a notice that the server hangs up.
    response, _ = _inner(rest, 0x78)
    code, _ = _inner(response, 0x0A)
    number = int.from_bytes(code)
    if int.from_bytes(message_id) != 1 or number == _BUSY:
        raise _refused(response)
    if number:
        raise _not_tls(f"result code {number}", response)


def _inner(content: bytes, wanted: int) -> tuple[bytes, bytes]:
    """Split off the first element, which must have a tag; give its content and what follows."""
    rest = content

    def take(count: int) -> bytes:
        nonlocal rest
        if count > len(rest):
            raise _not_tls("something that is not LDAP", content)
        taken, rest = rest[:count], rest[count:]
        return taken

    tag, value = _element(take)
    if tag != wanted:
        raise _not_tls("something that is not LDAP", content)
    return value, rest


def _element(take: Callable[[int], bytes]) -> tuple[int, bytes]:
    """Read one BER element of definite length (ITU-T X.690, section 8.1)."""
    tag, length = take(2)
    if length == 0x80 or length > 0x84:
        raise _not_tls("something that is not LDAP", bytes([tag, length]))
    if length > 0x80:
        length = int.from_bytes(take(length - 0x80))
    return tag, take(length)


def _postgres(wire: _Wire) -> None:
    """PostgreSQL's documentation, "Frontend/Backend Protocol", SSL Session Encryption and SSLRequest."""
    wire.send((8).to_bytes(4) + (80877103).to_bytes(4))
    answer = wire.take(1)
    if answer == b"E":
        raise _refused(wire.rest)
    if answer != b"S":
        raise _not_tls("no", answer + wire.rest)


_PROTOCOL_41: Final = 0x200
_SSL: Final = 0x800
_SECURE_CONNECTION: Final = 0x8000
_MAX_PACKET: Final = 1 << 24
_UTF8: Final = 33


def _mysql(wire: _Wire) -> None:
    """MySQL's documentation, "Client/Server Protocol": HandshakeV10, SSLRequest; MariaDB's is the same."""
    header = wire.take(4)
    greeting = wire.take(int.from_bytes(header[:3], "little"))
    if greeting[:1] == b"\xff":
        raise _refused(greeting)
    version, end, fields = greeting.partition(b"\0")
    # Thread, 8 bytes of a challenge, a filler, and the lower half of what the server is capable of.
    if not (version[:1] == b"\x0a" and end and len(fields) >= 15):
        raise _not_tls("something that is no greeting of MySQL", header + greeting)
    capable = int.from_bytes(fields[13:15], "little")
    if not capable & _SSL:
        raise _not_tls("no offer of TLS", version[1:])
    flags = capable & (_PROTOCOL_41 | _SECURE_CONNECTION) | _SSL
    request = flags.to_bytes(4, "little") + _MAX_PACKET.to_bytes(4, "little") + bytes([_UTF8]) + bytes(23)
    wire.send(len(request).to_bytes(3, "little") + bytes([(header[3] + 1) % 256]) + request)


_DIALOGUES: Final[dict[str, Callable[[_Wire], None]]] = {
    "smtp": _smtp,
    "imap": _imap,
    "pop3": _pop3,
    "ldap": _ldap,
    "postgres": _postgres,
    "mysql": _mysql,
}

#: Protocols that can be asked for TLS.
PROTOCOLS: Final = frozenset(_DIALOGUES)


def _not_tls(what: str, said: bytes) -> PreludeError:
    return PreludeError("not_tls", f"says {what}: {_shown(said)}")


def _refused(said: bytes) -> PreludeError:
    return PreludeError("refused", f"sends us away: {_shown(said)}")


def _shown(said: bytes) -> str:
    return ascii(said[:_EXCERPT].decode("latin-1"))

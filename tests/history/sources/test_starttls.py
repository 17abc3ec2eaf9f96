"""Asking for TLS, against peers that play a script; real servers are in ``tests/system/test_starttls.py``."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certforecast.history.schema import ERROR_KINDS
from certforecast.history.sources.starttls import PROTOCOLS, PreludeError, prelude

SSL_REQUEST = bytes.fromhex("00000008 04d2162f")
START_TLS = bytes.fromhex("301d020101 7718 8016") + b"1.3.6.1.4.1.1466.20037"


def greeting(capable: int = 0xFFFF, version: bytes = b"\x0a8.0.36", number: int = 0) -> bytes:
    """MySQL's HandshakeV10, as far as its lower half of capabilities and a bit of what follows."""
    payload = (
        version + b"\0" + b"\x01\0\0\0" + b"challeng" + b"\0" + capable.to_bytes(2, "little") + b"\x21\x02"
    )
    return packet(payload, number)


def packet(payload: bytes, number: int = 0) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([number]) + payload


#: What a server says, and between that (`None`) waits for what it is told.
Script = tuple[bytes | None, ...]


def run(protocol: str, *script: bytes | None, timeout_s: float = 5) -> tuple[list[bytes], bytes]:
    """Play a script to `prelude`; give what the server was told, and what is left to be read."""
    told: list[bytes] = []
    with _connected() as (ours, theirs):

        def play() -> None:
            with contextlib.suppress(OSError):
                for line in script:
                    if line is None:
                        told.append(theirs.recv(4096))
                    else:
                        theirs.sendall(line)
                theirs.shutdown(socket.SHUT_WR)

        peer = threading.Thread(target=play, daemon=True)
        peer.start()
        prelude(protocol, ours, "mail.example", timeout_s=timeout_s)
        peer.join(5)
        ours.settimeout(5)
        return told, ours.recv(4096)


@contextlib.contextmanager
def _connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname(), timeout=7)
        theirs, _ = listener.accept()
    theirs.settimeout(5)
    with ours, theirs:
        yield ours, theirs


GOOD: dict[str, Script] = {
    "smtp": (b"220-mail.example\r\n220 ESMTP\r\n", None, b"250-mail\r\n250-SIZE 9\r\n250 starttls\r\n",
             None, b"220 2.0.0 go\r\n"),
    "imap": (b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n", None, b"* CAPABILITY X\r\na OK begin\r\n"),
    "pop3": (b"+OK ready\r\n", None, b"+OK begin\r\n"),
    "ldap": (None, bytes.fromhex("300c020101 7807 0a0100 0400 0400")),
    "postgres": (None, b"S"),
    "mysql": (greeting(), None),
}  # fmt: skip

TOLD = {
    "smtp": [b"EHLO [127.0.0.1]\r\n", b"STARTTLS\r\n"],
    "imap": [b"a STARTTLS\r\n"],
    "pop3": [b"STLS\r\n"],
    "ldap": [START_TLS],
    "postgres": [SSL_REQUEST],
    "mysql": [bytes.fromhex("20000001 008a0000 00000001 21") + bytes(23)],
}


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_a_server_that_offers_tls_is_asked_for_it(protocol: str) -> None:
    assert run(protocol, *GOOD[protocol]) == (TOLD[protocol], b"")


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_a_server_may_speak_byte_by_byte(protocol: str) -> None:
    script = [
        part for line in GOOD[protocol] for part in ([line] if line is None else [bytes([b]) for b in line])
    ]
    assert run(protocol, *script)[0] == TOLD[protocol]


@pytest.mark.parametrize(
    ("protocol", "script", "kind"),
    [
        ("smtp", (b"220 a\r\n", None, b"250-a\r\n250 SIZE\r\n"), "not_tls"),
        ("smtp", (b"220 a\r\n", None, b"502 no\r\n"), "not_tls"),
        ("smtp", (b"220 a\r\n", None, b"250 STARTTLS\r\n", None, b"502 no\r\n"), "not_tls"),
        ("smtp", (b"220 a\r\n", None, b"250 STARTTLS\r\n", None, b"454 later\r\n"), "refused"),
        ("smtp", (b"554 no service\r\n",), "refused"),
        ("smtp", (b"421 busy\r\n",), "refused"),
        ("smtp", (b"SSH-2.0-OpenSSH_9.2\r\n",), "not_tls"),
        ("smtp", (b"* OK IMAP\r\n",), "not_tls"),
        ("imap", (b"* BYE busy\r\n",), "refused"),
        ("imap", (b"* PREAUTH hello\r\n",), "not_tls"),
        ("imap", (b"* OK\r\n", None, b"* BYE now\r\n"), "refused"),
        ("imap", (b"* OK\r\n", None, b"a BAD what\r\n"), "not_tls"),
        ("imap", (b"* OK\r\n", None, b"a NO tls\r\n"), "not_tls"),
        ("imap", (b"+OK POP3\r\n",), "not_tls"),
        ("pop3", (b"-ERR [SYS/TEMP] busy\r\n",), "refused"),
        ("pop3", (b"+OK\r\n", None, b"-ERR what\r\n"), "not_tls"),
        ("pop3", (b"220 SMTP\r\n",), "not_tls"),
        ("ldap", (None, bytes.fromhex("300c020101 7807 0a0102 0400 0400")), "not_tls"),
        ("ldap", (None, bytes.fromhex("300c020101 7807 0a0134 0400 0400")), "not_tls"),
        ("ldap", (None, bytes.fromhex("300c020101 7807 0a0133 0400 0400")), "refused"),
        ("ldap", (None, bytes.fromhex("300c020100 7807 0a0100 0400 0400")), "refused"),
        ("ldap", (None, bytes.fromhex("3080")), "not_tls"),
        ("ldap", (None, bytes.fromhex("30847fffffff")), "not_tls"),
        ("ldap", (None, bytes.fromhex("300c020101 7907 0a0100 0400 0400")), "not_tls"),
        ("ldap", (None, bytes.fromhex("3003020105")), "not_tls"),
        ("ldap", (None, b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(80)), "not_tls"),
        ("postgres", (None, b"N"), "not_tls"),
        ("postgres", (None, b"E\0\0\0\x09busy\0"), "refused"),
        ("postgres", (None, b"H"), "not_tls"),
        ("mysql", (greeting(0xF7FF),), "not_tls"),
        ("mysql", (greeting(version=b"\x093.20"),), "not_tls"),
        ("mysql", (packet(b"\x0a8.0\0abc"),), "not_tls"),
        ("mysql", (packet(b"\xff\x10\x04Too many connections"),), "refused"),
        ("mysql", (b"\xff\xff\xff\0",), "not_tls"),
    ],
)  # fmt: skip
def test_a_server_that_offers_no_tls_is_told_from_one_that_sends_us_away(
    protocol: str, script: Script, kind: str
) -> None:
    with pytest.raises(PreludeError) as caught:
        run(protocol, *script)
    assert caught.value.kind == kind
    assert kind in ERROR_KINDS
    assert str(caught.value).startswith(f"mail.example ({protocol}) ")
    assert len(str(caught.value)) < 600


def test_lengths_may_be_longer_than_need_be() -> None:
    """As Active Directory writes them."""
    answer = bytes.fromhex("308400000010 020101 788400000007 0a0100 0400 0400")
    assert run("ldap", None, answer)[1] == b""


def test_a_packet_s_number_is_the_next() -> None:
    told, _ = run("mysql", greeting(number=255), None)
    assert told[0][3] == 0


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_what_follows_the_go_ahead_in_plain_text_is_refused(protocol: str) -> None:
    *before, last = GOOD[protocol]
    script = [greeting() + b"\x16\x03", None] if last is None else [*before, last + b"more\r\n"]
    with pytest.raises(PreludeError, match="after its go-ahead") as caught:
        run(protocol, *script)
    assert caught.value.kind == "not_tls"


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_a_server_that_hangs_up_is_told(protocol: str) -> None:
    first = GOOD[protocol][0]
    with pytest.raises(ConnectionResetError):
        run(protocol, *([None] if first is None else [first[:-1]]))


ENDLESS: dict[str, Callable[[int], bytes]] = {
    "smtp": lambda n: b"220-more\r\n",
    "imap": lambda n: b"* OK\r\n" if n < 1 else b"* 1 EXISTS\r\n",
    "pop3": lambda n: b"x" * 100,
}


def stream(protocol: str, pause_s: float, timeout_s: float) -> tuple[BaseException, float, int]:
    """Let a server speak without end; give how it ended, after how long, and how much was sent."""
    sent = 0
    with _connected() as (ours, theirs):

        def speak() -> None:
            nonlocal sent
            with contextlib.suppress(OSError):
                for number in range(10_000_000):
                    sent += theirs.send(ENDLESS[protocol](number))
                    time.sleep(pause_s)

        threading.Thread(target=speak, daemon=True).start()
        before = time.monotonic()
        with pytest.raises((PreludeError, TimeoutError)) as caught:
            prelude(protocol, ours, "mail.example", timeout_s=timeout_s)
        return caught.value, time.monotonic() - before, sent


@pytest.mark.parametrize("protocol", sorted(ENDLESS))
def test_a_server_that_speaks_without_end_fills_no_memory(protocol: str) -> None:
    error, _, _ = stream(protocol, pause_s=0, timeout_s=60)
    assert isinstance(error, PreludeError)
    assert error.kind == "not_tls"


@pytest.mark.parametrize("protocol", sorted(ENDLESS))
def test_a_server_that_speaks_slowly_without_end_holds_nobody_up(protocol: str) -> None:
    error, _, sent = stream(protocol, pause_s=0.02, timeout_s=0.3)
    assert isinstance(error, TimeoutError)
    assert sent < 65536


@pytest.mark.timeout(30)
@pytest.mark.parametrize("timeout_s", [0.2, 0])
@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_a_silent_server_holds_nobody_up(protocol: str, timeout_s: float) -> None:
    with _connected() as (ours, _):
        ours.settimeout(None)
        with pytest.raises(TimeoutError):
            prelude(protocol, ours, "mail.example", timeout_s=timeout_s)


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_the_timeout_is_as_before(protocol: str) -> None:
    with _connected() as (ours, theirs):
        theirs.sendall(b"?" * 100_000)
        with pytest.raises((PreludeError, OSError)):
            prelude(protocol, ours, "mail.example", timeout_s=0.2)
        assert ours.gettimeout() == 7


pieces = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([part for script in GOOD.values() for part in script if part is not None]),
    st.sampled_from([b"220 ", b"250-", b"* ", b"a ", b"+OK", b"\r\n", b"\n", b"\xff", b"0\x84", greeting(0)]),
)


@given(st.sampled_from(sorted(PROTOCOLS)), st.lists(pieces, max_size=6))
@settings(max_examples=300, deadline=None)
def test_whatever_a_server_says_the_dialogue_ends(protocol: str, said: list[bytes]) -> None:
    with _connected() as (ours, theirs):
        theirs.sendall(b"".join(said))
        theirs.shutdown(socket.SHUT_WR)
        with contextlib.suppress(PreludeError, ConnectionResetError):
            prelude(protocol, ours, "mail.example", timeout_s=5)

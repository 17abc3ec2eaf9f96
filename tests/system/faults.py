"""What may go wrong at an ACME server: answers that the proxy before pebble gives in its place, or spoils."""

import datetime
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

__all__ = [
    "PASSING",
    "Answer",
    "CutError",
    "Fault",
    "StalledError",
    "another_day",
    "another_key",
    "busy",
    "garbled",
    "hang",
    "internal",
    "lost",
    "problem",
    "reset",
    "stalled",
    "wrong_chain",
]


class CutError(Exception):
    """The connection is reset without an answer."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class StalledError(Exception):
    """The connection falls silent in the middle of an answer, and is reset after some time.

    Attributes
    ----------
    answer : Answer
        Whose first half is sent.
    seconds : float
        Of silence.
    """

    def __init__(self, answer: Answer, seconds: float) -> None:
        super().__init__(answer.status)
        self.answer, self.seconds = answer, seconds


#: Gives the real server's answer to the request.
Forward = Callable[[], Answer]
#: Answers in the real server's place; what it needs of that, it asks for.
Fault = Callable[[Forward], Answer]


def problem(
    kind: str,
    status: int = 400,
    detail: str = "by chaos",
    *,
    subproblems: Sequence[Mapping[str, Any]] = (),
    **headers: str,
) -> Fault:
    """Refuse with a problem document (RFC 8555, section 6.7)."""
    body: dict[str, Any] = {
        "type": f"urn:ietf:params:acme:error:{kind}",
        "detail": detail,
        "status": status,
    }
    if subproblems:
        body["subproblems"] = list(subproblems)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = Answer(status, {"Content-Type": "application/problem+json", **named}, json.dumps(body).encode())
    return lambda _: answer


def busy(status: int = 503, retry_after: str | None = None) -> Fault:
    """Send away for some time: 429 says rateLimited, 503 says nothing that ACME knows."""
    headers = {} if retry_after is None else {"Retry_After": retry_after}
    if status == 429:
        return problem("rateLimited", 429, "too many of them", **headers)
    plain = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Answer(status, {"Content-Type": "text/html", **plain}, b"<h1>busy</h1>")


def internal(_: Forward) -> Answer:
    """Fail before anything was done."""
    return problem("serverInternal", 500)(_)


def garbled(_: Forward) -> Answer:
    """Answer with what is no JSON."""
    return Answer(200, {"Content-Type": "application/json"}, b'{"status": ')


def reset(_: Forward) -> Answer:
    """Reset the connection before anything was done."""
    raise CutError


def lost(forward: Forward) -> Answer:
    """Have it done, and lose the answer."""
    forward()
    raise CutError


def hang(seconds: float) -> Fault:
    """Say nothing for so long, then reset."""

    def wait(_: Forward) -> Answer:
        time.sleep(seconds)
        raise CutError

    return wait


def stalled(seconds: float) -> Fault:
    """Have it done, give half of the answer, and say nothing for so long."""

    def stop(forward: Forward) -> Answer:
        raise StalledError(forward(), seconds)

    return stop


def another_day(days: float) -> Fault:
    """Have the server's clock be so many days off."""

    def tell(forward: Forward) -> Answer:
        answer = forward()
        date = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
        return Answer(
            answer.status, {**answer.headers, "Date": format_datetime(date, usegmt=True)}, answer.body
        )

    return tell


def wrong_chain(forward: Forward) -> Answer:
    """Send the leaf with an intermediate of the same name and another key."""
    answer = forward()
    leaf, *rest = x509.load_pem_x509_certificates(answer.body)
    key = ec.generate_private_key(ec.SECP256R1())
    above = rest[0]
    other = (
        x509.CertificateBuilder(
            issuer_name=above.issuer,
            subject_name=above.subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=above.not_valid_before_utc,
            not_valid_after=above.not_valid_after_utc,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in (leaf, other))
    return Answer(answer.status, answer.headers, pem)


def another_key(intermediate: bytes, intermediate_key: bytes) -> Fault:
    """Send a certificate that the CA really signed, for the same names, and for a key that is not ours.

    Parameters
    ----------
    intermediate, intermediate_key : bytes
        Of the CA, PEM.
    """

    def swap(forward: Forward) -> Answer:
        answer = forward()
        leaf = x509.load_pem_x509_certificates(answer.body)[0]
        above = x509.load_pem_x509_certificate(intermediate)
        builder = x509.CertificateBuilder(
            issuer_name=above.subject,
            subject_name=leaf.subject,
            public_key=ec.generate_private_key(ec.SECP256R1()).public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=leaf.not_valid_before_utc,
            not_valid_after=leaf.not_valid_after_utc,
        )
        for extension in leaf.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        signer = load_pem_private_key(intermediate_key, None)
        forged = builder.sign(signer, hashes.SHA256())  # type: ignore[arg-type]
        pem = forged.public_bytes(Encoding.PEM) + above.public_bytes(Encoding.PEM)
        return Answer(answer.status, answer.headers, pem)

    return swap


#: What passes by itself, by name.
PASSING: Final[dict[str, Fault]] = {
    "500": internal,
    "connection reset": reset,
    "answer lost": lost,
    "503, one second": busy(503, "1"),
    "hang": hang(1.5),
    "a day behind": another_day(-1),
}

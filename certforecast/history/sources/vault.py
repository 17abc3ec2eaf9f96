"""The certificates that a HashiCorp Vault or OpenBao has issued."""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from certforecast.clock import Clock, parse_moment, system_clock
from certforecast.errors import InputError, SourceError
from certforecast.history.names import is_wildcard
from certforecast.history.sources import NO_MARKS, Batch, Mark, Marks, Rejected, Source, Whole
from certforecast.history.sources.batching import Found, batches
from certforecast.history.sources.tokens import read_token
from certforecast.history.sources.vault_api import ForbiddenError, Issued, Mount, connect
from certforecast.history.x509 import parse

__all__ = ["VaultSource"]

#: Certificates read between two marks.
_CHUNK: Final = 1000
#: How far Vault sets a certificate's beginning back, unless told otherwise (``not_before_duration``).
_SET_BACK: Final = timedelta(seconds=30)

Finds = Iterator[Found | Whole | Rejected | Mark]


class VaultSource(Source):
    """Certificates that PKI mounts of a HashiCorp Vault or OpenBao keep, with their revocations.

    A mount keeps none of roles with ``no_store``, and none that a tidy operation has removed (which
    removes expired ones).

    Vault does not tell when it issued a certificate. So it is known from 30 s after its ``not_before``,
    because Vault sets that back by 30 s; or from the import on, if an earlier import should have seen it by
    then and did not. A revocation is known from its own time on.

    Parameters
    ----------
    place : str
        Address, such as ``https://vault.example.org:8200``.
    mount : str or tuple of str
        Paths of the PKI mounts.
    token_file : path, optional
        Holds the token. Without it, the token is ``VAULT_TOKEN`` or ``BAO_TOKEN`` of the environment, or in
        ``~/.vault-token``.
    namespace : str, optional
        Of Vault Enterprise or OpenBao.
    ca_file : path, optional
        PEM certificates of the authorities to trust instead of the system's.
    threads : int
        Certificates that are asked for at once.
    clock : callable
        Gives the present.
    """

    name = "vault"
    extra = "vault"
    needs = ("hvac",)

    def __init__(
        self,
        place: str,
        *,
        mount: str | tuple[str, ...] = "pki",
        token_file: Path | None = None,
        namespace: str | None = None,
        ca_file: Path | None = None,
        threads: int = 8,
        clock: Clock = system_clock,
    ) -> None:
        self.place = place
        self.mount = mount
        self.token_file = token_file
        self.namespace = namespace
        self.ca_file = ca_file
        self.threads = threads
        self.clock = clock

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:
        """Yield batches of certificates and revocations.

        Raises
        ------
        SourceError
            If there is no token, the address or a mount is wrong, or the server cannot be reached or refuses.
        """
        usual = Path("~/.vault-token").expanduser()
        token = read_token(self.token_file, ("VAULT_TOKEN", "BAO_TOKEN"), usual)
        if token is None:
            raise SourceError("there is no token for Vault; set VAULT_TOKEN or BAO_TOKEN, or give token_file")
        adapter = connect(self.place, token, self.namespace, self.ca_file)
        paths = (self.mount,) if isinstance(self.mount, str) else self.mount
        for mount in [Mount(adapter, path) for path in paths]:
            yield from self._read_mount(mount, marks)

    def _read_mount(self, mount: Mount, marks: Marks) -> Iterator[Batch]:
        place = "/".join(filter(None, (self.place.rstrip("/"), self.namespace, mount.path)))
        before, looked = _Before(place, marks), self.clock()
        serials, revoked = mount.serials(), set[str]()
        try:
            revoked.update(mount.revoked())
        except ForbiddenError as error:
            reason = f"later revocations of certificates already read are not seen: {error}"
            yield from batches([Rejected(f"{place}/certs/revoked", reason)])
        wanted = [
            serial
            for serial in serials
            if serial not in before or (serial in revoked and _revocation(serial) not in before)
        ]
        with ThreadPoolExecutor(max(self.threads, 1)) as pool:
            for start in range(0, len(wanted), _CHUNK):
                chunk = wanted[start : start + _CHUNK]
                answers = list(pool.map(lambda serial: _fetch(mount, serial), chunk))
                yield from batches(self._chunk(place, dict(zip(chunk, answers, strict=True)), before))
        yield from batches([Mark(place, looked.isoformat())])

    def _chunk(self, place: str, answers: dict[str, Issued | InputError], before: "_Before") -> Finds:
        now, read = self.clock(), list[str]()
        kept = {serial: answer for serial, answer in answers.items() if isinstance(answer, Issued)}
        for serial, answer in answers.items():
            if isinstance(answer, InputError):
                yield Rejected(f"{place}/cert/{serial[:200]}", str(answer))
        rows = parse([issued.der for issued in kept.values()], workers=1).to_pylist()
        for (serial, issued), row in zip(kept.items(), rows, strict=True):
            position, leaf = f"{place}/cert/{serial}", not issued.authority
            if serial not in before:
                if leaf:
                    yield Whole(issued.der, before.first_known(row["not_before"], now), position)
                read.append(serial)
            if issued.revoked_at and _revocation(serial) not in before:
                if leaf and row["names"]:
                    yield Found("events", self._revoked(row, issued.revoked_at, now), position)
                read.append(_revocation(serial))
        if read:
            yield before.mark(read)

    def _revoked(self, certificate: dict[str, Any], at: datetime, now: datetime) -> dict[str, Any]:
        names = certificate["names"]
        host = next((name for name in names if not is_wildcard(name)), names[0])
        return {
            "at": min(at, now),
            "lineage": host,
            "kind": "revoked",
            "host": host,
            "fingerprint": certificate["fingerprint"],
            "actor": "vault",
            "source": self.name,
            "known_at": min(at, now),
        }


class _Before:
    """What earlier imports have read of a mount.

    Each chunk leaves a mark of its own with the hashes of what it read, so that marks grow by some ten bytes
    a certificate and none is ever written again. The mount itself has the time of the last complete look.
    """

    #: Bytes of a hash: one in 10^5 mounts with 10^7 certificates has two that share one.
    _SIZE: Final = 8

    def __init__(self, place: str, marks: Marks) -> None:
        self._place = place
        states = {name: state for name, state in marks.items() if name.startswith(f"{place}#")}
        self._read = {digest for state in states.values() for digest in _digests(state, self._SIZE)}
        self._count = len(states)
        self._looked: datetime | None = None
        with suppress(KeyError, ValueError):
            self._looked = parse_moment(marks[place])

    def __contains__(self, item: str) -> bool:
        return self._digest(item) in self._read

    def first_known(self, not_before: datetime | None, now: datetime) -> datetime:
        """Tell from when on a certificate that was not read before is known."""
        if not_before is None:
            return now
        issued = min(not_before, now) + _SET_BACK
        return min(issued, now) if self._looked is None or issued >= self._looked else now

    def mark(self, items: Iterable[str]) -> Mark:
        """Remember a chunk."""
        digests = b"".join(self._digest(item) for item in items)
        self._count += 1
        return Mark(f"{self._place}#{self._count}", base64.b64encode(digests).decode())

    def _digest(self, item: str) -> bytes:
        return hashlib.blake2b(item.encode("utf-8", "replace"), digest_size=self._SIZE).digest()


def _digests(state: str, size: int) -> Iterator[bytes]:
    with suppress(ValueError):
        joined = base64.b64decode(state, validate=True)
        yield from (joined[start : start + size] for start in range(0, len(joined), size))


def _revocation(serial: str) -> str:
    return f"revoked {serial}"


def _fetch(mount: Mount, serial: str) -> Issued | InputError:
    try:
        return mount.certificate(serial) or InputError("certificate is listed, but is gone")
    except SourceError:
        raise
    except InputError as error:
        return error

"""From the bytes of certificates, few or millions, to Arrow tables."""

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import Any, Final

import pyarrow as pa
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from certforecast.errors import InputError
from certforecast.history.x509.columns import PARSED, read_columns, unread

__all__ = ["certificate_row", "fingerprint", "is_chain_certificate", "parse", "parse_batches"]

#: Certificates read in one go: what is at hand stays in the processor's caches.
_CHUNK: Final = 2048
#: Bytes of them, unless one has more: some name ten thousand hosts, and the work takes many times their size.
_CHUNK_BYTES: Final = 4 << 20
#: Fewer are read before other processes have started.
_FEW: Final = 50_000

#: What cryptography raises for bytes that are no certificate.
_UNREADABLE: Final = (ValueError, TypeError, OverflowError, UnsupportedAlgorithm, x509.InvalidVersion)


def parse(ders: Iterable[bytes], *, workers: int | None = None) -> pa.Table:
    """Read certificates into the columns of the table ``certificates``.

    cryptography judges what is a certificate; the columns are read from the bytes, many certificates at
    a time. Names are the DNS names and IP addresses of the subject alternative name; without any, the
    subject's common name, in lower case even where it is no DNS name (a private CA's ``urn:node:a``).
    Alternative names that are neither DNS names nor IP addresses are left out.

    Parameters
    ----------
    ders : iterable of bytes
        DER certificates, or what may be.
    workers : int, optional
        Processes to read with. Default: one for few certificates, else one a core.

    Returns
    -------
    pyarrow.Table, shape (n_certificates, any)
        A row for each of `ders`, in their order, with the columns of
        :data:`certforecast.history.schema.CERTIFICATES` (those of where and when it was found apart) and

        - ``chain``: it is part of a chain and no leaf: its basic constraints say CA, and it has no
          alternative names. What ``openssl req -x509`` makes for a server says CA too, but is a leaf.
        - ``logged_at``: the earliest time of the SCTs within (RFC 6962), null without.
        - ``reason``: why it could not be read; all else is null then.

        What cannot be told of an unknown kind of key (`key_bits`) is null.

    Examples
    --------
    >>> parse([b"nonsense"])["reason"].to_pylist()
    ['bytes are not a whole DER certificate; they are truncated or something else']
    """
    return pa.concat_tables([PARSED.empty_table(), *parse_batches(ders, workers=workers)])


def parse_batches(ders: Iterable[bytes], *, workers: int | None = None) -> Iterator[pa.Table]:
    """Read certificates as `parse` does, giving tables of some thousand rows as they come.

    However many `ders` gives, only a few tables' worth are held at a time.
    """
    rest = iter(ders)
    if workers is None:
        few = list(islice(rest, _FEW))
        workers = 1 if len(few) < _FEW else os.cpu_count() or 1
        rest = chain(few, rest)
    if workers == 1:
        yield from map(_parse_chunk, _chunks(rest))
        return
    from joblib import Parallel, delayed

    pool = Parallel(workers, return_as="generator", batch_size=1, pre_dispatch=f"{2 * workers}")
    yield from pool(delayed(_parse_chunk)(chunk) for chunk in _chunks(rest))


def certificate_row(der: bytes, *, source: str, known_at: datetime) -> dict[str, Any]:
    """Read one certificate into a row of the table ``certificates``, as `parse` does.

    Parameters
    ----------
    der : bytes
        One DER certificate, nothing after it.
    source : str
        Name of the source that found it.
    known_at : datetime
        When the source had it. If an SCT within is older, the certificate is known from its time on: whoever
        watched the logs could know it then.

    Raises
    ------
    InputError
        If the bytes are not a certificate, its validity is inverted, or it names nothing.
    """
    row = _row(der)
    logged_at = row["logged_at"]
    del row["chain"], row["logged_at"], row["reason"]
    known = known_at if logged_at is None else min(known_at, logged_at)
    return {**row, "source": source, "known_at": known, "details_known_at": known}


def is_chain_certificate(der: bytes) -> bool:
    """Tell whether a certificate is part of a chain and no leaf, as `parse` does.

    Raises
    ------
    InputError
        If the bytes are not a certificate.
    """
    chain: bool = _row(der)["chain"]
    return chain


def fingerprint(der: bytes) -> str:
    """Give the SHA-256 of a certificate's DER in lower-case hex."""
    return hashlib.sha256(der).hexdigest()


def _row(der: bytes) -> dict[str, Any]:
    row: dict[str, Any] = _parse_chunk([der]).to_pylist()[0]
    if row["reason"] is not None:
        raise InputError(row["reason"])
    return row


def _chunks(ders: Iterable[bytes]) -> Iterator[list[bytes]]:
    chunk, size = list[bytes](), 0
    for der in ders:
        chunk.append(der)
        size += len(der)
        if len(chunk) >= _CHUNK or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _parse_chunk(ders: Sequence[bytes]) -> pa.Table:
    # cryptography warns of a zero serial or an odd country: of no use to who only wants the history.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read_columns(ders, list(map(x509.load_der_x509_certificate, ders)))
        except _UNREADABLE:
            return pa.concat_tables([_parse_apart(ders)])


def _parse_apart(ders: Sequence[bytes]) -> pa.Table:
    """Read a chunk in which something is no certificate."""
    good, certificates = list[int](), list[x509.Certificate]()
    for place, der in enumerate(ders):
        try:
            certificates.append(x509.load_der_x509_certificate(der))
        except _UNREADABLE:
            continue
        good.append(place)
    bad = sorted(set(range(len(ders))).difference(good))
    reasons = [_why(ders[place]) for place in bad]
    table = pa.concat_tables([read_columns([ders[place] for place in good], certificates), unread(reasons)])
    order = sorted(range(len(ders)), key=[*good, *bad].__getitem__)
    return table.take(pa.array(order, pa.int64()))


def _why(der: bytes) -> str:
    if not der:
        return "certificate is empty"
    return "bytes are not a whole DER certificate; they are truncated or something else"

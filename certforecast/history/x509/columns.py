"""From the bytes of many certificates to the columns of the table ``certificates``."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID, ObjectIdentifier

from certforecast.errors import InputError
from certforecast.history.names import NameSet
from certforecast.history.schema import CERTIFICATES, TIMESTAMP
from certforecast.history.x509 import values
from certforecast.history.x509.lists import alternative_names, earliest_scts
from certforecast.history.x509.walk import Bytes, Spans, walk

__all__ = ["PARSED", "read_columns", "unread"]

#: What is read off a certificate: the columns of the table without those of where and when it was found, and
#: ``chain`` (it is part of a chain and no leaf), ``logged_at`` (the earliest time of the SCTs within) and
#: ``reason`` (why the certificate could not be read; all else is null then).
PARSED: Final = pa.schema(
    [
        *(
            field.with_nullable(True)
            for field in CERTIFICATES.schema
            if field.name not in ("source", "known_at", "details_known_at")
        ),
        pa.field("chain", pa.bool_()),
        pa.field("logged_at", TIMESTAMP),
        pa.field("reason", pa.string()),
    ]
)

_Issuer = tuple[str, str | None, str | None]
#: Issuers seen, by their bytes: the name in RFC 4514 form, organisation and common name.
_ISSUERS: Final[dict[bytes, _Issuer]] = {}
_ISSUERS_LIMIT: Final = 10_000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_US: Final = 86_400_000_000
#: The years that Python has dates for begin here, in microseconds since 1970.
_FIRST_US: Final = -62_135_596_800_000_000

_T = TypeVar("_T")


def read_columns(ders: Sequence[bytes], certificates: Sequence[x509.Certificate]) -> pa.Table:
    """Read certificates that cryptography has loaded.

    Parameters
    ----------
    ders, certificates : sequence
        The same certificates, as bytes and loaded.

    Returns
    -------
    pyarrow.Table, shape (n_certificates, any)
        With the columns of `PARSED`, a row a certificate, in their order.
    """
    if not ders:
        return PARSED.empty_table()
    layout = walk(ders)
    source = layout.source
    refused: list[str | None] = [None] * len(ders)

    def read(what: str, reader: Callable[..., _T], *columns: Sequence[Any] | Spans, default: _T) -> list[_T]:
        """Read a column off others; where that fails, put the default and say why in `refused`."""
        if isinstance(columns[0], Spans) and (columns[0].start < 0).all():
            return [reader(b"")] * len(ders)
        parts = [column.cut(source) if isinstance(column, Spans) else column for column in columns]
        try:
            return list(map(reader, *parts))
        except ValueError:  # somewhere: go one by one
            found = list[_T]()
            for place, part in enumerate(zip(*parts, strict=True)):
                try:
                    found.append(reader(*part))
                except ValueError as error:
                    found.append(default)
                    known = isinstance(error, InputError)
                    reason = str(error) if known else f"certificate has a broken {what}: {error}"
                    refused[place] = refused[place] or reason
            return found

    extensions = layout.extensions
    not_before, not_after = _moments(source, layout.not_before), _moments(source, layout.not_after)
    read("list of extensions", _check_once, layout.repeated.tolist(), default=None)
    read("validity", _check_validity, not_before.tolist(), not_after.tolist(), default=None)
    nobody: _Issuer = ("", None, None)
    issuers = read("issuer", _issuer, layout.issuer, certificates, default=nobody)
    common_names = read("subject", _common_name, layout.subject, certificates, default=None)
    try:
        alternative = alternative_names(source, extensions["alternative_name"])
    except ValueError:  # somewhere: go one by one
        alternative = read(
            "subject alternative name", values.alternative_names, extensions["alternative_name"], default=None
        )
    authority = read("basic constraints", values.is_authority, extensions["basic_constraints"], default=False)
    in_chain = [ca and names is None for ca, names in zip(authority, alternative, strict=True)]
    names = read("name", _names, alternative, common_names, in_chain, default=NameSet.of(()))
    algorithms = read(
        "public key", values.key_algorithm, layout.key_algorithm, default=values.Algorithm("", None)
    )
    columns: dict[str, Any] = {
        "fingerprint": [hashlib.sha256(der).hexdigest() for der in ders],
        "serial": read("serial number", values.serial, layout.serial, default=""),
        "issuer_dn": [issuer[0] for issuer in issuers],
        "issuer_org": [issuer[1] for issuer in issuers],
        "issuer_cn": [issuer[2] for issuer in issuers],
        "issuer_key_id": read(
            "authority key identifier", values.authority_key_id, extensions["authority_key"], default=None
        ),
        "subject_cn": common_names,
        "names": _lists([found.names for found in names]),
        "name_set_id": [found.id for found in names],
        "registered_domains": _lists([found.registered_domains for found in names]),
        "wildcard": [found.wildcard for found in names],
        "key_algorithm": [algorithm.name for algorithm in algorithms],
        "key_bits": list(map(_key_bits, algorithms, layout.key_bits.cut(source), certificates)),
        "signature_algorithm": read(
            "signature algorithm", values.signature_algorithm, layout.signature, default=""
        ),
        "not_before": _timestamps(not_before),
        "not_after": _timestamps(not_after),
        "validity_days": (not_after - not_before) / _DAY_US,
        "policy": read("certificate policy", values.policy, extensions["policies"], default=""),
        "must_staple": read("TLS feature", values.must_staple, extensions["features"], default=False),
        "eku": read("extended key usage", values.key_uses, extensions["extended_key_usage"], default=None),
        "is_precertificate": extensions["poison"].start >= 0,
        "spki_hash": [hashlib.sha256(key).hexdigest() for key in layout.key.cut(source)],
        "chain": in_chain,
        "logged_at": _timestamps(*earliest_scts(source, extensions["timestamps"])),
        "reason": pa.nulls(len(ders), pa.string()),
    }
    arrays = [
        columns[field.name]
        if isinstance(columns[field.name], pa.Array)
        else pa.array(columns[field.name], field.type)
        for field in PARSED
    ]
    return _without(pa.table(arrays, schema=PARSED), refused)


def unread(reasons: Sequence[str | None]) -> pa.Table:
    """Give the table of certificates that could not be read."""
    nulls = [pa.nulls(len(reasons), field.type) for field in PARSED]
    return pa.table([*nulls[:-1], pa.array(reasons, pa.string())], schema=PARSED)


def _without(table: pa.Table, refused: Sequence[str | None]) -> pa.Table:
    """Clear the rows of certificates that were refused, but for the reason."""
    if not any(refused):
        return table
    kept = pa.array([None if reason else place for place, reason in enumerate(refused)], pa.int64())
    return table.take(kept).set_column(
        len(PARSED) - 1, PARSED.field("reason"), pa.array(refused, pa.string())
    )


def _check_once(repeated: bool) -> None:
    if repeated:
        raise InputError("certificate has an extension twice, which RFC 5280 (section 4.2) forbids")


def _check_validity(not_before: int, not_after: int) -> None:
    if not_before < _FIRST_US:
        raise InputError("validity begins before the year 1")
    if not_after <= not_before:
        begins, ends = (_EPOCH + timedelta(microseconds=time) for time in (not_before, not_after))
        raise InputError(f"validity is inverted: not_after {ends} is not later than not_before {begins}")


def _issuer(element: bytes, certificate: x509.Certificate) -> _Issuer:
    if (known := _ISSUERS.get(element)) is None:
        if len(_ISSUERS) >= _ISSUERS_LIMIT:
            _ISSUERS.clear()
        try:
            name = certificate.issuer
        except TypeError as error:  # cryptography says so of a bit string where none may stand
            raise ValueError(str(error)) from error
        known = _ISSUERS[element] = (
            name.rfc4514_string(),
            _attribute(name, NameOID.ORGANIZATION_NAME),
            _attribute(name, NameOID.COMMON_NAME),
        )
    return known


def _common_name(subject: bytes, certificate: x509.Certificate) -> str | None:
    try:
        return values.common_name(subject)
    except ValueError:  # one of the string types of old, which cryptography knows
        try:
            return _attribute(certificate.subject, NameOID.COMMON_NAME)
        except TypeError as error:
            raise ValueError(str(error)) from error


def _attribute(name: x509.Name, oid: ObjectIdentifier) -> str | None:
    for attribute in name.get_attributes_for_oid(oid):
        value = attribute.value
        return value if isinstance(value, str) else value.decode("utf-8", "replace")
    return None


def _names(alternative: NameSet | None, common_name: str | None, in_chain: bool) -> NameSet:
    if alternative is not None:
        return alternative
    if in_chain and not common_name:
        return NameSet.of(())
    return values.named(common_name or "")


def _key_bits(algorithm: values.Algorithm, key: bytes, certificate: x509.Certificate) -> int | None:
    if algorithm.name == "RSA":
        return values.rsa_bits(key)
    if algorithm.name == "EC" and algorithm.bits is None:  # a curve written out, which cryptography may know
        with suppress(ValueError, UnsupportedAlgorithm):
            return getattr(certificate.public_key(), "key_size", None)
    return algorithm.bits


def _lists(lists: list[list[str]]) -> pa.Array:
    offsets = np.zeros(len(lists) + 1, np.int32)
    np.cumsum([len(items) for items in lists], out=offsets[1:])
    return pa.ListArray.from_arrays(offsets, pa.array(list(chain.from_iterable(lists)), pa.string()))


def _timestamps(moments: npt.NDArray[np.int64], absent: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    return pa.array(moments, pa.int64(), mask=absent).cast(TIMESTAMP)


def _moments(source: Bytes, spans: Spans) -> npt.NDArray[np.int64]:
    """Read times, in microseconds since 1970 (RFC 5280, section 4.1.2.5)."""
    four_digits = spans.end - spans.start == len("YYYYMMDDHHMMSSZ")
    at = spans.start + np.where(four_digits, 2, 0)

    def two(words: npt.NDArray[np.uint64], place: int) -> npt.NDArray[np.int64]:
        tens, ones = (words >> (8 * place)) & 0xF, (words >> (8 * place + 8)) & 0xF
        return (10 * tens + ones).astype(np.int64)

    date, time = source.at(at), source.at(at + 8)
    year = two(date, 0)
    century = np.where(four_digits, two(source.at(spans.start), 0), np.where(year < 50, 20, 19))
    months = (100 * century + year - 1970) * 12 + two(date, 2) - 1
    days = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + two(date, 4) - 1
    seconds = 60 * (60 * two(date, 6) + two(time, 0)) + two(time, 2)
    return 1_000_000 * (86_400 * days + seconds)

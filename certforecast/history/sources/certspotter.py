"""Certificate Transparency as SSLMate tells it: its CT Search API, and the program certspotter."""

import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urljoin

from certforecast.clock import Clock, system_clock
from certforecast.errors import InputError, SourceError
from certforecast.history.sources import NO_MARKS, Batch, Mark, Marks, Rejected, Source, Whole
from certforecast.history.sources.answers import json_answer
from certforecast.history.sources.batching import Found, Skipped, batches
from certforecast.history.sources.certspotter_issuances import finds
from certforecast.history.sources.domains import domain_or_path
from certforecast.history.sources.exports import excerpt, items, look, modified, state, text_of
from certforecast.history.sources.http import Service
from certforecast.history.x509 import split_pem

__all__ = ["CertspotterSource"]

_WHAT: Final = "a JSON answer of the CT Search API"
_SAVED: Final = re.compile(r"[0-9a-f]{64}(?:\.cert|\.precert)?\.pem")
_FOLDER: Final = re.compile(r"[0-9a-f]{2}")
#: Bytes of a saved chain; real ones have a few thousand.
_LONGEST: Final = 16 << 20
_TOKEN: Final = re.compile(r"[!-~]+")

Finds = Iterator[Found | Whole | Rejected | Mark | Skipped]


class CertspotterSource(Source):
    """Certificates of a domain in CT logs, from SSLMate's CT Search API (Cert Spotter): a file, or live.

    Read are issuances of ``/v1/issuances``, as JSON in a file (plain or gzipped) or asked for a domain, and
    the certificates that the program certspotter has saved in its state folder (``certs/*/*.pem``).

    An issuance with ``cert_der`` is read whole, known from the time of the logs' promises (SCTs) in it. The
    API gives no time of its own. So a precertificate, or an issuance without ``cert_der``, is known only from
    now on, or from the time of its file: earlier would be a guess, and would let the future into the past.
    A saved certificate is known from its file's time on, which is when certspotter found it.

    A revocation is an event ``revoked`` at the time that the CA gives, known from when SSLMate saw it. The
    API does not list an issuance again when it is revoked later: read again from the start for that (`anew`).

    Parameters
    ----------
    place : path or str
        A file, certspotter's state folder, or a domain.
    url : str
        Where the API is.
    subdomains : bool
        Whether to ask for names below the domain, too.
    anew : bool
        Whether to read everything again, not just what is new.
    token_file : path, optional
        Holds the API key.
    token_variable : str
        The environment variable that holds the API key, if there is no file. Without a key, the API allows
        few questions an hour.
    timeout_s : float
        Seconds of silence after which a try is given up.
    tries : int
        How often to ask when the API is busy.
    clock : callable
        Gives the present.
    """

    name = "certspotter"

    def __init__(
        self,
        place: Path | str,
        *,
        url: str = "https://api.certspotter.com",
        subdomains: bool = True,
        anew: bool = False,
        token_file: Path | None = None,
        token_variable: str = "SSLMATE_API_KEY",  # noqa: S107 (a name, no secret)
        timeout_s: float = 30.0,
        tries: int = 5,
        clock: Clock = system_clock,
    ) -> None:
        self.place = domain_or_path(place)
        self.url = url
        self.subdomains = subdomains
        self.anew = anew
        self.token_file = token_file
        self.token_variable = token_variable
        self.timeout_s = timeout_s
        self.tries = tries
        self.clock = clock

    @classmethod
    def recognises(cls, path: Path) -> str | None:
        """Say what a path holds if it is an answer of the API, or certspotter's state folder."""
        try:
            if path.is_dir():
                return "certificates that certspotter saved" if any(_saved(path)) else None
        except OSError:
            return None
        beginning = look(path).lstrip()
        if beginning.startswith(("[", "{")) and '"tbs_sha256"' in beginning:
            return "Cert Spotter issuances, JSON"
        return None

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:
        """Yield batches of certificates and revocations.

        Raises
        ------
        SourceError
            If the path is missing or holds nothing of the kind; if the API cannot be reached, refuses, or
            gives no list.
        """
        known = NO_MARKS if self.anew else marks
        if isinstance(self.place, str):
            # A batch a page: where the API stops answering, what it gave so far is kept.
            for page in self._live(self.place, known):
                yield from batches(page)
        elif self.place.is_dir():
            yield from batches(self._folder(self.place, known))
        else:
            yield from batches(self._file(self.place, known))

    def _live(self, domain: str, marks: Marks) -> Iterator[Finds]:
        service = Service(self.url, token=self._token(), timeout_s=self.timeout_s, tries=self.tries)
        question = {"domain": domain, "include_subdomains": str(self.subdomains).lower()}
        place = urljoin(service.url, f"v1/issuances?{urlencode(question)}")
        expand = ["dns_names", "issuer", "revocation", "cert_der"]
        after, met = marks.get(place), set[str]()
        while page := self._page(service, {**question, "expand": expand, "after": after}):
            ids = [str(item["id"]) for item in page if isinstance(item, dict) and item.get("id")]
            if not ids or ids[-1] in met:
                raise SourceError(f"{place} does not get on after {after}: its pages repeat; try later")
            position = f"{domain} after {after or 'the start'}"
            after = ids[-1]
            met.add(after)
            yield self._read_page(page, position, Mark(place, after))

    def _read_page(self, page: list[Any], position: str, mark: Mark) -> Finds:
        now = self.clock()
        for number, item in enumerate(page):
            yield from self._issuance(item, f"{position}#{number}", now)
        yield mark

    def _page(self, service: Service, parameters: dict[str, Any]) -> list[Any]:
        page = json_answer(service, "v1/issuances", parameters, tries=self.tries)
        if not isinstance(page, list):
            raise SourceError(f"{service.url}v1/issuances gave no list of issuances: {excerpt(page)[:200]}")
        return page

    def _file(self, path: Path, marks: Marks) -> Finds:
        if path.name.endswith(".v1.json"):
            path = path.with_name(path.name.removesuffix(".v1.json") + ".pem")
        if path.suffix == ".pem":
            yield from self._certificate(path, path.name, marks)
            return
        place, now = str(path.absolute()), state(path)
        if marks.get(place) == now:
            yield Skipped(place)
            return
        known_at = modified(path, self.clock)
        for position, item in items(text_of(path, _WHAT), path, _WHAT):
            yield from self._issuance(item, position, known_at)
        yield Mark(place, now)

    def _issuance(self, item: Any, position: str, known_at: datetime) -> Finds:
        try:
            yield from finds(item, position, known_at, self.name)
        except InputError as error:
            yield Rejected(position, str(error), excerpt(item))

    def _folder(self, folder: Path, marks: Marks) -> Finds:
        files = 0
        try:
            for path in _saved(folder):
                files += 1
                yield from self._certificate(path, path.relative_to(folder).as_posix(), marks)
        except OSError as error:
            raise SourceError(f"{error.filename or folder} cannot be read: {error.strerror}") from error
        if not files:
            raise SourceError(f"{folder} holds no certificate that certspotter saved; give its state folder")

    def _certificate(self, path: Path, position: str, marks: Marks) -> Finds:
        try:
            place, now = str(path.absolute()), state(path)
            if marks.get(place) == now:
                yield Skipped(place)
                return
            if not path.is_file() or path.stat().st_size > _LONGEST:
                yield Rejected(position, f"is no file of at most {_LONGEST >> 20} MiB")
                return
            # The leaf stands first, its chain after it.
            _, leaf = next(split_pem(path.read_bytes()), (0, InputError("file holds no certificate")))
        except (OSError, SourceError) as error:
            yield Rejected(position, f"file cannot be read: {error}")
            return
        if isinstance(leaf, InputError):
            yield Rejected(position, str(leaf))
        else:
            yield Whole(leaf, modified(path, self.clock), position)
        yield Mark(place, now)

    def _token(self) -> str | None:
        if self.token_file is None:
            where, token = (
                f"environment variable {self.token_variable}",
                os.environ.get(self.token_variable, ""),
            )
        else:
            where = f"token file {self.token_file}"
            try:
                token = Path(self.token_file).read_text(encoding="ascii").strip()
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "it is not plain text"
                raise SourceError(f"{where} cannot be read: {reason}; check the path") from None
        if token and not _TOKEN.fullmatch(token):
            raise SourceError(f"{where} holds no API key: it has spaces or odd characters")
        return token or None


def _saved(folder: Path) -> Iterator[Path]:
    """List the certificates in a state folder or its ``certs/``, in order."""
    certs = folder / "certs"
    for below in sorted((certs if certs.is_dir() else folder).iterdir()):
        if _FOLDER.fullmatch(below.name) and below.is_dir():
            yield from (path for path in sorted(below.iterdir()) if _SAVED.fullmatch(path.name))

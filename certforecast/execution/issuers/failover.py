"""Several CAs, one after another: the next is asked where one fails for a cause of its own."""

import hashlib
import json
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from certforecast.atomic import write_file
from certforecast.clock import Clock
from certforecast.errors import IssuanceError
from certforecast.execution.issuers import ChallengeError, Issuer, IssuerSection, Order, open_issuer
from certforecast.execution.issuers.acme.kinds import is_theirs
from certforecast.execution.issuers.suggestions import Replacing, Suggesting, Suggestion
from certforecast.settings import Settings

__all__ = ["FailoverIssuer", "FailoverIssuerSettings", "issuer_of"]

_LOG: Final = logging.getLogger(__name__)


class FailoverIssuerSettings(IssuerSection):
    """Other issuers of the settings, in the order in which they are asked."""

    kind: Literal["failover"]
    issuers: list[str] = Field(min_length=2, description="names of other sections, the first choice first")

    @property
    def stands_for(self) -> str:
        """The first choice."""
        return self.issuers[0]

    def open(self, clock: Clock) -> Issuer:
        """Refuse: it takes the other sections.

        Raises
        ------
        IssuanceError
            Always.
        """
        del clock
        raise IssuanceError(
            f"this issuer stands for others ({', '.join(self.issuers)}): name one of them", code="config"
        )

    def open_among(self, settings: Settings, clock: Clock) -> Issuer:
        """Give the issuer.

        Raises
        ------
        IssuanceError
            If a name is not in the settings, comes twice, or is another of this kind.
        """
        for name in self.issuers:
            if isinstance(settings.issuers.get(name), FailoverIssuerSettings) or self.issuers.count(name) > 1:
                raise IssuanceError(
                    f"issuers = {self.issuers} names {name} twice, or it stands for others itself: "
                    "name each CA once",
                    code="config",
                )
        members = {name: open_issuer(name, settings, clock) for name in self.issuers}
        return FailoverIssuer(members, settings.home / "failover")


class FailoverIssuer:
    """Orders at the first of several issuers that is able to.

    An order says at which issuer it was placed. When that one fails while the certificate is issued, the
    order placed elsewhere is written down before anything is done with it: a killed run goes on there.

    Parameters
    ----------
    members : dict of str to Issuer
        By their names, the first choice first.
    folder : path
        Where orders that moved on are written down.
    """

    def __init__(self, members: dict[str, Issuer], folder: Path) -> None:
        self._members = members
        self._folder = folder

    @property
    def roots(self) -> Path | None:
        """PEM file of the roots of all issuers; None means the system's."""
        files = [member.roots for member in self._members.values()]
        if all(file is None for file in files):
            return None
        pem = "".join(_system_roots() if file is None else f"{file.read_text().strip()}\n" for file in files)
        path = self._folder / f"roots-{hashlib.sha256(pem.encode()).hexdigest()[:16]}.pem"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            write_file(path, pem.encode())
        return path

    def order(self, csr: bytes) -> Order:
        """Place an order with the first issuer that takes it.

        Raises
        ------
        IssuanceError
            If none does: of the last, with the reasons of all.
        """
        return self._first(list(self._members), lambda member: member.order(csr))

    def order_replacing(self, csr: bytes, certid: str) -> Order:
        """Place an order that says which certificate it replaces, where the issuer wants to know.

        Raises
        ------
        IssuanceError
            As `order`.
        """

        def place(member: Issuer) -> Order:
            return member.order_replacing(csr, certid) if isinstance(member, Replacing) else member.order(csr)

        return self._first(list(self._members), place)

    def issue(self, order: Order, csr: bytes) -> bytes:
        """Give the chain of an order, from the issuer at which it is or to which it has to move.

        Raises
        ------
        ChallengeError
            If a name could not be validated: another issuer would look at the same place.
        IssuanceError
            If no issuer gives a certificate.
        """
        at = self._latest(order)
        while True:
            try:
                return self._member(at).issue(at["order"], csr)
            except IssuanceError as error:
                left = self._after(at["issuer"])
                if not _moves_on(error) or not left:
                    raise
                _LOG.warning("%s failed, so the next issuer is asked: %s", at["issuer"], error)
                at = self._first(left, lambda member: member.order(csr), [str(error)])
                self._write(order, at)

    def suggestion(self, certid: str) -> Suggestion:
        """Ask when a certificate should be renewed, until one of the issuers knows it."""
        answers = [m.suggestion(certid) for m in self._members.values() if isinstance(m, Suggesting)]
        known = [answer for answer in answers if answer.start is not None]
        if known or answers:
            return (known or answers)[0]
        return Suggestion(None, None, None, 86_400.0, "no issuer says when to renew")

    def at(self, order: Order) -> Issuer:
        """Give the issuer at which an order is."""
        return self._member(self._latest(order))

    def _first(
        self, names: list[str], place: Callable[[Issuer], Order], failed: list[str] | None = None
    ) -> Order:
        reasons = list(failed or [])
        for name in names:
            try:
                return {"issuer": name, "order": place(self._members[name])}
            except IssuanceError as error:
                reasons.append(str(error))
                if not _moves_on(error) or name == names[-1]:
                    if len(reasons) == 1:
                        raise
                    raise type(error)("; then ".join(reasons), code=error.code) from error
                _LOG.warning("%s failed, so the next issuer is asked: %s", name, error)
        raise IssuanceError("there is no issuer to ask", code="config")

    def _after(self, name: str) -> list[str]:
        names = list(self._members)
        return names[names.index(name) + 1 :] if name in names else []

    def _member(self, at: Order) -> Issuer:
        name = at.get("issuer", "another issuer")
        member = self._members.get(name)
        if member is None:
            raise IssuanceError(
                f"the order was placed with {name}, which this issuer names no more: "
                "name it again until the order is done",
                code="config",
            )
        return member

    def _latest(self, order: Order) -> Order:
        """Give where an order is now."""
        try:
            moved: Order = json.loads(self._file(order).read_bytes())
        except FileNotFoundError:
            return order
        return moved

    def _write(self, order: Order, at: Order) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_file(self._file(order), json.dumps(at).encode(), mode=0o600)

    def _file(self, order: Order) -> Path:
        digest = hashlib.sha256(json.dumps(order, sort_keys=True).encode()).hexdigest()
        return self._folder / f"{digest[:32]}.json"


def issuer_of(issuer: Issuer, order: Order) -> Issuer:
    """Give the issuer at which an order is: itself, unless it stands for others."""
    return issuer.at(order) if isinstance(issuer, FailoverIssuer) else issuer


def _moves_on(error: IssuanceError) -> bool:
    """Tell whether another issuer may do better: a name that cannot be validated is ours to mend."""
    return not isinstance(error, ChallengeError) and is_theirs(error.code)


def _system_roots() -> str:
    ders: Any = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(map(ssl.DER_cert_to_PEM_cert, ders))

"""The steps of an action.

Each may be cut off at any moment and carried out again. What a step returns is checkpointed in the executor's
database, so it is JSON and never holds a private key.
"""

import ssl
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import cached_property, partial
from typing import Any

from certforecast.clock import Clock
from certforecast.errors import ExecutionError, InstallationError, VerificationError
from certforecast.execution.checks import check_pair, leaf_fingerprint
from certforecast.execution.installers import Installer
from certforecast.execution.installers.versions import FINGERPRINT
from certforecast.execution.issuers import Issuer, open_issuer
from certforecast.execution.issuers.failover import issuer_of
from certforecast.execution.keys import reused_key
from certforecast.execution.loading import Loading, Pair
from certforecast.execution.looks import as_look, await_any, look_at
from certforecast.execution.placing import place
from certforecast.execution.preflight import open_installers, open_places, preflight, proven_at
from certforecast.execution.staging import Staging
from certforecast.execution.verification import Served, handshake, prove
from certforecast.planning.plan import Action, Endpoint
from certforecast.security.sealing import Sealer
from certforecast.settings import KeySettings, Settings

__all__ = ["Done", "Steps"]

#: The results of the steps so far, by name.
Done = dict[str, dict[str, Any]]


class Steps:
    """The bodies of the steps; :mod:`certforecast.execution.workflow` says in which order they come.

    Every step takes the action and the results of the steps before it.

    Parameters
    ----------
    settings : Settings
        Issuers, installers, limits, and where things live.
    clock : callable
        Gives the present.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self._issuers: dict[str, Issuer] = {}
        self._guard = threading.Lock()
        self._loads = Loading(settings.home / "locks", alone=settings.database_url is None)

    def order(self, action: Action, done: Done) -> dict[str, Any]:
        """Try what can be tried without a change; make the key; place the order.

        What is issued and in place already needs no order: then `present` is its fingerprint.
        """
        del done
        issuer = self._issuer(action)
        ready = preflight(action, self.settings, self.clock, issuer=issuer, precheck=self._loads.precheck)
        served = [seen.fingerprint for seen in ready.served]
        if ready.present:
            return {"served": served, "present": action.successor}
        in_place = {*served, *(installer.current() for installer in ready.installers)}
        if action.kind != "install" and action.fingerprint not in in_place:
            raise ExecutionError(
                f"certificate {action.fingerprint[:12]} is neither in place nor served any more: somebody "
                f"renewed {action.name} already",
                code="superseded",
            )
        staging = self._staging(action)
        staging.prepare(reused_key(self._keys(action), ready.installers))
        return {"served": served, "order": place(ready, action, staging.csr(action.names))}

    def issue(self, action: Action, done: Done) -> dict[str, Any]:
        """Have the certificate issued, or fetch it if it is."""
        csr = self._staging(action).csr(action.names)
        chain = self._issuer(action).issue(done["order"]["order"], csr)
        return {"chain": chain.decode("ascii")}

    def stage(self, action: Action, done: Done) -> dict[str, Any]:
        """Put the chain beside its key."""
        chain = done["issue"]["chain"].encode("ascii")
        self._staging(action).stage(chain)
        return {"fingerprint": leaf_fingerprint(chain)}

    def check(self, action: Action, done: Done) -> dict[str, Any]:
        """Check what is staged, and note what is in place: what a rollback goes back to."""
        new = done["stage"]["fingerprint"]
        in_place = [installer.current() for installer in open_installers(action, self.settings)]
        served = done["order"]["served"]
        if new in served:
            raise InstallationError(f"certificate {new[:12]} is in service already: nothing to install")
        # In place already: this was done before, and its checkpoint was lost.
        before = [served[0] if found == new else found for found in in_place]
        staging = self._staging(action)
        check_pair(
            staging.chain,
            staging.key,
            names=action.names,
            roots_pem=self._roots_pem(action, done),
            now=self.clock(),
        )
        staging.check_token()
        return {"before": before}

    def install(self, action: Action, done: Done) -> dict[str, Any]:
        """Swap, have the server test it, reload. What its test refuses is never reloaded.

        What a reload command says is noted and not believed, good or bad: only the wire counts.

        Of several installers the first is the canary: the others are touched when its endpoints have given
        proof. `touched` says how many installers a rollback has to do with.
        """
        places = open_places(action, self.settings)
        installers = [installer for installer, _ in places]
        if (strange := self._strange(installers, done)) is not None:
            return {"error": strange, "complaints": [], "touched": 0}
        try:
            self._check_staged(action, done)
        except ExecutionError as wrong:
            if self.half_way(action, done):
                raise
            told = {"message": str(wrong), "code": wrong.code, "cause": "installer"}
            return {"error": told, "complaints": [], "touched": 0}
        complaints: list[str] = []
        pairs = [self._pair(number, installer, action, done) for number, installer in enumerate(installers)]
        if len(places) > 1:
            error = self._switch(pairs[:1], complaints)
            if error is None:
                try:
                    self._prove(places[0][1], action, done)
                except VerificationError as unproven:
                    error = {
                        "message": f"the canary, before the others: {unproven}",
                        "code": "not_served",
                        "cause": "wire",
                    }
            if error is not None:
                return {"error": error, "complaints": complaints, "touched": 1}
            pairs = pairs[1:]
        error = self._switch(pairs, complaints)
        failed = {"error": error} if error is not None else {}
        return {**failed, "complaints": complaints, "touched": len(places)}

    def half_way(self, action: Action, done: Done) -> bool:
        """Say whether an installation that is not checkpointed has reached a server all the same.

        Then its process was killed in the middle, and what is there must be proven or put back.

        Raises
        ------
        InstallationError
            If a server cannot be asked.
        """
        if (present := done["order"].get("present")) is not None:
            roots = self._issuer(action).roots
            seen = (handshake(endpoint, roots=roots) for endpoint in proven_at(action, self.settings))
            return any(served.fingerprint == present for served in seen)
        new = done["stage"]["fingerprint"]
        return any(installer.current() == new for installer in open_installers(action, self.settings))

    def verify(self, action: Action, done: Done) -> dict[str, Any]:
        """Prove on the wire that every endpoint serves the new leaf."""
        endpoints = proven_at(action, self.settings)
        try:
            seen = self._prove(endpoints, action, done)
        except VerificationError as error:
            looks = look_at(endpoints, self._issuer(action).roots, self.clock)
            told = {"message": str(error), "code": "not_served", "cause": "wire"}
            return {"error": told, "looks": looks}
        now = self.clock()
        return {"looks": [as_look(e, served, now) for e, served in zip(endpoints, seen, strict=True)]}

    def rollback(self, action: Action, done: Done) -> dict[str, Any]:
        """Put back what was in place, and prove that the endpoints serve what they served.

        What was never touched, as after a canary that failed, is not touched now.
        """
        installers = open_installers(action, self.settings)
        touched = installers[: done["install"].get("touched", len(installers))]
        broken = []
        for installer, before in zip(touched, _before(done), strict=False):
            try:
                if before is not None:
                    installer.restore(before)
            except Exception as error:  # the others are put back all the same
                broken.append(str(error))
        every_s = self.settings.executor.reload_every_s
        for installer in touched:
            with suppress(InstallationError):  # broken or not, only the wire tells what is served
                self._loads.load(Pair(installer), every_s=every_s)
        if broken:
            raise InstallationError("; ".join(broken))
        old = {*done["check"]["before"], *done["order"]["served"]} - {None}
        limits = self.settings.executor
        looks = [
            await_any(
                endpoint,
                old,
                roots=self._issuer(action).roots,
                in_a_row=limits.handshakes,
                timeout_s=limits.verify_timeout_s,
                clock=self.clock,
            )
            for endpoint in proven_at(action, self.settings)
        ]
        return {"looks": looks}

    def clear(self, action: Action, done: Done) -> dict[str, Any]:
        """Delete the staged key."""
        del done
        self._staging(action).clear()
        return {}

    def _staging(self, action: Action) -> Staging:
        folder, home = self.settings.staging_path / action.id, self.settings.home
        return Staging(folder, self._keys(action), sealer=Sealer(home), name=action.name)

    def _keys(self, action: Action) -> KeySettings:
        section = self.settings.issuers.get(action.issuer or "")
        return (section.keys if section is not None else None) or self.settings.keys

    def _issuer(self, action: Action) -> Issuer:
        """Give the issuer, the same one to all actions: it holds a connection and an account."""
        with self._guard:
            name = action.issuer or ""
            if name not in self._issuers:
                self._issuers[name] = open_issuer(action.issuer, self.settings, self.clock)
            return self._issuers[name]

    def _roots_pem(self, action: Action, done: Done) -> bytes:
        roots = issuer_of(self._issuer(action), done["order"]["order"]).roots
        return roots.read_bytes() if roots is not None else self._system_roots

    @cached_property
    def _system_roots(self) -> bytes:
        ders = ssl.create_default_context().get_ca_certs(binary_form=True)
        return "".join(map(ssl.DER_cert_to_PEM_cert, ders)).encode("ascii")

    def _check_staged(self, action: Action, done: Done) -> None:
        """Refuse what is staged unless it is what was ordered, whatever the database says of checks before.

        Raises
        ------
        InstallationError
            If so.
        """
        if "present" in done["order"]:
            return
        staging = self._staging(action)
        chain = staging.chain
        if leaf_fingerprint(chain) != done["stage"]["fingerprint"]:
            raise InstallationError(f"another certificate is staged than was noted for {action.name}")
        roots = self._roots_pem(action, done)
        check_pair(chain, staging.key, names=action.names, roots_pem=roots, now=self.clock())

    def _strange(self, installers: Sequence[Installer], done: Done) -> dict[str, Any] | None:
        """Say if somebody else has put a certificate in place since this action began."""
        if "present" in done["order"]:
            return None
        new = done["stage"]["fingerprint"]
        for installer, before in zip(installers, _before(done), strict=True):
            if installer.current() not in (before, new):
                told = f"{installer.server} has another certificate in place than when this action began"
                return {"message": f"{told}: left as it is", "code": "superseded", "cause": "installer"}
        return None

    def _pair(self, number: int, installer: Installer, action: Action, done: Done) -> Pair:
        """Give what is put in place by an installer of an action; nothing if it is there already."""
        if "present" in done["order"]:
            return Pair(installer)
        staging = self._staging(action)
        put = partial(installer.swap, staging.chain, staging.key)
        return Pair(installer, put, before=_before(done)[number])

    def _switch(self, pairs: Sequence[Pair], complaints: list[str]) -> dict[str, Any] | None:
        """Swap, test and reload; give the error, if there is one before the reload.

        What waits for the same server is tested and loaded together.
        """
        every_s = self.settings.executor.reload_every_s
        try:
            with ExitStack() as stack:
                for pair in pairs:
                    stack.enter_context(self._loads.placed(pair))
                told = [self._loads.load(pair, every_s=every_s) for pair in pairs]
            for pair in pairs:
                if pair.refused is not None:  # taken out while the others were loaded
                    raise pair.refused
        except InstallationError as error:
            return {"message": str(error), "code": error.code, "cause": "installer"}
        complaints += [complaint for complaint in told if complaint is not None]
        return None

    def _prove(self, endpoints: Sequence[Endpoint], action: Action, done: Done) -> list[Served]:
        limits = self.settings.executor
        return prove(
            endpoints,
            done["order"].get("present") or done["stage"]["fingerprint"],
            roots=self._issuer(action).roots,
            in_a_row=limits.handshakes,
            timeout_s=limits.verify_timeout_s,
        )


def _before(done: Done) -> list[str | None]:
    """Give what was in place at each installer; it names a folder or an object there.

    Raises
    ------
    InstallationError
        If the database holds something else.
    """
    before: list[str | None] = done["check"]["before"]
    for found in before:
        if found is not None and not FINGERPRINT.fullmatch(found):
            raise InstallationError(f"{found!r} is no fingerprint: the executor's database was changed")
    return before

"""The steps of an action.

Each may be cut off at any moment and carried out again. What a step returns is checkpointed in the executor's
database, so it is JSON and never holds a private key.
"""

import ssl
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from certforecast.clock import Clock
from certforecast.errors import InstallationError, VerificationError
from certforecast.execution.checks import check_pair, leaf_fingerprint
from certforecast.execution.issuers import Issuer, open_issuer
from certforecast.execution.keys import reused_key
from certforecast.execution.looks import as_look, await_any, look_at
from certforecast.execution.preflight import open_installers, preflight
from certforecast.execution.record import rows
from certforecast.execution.staging import Staging
from certforecast.execution.verification import prove
from certforecast.planning.plan import Action
from certforecast.security.sealing import Sealer
from certforecast.settings import KeySettings, Settings

if TYPE_CHECKING:
    from certforecast.history.store import History

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
    history : History, optional
        Where what was done is recorded.
    clock : callable
        Gives the present.
    """

    def __init__(self, settings: Settings, history: "History | None", clock: Clock) -> None:
        self.settings = settings
        self.history = history
        self.clock = clock

    def order(self, action: Action, done: Done) -> dict[str, Any]:
        """Try what can be tried without a change; make the key; place the order.

        What is issued and in place already needs no order: then `present` is its fingerprint.
        """
        del done
        ready = preflight(action, self.settings, self.clock)
        served = [seen.fingerprint for seen in ready.served]
        if ready.present:
            return {"served": served, "present": action.successor}
        staging = self._staging(action)
        staging.prepare(reused_key(self._keys(action), ready.installers))
        return {"served": served, "order": ready.issuer.order(staging.csr(action.names))}

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
        before = [installer.current() for installer in open_installers(action, self.settings)]
        if done["stage"]["fingerprint"] in before:
            raise InstallationError(
                f"certificate {done['stage']['fingerprint'][:12]} is in place already: nothing to install"
            )
        staging = self._staging(action)
        check_pair(
            staging.chain,
            staging.key,
            names=action.names,
            roots_pem=self._roots_pem(action),
            now=self.clock(),
        )
        staging.check_token()
        return {"before": before}

    def install(self, action: Action, done: Done) -> dict[str, Any]:
        """Swap, have the server test it, reload. What its test refuses is never reloaded.

        What a reload command says is noted and not believed, good or bad: only the wire counts.
        """
        if "present" not in done["order"]:
            staging, installers = self._staging(action), open_installers(action, self.settings)
            for installer in installers:
                installer.swap(staging.chain, staging.key)
            for installer in installers:
                installer.test()
        return {"complaints": self._reload(action)}

    def verify(self, action: Action, done: Done) -> dict[str, Any]:
        """Prove on the wire that every endpoint serves the new leaf."""
        expected = done["order"].get("present") or done["stage"]["fingerprint"]
        roots, limits = self._issuer(action).roots, self.settings.executor
        try:
            seen = prove(
                action.endpoints,
                expected,
                roots=roots,
                in_a_row=limits.handshakes,
                timeout_s=limits.verify_timeout_s,
            )
        except VerificationError as error:
            looks = look_at(action.endpoints, roots, self.clock)
            return {"error": {"message": str(error), "code": "not_served"}, "looks": looks}
        now = self.clock()
        return {"looks": [as_look(e, served, now) for e, served in zip(action.endpoints, seen, strict=True)]}

    def rollback(self, action: Action, done: Done) -> dict[str, Any]:
        """Put back what was in place, and prove that the endpoints serve what they served."""
        self._restore(action, done)
        with suppress(InstallationError):  # broken or not, only the wire tells what is served
            for installer in open_installers(action, self.settings):
                installer.test()
            self._reload(action)
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
            for endpoint in action.endpoints
        ]
        return {"looks": looks}

    def record(self, action: Action, done: Done) -> dict[str, Any]:
        """Write what was done into the store, and delete the staged key."""
        try:
            if self.history is not None:
                self.history.append(rows(action, done, self.settings.executor.actor), source="executor")
        finally:
            self._staging(action).clear()
        return {}

    def _staging(self, action: Action) -> Staging:
        folder, home = self.settings.staging_path / action.id, self.settings.home
        return Staging(folder, self._keys(action), sealer=Sealer(home), name=action.name)

    def _keys(self, action: Action) -> KeySettings:
        section = self.settings.issuers.get(action.issuer or "")
        return (section.keys if section is not None else None) or self.settings.keys

    def _issuer(self, action: Action) -> Issuer:
        return open_issuer(action.issuer, self.settings, self.clock)

    def _roots_pem(self, action: Action) -> bytes:
        roots = self._issuer(action).roots
        return roots.read_bytes() if roots is not None else self._system_roots

    @cached_property
    def _system_roots(self) -> bytes:
        ders = ssl.create_default_context().get_ca_certs(binary_form=True)
        return "".join(map(ssl.DER_cert_to_PEM_cert, ders)).encode("ascii")

    def _reload(self, action: Action) -> list[str]:
        complaints = []
        for installer in open_installers(action, self.settings):
            try:
                installer.reload()
            except InstallationError as error:
                complaints.append(str(error))
        return complaints

    def _restore(self, action: Action, done: Done) -> None:
        for installer, before in zip(
            open_installers(action, self.settings), done["check"]["before"], strict=True
        ):
            if before is not None:
                installer.restore(before)

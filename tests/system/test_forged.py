"""What somebody could do who can write to the executor's database, and to nothing else."""

import base64
import json
import os
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from sqlalchemy import text

from certforecast.errors import IssuanceError
from certforecast.execution import ActionResult, Executor
from certforecast.execution.control import control
from certforecast.execution.issuers import open_issuer
from certforecast.execution.staging import Staging, new_key
from certforecast.execution.status import executor_status
from certforecast.history import History
from certforecast.history.x509 import fingerprint
from certforecast.planning.plan import Plan
from certforecast.security.sealing import Sealer
from certforecast.settings import Settings
from tests.system.half_way import leave_half_way
from tests.system.pebble import pebble
from tests.system.site import Site

pytestmark = pytest.mark.system


def query(settings: Settings, words: str, **values: Any) -> Any:
    with control(settings) as notes, notes.engine.begin() as connection:
        result = connection.execute(text(words), values)
        return result.fetchall() if result.returns_rows else result.rowcount


def forge(settings: Settings, step: str, **changes: Any) -> None:
    """Change what a step of the only run gave."""
    ((output,),) = query(settings, "SELECT output FROM operation_outputs WHERE function_name = :s", s=step)
    told = {**json.loads(output), **changes}
    words = "UPDATE operation_outputs SET output = :o WHERE function_name = :s"
    assert query(settings, words, o=json.dumps(told), s=step) == 1


class Victim(Site):
    """A site with an action that was left half-way."""

    left: Plan

    def leave_after(self, step: str) -> Settings:
        """Leave the action after a step whose checkpoint is not written."""
        settings, self.left = self.settings(), self.plan(self.action(id="forged"))
        leave_half_way(self.left, settings, self.home, self.name, step)
        return settings

    def go_on(self, settings: Settings) -> ActionResult:
        """Act again."""
        (result,) = Executor(settings).run(self.left, execute=True)
        return result


def chain_of(site: Site, key_pem: bytes, names: list[str], left: timedelta) -> str:
    now = datetime.now(UTC)
    key: Any = load_pem_private_key(key_pem, None).public_key()
    leaf = site.issuer.certify(key, names, not_before=now - timedelta(days=30), not_after=now + left)
    return leaf.public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("forged", "said"),
    [
        ("key", "does not match"),
        ("names", "does not cover www.site.test"),
        ("expired", "is valid from"),
        ("other", "another certificate is staged"),
    ],
)
def test_nothing_is_installed_that_was_not_ordered(tmp_path: Path, forged: str, said: str) -> None:
    """Even if the database says that it was checked, and the staged chain came from there."""
    site = Victim(tmp_path)
    with site.served():
        settings = site.leave_after("check")
        staging = Staging(settings.staging_path / "forged", sealer=Sealer(settings.home))
        key = new_key() if forged in ("key", "other") else staging.key
        names = ["evil.test"] if forged == "names" else [site.name]
        left = timedelta(days=-1 if forged == "expired" else 9)
        chain = chain_of(site, key, names, left)
        # As if stage had put it there, from what the forged step before it gave.
        staging.stage(chain.encode())
        if forged != "other":
            der = x509.load_pem_x509_certificate(chain.encode()).public_bytes(Encoding.DER)
            forge(settings, "stage", fingerprint=fingerprint(der))
        checked = {"at": datetime.now(UTC).isoformat(), "seconds": 0.0, "before": [site.before]}
        words = (
            "INSERT INTO operation_outputs (workflow_uuid, function_id, function_name, output, serialization,"
            " retention_timestamp) SELECT workflow_uuid, 4, 'check', :o, serialization, retention_timestamp"
            " FROM operation_outputs WHERE function_name = 'stage'"
        )
        assert query(settings, words, o=json.dumps(checked)) == 1
        result = site.go_on(settings)
        assert result.status == "failed"
        assert said in result.detail
        assert "no file was changed" in result.detail
        assert site.in_place() == site.look().fingerprint == site.before


def test_what_a_rollback_goes_back_to_leads_nowhere_else(tmp_path: Path) -> None:
    site = Victim(tmp_path, deaf=True)
    with site.served():
        settings = site.leave_after("install")
        evil = tmp_path / "evil"
        evil.mkdir()
        key = new_key()
        (evil / "fullchain.pem").write_text(chain_of(site, key, [site.name], timedelta(days=9)))
        (evil / "privkey.pem").write_bytes(key)
        forge(settings, "check", before=[str(evil)])
        result = site.go_on(settings)
        assert result.status == "failed"
        assert "is no fingerprint: the executor's database was changed" in result.detail
        assert site.certificate.read_bytes() != (evil / "fullchain.pem").read_bytes()


class Evil:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.mark.parametrize(("table", "column"), [("workflow_input", "inputs"), ("operation_outputs", "output")])
def test_no_pickle_in_the_database_is_ever_read(tmp_path: Path, table: str, column: str) -> None:
    site = Victim(tmp_path)
    with site.served():
        settings, proof = site.leave_after("check"), tmp_path / "proof"
        pickled = base64.b64encode(pickle.dumps(Evil(f"touch {proof}"))).decode()
        assert query(settings, f"UPDATE {table} SET {column} = :o", o=pickled)
        owner = "operation_outputs" if table == "operation_outputs" else "workflow_status"
        assert query(settings, f"UPDATE {owner} SET serialization = 'py_pickle'")
        told = executor_status(settings, datetime.now(UTC))
        assert told.counts
        other = site.plan(site.action(id="next"))
        (result,) = Executor(settings).run(other, execute=True)
        assert not proof.exists()
        assert result.status == "verified", result.detail


def test_what_was_not_planned_is_not_recorded(tmp_path: Path) -> None:
    site = Victim(tmp_path)
    with site.served():
        settings, plan = site.settings(), site.plan(site.action())
        (done,) = Executor(settings).run(plan, execute=True)
        assert done.status == "verified", done.detail
        ((inputs,),) = query(settings, "SELECT inputs FROM workflow_input")
        forged = inputs.replace(site.name, "evil.test")
        assert query(settings, "UPDATE workflow_input SET inputs = :i", i=forged)
        with History(None) as history:
            Executor(settings, history).run(site.plan(site.action(id="x", kind="escalate")), execute=True)
            assert history.counts()["events"] == 0


def test_no_request_is_sent_to_a_server_that_the_directory_does_not_name(tmp_path: Path) -> None:
    with pebble(tmp_path / "pebble") as server:
        settings = Settings(home=tmp_path / "home", issuers={"acme": server.section()})
        issuer = open_issuer("acme", settings, lambda: datetime.now(UTC))
        with pytest.raises(IssuanceError, match="is no order of this server"):
            issuer.issue({"url": "https://127.0.0.1:9/order"}, b"")

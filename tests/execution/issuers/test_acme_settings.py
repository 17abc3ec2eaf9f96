"""What can be set for an ACME server, and what is refused with the settings."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.settings import load_settings

BASE = {"kind": "acme", "directory_url": "https://ca.test/dir", "account_key": "account.pem"}
RFC2136 = {"provider": "rfc2136", "server": "192.0.2.1", "key_name": "k", "key_file": "secret"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"challenge": "dns-01"}, "needs a table dns"),
        ({"dns": RFC2136}, 'goes with challenge = "dns-01"'),
        ({"challenge": "dns-02"}, "http-01"),
        ({"challenge": "dns-01", "dns": {**RFC2136, "key_env": "SECRET"}}, "key_file or key_env"),
        ({"challenge": "dns-01", "dns": {**RFC2136, "key_file": None}}, "key_file or key_env"),
        ({"challenge": "dns-01", "dns": {**RFC2136, "resolver": "ns.example.org"}}, "no address"),
        ({"challenge": "dns-01", "dns": {**RFC2136, "nameservers": ["192.0.2.1:x"]}}, "no address"),
        ({"challenge": "dns-01", "dns": {"provider": "by-hand"}}, "rfc2136"),
        ({"challenge": "dns-01", "dns": {"provider": "certbot-hook", "auth_hook": []}}, "auth_hook"),
        ({"eab": {"kid": "1"}}, "hmac_file or hmac_env"),
        ({"eab": {"kid": "1", "hmac_file": "a", "hmac_env": "B"}}, "hmac_file or hmac_env"),
    ],
)
def test_what_cannot_work_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        AcmeIssuerSettings(**{**BASE, **changes})
    assert words in str(caught.value)


def test_tables_within_a_section(tmp_path: Path) -> None:
    file = tmp_path / "certforecast.toml"
    file.write_text(
        """
        [issuers.le]
        kind = "acme"
        directory_url = "https://acme-v02.api.letsencrypt.org/directory"
        account_key = "account.pem"
        challenge = "dns-01"
        profile = "shortlived"
        preferred_chain = "ISRG Root X1"

        [issuers.le.dns]
        provider = "lego-exec"
        program = ["/usr/local/bin/dns"]
        nameservers = ["192.0.2.1", "[2001:db8::1]:5353"]

        [issuers.le.eab]
        kid = "customer"
        hmac_env = "MAC_KEY"
        """
    )
    section = load_settings(file).issuers["le"]
    assert isinstance(section, AcmeIssuerSettings)
    assert section.dns is not None
    assert section.dns.provider == "lego-exec"
    staging = section.staging
    assert staging is not None
    assert (staging.dns, staging.profile, staging.challenge) == (section.dns, "shortlived", "dns-01")

"""How ACME problems become our errors."""

import pytest
from acme import messages

from certforecast.errors import IssuanceError
from certforecast.execution.issuers import ChallengeError
from certforecast.execution.issuers.acme.problems import raise_invalid


def authorization(kind: str) -> messages.AuthorizationResource:
    """Give an authorization as RFC 8555, section 7.1.4 shows it, failed."""
    body = {
        "status": "invalid",
        "identifier": {"type": "dns", "value": "www.example.org"},
        "challenges": [
            {
                "url": "https://example.com/acme/chall/prV_B7yEyA4",
                "type": "http-01",
                "status": "invalid",
                "token": "DGyRejmCefe7v4NfDGDKfA",
                "error": {
                    "type": f"urn:ietf:params:acme:error:{kind}",
                    "detail": "SERVFAIL looking up A for www.example.org",
                },
            }
        ],
    }
    return messages.AuthorizationResource(body=messages.Authorization.from_json(body), uri="https://a.test/1")


@pytest.mark.parametrize(
    "kind", ["dns", "connection", "unauthorized", "caa", "rateLimited", "userActionRequired"]
)
def test_keeps_the_problem_of_a_failed_challenge(kind: str) -> None:
    with pytest.raises(ChallengeError, match="SERVFAIL looking up A") as caught:
        raise_invalid(authorization(kind))
    assert caught.value.code == kind
    assert isinstance(caught.value, IssuanceError)

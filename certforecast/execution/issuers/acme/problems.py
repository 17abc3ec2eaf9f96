"""Problems: what ACME servers answer, and what ``acme`` and requests raise, as errors of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from acme import errors, messages  # noqa: TID253
from josepy.errors import DeserializationError

from certforecast.errors import IssuanceError
from certforecast.execution.issuers import ChallengeError

__all__ = ["code", "explained", "raise_invalid", "words"]


def code(error: messages.Error) -> str:
    """Give the kind of a problem, such as ``rateLimited`` (RFC 8555, section 6.7).

    One that only stands for others (``compound``, section 6.7.1) is of the kind of its first part.
    """
    kind = str(error.typ).rpartition(":")[2]
    return code(error.subproblems[0]) if kind == "compound" and error.subproblems else kind


def words(error: messages.Error) -> str:
    """Say a problem in the server's own words, with its kind, and which name has which part in it."""
    said = f"{error.detail or error.title or error.description or 'no detail given'} ({code(error)})"
    for part in error.subproblems or ():
        name = f"{part.identifier.value}: " if part.identifier is not None else ""
        said += f"; {name}{words(part)}"
    return said


def raise_invalid(authorization: messages.AuthorizationResource) -> None:
    """Raise why an authorization failed, if it did.

    Raises
    ------
    ChallengeError
        With the kind of the challenge's problem as its code (RFC 8555, section 6.7).
    """
    if authorization.body.status == messages.STATUS_VALID:
        return
    name = authorization.body.identifier.value
    for challenge in authorization.body.challenges:
        if challenge.error is not None:
            raise ChallengeError(
                f"{name} could not be validated: {words(challenge.error)}", code=code(challenge.error)
            )
    if authorization.body.status != messages.STATUS_PENDING:
        raise ChallengeError(
            f"the authorization for {name} is {authorization.body.status.name}", code="invalid"
        )


@contextmanager
def explained(directory_url: str) -> Iterator[None]:
    """Turn what ``acme`` and requests raise into `IssuanceError`."""
    where = f"ACME server {directory_url}"
    try:
        yield
    except messages.Error as error:
        raise IssuanceError(f"{where}: {words(error)}", code=code(error)) from error
    except (requests.JSONDecodeError, DeserializationError) as error:
        raise IssuanceError(f"{where} gave an answer that is no ACME: {error}", code="protocol") from error
    except requests.RequestException as error:
        raise IssuanceError(f"{where} cannot be reached: {error}", code="unreachable") from error
    except errors.ClientError as error:
        answered = any(isinstance(part, requests.Response) for part in error.args)
        raise IssuanceError(
            f"{where} answered with no ACME problem: {error}",
            code="serverInternal" if answered else "protocol",
        ) from error
    except errors.Error as error:
        raise IssuanceError(f"{where}: {error}", code="protocol") from error

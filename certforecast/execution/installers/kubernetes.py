"""A TLS Secret of Kubernetes, from which ingress controllers and pods take their certificate."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field

from certforecast.errors import InstallationError, SealingError
from certforecast.execution.checks import check_pair, leaf_fingerprint
from certforecast.execution.installers import Found, Installer, InstallerSection
from certforecast.execution.installers.elsewhere import ElsewhereInstaller, shown
from certforecast.security.redaction import redact
from certforecast.security.sealing import Sealer

if TYPE_CHECKING:
    from kubernetes.client import V1Secret

__all__ = ["PREVIOUS", "KubernetesInstaller", "KubernetesInstallerSettings"]

#: The annotation that holds what was there before, sealed: annotations are shown to more people than data.
PREVIOUS: Final = "certforecast.io/previous"

_PURPOSE: Final = "version"
#: cert-manager writes its Secrets anew, whatever others put into them.
_MANAGED: Final = "cert-manager.io/certificate-name"
_TYPE: Final = "kubernetes.io/tls"
_CHAIN: Final = "tls.crt"
_KEY: Final = "tls.key"
#: Another writer between our reading and our writing is seen by the server; so often we read again.
_TRIES: Final = 5
_TIMEOUT_S: Final = 30
_CONFLICT: Final = 409
#: Secrets a page.
_PAGE: Final = 200


class KubernetesInstallerSettings(InstallerSection):
    """A TLS Secret of Kubernetes."""

    kind: Literal["kubernetes"]
    secret: str = Field("{name}", description="name of the Secret, of type kubernetes.io/tls")
    namespace: str = "default"
    context: str | None = Field(None, description="of kubectl's configuration; default the current one")
    kubeconfig: Path | None = Field(
        None, description="kubectl's configuration; default its own, or that of the pod we run in"
    )
    directory: Path = Field(description="holds the key that seals what was there before")

    def open(self, name: str) -> Installer:
        """Give the installer of this section."""
        del name
        return KubernetesInstaller(self)

    @classmethod
    def discover_at(cls, place: str | None) -> list[Found]:
        """Find the TLS Secrets of a namespace in kubectl's current context; not those of cert-manager.

        Parameters
        ----------
        place : str or None
            A namespace; None and ``all`` stand for all of them.

        Raises
        ------
        InstallationError
            If the cluster cannot be asked, or refuses.
        """
        whole, context = place in (None, "all"), _current_context()
        section = cls.model_validate(
            {"kind": "kubernetes", "context": context, "directory": "/var/lib/certforecast/kubernetes"}
        )
        found = []
        where = f"to list the Secrets of {'all namespaces' if whole else place}"
        with _connection(section, where) as api:
            ask = api.list_secret_for_all_namespaces if whole else partial(api.list_namespaced_secret, place)
            for secret in _pages(ask):
                metadata = secret.metadata
                if metadata is None or _MANAGED in (metadata.annotations or {}):
                    continue
                names, leaf = shown(_pair(secret)[0].decode("ascii", errors="replace"))
                settings = {"kind": "kubernetes", "secret": metadata.name, "namespace": metadata.namespace}
                settings |= {"context": context} if context else {}
                settings["directory"] = str(section.directory)
                found.append(Found("kubernetes", names, (), leaf, settings))
        return found


class KubernetesInstaller(ElsewhereInstaller):
    """One TLS Secret.

    What was there before is kept in an annotation of the Secret, sealed. Other data, labels and annotations
    stay as they are. Who uses the Secret loads it in their own time: controllers within seconds, pods that
    mount it within a minute or so, if they read it again at all.

    Parameters
    ----------
    settings : KubernetesInstallerSettings
        Its texts without fields to fill in.
    """

    def __init__(self, settings: KubernetesInstallerSettings) -> None:
        self._settings = settings
        self._sealer = Sealer(settings.directory)

    @property
    def server(self) -> str:
        """What one reload reloads, in words."""
        return self._where

    def current(self) -> str | None:
        """Give the fingerprint of the leaf in the Secret; None if there is none.

        Raises
        ------
        InstallationError
            If the cluster cannot be asked.
        """
        with self._api() as api:
            return _fingerprint(self._read(api))

    def check_files(self) -> None:
        """Refuse a Secret that is not there, is broken, is another's, or may not be written.

        The last is tried as a dry run of the server.

        Raises
        ------
        InstallationError
            If so.
        """
        with self._api() as api:
            secret = self._read(api)
            annotations = (secret.metadata.annotations if secret.metadata else None) or {}
            if secret.type != _TYPE:
                raise InstallationError(f"{self._where} is of type {secret.type}, not {_TYPE}", code="config")
            if secret.immutable:
                raise InstallationError(f"{self._where} is immutable: make it anew without", code="config")
            if _MANAGED in annotations:
                raise InstallationError(
                    f"{self._where} belongs to cert-manager, which would write over it: renew its "
                    f"Certificate {annotations[_MANAGED]} instead",
                    code="config",
                )
            try:
                check_pair(*_pair(secret))
            except InstallationError as error:
                raise InstallationError(
                    f"what is in {self._where} is broken already and could not be put back: {error}",
                    code="config",
                ) from error
            self._write(api, secret, dry_run="All")

    def swap(self, chain_pem: bytes, key_pem: bytes) -> None:
        """Replace certificate and key at one moment; keep what was there.

        Raises
        ------
        InstallationError
            If certificate and key do not belong together, or the cluster refuses.
        """
        check_pair(chain_pem, key_pem)
        self._replace(leaf_fingerprint(chain_pem), lambda _: (chain_pem, key_pem), key_pem)

    def restore(self, fingerprint: str) -> None:
        """Put back what was there before.

        Raises
        ------
        InstallationError
            If the Secret does not hold it any more, or the cluster refuses.
        """
        self._replace(fingerprint, lambda secret: self._previous(secret, fingerprint))

    def describe(self) -> list[str]:
        """Say what would be replaced."""
        return [f"switch {self._where}"]

    @property
    def _where(self) -> str:
        settings = self._settings
        context = f" of {settings.context}" if settings.context else ""
        return f"Secret {settings.namespace}/{settings.secret}{context}"

    def _replace(
        self, fingerprint: str, pair_of: Callable[["V1Secret"], tuple[bytes, bytes]], *secrets: bytes
    ) -> None:
        from kubernetes.client.exceptions import ApiException

        with self._api(*secrets) as api:
            for attempt in range(1, _TRIES + 1):
                secret = self._read(api)
                if _fingerprint(secret) == fingerprint:
                    return
                chain, key = pair_of(secret)
                self._keep_previous(secret)
                secret.data = {**(secret.data or {}), _CHAIN: _encoded(chain), _KEY: _encoded(key)}
                try:
                    self._write(api, secret)
                except ApiException as error:
                    if error.status != _CONFLICT or attempt == _TRIES:
                        raise
            if self.current() != fingerprint:
                raise InstallationError(
                    f"{self._where} does not hold {fingerprint[:12]} after it was written"
                )

    def _keep_previous(self, secret: "V1Secret") -> None:
        pair = json.dumps([part.decode("latin-1") for part in _pair(secret)])
        assert secret.metadata is not None  # noqa: S101 - it was read from the server
        try:
            sealed = self._sealer.seal(pair.encode(), _PURPOSE).decode("ascii")
        except SealingError as error:
            raise InstallationError(str(error), code="config") from error
        secret.metadata.annotations = {**(secret.metadata.annotations or {}), PREVIOUS: sealed}

    def _previous(self, secret: "V1Secret", fingerprint: str) -> tuple[bytes, bytes]:
        annotations = (secret.metadata.annotations if secret.metadata else None) or {}
        try:
            told = json.loads(self._sealer.open(annotations.get(PREVIOUS, "").encode(), _PURPOSE))
        except SealingError as error:
            raise InstallationError(
                f"{self._where} does not hold what was there before: {error}", code="config"
            ) from error
        chain, key = (str(part).encode("latin-1") for part in told)
        if leaf_fingerprint(chain) != fingerprint:
            raise InstallationError(
                f"{self._where} holds {leaf_fingerprint(chain)[:12]} from before, not {fingerprint[:12]}: "
                "put back a backup"
            )
        check_pair(chain, key)
        return chain, key

    def _read(self, api: Any) -> "V1Secret":
        settings = self._settings
        found: V1Secret = api.read_namespaced_secret(
            settings.secret, settings.namespace, _request_timeout=_TIMEOUT_S
        )
        return found

    def _write(self, api: Any, secret: "V1Secret", **options: str) -> None:
        # It carries the resourceVersion that was read: what others wrote since is not written over.
        settings = self._settings
        api.replace_namespaced_secret(
            settings.secret, settings.namespace, secret, _request_timeout=_TIMEOUT_S, **options
        )

    def _api(self, *secrets: bytes) -> AbstractContextManager[Any]:
        return _connection(self._settings, self._where, *secrets)


@contextmanager
def _connection(settings: KubernetesInstallerSettings, what: str, *secrets: bytes) -> Iterator[Any]:
    try:
        from kubernetes import client
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError
    except ImportError as error:
        raise InstallationError(
            "Kubernetes needs its client: pip install 'certforecast[kubernetes]'", code="config"
        ) from error
    try:
        with client.ApiClient(_configuration(settings)) as connection:
            yield client.CoreV1Api(connection)
    except ApiException as error:
        raise InstallationError(
            f"the cluster refuses {what}: {_reason(error, secrets)}",
            code="permission" if error.status in (401, 403) else None,
        ) from None
    except HTTPError as error:
        raise InstallationError(
            f"the cluster cannot be asked for {what}: {redact(str(error), *secrets)}", code="unreachable"
        ) from None


def _pages(ask: Callable[..., Any]) -> Iterator["V1Secret"]:
    more: str | None = None
    while True:
        page = ask(field_selector=f"type={_TYPE}", limit=_PAGE, _continue=more, _request_timeout=_TIMEOUT_S)
        yield from page.items
        if not (more := page.metadata._continue):
            return


def _current_context() -> str | None:
    """Give kubectl's current context; None without one, as in a pod."""
    with suppress(ImportError):
        from kubernetes import config

        with suppress(config.ConfigException, OSError, KeyError, TypeError):
            return str(config.list_kube_config_contexts()[1]["name"])  # type: ignore[no-untyped-call]
    return None


def _configuration(settings: KubernetesInstallerSettings) -> Any:
    from kubernetes import client, config

    made = client.Configuration()
    try:
        file = str(settings.kubeconfig) if settings.kubeconfig else None
        config.load_kube_config(  # type: ignore[no-untyped-call]
            file, context=settings.context, client_configuration=made
        )
    except (config.ConfigException, OSError) as error:
        if settings.kubeconfig is None and settings.context is None:
            with suppress(config.ConfigException):
                config.load_incluster_config(client_configuration=made)  # type: ignore[no-untyped-call]
                return made
        raise InstallationError(
            f"kubectl's configuration cannot be used: {error}; set kubeconfig", code="config"
        ) from error
    return made


def _pair(secret: "V1Secret") -> tuple[bytes, bytes]:
    data = secret.data or {}
    chain, key = (base64.b64decode(data.get(name) or "") for name in (_CHAIN, _KEY))
    return chain, key


def _fingerprint(secret: "V1Secret") -> str | None:
    try:
        return leaf_fingerprint(_pair(secret)[0])
    except (InstallationError, ValueError):
        return None


def _encoded(pem: bytes) -> str:
    return base64.b64encode(pem).decode("ascii")


def _reason(error: Any, secrets: tuple[bytes, ...]) -> str:
    """Give what the server says; a refused object may be quoted in it, the key included."""
    try:
        told = str(json.loads(error.body)["message"])
    except (KeyError, TypeError, ValueError):
        told = str(error.reason)
    return f"{error.status} {redact(told, *secrets)[:500]}"

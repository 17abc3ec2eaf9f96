"""cert-manager's resources asked from a cluster, page by page."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from certforecast.errors import InputError, SourceError
from certforecast.history.sources.certmanager_yaml import Resource

__all__ = ["live_resources"]

#: Resources a page.
_PAGE: Final = 500
#: The answer to a page that took too long to be asked for: the list begins again.
_GONE: Final = 410
_TIMEOUT_S: Final = 60

_CUSTOM: Final = (
    ("cert-manager.io", "certificates", "Certificate"),
    ("cert-manager.io", "certificaterequests", "CertificateRequest"),
    ("acme.cert-manager.io", "orders", "Order"),
    ("acme.cert-manager.io", "challenges", "Challenge"),
)


def live_resources(context: str | None, kubeconfig: Path | None) -> Iterator[Resource]:
    """Ask a cluster for cert-manager's resources, TLS secrets and events.

    Parameters
    ----------
    context : str, optional
        Of kubectl's configuration. Default: the current one.
    kubeconfig : path, optional
        kubectl's configuration.

    Raises
    ------
    SourceError
        If the cluster cannot be asked, or refuses.
    InputError
        If the client's package or the configuration is missing.
    """
    try:
        from kubernetes import client, config
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError
    except ImportError as error:
        raise InputError("a live cluster needs kubernetes: pip install 'certforecast[kubernetes]'") from error
    settings = client.Configuration()
    try:
        config.load_kube_config(  # type: ignore[no-untyped-call]
            str(kubeconfig) if kubeconfig else None, context=context, client_configuration=settings
        )
    except config.ConfigException as error:
        if kubeconfig is not None or context is not None:
            raise InputError(f"kubectl's configuration cannot be used: {error}") from error
        try:
            config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
        except config.ConfigException:
            raise InputError(f"no cluster is configured: {error}; name one with kubeconfig=FILE") from error
    with client.ApiClient(settings) as api:
        custom, core = client.CustomObjectsApi(api), client.CoreV1Api(api)

        def of_cert_manager(group: str, plural: str) -> Callable[..., Any]:
            return lambda **page: custom.list_cluster_custom_object(
                group, "v1", plural, _preload_content=False, _request_timeout=_TIMEOUT_S, **page
            )

        asked = [(kind, of_cert_manager(group, plural)) for group, plural, kind in _CUSTOM]
        asked.append(
            (
                "Secret",
                lambda **page: core.list_secret_for_all_namespaces(
                    field_selector="type=kubernetes.io/tls",
                    _preload_content=False,
                    _request_timeout=_TIMEOUT_S,
                    **page,
                ),
            )
        )
        asked.append(
            (
                "Event",
                lambda **page: core.list_event_for_all_namespaces(
                    _preload_content=False, _request_timeout=_TIMEOUT_S, **page
                ),
            )
        )
        for kind, ask in asked:
            try:
                yield from _pages(kind, ask, ApiException)
            except ApiException as error:
                raise SourceError(
                    f"cluster {settings.host} answered {error.status} {error.reason} when asked for {kind}s;"
                    " check that cert-manager is installed and what this account may list"
                ) from error
            except HTTPError as error:
                raise SourceError(f"cluster {settings.host} cannot be reached: {error}") from error


def _pages(kind: str, ask: Callable[..., Any], refusal: type[Exception]) -> Iterator[Resource]:
    page: dict[str, Any] = {"limit": _PAGE}
    restarted = False
    while True:
        try:
            found = json.loads(ask(**page).data)
        except refusal as error:
            if getattr(error, "status", None) != _GONE or restarted:
                raise
            page, restarted = {"limit": _PAGE}, True  # what was given already is merged
            continue
        for item in found.get("items") or []:
            metadata = item.get("metadata") or {}
            position = f"{kind}/{metadata.get('namespace')}/{metadata.get('name')}"
            yield Resource(position, {"kind": kind, **item})  # items of lists do not say their kind
        if not (more := (found.get("metadata") or {}).get("continue")):
            return
        page = {"limit": _PAGE, "_continue": more}

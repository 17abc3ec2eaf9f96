"""DNS plugins of certbot (``certbot-dns-*``), run here: there is one for most providers."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from tempfile import gettempdir
from typing import Any

from certforecast.execution.issuers import ChallengeError
from certforecast.execution.issuers.acme.dns.provider import Provider, Record
from certforecast.execution.issuers.acme.dns.settings import CertbotPluginSettings

__all__ = ["CertbotPluginProvider"]

_LABEL = "_acme-challenge."


class CertbotPluginProvider(Provider):
    """A plugin that writes records by its provider's API. certbot itself does nothing here.

    Parameters
    ----------
    settings : CertbotPluginSettings
        The plugin is loaded here, and reads its credentials.
    """

    def __init__(self, settings: CertbotPluginSettings) -> None:
        self._name = settings.plugin
        found = {one.name: one for one in entry_points(group="certbot.plugins")}
        if self._name not in found:
            there = ", ".join(sorted(name for name in found if name.startswith("dns-"))) or "none"
            raise ChallengeError(
                f"certbot's plugin {self._name} is not installed beside certforecast (there are: {there}): "
                f"install certbot-{self._name} into the same environment",
                code="config",
            )
        with self._explained("starting"):
            self._plugin = _configured(found[self._name].load(), self._name, settings.options)

    def add(self, record: Record) -> None:
        """Have the plugin write a record.

        Raises
        ------
        ChallengeError
            If it cannot.
        """
        with self._explained(f"adding TXT {record.target}"):
            self._plugin._perform(record.target.removeprefix(_LABEL), record.target, record.value)

    def remove(self, record: Record) -> None:
        """Have the plugin remove a record.

        Raises
        ------
        ChallengeError
            If it says that it cannot; most plugins only log it.
        """
        with self._explained(f"removing TXT {record.target}"):
            self._plugin._cleanup(record.target.removeprefix(_LABEL), record.target, record.value)

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # plugins are of many authors, and raise what they like
            raise ChallengeError(
                f"{what} by certbot's plugin {self._name}: {str(error) or type(error).__name__}; "
                "see its credentials, and the other options it takes (dns.options)",
                code="dns",
            ) from error


def _configured(kind: Any, name: str, options: dict[str, str | int | bool]) -> Any:
    """Give a plugin its options as certbot's command line would."""
    from certbot import errors
    from certbot.configuration import NamespaceConfig

    for method in ("_setup_credentials", "_perform", "_cleanup"):
        if not hasattr(kind, method):
            raise errors.PluginError("it is no DNS plugin")
    parser = argparse.ArgumentParser(exit_on_error=False)
    kind.inject_parser_options(parser, name)
    values = vars(parser.parse_args([]))
    prefix = f"{name.replace('-', '_')}_"
    for option, value in options.items():
        key = prefix + option.replace("-", "_")
        if key not in values:
            known = ", ".join(sorted(one.removeprefix(prefix) for one in values))
            raise errors.PluginError(f"it has no option {option!r}, but {known}")
        values[key] = value
    folder = gettempdir()  # certbot wants to be told of folders that nothing is written to here
    config = NamespaceConfig(
        argparse.Namespace(
            **values,
            config_dir=folder,
            work_dir=folder,
            logs_dir=folder,
            http01_port=80,
            https_port=443,
            domains=[],
        )
    )
    plugin = kind(config, name)
    if values.get(f"{prefix}credentials", "") is None:
        raise errors.PluginError("it wants a file of credentials")  # it would ask for it
    plugin._setup_credentials()
    return plugin

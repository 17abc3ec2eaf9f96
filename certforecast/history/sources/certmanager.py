"""What cert-manager leaves in a Kubernetes cluster, from dumps or from the cluster itself."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from certforecast.clock import Clock, system_clock
from certforecast.errors import SourceError
from certforecast.history.sources import NO_MARKS, Batch, Marks, Rejected, Source, Whole
from certforecast.history.sources.batching import Found, batches
from certforecast.history.sources.certmanager_resources import finds_of
from certforecast.history.sources.certmanager_yaml import SUFFIXES, Resource, resources, says_cert_manager

__all__ = ["CertManagerSource"]

#: Places that are clusters, not files.
_CLUSTER: Final = "cluster"
_CONTEXT: Final = "context:"


class CertManagerSource(Source):
    """cert-manager's resources, from dumps (``kubectl get -o yaml``) or from a live cluster.

    Read are Certificates, CertificateRequests, Orders and Challenges, Secrets of type ``kubernetes.io/tls``
    (only ``tls.crt``) and Events, in YAML or JSON, as single resources, lists or streams of documents. Each
    revision that is still kept as a CertificateRequest is a certificate and an event ``issued``; failures are
    events with the time that the cluster gives. Lineages are called ``NAMESPACE/NAME``. What has no time of
    its own is known from the dump's modification time on, or, in a live cluster, from now.

    Parameters
    ----------
    place : path or str
        A file, a folder of files, ``cluster`` for the cluster that kubectl would ask, or ``context:NAME``.
    kubeconfig : path, optional
        The configuration of kubectl, for a live cluster; without it, as kubectl finds it, or the pod's own.
    clock : callable
        Bounds times from the future.
    """

    name = "certmanager"
    extra = "kubernetes"
    needs = ("yaml",)

    def __init__(
        self, place: Path | str, *, kubeconfig: Path | None = None, clock: Clock = system_clock
    ) -> None:
        self.place = place
        self.kubeconfig = kubeconfig
        self.clock = clock

    @classmethod
    def recognises(cls, path: Path) -> str | None:
        """Say whether a file is a dump of cert-manager's resources, or a folder holds some."""
        files = [path] if path.is_file() else _files(path)
        found = [file for file in files if file.suffix in SUFFIXES and says_cert_manager(file)]
        return f"{len(found)} dumps of cert-manager's resources" if found else None

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:  # noqa: ARG002
        """Yield batches of certificates, events and hosts.

        Raises
        ------
        SourceError
            If the path is missing or holds no resource, or the cluster cannot be asked.
        """
        text = str(self.place)
        if text == _CLUSTER or text.startswith(_CONTEXT):
            from certforecast.history.sources.certmanager_live import live_resources

            found = live_resources(text.removeprefix(_CONTEXT) if text != _CLUSTER else None, self.kubeconfig)
            yield from batches(self._finds(found, self.clock()))
        else:
            yield from batches(self._dumped(Path(self.place)))

    def _dumped(self, path: Path) -> Iterator[Found | Whole | Rejected]:
        files = [path] if path.is_file() else _files(path)
        if not files:
            raise SourceError(
                f"{path} is no file, and no folder with files that end in {' '.join(SUFFIXES)}; give what"
                " 'kubectl get -A -o yaml certificates,certificaterequests,orders,challenges' wrote"
            )
        for file in files:
            position = file.name if file == path else file.relative_to(path).as_posix()
            try:
                modified = datetime.fromtimestamp(file.stat().st_mtime, UTC)
                yield from self._finds(resources(file, position), min(modified, self.clock()))
            except (OSError, ValueError) as error:
                if file == path:
                    raise SourceError(f"{path} cannot be read: {error}") from error
                yield Rejected(position, f"file cannot be read: {error}")

    def _finds(self, found: Iterable[Resource], seen: datetime) -> Iterator[Found | Whole | Rejected]:
        for resource in found:
            yield from finds_of(resource, seen)


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix in SUFFIXES and file.is_file())

"""Reading certificates into columns, beside what a user would write and what cryptography can do at most.

    python benchmarks/parse.py [--quick]

All read the same distinct certificates, in turns, no certificate twice. The plain loop takes twelve fields
(fingerprint, serial number, issuer, subject, names, validity, key and its size, signature algorithm, the
issuer's key, uses) from the objects that cryptography gives; ours takes these and more. The lean loop takes
fingerprint, serial number, issuer, names and validity only. ``openssl x509`` is a process for each file. The
ceiling is cryptography's ``load_der_x509_certificate`` alone, which looks at no field.
"""

import argparse
import hashlib
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from report import report

from certforecast.history.x509 import parse
from certforecast.simulation.ders import make_ders


def plain_loop(ders: list[bytes]) -> list[tuple[Any, ...]]:
    """Read twelve fields, as a user would."""
    rows = []
    for der in ders:
        certificate = x509.load_der_x509_certificate(der)
        extensions = certificate.extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        key = certificate.public_key()
        issuer_key = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        uses = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        rows.append(
            (
                certificate.fingerprint(hashes.SHA256()).hex(),
                f"{certificate.serial_number:x}",
                certificate.issuer.rfc4514_string(),
                certificate.subject.rfc4514_string(),
                names.get_values_for_type(x509.DNSName),
                certificate.not_valid_before_utc,
                certificate.not_valid_after_utc,
                type(key).__name__,
                key.key_size,
                certificate.signature_algorithm_oid.dotted_string,
                issuer_key.hex(),
                [use.dotted_string for use in uses],
            )
        )
    return rows


def lean_loop(ders: list[bytes]) -> list[tuple[Any, ...]]:
    """Read fingerprint, serial number, issuer, names and validity."""
    rows = []
    for der in ders:
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        rows.append(
            (
                hashlib.sha256(der).hexdigest(),
                certificate.serial_number,
                certificate.issuer.rfc4514_string(),
                names.get_values_for_type(x509.DNSName),
                certificate.not_valid_before_utc,
                certificate.not_valid_after_utc,
            )
        )
    return rows


def ceiling(ders: list[bytes]) -> list[x509.Certificate]:
    """Load, and look at nothing."""
    return [x509.load_der_x509_certificate(der) for der in ders]


def openssl(ders: list[bytes]) -> None:
    """Run a process for each file."""
    with tempfile.TemporaryDirectory() as folder:
        for number, der in enumerate(ders):
            path = Path(folder, f"{number}.der")
            path.write_bytes(der)
            subprocess.run(
                ["openssl", "x509", "-inform", "DER", "-in", path, "-noout", "-text", "-fingerprint"],
                check=True,
                capture_output=True,
            )


def rate(work: Callable[[list[bytes]], object], ders: list[bytes]) -> float:
    """Certificates per second."""
    started = time.perf_counter()
    work(ders)
    return len(ders) / (time.perf_counter() - started)


def main() -> None:
    """Measure in turns; the figures are medians, the ratios medians of the turns' ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer certificates and turns")
    quick = parser.parse_args().quick
    count, turns = (20_000, 3) if quick else (50_000, 7)
    cores = os.cpu_count() or 1
    rivals = {
        "one_core": lambda ders: parse(ders, workers=1),
        "all_cores": lambda ders: parse(ders, workers=cores),
        "plain_loop": plain_loop,
        "lean_loop": lean_loop,
        "ceiling": ceiling,
    }
    warm = list(make_ders(5000, seed=1))
    for work in rivals.values():
        work(warm)  # the processes start
    rates = []
    for turn in range(turns):
        # Each reads others: nothing is remembered from another's turn.
        ders = {
            name: list(make_ders(count, seed=100 * turn + number + 2)) for number, name in enumerate(rivals)
        }
        rates.append({name: rate(work, ders[name]) for name, work in rivals.items()})
    lengths = [len(der) for der in ders["ceiling"]]

    def median(name: str, over: str | None = None) -> float:
        return statistics.median(turn[name] / (turn[over] if over else 1) for turn in rates)

    figures = {
        **{f"{name}_per_s": round(median(name)) for name in rivals},
        "openssl_per_s": round(rate(openssl, ders["ceiling"][: 40 if quick else 200]), 1),
        "loop_ratio": round(median("one_core", "plain_loop"), 2),
        "all_cores_loop_ratio": round(median("all_cores", "plain_loop"), 2),
        "lean_loop_ratio": round(median("one_core", "lean_loop"), 2),
        "ceiling_share": round(median("one_core", "ceiling"), 3),
        "bytes_per_certificate": round(statistics.mean(lengths)),
    }
    report(
        "parse",
        figures,
        ("certforecast", "cryptography", "numpy", "pyarrow"),
        {"quick": quick, "certificates_a_turn": count, "turns": turns, "cores": cores},
    )


if __name__ == "__main__":
    main()

"""Fuzzing of the certificate parser with atheris (coverage-guided, libFuzzer's options).

    pip install atheris
    python -m tests.fuzz.x509 -max_total_time=3600 -timeout=20

Starts from the certificates of cryptography's test vectors. Any input is parsed or refused; what is parsed
must agree with cryptography's own objects. docs/fuzzing.md has the last results.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["certforecast.history"]):
    from certforecast.history.x509 import parse, split_pem
    from tests.history.oracle import differences, oracle


def target(data: bytes) -> None:
    """Raise if an input is neither parsed nor refused, or parsed differently."""
    for whole in (data, *(block for _, block in split_pem(data) if isinstance(block, bytes))):
        (row,) = parse([whole], workers=1).to_pylist()
        if row["reason"] is None and (wrong := differences(row, oracle(whole))):
            raise AssertionError(wrong)


def main() -> None:
    """Fuzz, from a corpus of vectors in a folder of its own."""
    import cryptography_vectors

    with tempfile.TemporaryDirectory() as folder:
        number = 0
        for path in Path(cryptography_vectors.__file__).parent.joinpath("x509").rglob("*.pem"):
            for _, block in split_pem(path.read_bytes()):
                if isinstance(block, bytes) and len(block) < 10_000:
                    number += 1
                    Path(folder, str(number)).write_bytes(block)
        atheris.Setup([*sys.argv, "-max_len=10000", folder], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()

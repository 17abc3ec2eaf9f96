"""Keys: made once, kept to their owner; seals: for one purpose, by one key, over every byte."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from certforecast.errors import SignatureError
from certforecast.signing import SEAL_LENGTH, check_seal, key_id, seal, signing_key, verifying_key


def test_a_key_that_anybody_can_change_tells_nothing(tmp_path: Path) -> None:
    signing_key(tmp_path)
    (tmp_path / "signing.pub").chmod(0o646)
    with pytest.raises(SignatureError, match=r"signing\.pub can be changed by any user.*chmod 644"):
        verifying_key(tmp_path)


def test_a_home_folder_has_one_key_pair(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    first, second = signing_key(home), signing_key(home)
    assert first.private_bytes_raw() == second.private_bytes_raw()
    assert key_id(verifying_key(home)) == key_id(first.public_key())
    assert (home / "signing.key").stat().st_mode & 0o777 == 0o600
    assert sorted(entry.name for entry in home.iterdir()) == ["signing.key", "signing.pub"]


def test_a_seal_holds_for_its_data_purpose_and_key_alone(tmp_path: Path) -> None:
    key, other = signing_key(tmp_path / "a"), signing_key(tmp_path / "b")
    mark = seal(b"data", "model", key)
    assert len(mark) == SEAL_LENGTH
    assert seal(b"data", "model", key) == mark
    check_seal(b"data", mark, "model", key.public_key())
    for data, purpose in ((b"Data", "model"), (b"data", "plan")):
        with pytest.raises(SignatureError, match="was changed after it was signed"):
            check_seal(data, mark, purpose, key.public_key())
    with pytest.raises(SignatureError, match="is signed by another key"):
        check_seal(b"data", mark, "model", other.public_key())
    for version in (b"000", b"x01"):
        with pytest.raises(SignatureError, match="is not signed"):
            check_seal(b"data", mark.replace(b"001", version, 1), "model", key.public_key())


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    signing_key(tmp_path)
    (tmp_path / "signing.key").chmod(0o640)
    with pytest.raises(SignatureError, match="chmod 600"):
        signing_key(tmp_path)


def test_a_home_with_another_machines_key_checks_and_does_not_sign(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    mark = seal(b"data", "model", signing_key(there))
    here.mkdir()
    (here / "signing.pub").write_bytes((there / "signing.pub").read_bytes())
    check_seal(b"data", mark, "model", verifying_key(here))
    with pytest.raises(SignatureError, match="of another machine"):
        signing_key(here)
    assert not (here / "signing.key").exists()


def test_keys_that_do_not_fit_or_cannot_be_read_are_refused(tmp_path: Path) -> None:
    signing_key(tmp_path)
    private, public = tmp_path / "signing.key", tmp_path / "signing.pub"
    good, right = private.read_bytes(), public.read_bytes()
    signing_key(tmp_path / "other")
    public.write_bytes((tmp_path / "other" / "signing.pub").read_bytes())
    with pytest.raises(SignatureError, match=r"is not the other half of .*signing\.key"):
        signing_key(tmp_path)
    curve = generate_private_key(SECP256R1())
    of_curve = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for bad, what in ((b"torn", "is no private key"), (of_curve, "is no Ed25519 key")):
        private.write_bytes(bad)
        with pytest.raises(SignatureError, match=what):
            signing_key(tmp_path)
    of_curve = curve.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for bad, what in ((b"torn", "is no public key"), (of_curve, "is no Ed25519 key")):
        public.write_bytes(bad)
        with pytest.raises(SignatureError, match=what):
            verifying_key(tmp_path)
    public.unlink()
    with pytest.raises(SignatureError, match="there is no key at"):
        verifying_key(tmp_path)
    private.write_bytes(good)
    signing_key(tmp_path)
    assert public.read_bytes() == right

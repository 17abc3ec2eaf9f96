"""Model files: what was saved comes back, what is not as it was signed is refused before it is opened."""

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
import skops.io
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import assume, given
from hypothesis import strategies as st
from packaging.version import Version
from sklearn.linear_model import LinearRegression

import certforecast.models.saved
from certforecast.errors import ModelError, SignatureError
from certforecast.features import FEATURES
from certforecast.models import (
    RULES,
    OutcomeClassifier,
    OutcomePool,
    PriorRate,
    RenewalHazard,
    load_model,
    model_metadata,
    save_model,
)
from certforecast.models.archive import pack, verify
from certforecast.models.saved import FORMAT
from certforecast.models.training import _place
from certforecast.settings import Settings
from certforecast.signing import SEAL_LENGTH, seal
from certforecast.version import __version__

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()


def landmark_rows() -> tuple[pd.DataFrame, Any]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            name: rng.choice(["x", "y"], 300) if feature.kind == "category" else rng.normal(size=300)
            for name, feature in FEATURES.items()
        }
    )
    return frame, np.where(frame["days_left"] < 0, "failed", "on_time")


@pytest.fixture(scope="module")
def fitted() -> tuple[OutcomeClassifier, pd.DataFrame]:
    frame, y = landmark_rows()
    return OutcomeClassifier(max_iter=10).fit(frame, y), frame


@pytest.fixture(scope="module")
def content(fitted: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "model.skops"
    save_model(fitted[0], path, {"as_of": "2026-10-01"}, key=KEY)
    return path.read_bytes()


@pytest.fixture
def saved(content: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "model.skops"
    path.write_bytes(content)
    return path


def test_a_model_comes_back_bit_for_bit(fitted: Any, saved: Path) -> None:
    model, frame = fitted
    assert (load_model(saved, key=PUBLIC).predict_proba(frame) == model.predict_proba(frame)).all()
    about = model_metadata(saved, key=PUBLIC)
    assert about["as_of"] == "2026-10-01"
    assert about["features"] == list(FEATURES)


def test_the_same_model_gives_the_same_bytes_in_any_process(saved: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from tests.models.test_saved import *; frame, y = landmark_rows();"
        "model = OutcomeClassifier(max_iter=10).fit(frame, y);"
        "save_model(model, sys.argv[1], {'as_of': '2026-10-01'}, key=KEY)"
    )
    again = tmp_path / "again.skops"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code, str(again)], check=True, env=environment, timeout=120)
    assert again.read_bytes() == saved.read_bytes()
    save_model(load_model(saved, key=PUBLIC), again, {"as_of": "2026-10-01"}, key=KEY)
    assert again.read_bytes() == saved.read_bytes()


POOL = """
import sys
from certforecast.models.training import fit_rows, new_model
from certforecast.policy import RenewalPolicy
from certforecast.settings import ModelSettings
from tests.models.test_saved import *
from tests.models.test_training import landmark_frame
rows = landmark_frame(80).assign(in_service_at=lambda frame: frame["resolved_at"])
model = fit_rows(new_model(ModelSettings(), timed=True), rows, RenewalPolicy())
assert model.judged_ > 10 and model.times_ is not None and model.times_.own_ is not None
save_model(model, sys.argv[1], {"rows": len(rows)}, key=KEY)
"""


def test_what_train_makes_is_the_same_in_any_process_with_any_number_of_threads(tmp_path: Path) -> None:
    made = []
    for seed, threads in (("0", "1"), ("7", "2")):
        path = tmp_path / f"{seed}.skops"
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PYTHONHASHSEED": seed,
            "OMP_NUM_THREADS": threads,
            "OMP_WAIT_POLICY": "PASSIVE",  # on a busy machine threads that spin wait for one another
            "OPENBLAS_NUM_THREADS": threads,
        }
        made.append((path, subprocess.Popen([sys.executable, "-c", POOL, str(path)], env=environment)))
    assert [process.wait(280) for _, process in made] == [0, 0]
    (first, _), (second, _) = made
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("name", ["format", "features", "versions"])
def test_metadata_may_not_say_what_the_file_says_itself(fitted: Any, tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=f"may not set {name}: use other names"):
        save_model(fitted[0], tmp_path / "m.skops", {name: 1}, key=KEY)
    with pytest.raises(ModelError, match="cannot be saved: "):
        save_model(fitted[0], tmp_path / "m.skops", {"made": object()}, key=KEY)
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_the_home_folders(fitted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CERTFORECAST_HOME", str(tmp_path / "one"))
    save_model(fitted[0], tmp_path / "m.skops")
    assert load_model(tmp_path / "m.skops").method == fitted[0].method
    assert model_metadata(tmp_path / "m.skops", key=tmp_path / "one")["format"] == FORMAT
    with pytest.raises(ModelError, match=r"cannot be checked: there is no key at .*two/signing\.pub"):
        load_model(tmp_path / "m.skops", key=tmp_path / "two")
    (tmp_path / "one" / "signing.key").write_bytes(b"torn")
    with pytest.raises(ModelError, match=r"cannot be signed: .*signing\.key is no private key"):
        save_model(fitted[0], tmp_path / "n.skops")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no model at"):
        load_model(tmp_path / "missing.skops", key=PUBLIC)
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(tmp_path, key=PUBLIC)
    for garbage in (b"", b"garbage"):
        (tmp_path / "garbage.skops").write_bytes(garbage)
        with pytest.raises(ModelError, match=r"garbage\.skops is not a model file.*train it again"):
            load_model(tmp_path / "garbage.skops", key=PUBLIC)


def test_an_unsigned_model_is_refused(fitted: Any, tmp_path: Path) -> None:
    skops.io.dump(fitted[0], tmp_path / "unsigned.skops")
    for read in (load_model, model_metadata):
        with pytest.raises(ModelError, match=r"unsigned\.skops is not signed.*train it again"):
            read(tmp_path / "unsigned.skops", key=PUBLIC)


def test_a_model_signed_by_another_is_refused(saved: Path) -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    with pytest.raises(ModelError, match=r"is signed by another key.*signing\.pub"):
        load_model(saved, key=other)


def test_a_seal_for_something_else_does_not_hold(saved: Path, content: bytes) -> None:
    body = content[:-SEAL_LENGTH]
    saved.write_bytes(body + seal(body, "plan", KEY))
    with pytest.raises(ModelError, match="was changed after it was signed"):
        load_model(saved, key=PUBLIC)


def test_a_signature_of_a_newer_version_is_refused(saved: Path, content: bytes) -> None:
    saved.write_bytes(content.replace(b"certforecast-seal 001", b"certforecast-seal 002"))
    with pytest.raises(ModelError, match=r"signature of version 2.*upgrade certforecast"):
        load_model(saved, key=PUBLIC)


def test_whatever_byte_is_changed_the_file_is_refused_unparsed(
    content: bytes, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        heads = [entry.header_offset for entry in archive.infolist()]
        directory = archive.start_dir
    end = len(content)
    rng = np.random.default_rng(0)
    places = {
        *range(64),
        *heads,
        *(head + 14 for head in heads),  # the checksum
        *range(directory, directory + 64),
        *range(end - SEAL_LENGTH - 22, end),  # the end of the directory, and the seal
        *rng.integers(0, end, 100).tolist(),
    }
    unopened(monkeypatch)
    for place in sorted(places):
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        saved.write_bytes(changed)
        with pytest.raises(ModelError, match=r"model\.skops"):
            load_model(saved, key=PUBLIC)
    assert len(places) > 500


def small_file() -> bytes:
    dumped = io.BytesIO()
    with zipfile.ZipFile(dumped, "w") as archive:
        archive.writestr("schema.json", "{}")
    return pack(dumped.getvalue(), {"format": FORMAT, "features": []}, KEY)


def test_whatever_bit_of_a_small_file_is_flipped_its_seal_is_broken() -> None:
    content = small_file()
    verify(content, PUBLIC)
    assert len(content) < 1_000
    for place in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            with pytest.raises(SignatureError):
                verify(bytes(changed), PUBLIC)


@given(data=st.data())
def test_whatever_is_cut_out_or_put_in_the_seal_is_broken(data: st.DataObject) -> None:
    content = small_file()
    begin = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(begin, len(content)))
    changed = content[:begin] + data.draw(st.binary(max_size=300)) + content[end:]
    assume(changed != content)
    with pytest.raises(SignatureError):
        verify(changed, PUBLIC)


def unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail whatever opens an archive or parses JSON."""

    def opened(*_: Any, **__: Any) -> None:
        raise AssertionError("parsed before it was verified")

    monkeypatch.setattr(zipfile, "ZipFile", opened)
    monkeypatch.setattr(skops.io, "loads", opened)
    monkeypatch.setattr(json, "loads", opened)


def test_a_bomb_is_not_unpacked(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("certforecast.json", bytes(100_000_000))
        archive.comment = bytes(SEAL_LENGTH)
    body = bomb.getvalue()[:-SEAL_LENGTH]
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    unopened(monkeypatch)
    for mark, said in ((bytes(SEAL_LENGTH), "is not signed"), (seal(body, "model", other), "another key")):
        saved.write_bytes(body + mark)
        assert saved.stat().st_size < 200_000
        for read in (load_model, model_metadata):
            with pytest.raises(ModelError, match=said):
                read(saved, key=PUBLIC)


def test_what_is_no_regular_file_or_far_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, endless, huge = (tmp_path / name for name in ("pipe", "endless", "huge"))
    os.mkfifo(pipe)  # nobody writes: to open it would wait
    endless.symlink_to("/dev/zero")
    with huge.open("wb") as file:
        file.truncate(2**30 + 1)
    for path in (pipe, endless):
        with pytest.raises(ModelError, match="cannot be read: it is no regular file; name a model file"):
            load_model(path, key=PUBLIC)
    with pytest.raises(ModelError, match=r"huge cannot be read: it has 1,073,741,825 bytes"):
        load_model(huge, key=PUBLIC)


def test_a_link_is_followed_but_what_is_behind_it_is_checked(
    fitted: Any, content: bytes, saved: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link.skops"
    link.symlink_to(saved)
    assert model_metadata(link, key=PUBLIC)["as_of"] == "2026-10-01"
    saved.write_bytes(content[:-2] + b"0\n")
    with pytest.raises(ModelError, match=r"link\.skops"):
        load_model(link, key=PUBLIC)
    # Saving replaces the link: what it led to stays as it is.
    save_model(fitted[0], link, key=KEY)
    assert not link.is_symlink()
    assert saved.read_bytes() == content[:-2] + b"0\n"
    link.unlink()
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="there is no model at"):
        load_model(link, key=PUBLIC)


def test_a_newer_layout_is_refused_before_the_model_is_built(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(*_: Any, **__: Any) -> None:
        raise AssertionError("built")

    rewrite(saved, about=lambda about: about.update(format=FORMAT + 1))
    monkeypatch.setattr(skops.io, "loads", built)
    with pytest.raises(ModelError, match=rf"format {FORMAT + 1}.*upgrade certforecast"):
        load_model(saved, key=PUBLIC)


def test_an_older_layout_is_refused_before_the_model_is_built(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite(saved, about=lambda about: about.update(format=2))
    monkeypatch.setattr(skops.io, "loads", lambda *_, **__: pytest.fail("built"))
    with pytest.raises(ModelError, match=r"format 2, which an earlier certforecast wrote.*: train it again"):
        load_model(saved, key=PUBLIC)


def test_what_a_newer_certforecast_made_is_refused_before_the_model_is_built(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for older in ("0.0.9", __version__, f"{__version__}rc1"):
        rewrite(saved, about=lambda about, made=older: about["versions"].update(certforecast=made))
        load_model(saved, key=PUBLIC)
    monkeypatch.setattr(skops.io, "loads", lambda *_, **__: pytest.fail("built"))
    major, minor, patch = Version(__version__).release
    for newer in (f"{major}.{minor}.{patch + 1}", f"{major}.{minor + 9}.0.dev3", f"{major + 10}"):
        rewrite(saved, about=lambda about, made=newer: about["versions"].update(certforecast=made))
        said = rf"made by certforecast {newer}, this is {__version__}: upgrade certforecast, or train"
        for read in (load_model, model_metadata):
            with pytest.raises(ModelError, match=said):
                read(saved, key=PUBLIC)
    rewrite(saved, about=lambda about: about.update(versions=3))
    with pytest.raises(ModelError, match="is not a model file"):
        load_model(saved, key=PUBLIC)


def test_another_minor_version_of_scikit_learn_is_warned_of_once(
    saved: Path, recwarn: pytest.WarningsRecorder
) -> None:
    major, minor, _ = sklearn.__version__.split(".", 2)
    for alike in (sklearn.__version__, f"{major}.{minor}.99"):
        rewrite(saved, about=lambda about, made=alike: about["versions"].update({"scikit-learn": made}))
        load_model(saved, key=PUBLIC)
    rewrite(saved, about=lambda about: about.pop("versions"))
    load_model(saved, key=PUBLIC)
    assert not recwarn.list
    rewrite(saved, about=lambda about: about.update(versions={"scikit-learn": "1.0.2"}))
    rewrite(saved, schema=lambda schema: aged(schema))
    with pytest.warns(UserWarning, match="scikit-learn") as warned:
        load_model(saved, key=PUBLIC)
    (told,) = {str(warning.message) for warning in warned}
    assert (
        f"was made with scikit-learn 1.0.2, this is {sklearn.__version__}: its forecasts may differ" in told
    )
    assert "install scikit-learn 1.0, or train it again" in told
    assert warned[0].filename == __file__


def aged(schema: Any) -> None:
    """Have every estimator of scikit-learn say that an older version made it."""
    nodes, before = [schema], f'"{sklearn.__version__}"'
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict) and node.get("content") == before:
            node["content"] = '"1.0.2"'
        nodes.extend(node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())


def test_bytes_too_few_or_too_many_are_refused(content: bytes, saved: Path) -> None:
    longer = (content + b"\n", content + b"\0" * SEAL_LENGTH, b"PK\x03\x04" + content, content + content)
    for changed in (content[:-1], content[: len(content) // 2], content[1:], *longer):
        saved.write_bytes(changed)
        with pytest.raises(ModelError, match=r"model\.skops"):
            load_model(saved, key=PUBLIC)


def rewrite(path: Path, *, schema: Any = None, about: Any = None) -> None:
    """Change a model file and sign it again, as only the owner of the key can."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    said = json.loads(parts.pop("certforecast.json"))
    (about or (lambda _: None))(said)
    if schema:
        document = json.loads(parts["schema.json"])
        schema(document)
        parts["schema.json"] = json.dumps(document).encode()
    dumped = io.BytesIO()
    with zipfile.ZipFile(dumped, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    path.write_bytes(pack(dumped.getvalue(), said, KEY))
    verify(path.read_bytes(), PUBLIC)


def test_a_newer_format_and_other_features_are_refused(saved: Path) -> None:
    rewrite(saved, about=lambda about: about["features"].append("moon_phase"))
    with pytest.raises(ModelError, match=r"other features.*moon_phase"):
        load_model(saved, key=PUBLIC)
    rewrite(saved, about=lambda about: about.update(format=99))
    with pytest.raises(ModelError, match=r"format 99.*upgrade certforecast"):
        load_model(saved, key=PUBLIC)


def test_a_file_that_says_nothing_sensible_of_its_features_is_refused(saved: Path) -> None:
    rewrite(saved, about=lambda about: about.pop("features"))
    with pytest.raises(ModelError, match="other features"):
        load_model(saved, key=PUBLIC)
    rewrite(saved, about=lambda about: about.update(features=3))
    with pytest.raises(ModelError, match="is not a model file"):
        load_model(saved, key=PUBLIC)


def test_a_type_that_has_no_place_in_a_model_is_refused(saved: Path) -> None:
    rewrite(saved, schema=lambda schema: schema.update(__module__="subprocess", __class__="Popen"))
    with pytest.raises(ModelError, match=r"no place in a model: .*subprocess\.Popen"):
        load_model(saved, key=PUBLIC)


def test_something_else_that_skops_trusts_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "other.skops"
    about = {"format": FORMAT, "features": list(FEATURES)}
    path.write_bytes(pack(skops.io.dumps(LinearRegression()), about, KEY))
    with pytest.raises(ModelError, match="holds a LinearRegression, not a forecaster of outcomes"):
        load_model(path, key=PUBLIC)


def test_a_pool_of_any_rule_comes_back(tmp_path: Path) -> None:
    frame, y = landmark_rows()
    pool = OutcomePool({name: rule() for name, rule in RULES.items()}, prior=None).fit(frame, y)
    save_model(pool, tmp_path / "m.skops", key=KEY)
    loaded = load_model(tmp_path / "m.skops", key=PUBLIC)
    assert (loaded.predict_proba(frame) == pool.predict_proba(frame)).all()


class Homemade(PriorRate):
    """A rule of somebody's own."""


def test_what_could_not_be_loaded_again_is_not_saved(fitted: Any, tmp_path: Path) -> None:
    frame, y = landmark_rows()
    path = tmp_path / "m.skops"
    homemade = OutcomePool({"rule": Homemade()}, prior=None).fit(frame, y)
    with pytest.raises(
        ModelError, match=r"it holds types that have no place in a model.*test_saved\.Homemade"
    ):
        save_model(homemade, path, key=KEY)
    for other in (LinearRegression(), PriorRate().fit(frame, y), fitted):
        with pytest.raises(ModelError, match=f"a {type(other).__name__} cannot be saved: OutcomePool, "):
            save_model(other, path, key=KEY)
    for unfit in (OutcomePool(), OutcomeClassifier(max_iter=3).fit(frame[["days_left"]].to_numpy(), y)):
        with pytest.raises(ModelError, match="and no features are named"):
            save_model(unfit, path, key=KEY)
    odd = OutcomeClassifier(max_iter=3).fit(frame[["days_left"]].assign(moon_phase=0.0), y)
    with pytest.raises(ModelError, match="and moon_phase: no such feature"):
        save_model(odd, path, key=KEY)
    assert list(tmp_path.iterdir()) == []


def test_a_hazard_model_comes_back_where_one_is_asked_for(fitted: Any, tmp_path: Path) -> None:
    frame, y = landmark_rows()
    frame["days_left"] = 40.0
    days = pd.DataFrame(
        {"event": np.where(y == "failed", y, "renewed"), "duration": 1.0 + np.arange(len(y)) % 30}
    )
    hazard = RenewalHazard((7, 30), estimator=OutcomeClassifier("boosted", max_iter=3)).fit(frame, days)
    save_model(hazard, tmp_path / "times.skops", key=KEY)
    loaded = load_model(tmp_path / "times.skops", key=PUBLIC, kind=RenewalHazard)
    assert (loaded.transform(frame) == hazard.transform(frame)).all()
    with pytest.raises(ModelError, match=r"holds a RenewalHazard, not a forecaster.*kind=RenewalHazard"):
        load_model(tmp_path / "times.skops", key=PUBLIC)
    save_model(fitted[0], tmp_path / "m.skops", key=KEY)
    with pytest.raises(ModelError, match="holds a OutcomeClassifier, not a RenewalHazard"):
        load_model(tmp_path / "m.skops", key=PUBLIC, kind=RenewalHazard)


def test_a_model_of_before_a_feature_was_added_is_loaded_in_whatever_order_it_has_them(
    tmp_path: Path,
) -> None:
    frame, y = landmark_rows()
    before = frame[[*FEATURES][:1:-1]]
    model = OutcomeClassifier(max_iter=3).fit(before, y)
    save_model(model, tmp_path / "m.skops", key=KEY)
    loaded = load_model(tmp_path / "m.skops", key=PUBLIC)
    assert (loaded.predict_proba(before) == model.predict_proba(before)).all()


def test_a_champion_of_an_older_layout_makes_room(
    fitted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path)
    with monkeypatch.context() as before:
        before.setattr(certforecast.models.saved, "FORMAT", FORMAT - 1)
        save_model(fitted[0], settings.champion_path, key=tmp_path)
    assert _place(settings, None) == (settings.champion_path, "champion")
    save_model(fitted[0], settings.champion_path, key=tmp_path)
    assert _place(settings, None) == (settings.challenger_path, "challenger")


def test_a_folder_is_no_place_for_a_model(fitted: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="it is a folder; name a file in it"):
        save_model(fitted[0], tmp_path, key=KEY)

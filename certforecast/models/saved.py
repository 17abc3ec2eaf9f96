"""Saved models: signed skops files, which run no code when opened, and may hold listed types only."""

import errno
import io
import json
import os
import stat
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

from certforecast.atomic import write_file
from certforecast.errors import ModelError, SignatureError
from certforecast.version import __version__

if TYPE_CHECKING:
    from types import UnionType

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from packaging.version import Version

    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.hazard import RenewalHazard
    from certforecast.models.pool import OutcomePool

__all__ = ["FORMAT", "TRUSTED", "load_model", "model_metadata", "save_model"]

#: Version of what is in a file; another one is refused. Files of version 1 were not signed, models of version
#: 2 lack what intervals need, those of version 3 learned from lifetimes to the second, and those of version 4
#: from the concentration of hours to its last bit.
FORMAT = 5

#: No model is larger, in bytes; what is, is not even read.
LARGEST = 2**30

#: What a model file says by itself; a caller's metadata may not say otherwise.
RESERVED = ("features", "format", "versions")

#: Beside what skops trusts by itself, only these types may stand in a model file. The partial is
#: scikit-learn's own, over `check_array`; skops audits what a partial wraps, so it opens no other door.
TRUSTED = (
    "certforecast.models.baselines.DomainLateRate",
    "certforecast.models.baselines.DomainRate",
    "certforecast.models.baselines.FewestDaysLeft",
    "certforecast.models.baselines.IssuerRate",
    "certforecast.models.baselines.LineageLateRate",
    "certforecast.models.baselines.LineageRate",
    "certforecast.models.baselines.OwnerRate",
    "certforecast.models.baselines.PastDue",
    "certforecast.models.baselines.PreviousMargin",
    "certforecast.models.baselines.PriorRate",
    "certforecast.models.classifier.OutcomeClassifier",
    "certforecast.models.hazard.RenewalHazard",
    "certforecast.models.levels.Levels",
    "certforecast.models.pool.OutcomePool",
    "certforecast.models.recalibration.Recalibrated",
    "certforecast.models.recalibration.TemperatureScaling",
    "certforecast.models.timing.RenewalTimes",
    "certforecast.models.told.Told",
    "functools.partial",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.utils.validation.check_array",
)

_AGAIN = "train it again with 'certforecast train'"


def save_model(
    model: "OutcomePool | OutcomeClassifier | RenewalHazard",
    path: Path | str,
    metadata: dict[str, Any] | None = None,
    *,
    key: "Ed25519PrivateKey | Path | None" = None,
) -> None:
    """Save and sign a fitted model, all of it or nothing; what :func:`load_model` would refuse is not saved.

    The same model, metadata, key and versions of the libraries give the same bytes.

    Parameters
    ----------
    model : OutcomePool, OutcomeClassifier or RenewalHazard
        Fitted to a frame with some or all of the features.
    path : path
        For example ``champion.skops``.
    metadata : dict, optional
        What it was trained on; json-able. Not ``features``, ``format`` or ``versions``, which are added.
    key : Ed25519PrivateKey or Path, optional
        To sign with, or the home folder that has it, where it is made if there is none. Default: the home
        folder of the settings.

    Raises
    ------
    ModelError
        If the model is of another kind, not fitted to the features, or holds a type that has no place in a
        model; if the metadata says what it may not, or is not json-able; if the key cannot be used; or if
        the path is a folder.
    """
    import skops.io

    from certforecast.models.archive import pack
    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.hazard import RenewalHazard
    from certforecast.models.pool import OutcomePool
    from certforecast.models.record import versions

    target = Path(path)
    if not isinstance(model, OutcomePool | OutcomeClassifier | RenewalHazard):
        raise ModelError(
            f"a {type(model).__name__} cannot be saved: OutcomePool, OutcomeClassifier and RenewalHazard can"
        )
    if target.is_dir():
        raise ModelError(f"model {target} cannot be saved: it is a folder; name a file in it")
    if taken := sorted(set(metadata or {}) & set(RESERVED)):
        raise ModelError(f"metadata of {target} may not set {', '.join(taken)}: use other names")
    features = list(getattr(model, "feature_names_in_", []))
    if odd := _unknown_features(features):
        raise ModelError(
            f"model {target} cannot be saved: it has to be fitted to a frame whose columns are features "
            f"(certforecast.FEATURES), and {odd}"
        )
    about = {
        "format": FORMAT,
        "features": features,
        "versions": versions(),
        **(metadata or {}),
    }
    signer = _signing_key(key, target)
    try:
        dumped = skops.io.dumps(model)
        if strange := _strange(dumped):
            raise ModelError(
                f"model {target} cannot be saved: it holds types that have no place in a model, so it could "
                f"not be loaded again: {strange}; see certforecast.models.saved.TRUSTED"
            )
        data = pack(dumped, about, signer)
    except (TypeError, ValueError) as error:
        raise ModelError(f"model {target} cannot be saved: {error}") from error
    target.parent.mkdir(parents=True, exist_ok=True)
    write_file(target, data)


def model_metadata(path: Path | str, *, key: "Ed25519PublicKey | Path | None" = None) -> dict[str, Any]:
    """Read what a model file says about itself, once its signature is checked; nothing in it is run.

    Parameters
    ----------
    path : path
        Written by :func:`save_model`.
    key : Ed25519PublicKey or Path, optional
        Of who must have signed it, or the home folder that has it. Default: the home folder of the settings.

    Raises
    ------
    ModelError
        If the file is missing, is no model, was made by a newer certforecast, or is not signed by the key as
        it stands.
    """
    source = Path(path)
    return _about(_verified(source, key), source)


@overload
def load_model(
    path: Path | str, *, key: "Ed25519PublicKey | Path | None" = None
) -> "OutcomePool | OutcomeClassifier": ...


@overload
def load_model(
    path: Path | str, *, key: "Ed25519PublicKey | Path | None" = None, kind: "type[RenewalHazard]"
) -> "RenewalHazard": ...


def load_model(
    path: Path | str,
    *,
    key: "Ed25519PublicKey | Path | None" = None,
    kind: "type[RenewalHazard] | None" = None,
) -> "OutcomePool | OutcomeClassifier | RenewalHazard":
    """Load a model that :func:`save_model` wrote.

    The signature is checked over every byte before anything in the file is parsed.

    Parameters
    ----------
    path : path
        The model file.
    key : Ed25519PublicKey or Path, optional
        Of who must have signed it, or the home folder that has it. Default: the home folder of the settings.
    kind : type, optional
        `RenewalHazard` for one of these. Default: what forecasts outcomes, a pool or a classifier.

    Raises
    ------
    ModelError
        If the file is missing, not signed by the key as it stands, damaged, made by a newer certforecast or
        in the format of an older one, for features that are not computed here, of another kind, or holds a
        type that has no place in a model.

    Warns
    -----
    UserWarning
        If it was made with another minor version of scikit-learn: forecasts may differ.
    """
    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.pool import OutcomePool

    source = Path(path)
    data = _verified(source, key)
    about = _about(data, source)
    _usable(about, source)
    _warn_of_another_sklearn(about, source, f", or {_AGAIN}")
    model = _parsed(data, source, kind or OutcomePool | OutcomeClassifier)
    return cast("OutcomePool | OutcomeClassifier | RenewalHazard", model)


def can_be_used(path: Path | str, *, key: "Ed25519PublicKey | Path | None" = None) -> bool:
    """Whether a file is there, signed, and of a format and for features that :func:`load_model` takes."""
    source = Path(path)
    try:
        _usable(_about(_verified(source, key), source), source)
    except ModelError:
        return False
    return True


def _usable(about: dict[str, Any], source: Path) -> None:
    _not_older(about, source)
    if odd := _unknown_features(about["features"]):
        raise ModelError(
            f"model {source} was trained on other features than this certforecast computes ({odd}): {_AGAIN}"
        )


def _unknown_features(features: list[str]) -> str:
    """Say what is wrong with the features that a model needs; "" if all of them are computed here.

    A model of before a feature was added goes on without it.
    """
    from certforecast.features import FEATURES

    if not features:
        return "no features are named"
    odd = sorted({str(name) for name in features} - set(FEATURES))
    return f"{', '.join(odd[:5])}{' and others' if len(odd) > 5 else ''}: no such feature" if odd else ""


def _strange(dumped: bytes) -> str:
    """Name the types in a skops archive that have no place in a model."""
    import skops.io

    return ", ".join(sorted(set(skops.io.get_untrusted_types(data=dumped)) - set(TRUSTED)))


def load_part(path: Path, key: "Ed25519PublicKey", kind: type) -> Any:
    """Do as :func:`load_model` for a model of some kind that takes some of the features only."""
    data = _verified(path, key)
    about = _about(data, path)
    _not_older(about, path)
    _warn_of_another_sklearn(about, path)
    return _parsed(data, path, kind)


def _warn_of_another_sklearn(about: dict[str, Any], source: Path, otherwise: str = "") -> None:
    import sklearn

    made_with, here = about["versions"].get("scikit-learn"), sklearn.__version__
    if made_with is None:
        return
    theirs, ours = _version(made_with), _version(here)
    if (theirs.major, theirs.minor) != (ours.major, ours.minor):
        warnings.warn(
            f"model {source} was made with scikit-learn {made_with}, this is {here}: its forecasts may "
            f"differ; install scikit-learn {theirs.major}.{theirs.minor}{otherwise}",
            stacklevel=3,
        )


def _parsed(data: bytes, source: Path, kind: "type | UnionType") -> Any:
    import skops.io
    from sklearn.exceptions import InconsistentVersionWarning
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        with warnings.catch_warnings():
            # It would say so of every part, and of versions that differ in nothing but mends.
            warnings.simplefilter("ignore", InconsistentVersionWarning)
            # Audited whole before anything is made of it.
            model = skops.io.loads(data, trusted=list(TRUSTED))
    except UntrustedTypesFoundException as error:
        raise ModelError(
            f"model {source} holds types that have no place in a model: {_strange(data)}"
        ) from error
    except Exception as error:  # skops raises whatever its parsers raise on what they do not expect
        raise ModelError(f"model {source} is damaged ({type(error).__name__}: {error}); {_AGAIN}") from error
    if not isinstance(model, kind):
        wanted = kind.__name__ if isinstance(kind, type) else "forecaster of outcomes"
        found = type(model).__name__
        hint = "; in Python, load_model(..., kind=RenewalHazard) loads it" if found == "RenewalHazard" else ""
        raise ModelError(f"model {source} holds a {found}, not a {wanted}{hint}")
    return model


def _verified(source: Path, key: "Ed25519PublicKey | Path | None") -> bytes:
    """Read a file once and check its signature: what is parsed later is what was checked."""
    from certforecast.models.archive import HEAD, verify

    try:
        data = _read(source)
    except FileNotFoundError as error:
        raise ModelError(f"there is no model at {source}: train one with 'certforecast train'") from error
    except OSError as error:
        raise ModelError(f"model {source} cannot be read: {error.strerror}; name a model file") from error
    if not data.startswith(HEAD):
        raise ModelError(f"{source} is not a model file of certforecast; {_AGAIN}")
    trusted = _verifying_key(key, source)
    try:
        verify(data, trusted)
    except SignatureError as error:
        raise ModelError(
            f"{source} {error}; {_AGAIN}, or copy it and signing.pub anew from the machine that made it"
        ) from error
    return data


def _read(source: Path) -> bytes:
    """Read a regular file of a sane size; a link to one will do, as what is behind it is checked."""
    # Without waiting for a writer, should it be a pipe.
    with os.fdopen(os.open(source, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        if state.st_size > LARGEST:
            raise OSError(errno.EFBIG, f"it has {state.st_size:,} bytes, a model {LARGEST:,} at most")
        return file.read(LARGEST)


def _about(data: bytes, source: Path) -> dict[str, Any]:
    from certforecast.models.archive import METADATA

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            about: dict[str, Any] = json.loads(archive.read(METADATA))
        version = about["format"] = int(about["format"])
        about["features"] = list(about.get("features", ()))
        about["versions"] = {str(name): str(made) for name, made in about.get("versions", {}).items()}
    except (zipfile.BadZipFile, AttributeError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{source} is not a model file of certforecast ({error}); {_AGAIN}") from error
    if version > FORMAT:
        raise ModelError(
            f"model {source} has format {version}, this certforecast reads up to {FORMAT}: "
            "upgrade certforecast, or train the model again"
        )
    made_by = about["versions"].get("certforecast", "")
    if _version(made_by) > _version(__version__):
        raise ModelError(
            f"model {source} was made by certforecast {made_by}, this is {__version__}: "
            "upgrade certforecast, or train the model again"
        )
    return about


def _not_older(about: dict[str, Any], source: Path) -> None:
    if about["format"] < FORMAT:
        raise ModelError(
            f"model {source} has format {about['format']}, which an earlier certforecast wrote; this one "
            f"reads format {FORMAT}: {_AGAIN}"
        )


def _version(text: str) -> "Version":
    """Read a version, to compare: 0 of what is none."""
    from packaging.version import InvalidVersion, Version

    try:
        return Version(Version(text).public)  # a build of one's own is not newer
    except InvalidVersion:
        return Version("0")


def _signing_key(key: "Ed25519PrivateKey | Path | None", target: Path) -> "Ed25519PrivateKey":
    from certforecast.settings import load_settings
    from certforecast.signing import signing_key

    if key is not None and not isinstance(key, Path):
        return key
    try:
        return signing_key(key or load_settings().home)
    except SignatureError as error:
        raise ModelError(f"model {target} cannot be signed: {error}") from error


def _verifying_key(key: "Ed25519PublicKey | Path | None", source: Path) -> "Ed25519PublicKey":
    from certforecast.settings import load_settings
    from certforecast.signing import verifying_key

    if key is not None and not isinstance(key, Path):
        return key
    try:
        return verifying_key(key or load_settings().home)
    except SignatureError as error:
        raise ModelError(f"model {source} cannot be checked: {error}") from error

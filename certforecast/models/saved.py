"""Saved models: skops files, which run no code when opened, with an explicit list of what may be in them."""

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certforecast.errors import ModelError

if TYPE_CHECKING:
    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.pool import OutcomePool

__all__ = ["FORMAT", "TRUSTED", "load_model", "model_metadata", "save_model"]

#: Version of the layout; a file of a newer version is refused.
FORMAT = 1

#: Beside what skops trusts by itself, only these types may stand in a model file. The partial is
#: scikit-learn's own, over `check_array`; skops audits what a partial wraps, so it opens no other door.
TRUSTED = (
    "certforecast.models.baselines.FewestDaysLeft",
    "certforecast.models.baselines.IssuerRate",
    "certforecast.models.baselines.PastDue",
    "certforecast.models.baselines.PriorRate",
    "certforecast.models.classifier.OutcomeClassifier",
    "certforecast.models.pool.OutcomePool",
    "certforecast.models.recalibration.Recalibrated",
    "functools.partial",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.utils.validation.check_array",
)


def save_model(
    model: "OutcomePool | OutcomeClassifier", path: Path | str, metadata: dict[str, Any] | None = None
) -> None:
    """Save a fitted model, all of it or nothing.

    Parameters
    ----------
    model : OutcomePool or OutcomeClassifier
        Fitted.
    path : path
        For example ``champion.skops``.
    metadata : dict, optional
        What it was trained on; json-able.
    """
    import sklearn
    import skops.io

    from certforecast.version import __version__

    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.draft")
    skops.io.dump(model, draft)
    about = {
        "format": FORMAT,
        "features": list(getattr(model, "feature_names_in_", [])),
        "versions": {"certforecast": __version__, "scikit-learn": sklearn.__version__},
        **(metadata or {}),
    }
    with zipfile.ZipFile(draft, "a") as archive:
        archive.writestr("certforecast.json", json.dumps(about, indent=2))
    draft.replace(target)


def model_metadata(path: Path | str) -> dict[str, Any]:
    """Read what a model file says about itself; nothing in it is run.

    Raises
    ------
    ModelError
        If the file is missing, is no model, or is of a newer version.
    """
    source = Path(path)
    try:
        with zipfile.ZipFile(source) as archive:
            about: dict[str, Any] = json.loads(archive.read("certforecast.json"))
        version = int(about["format"])
        about["features"] = list(about.get("features", ()))
    except FileNotFoundError as error:
        raise ModelError(f"there is no model at {source}: train one with 'certforecast train'") from error
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise ModelError(
            f"{source} is not a model file of certforecast ({error}); train one with 'certforecast train'"
        ) from error
    if version > FORMAT:
        raise ModelError(
            f"model {source} has format {version}, this certforecast reads up to {FORMAT}: "
            "upgrade certforecast, or train the model again"
        )
    return about


def load_model(path: Path | str) -> "OutcomePool | OutcomeClassifier":
    """Load a model that :func:`save_model` wrote.

    Raises
    ------
    ModelError
        If the file is missing, damaged, of a newer version, for other features, or holds a type that has
        no place in a model.
    """
    from certforecast.features import FEATURES

    source = Path(path)
    about = model_metadata(source)
    if about["features"] != list(FEATURES):
        odd = sorted(set(about["features"]) ^ set(FEATURES))
        raise ModelError(
            f"model {source} was trained on other features than this certforecast computes "
            f"({', '.join(odd[:5]) or 'in another order'}): train it again with 'certforecast train'"
        )
    return read_model(source)


def read_model(source: Path) -> "OutcomePool | OutcomeClassifier":
    """Do as :func:`load_model`, whatever features the model was trained on."""
    import skops.io

    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.pool import OutcomePool

    model_metadata(source)
    try:
        strange = sorted(set(skops.io.get_untrusted_types(file=source)) - set(TRUSTED))
        if strange:
            raise ModelError(
                f"model {source} holds types that have no place in a model: {', '.join(strange)}"
            )
        model = skops.io.load(source, trusted=list(TRUSTED))
    except ModelError:
        raise
    except Exception as error:  # skops raises whatever its parsers raise on a damaged file
        raise ModelError(
            f"model {source} is damaged ({type(error).__name__}: {error}); train it again"
        ) from error
    if not isinstance(model, OutcomePool | OutcomeClassifier):
        raise ModelError(f"model {source} holds a {type(model).__name__}, not a forecaster of outcomes")
    return model

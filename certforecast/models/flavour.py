"""A model file as an MLflow model, so that any MLflow server can score with it."""

import warnings
from pathlib import Path
from typing import Any

__all__ = ["write_flavour"]


def write_flavour(model_file: Path, folder: Path) -> None:
    """Write an MLflow model of the ``python_function`` flavour around a model file.

    Parameters
    ----------
    model_file : Path
        Written by :func:`certforecast.models.save_model`; copied as it is, with its signature.
    folder : Path
        Must not exist yet.
    """
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    from certforecast.features import FEATURES
    from certforecast.renewals import OUTCOMES
    from certforecast.version import __version__

    inputs: list[Any] = [
        ColSpec("string" if feature.kind == "category" else "double", name)
        for name, feature in FEATURES.items()
    ]
    outputs: list[Any] = [ColSpec("double", f"p_{name}") for name in OUTCOMES]
    with warnings.catch_warnings():
        # MLflow asks for an example; the signature says it all.
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(
            str(folder),
            python_model=str(Path(__file__).with_name("serving.py")),
            artifacts={"model": str(model_file)},
            pip_requirements=[f"certforecast=={__version__}"],
            signature=ModelSignature(Schema(inputs), Schema(outputs)),
        )

"""Makes ``models/prior.skops`` and ``times.skops``, which a fleet without a history of its own starts with.

    python models/make_prior.py [--cache FOLDER] [--fleets 48] [--to FOLDER]

It takes a quarter of an hour on two cores, most of it to play the fleets, whose rows the cache keeps; with
few fleets, written elsewhere, it can be tried whole in minutes. The models are the same each time, their
signatures are not: the key is made anew, and its public half goes into certforecast/models/prior.py.
models/README.md is the card.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joblib import Parallel, delayed  # noqa: TID253 (a script of its own)
from rich.console import Console
from rich.progress import track

from certforecast.features import FEATURES
from certforecast.models import OutcomeClassifier, RenewalHazard
from certforecast.models.durations import durations
from certforecast.models.saved import save_model
from certforecast.models.training import trainable
from certforecast.models.weighing import landmark_weights
from certforecast.policy import RenewalPolicy
from certforecast.simulation import Fleet, Rates
from certforecast.simulation.frames import fleet_frame

#: None of them is used anywhere else: not in the sample, the tests or the benchmarks.
SEEDS = range(101, 149)
LINEAGES = 240
#: Of the rates of the fleets, so that the model has seen many kinds.
SPREAD = 0.8
#: The first model sees each fleet whole, often; the second sees it whole and as one kind of source shows it,
#: as real histories often come from one. Their logarithmic pool strays less than either, far from home.
WHOLE_DAYS, VIEWS_DAYS = 14.0, 42.0
VIEWS = ("log", "authority", "looks")
#: Numbers only: what an issuer's or an owner's name means is not the same in two fleets.
INPUTS = [feature.name for feature in FEATURES.values() if feature.kind != "category"]
HERE = Path(__file__).parent


def main() -> None:
    """Play the fleets, train, save, and print what the card and the pin need."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, help="folder to keep the rows of the fleets in")
    parser.add_argument("--fleets", type=int, default=len(SEEDS), help="how many of the fleets")
    parser.add_argument("--to", type=Path, default=HERE, help="folder for the models")
    given = parser.parse_args()
    seeds = SEEDS[: given.fleets]
    with tempfile.TemporaryDirectory() as folder:
        cache = given.cache or Path(folder)
        whole = played([(seed, "everything") for seed in seeds], WHOLE_DAYS, cache)
        views = played([(seed, VIEWS[seed % len(VIEWS)]) for seed in seeds], VIEWS_DAYS, cache)
    # Both grids begin at the same moment, so the landmarks of the wider one are among those of the other.
    seldom = whole[
        (whole["as_of"] - pd.Timestamp(0, tz="UTC")) % pd.Timedelta(days=VIEWS_DAYS) == pd.Timedelta(0)
    ]
    views = pd.concat([seldom, views], ignore_index=True)
    outcomes, other = fitted(whole), fitted(views)
    outcomes.models_ += other.models_
    ended, weights = whole[["event", "duration"]], landmark_weights(whole).to_numpy()
    times = RenewalHazard(max_periods=2_000_000).fit(whole[INPUTS], ended, weights)
    renewals = whole.drop_duplicates("fingerprint")["outcome"].value_counts().to_dict()
    about = {
        "seeds": list(seeds),
        "lineages": LINEAGES,
        "rows": [len(whole), len(views)],
        "renewals": renewals,
    }
    key = Ed25519PrivateKey.generate()
    given.to.mkdir(parents=True, exist_ok=True)
    save_model(outcomes, given.to / "prior.skops", about, key=key)
    save_model(times, given.to / "times.skops", about, key=key)
    print(json.dumps(about))
    print("SIGNED_BY of certforecast/models/prior.py:", key.public_key().public_bytes_raw().hex())


def fitted(rows: pd.DataFrame) -> OutcomeClassifier:
    """Fit the model of outcomes."""
    y = rows["outcome"].to_numpy(dtype=object).astype(str)
    model = OutcomeClassifier("boosted", max_iter=150, max_leaf_nodes=16)
    return model.fit(rows[INPUTS], y, landmark_weights(rows))


def played(views: Sequence[tuple[int, str]], every_days: float, cache: Path) -> pd.DataFrame:
    """Give the rows of all fleets, each in a view, that may be learned from.

    In each fleet and view renewals have names of their own.
    """
    cache.mkdir(parents=True, exist_ok=True)
    jobs = [delayed(rows_of)(seed, view, every_days, cache) for seed, view in views]
    frames = Parallel(n_jobs=-1, return_as="generator")(jobs)
    told = track(frames, f"every {every_days:g} days", len(jobs), console=Console(stderr=True))
    return pd.concat(told, ignore_index=True)


def rows_of(seed: int, view: str, every_days: float, cache: Path) -> pd.DataFrame:
    """Play one fleet, unless its rows are kept."""
    path = cache / f"{seed}-{view}-{every_days:g}.parquet"
    if not path.exists():
        fleet = Fleet(seed, LINEAGES, rates=Rates.varied(seed, SPREAD))
        unfinished = path.with_suffix(".unfinished")
        fleet_frame(fleet, every_days, view=view).to_parquet(unfinished)
        unfinished.rename(path)
    frame = pd.read_parquet(path)
    last = frame["resolved_at"].max()
    rows = frame[trainable(frame, last, RenewalPolicy())]
    ended = durations(rows, last.to_pydatetime())
    columns = pd.concat([rows[["as_of", *INPUTS, "outcome"]], ended], axis=1)
    return columns.assign(fingerprint=rows["fingerprint"] + f"-{seed}-{view}")


if __name__ == "__main__":
    main()

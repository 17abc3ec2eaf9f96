"""Makes ``models/prior.skops``, the model that a fleet without a history of its own starts with.

    python models/make_prior.py

It takes some quarter of an hour on two cores, and is deterministic. models/README.md is its card.
"""

import hashlib
import json
from pathlib import Path

import pandas as pd

from certforecast.features import FEATURES
from certforecast.models import OutcomeClassifier
from certforecast.models.saved import save_model
from certforecast.models.training import landmark_weights, trainable
from certforecast.policy import RenewalPolicy
from certforecast.simulation import Fleet, Rates
from certforecast.simulation.frames import fleet_frame

#: None of them is used anywhere else: not in the sample, the tests or the benchmarks.
SEEDS = range(101, 149)
LINEAGES = 240
#: Of the rates of the fleets, so that the model has seen many kinds.
SPREAD = 0.8
EVERY_DAYS = 14.0
#: Numbers only: what an issuer's or an owner's name means is not the same in two fleets.
INPUTS = [feature.name for feature in FEATURES.values() if feature.kind != "category"]
TARGET = Path(__file__).parent / "prior.skops"


def main() -> None:
    """Play the fleets, train, save, and print what the card and the pin need."""
    frames = []
    for seed in SEEDS:
        frame = fleet_frame(Fleet(seed, LINEAGES, rates=Rates.varied(seed, SPREAD)), EVERY_DAYS)
        rows = frame[trainable(frame, frame["resolved_at"].max(), RenewalPolicy())]
        columns = rows[[*INPUTS, "outcome"]]
        frames.append(columns.assign(fingerprint=rows["fingerprint"] + f"-{seed}"))
        print(seed, len(rows), rows.drop_duplicates("fingerprint")["outcome"].value_counts().to_dict())
    rows = pd.concat(frames, ignore_index=True)
    X, y = rows[INPUTS], rows["outcome"].to_numpy(dtype=object).astype(str)
    model = OutcomeClassifier("boosted", max_iter=300, max_leaf_nodes=16).fit(X, y, landmark_weights(rows))
    renewals = rows.drop_duplicates("fingerprint")["outcome"].value_counts().to_dict()
    about = {"seeds": list(SEEDS), "lineages": LINEAGES, "rows": len(rows), "renewals": renewals}
    save_model(model, TARGET, about)
    print(json.dumps(about), hashlib.sha256(TARGET.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()

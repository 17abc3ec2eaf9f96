"""Makes ``models/prior.skops`` and ``times.skops``, which a fleet without a history of its own starts with.

    python models/make_prior.py

It takes some 20 minutes on two cores. The models are the same each time, their signatures are not: the key
is made anew, and its public half goes into certforecast/models/prior.py. models/README.md is the card.
"""

import json
from pathlib import Path

import pandas as pd
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from certforecast.features import FEATURES
from certforecast.models import OutcomeClassifier, RenewalHazard
from certforecast.models.durations import durations
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
HERE = Path(__file__).parent


def main() -> None:
    """Play the fleets, train, save, and print what the card and the pin need."""
    frames = []
    for seed in SEEDS:
        frame = fleet_frame(Fleet(seed, LINEAGES, rates=Rates.varied(seed, SPREAD)), EVERY_DAYS)
        last = frame["resolved_at"].max()
        rows = frame[trainable(frame, last, RenewalPolicy())]
        ended = durations(rows, last.to_pydatetime())
        columns = pd.concat([rows[[*INPUTS, "outcome"]], ended], axis=1)
        frames.append(columns.assign(fingerprint=rows["fingerprint"] + f"-{seed}"))
        print(seed, len(rows), rows.drop_duplicates("fingerprint")["outcome"].value_counts().to_dict())
    rows = pd.concat(frames, ignore_index=True)
    X, y, weights = rows[INPUTS], rows["outcome"].to_numpy(dtype=object).astype(str), landmark_weights(rows)
    outcomes = OutcomeClassifier("boosted", max_iter=300, max_leaf_nodes=16).fit(X, y, weights)
    times = RenewalHazard(max_periods=2_000_000).fit(X, rows[["event", "duration"]], weights.to_numpy())
    renewals = rows.drop_duplicates("fingerprint")["outcome"].value_counts().to_dict()
    about = {"seeds": list(SEEDS), "lineages": LINEAGES, "rows": len(rows), "renewals": renewals}
    key = Ed25519PrivateKey.generate()
    save_model(outcomes, HERE / "prior.skops", about, key=key)
    save_model(times, HERE / "times.skops", about, key=key)
    print(json.dumps(about))
    print("SIGNED_BY of certforecast/models/prior.py:", key.public_key().public_bytes_raw().hex())


if __name__ == "__main__":
    main()

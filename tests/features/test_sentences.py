"""Sentences: one for every feature, whatever its value, true to it, and compared with the usual."""

import pandas as pd
import pytest

from certforecast.features import FEATURES
from certforecast.features.sentences import Told, sentence, subject, tone, usual
from certforecast.features.topics import TOPICS, topic_of

ROW = {name: "x" if feature.kind == "category" else 1.0 for name, feature in FEATURES.items()}


@pytest.mark.parametrize("name", [*FEATURES])
def test_every_feature_has_words_known_or_not(name: str) -> None:
    for row in (ROW, ROW | {name: None}, ROW | {name: 0.0} if FEATURES[name].kind != "category" else ROW):
        words = sentence(name, Told(row, dict.fromkeys(FEATURES, 0.5)))
        assert words
        assert "nan" not in words
        assert "None" not in words
    assert topic_of(name) in TOPICS
    assert topic_of(name) != "other"


@pytest.mark.parametrize(
    ("name", "row", "words"),
    [
        ("days_past_due", {"days_past_due": -3.0, "days_left": 33.0, "validity_days": 90.0},
         "due in 3 days, 33 days left of 90 days"),
        ("past_usual", {"past_usual": 0.1}, "by now this lineage has usually been renewed, 9 days earlier"),
        ("past_usual", {"past_usual": -0.1}, "this lineage is usually renewed 9 days from now"),
        ("lag_trend", {"lag_trend": 0.05}, "its renewals come 4 days later each time"),
        ("margin_last", {"margin_last": None}, "no earlier renewal of it is known"),
        ("attempts_failed_month", {"attempts_failed_month": 0.1, "attempt_failed_code": "dns"},
         "3 failed attempts in the last 30 days, last cause: dns"),
        ("attempts_failed_month", {"attempts_failed_month": 0.0, "attempt_failed_age": 40.0},
         "its last failed attempt was 40 days ago"),
        ("rehearsal_failed", {"rehearsal_failed": 1.0, "days_since_rehearsal": 3.0},
         "a rehearsal 3 days ago found something"),
        ("days_since_rehearsal", {"rehearsal_failed": 0.0, "days_since_rehearsal": 3.0},
         "a rehearsal 3 days ago found nothing"),
        ("rehearsal_failed", {"rehearsal_failed": None}, "its renewal has not been rehearsed"),
        ("unserved", {"unserved": 1.0, "unserved_days": 2.0},
         "a successor was issued 2 days ago but the old certificate is still served"),
        ("hour_concentration", {"hour_concentration": 0.95},
         "its certificates are issued at the same hour, as by a timer"),
        ("validity_ratio", {"validity_days": 90.0, "validity_ratio": 0.25},
         "valid for 90 days, the one before for 360 days"),
        ("key_sharing", {"key_sharing": 0.0}, "its key is shared with no other services"),
        ("expiry_weekday", {"expiry_weekday": 6.0}, "it expires on a Sunday"),
        ("gone_share", {"gone_share": 0.0}, "none of its endpoints are gone or serve other names now"),
        ("owner_late_rate", {"owner_late_rate": 0.06},
         "its owner's renewals come late about 6.0% of the time"),
        ("automation", {"automation": None}, "the inventory does not say how it is renewed"),
        ("lineage_late_rate", {"lineage_late_rate": 0.1}, "no earlier renewal of it is known"),
        ("lineage_late_rate", {"lineage_late_rate": 0.1, "margin_last": 0.2},
         "its own renewals come late about 10% of the time"),
        ("past_usual", {"past_usual": None}, "no earlier renewal of it is known"),
        ("past_usual", {"past_usual": None, "margin_last": 0.1, "validity_ratio": 1.0},
         "the last renewal came 9 days before expiry"),
        ("gone_share", {"gone_share": None}, "it was never seen on an endpoint"),
        ("joined_7", {"joined_7": None}, "it was never seen on an endpoint"),
        ("issuer_late_rate", {"issuer_late_rate": None}, "no renewal from its issuer is known to have ended"),
        ("crowding", {"crowding": None}, "its crowding is not known"),
        ("domain_late_rate", {"domain_late_rate": None}, "no renewal in its domain is known to have ended"),
    ],
)  # fmt: skip
def test_sentences_say_what_is_so(name: str, row: dict[str, object], words: str) -> None:
    assert sentence(name, Told({"validity_days": 90.0} | row)) == words


@pytest.mark.parametrize(
    ("rate", "words", "sounds"),
    [
        (0.24, "its owner's renewals fail 6.0 times as often as is usual (24% against 4.0%)", 1),
        (0.48, "its owner's renewals fail 12 times as often as is usual (48% against 4.0%)", 1),
        (0.04, "its owner's renewals fail about as often as is usual (4.0% against 4.0%)", 0),
        (0.01, "its owner's renewals fail less often than is usual (1.0% against 4.0%)", -1),
    ],
)
def test_rates_are_compared_with_the_usual(rate: float, words: str, sounds: int) -> None:
    told = Told({"owner_failed_rate": rate}, {"owner_failed_rate": 0.04})
    assert sentence("owner_failed_rate", told) == words
    assert tone("owner_failed_rate", told) == sounds


def test_usual_is_the_median_and_of_issuers_the_mean_over_issuers() -> None:
    frame = pd.DataFrame(
        {
            "issuer_org": ["a", "a", "a", "b"],
            "issuer_late_rate": [0.1, 0.1, 0.1, 0.5],
            "owner_late_rate": [0.1, 0.1, 0.3, 0.9],
        }
    )
    assert usual(frame) == pytest.approx({"issuer_late_rate": 0.3, "owner_late_rate": 0.2})


def test_features_with_the_same_words_have_the_same_subject() -> None:
    assert subject("days_left") == subject("elapsed_share") != subject("days_to_slip")
    assert subject("owner_late_rate") == subject("owner_failed_rate") != subject("domain_late_rate")
    assert subject("issuer_org") == subject("issuer_late_rate")
    assert subject("unheard_of") == "unheard_of"


def test_a_feature_that_is_not_in_the_catalogue_is_named_with_its_value() -> None:
    assert sentence("moon_phase", Told({"moon_phase": 0.25}, {"moon_phase": 0.5})) == (
        "the moon phase is 0.25 (usually 0.5)"
    )
    assert topic_of("moon_phase") == "other"

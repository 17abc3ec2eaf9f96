"""The demo: the whole road on the embedded sample and on real endpoints of this machine."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certforecast.cli.output import print_table, progress, say
from certforecast.cli.plan import show_plan

if TYPE_CHECKING:
    import pandas as pd

    from certforecast.evaluation import BacktestResult
    from certforecast.execution import ActionResult
    from certforecast.history import History
    from certforecast.models import Trained
    from certforecast.planning import Plan
    from certforecast.settings import Settings
    from certforecast.simulation.sandbox import Sandbox

__all__ = ["run"]

CUTOFFS = 3
#: Futures played at each landmark of the backtest for the truth.
TRUTH_DRAWS = 100

MODEL, TRUTH = "certforecast", "the truth (known to the simulator alone)"


def run(settings: "Settings", seed: int, *, quiet: bool) -> dict[str, Any]:
    """Run the demo in ``demo/`` under the home folder, which is made anew.

    Parameters
    ----------
    settings : Settings
        Gives the home folder, costs and policy.
    seed : int
        Of the sandbox's past.
    quiet : bool
        Show no tables.

    Returns
    -------
    dict
        The figures of the run.
    """
    home = settings.home / "demo"
    shutil.rmtree(home, ignore_errors=True)
    sample = settings.model_copy(update={"home": home / "sample"})
    trained, scores, forecasts, plan = _learn(sample)
    if not quiet:
        _show_scores(scores)
        show_plan(plan, 10)
    acted = _act(sample, home, trained, seed, quiet=quiet)
    summary = {
        "renewals": trained.renewals,
        "forecasts": len(forecasts),
        "auprc_model": _rounded(scores.auprc(MODEL)),
        "auprc_best_rule": _rounded(scores.auprc(_best_rule(scores))),
        "auprc_truth": _rounded(scores.auprc(TRUTH)),
        "best_rule": _best_rule(scores),
        **acted,
    }
    if not quiet:
        rows = [(name.replace("_", " "), str(value)) for name, value in summary.items()]
        print_table("In short", [("what", lambda row: row[0]), ("value", lambda row: row[1])], rows)
    return summary


def _learn(settings: "Settings") -> tuple["Trained", "BacktestResult", "pd.DataFrame", "Plan"]:
    """Load the sample, train, backtest beside the rules and the truth, and plan."""
    from certforecast.features import training_frame
    from certforecast.history import History
    from certforecast.history.sources.tables import TablesSource
    from certforecast.models import forecast, landmarks, train
    from certforecast.planning import make_plan
    from certforecast.simulation.sample import SAMPLE_END, sample_folder

    say("reading the sample: three years of a simulated fleet")
    with History(settings.store_path) as history:
        history.ingest(TablesSource(sample_folder()))
        with progress("Computing features at every landmark"):
            moments = landmarks(history, SAMPLE_END, settings.model.landmark_every_days)
            frame = training_frame(history, moments, SAMPLE_END, settings.policy)
        with progress("Training"):
            trained = train(history, SAMPLE_END, settings, frame=frame)
        scores = _backtest(frame, settings)
        forecasts = forecast(history, trained.model, SAMPLE_END, settings.policy)
        plan = make_plan(history, forecasts, SAMPLE_END, settings, model=trained.path.name)
    plan.signed(settings.home).write(settings.plan_path)
    return trained, scores, forecasts, plan


def _backtest(frame: "pd.DataFrame", settings: "Settings") -> "BacktestResult":
    import pandas as pd

    from certforecast.evaluation import backtest, default_cutoffs
    from certforecast.models import RULES, OutcomeClassifier
    from certforecast.models.training import new_model
    from certforecast.simulation import Fleet
    from certforecast.simulation.sample import SAMPLE_END, SAMPLE_SEED

    cutoffs = default_cutoffs(frame, CUTOFFS, settings.policy)
    tested = sorted(moment for moment in frame["as_of"].unique() if moment >= cutoffs[0])
    fleet = Fleet(seed=SAMPLE_SEED, end=SAMPLE_END, policy=settings.policy)
    truths = []
    with progress("Playing the fleet's futures for the truth", len(tested)) as advance:
        for done, moment in enumerate(tested, start=1):
            truths.append(fleet.truth(moment.to_pydatetime(), TRUTH_DRAWS, settled=True).assign(as_of=moment))
            advance(done)
    models: dict[str, Callable[[], Any]] = {
        MODEL: lambda: new_model(settings.model),
        "logistic regression": lambda: OutcomeClassifier(method="logistic"),
        **RULES,
    }
    with progress("Backtesting", 1.0) as advance:
        return backtest(
            frame, models, cutoffs, policy=settings.policy, given={TRUTH: pd.concat(truths)}, progress=advance
        )


def _act(sample: "Settings", home: Path, trained: "Trained", seed: int, *, quiet: bool) -> dict[str, Any]:
    """Start the sandbox, plan for it with the model of the sample, carry the plan out, and look again."""
    from certforecast.clock import system_clock
    from certforecast.execution import Executor
    from certforecast.history import History
    from certforecast.history.sources import Batch
    from certforecast.history.sources.certbot import CertbotSource
    from certforecast.models import forecast
    from certforecast.planning import make_plan
    from certforecast.settings import Settings
    from certforecast.simulation.sandbox import Sandbox

    say("starting the sandbox: real TLS endpoints on loopback")
    with Sandbox(home / "sandbox", seed=seed) as sandbox:
        settings = Settings(
            **sandbox.settings(home / "service"),
            policy=sample.policy,
            costs=sample.costs,
            effects=sample.effects,
        )
        with History(settings.store_path) as history:
            history.ingest(CertbotSource(sandbox.tree))
            history.append(Batch(hosts=[{**row} for row in sandbox.hosts]), source="inventory")
            before = _look(history, sandbox)
            now = system_clock()
            forecasts = forecast(history, trained.model, now, settings.policy)
            plan = make_plan(history, forecasts, now, settings, model=trained.path.name)
            plan = plan.signed(settings.home)
            plan.write(settings.plan_path)
            if not quiet:
                show_plan(plan, len(plan.actions))
            say(f"carrying out {len(plan.actions)} actions")
            results = Executor(settings, history=history).run(plan, execute=True)
            after = _look(history, sandbox)
            recorded = history.counts()["events"]
        if not quiet:
            _show_before_and_after(sandbox, before, after, results)
    statuses = [result.status for result in results]
    return {
        "endpoints": len(sandbox.endpoints),
        "actions": len(plan.actions),
        "verified": statuses.count("verified"),
        "rolled_back": statuses.count("rolled_back"),
        "failed": statuses.count("failed"),
        "for_people": statuses.count("for_people"),
        "outages_before": sum(status != "valid" for status in before.values()),
        "outages_after": sum(status != "valid" for status in after.values()),
        "events_recorded": recorded,
    }


def _look(history: "History", sandbox: "Sandbox") -> dict[str, str]:
    """Scan the sandbox into the store; give what a client would say of each name."""
    from certforecast.history.sources.scan import ScanSource

    texts = [f"{place.host}:{place.port}={place.server_name}" for place in sandbox.endpoints]
    history.ingest(ScanSource(texts, ca_file=sandbox.roots))
    looks = history.tables().observations.to_pandas().sort_values("observed_at")
    last = looks.drop_duplicates("server_name", keep="last")
    return {row.server_name: row.chain_status or row.error for row in last.itertuples()}


def _best_rule(scores: "BacktestResult") -> str:
    from certforecast.models import RULES

    return scores.best_rule("failed", list(RULES))


def _show_scores(scores: "BacktestResult") -> None:
    print_table(
        "Who foresees the failures? (backtest on the sample)",
        [
            ("", lambda row: row["model"]),
            ("AUPRC", lambda row: f"{row['auprc']:.3f}"),
            ("90 % interval", lambda row: f"{row['auprc_low']:.3f} to {row['auprc_high']:.3f}"),
            ("AUROC", lambda row: f"{row['auroc']:.3f}"),
            ("Brier", lambda row: f"{row['brier']:.4f}"),
            ("calibration error", lambda row: f"{row['calibration_error']:.3f}"),
            (f"ever in the top {scores.k}", lambda row: f"{row['caught']:.0%}"),
        ],
        scores.summary("failed").to_dict("records"),
        caption=scores.describe(),
    )


def _show_before_and_after(
    sandbox: "Sandbox", before: dict[str, str], after: dict[str, str], results: list["ActionResult"]
) -> None:
    done = {result.name: result for result in results}
    print_table(
        "The sandbox, before and after",
        [
            ("name", lambda place: place.server_name),
            ("before", lambda place: before[place.server_name]),
            ("done", lambda place: _told(done.get(place.server_name))),
            ("after", lambda place: after[place.server_name]),
        ],
        sandbox.endpoints,
    )


def _told(result: "ActionResult | None") -> str:
    return "left alone" if result is None else f"{result.kind}: {result.status.replace('_', ' ')}"


def _rounded(value: float) -> float:
    return round(value, 4)

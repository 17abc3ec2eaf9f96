"""Settings: one TOML file, environment variables over it.

The file is ``certforecast.toml`` in the working directory, or the one named by ``--config`` or
``CERTFORECAST_CONFIG``. ``CERTFORECAST_COSTS__OUTAGE_PER_DAY=500`` overrides ``[costs] outage_per_day``.
"""

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from certforecast.errors import InputError
from certforecast.plugins import kinds, load_kind
from certforecast.policy import RenewalPolicy

__all__ = [
    "ApprovalSettings",
    "CostSettings",
    "EffectSettings",
    "EffortSettings",
    "ExecutorSettings",
    "FreezeSettings",
    "InstallerSettings",
    "IssuerSettings",
    "KeySettings",
    "ModelSettings",
    "PlanningSettings",
    "RehearsalSettings",
    "Section",
    "Settings",
    "WindowSettings",
    "load_settings",
]

DEFAULT_FILE = Path("certforecast.toml")


class Section(BaseModel):
    """A table of the settings file: nothing unknown in it, and never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CostSettings(Section):
    """What things cost, in one currency of your choice. Only ratios matter for the ranking."""

    outage_per_day: float = Field(
        1000.0, ge=0, description="an expired certificate in use, a day, at criticality 1"
    )
    outage_days: float = Field(1.0, ge=0, description="how long an outage usually lasts once it is noticed")
    slip: float = Field(50.0, ge=0, description="a renewal that comes after the slip point: unplanned work")
    renew: float = Field(5.0, ge=0, description="one renewal by the executor")
    install: float = Field(2.0, ge=0, description="one installation of a certificate that is already issued")
    reissue: float = Field(8.0, ge=0, description="one renewal by the executor at another authority")
    fix: float = Field(60.0, ge=0, description="a person mends a cause that is known")
    escalate: float = Field(40.0, ge=0, description="the owner looks into one renewal")
    retire: float = Field(10.0, ge=0, description="a person confirms that a certificate is no longer used")
    rehearse: float = Field(1.0, ge=0, description="one rehearsal: machine time, and reading what it says")
    default_criticality: float = Field(0.5, ge=0, le=1, description="for hosts whose criticality is unknown")


class EffectSettings(Section):
    """Which share of the expected loss an action averts. Assumptions, to be replaced by your own record."""

    renew: float = Field(0.95, ge=0, le=1)
    install: float = Field(0.95, ge=0, le=1)
    reissue: float = Field(0.9, ge=0, le=1)
    fix: float = Field(0.8, ge=0, le=1)
    escalate: float = Field(0.6, ge=0, le=1)
    blocked: float = Field(
        0.3,
        ge=0,
        le=1,
        description="what of `renew` is left where the last attempt failed for a lasting cause",
    )
    trusted_after: float = Field(
        20.0, ge=0, description="so many actions on record weigh as much as the assumptions above"
    )
    rehearse: float = Field(
        0.5, ge=0, le=1, description="share of the loss that comes from causes a rehearsal can see"
    )


class ModelSettings(Section):
    """How models are trained."""

    method: Literal["pooled", "blended", "boosted", "logistic"] = "pooled"
    landmark_every_days: float = Field(14.0, gt=0)
    seed: int = 0


class _Hosts(Section):
    """Which hosts something is about; all, unless narrowed down."""

    owner: str | None = None
    environment: str | None = None
    host: str | None = Field(None, description="a pattern such as *.shop.example, for a name or an endpoint")


class WindowSettings(_Hosts):
    """When changes may be made: hosts that a window is about are changed in their windows only."""

    rrule: str = Field(
        description="start of each, as a recurrence of RFC 5545: FREQ=WEEKLY;BYDAY=TU;BYHOUR=2"
    )
    hours: float = Field(gt=0)


class FreezeSettings(_Hosts):
    """When no change may be made, but to what has expired."""

    start: AwareDatetime
    end: AwareDatetime


class PlanningSettings(Section):
    """How plans are made."""

    horizon_days: float = Field(14.0, gt=0, le=90, description="how far ahead actions are scheduled")
    slot_hours: float = Field(6.0, gt=0, le=24)
    actions_per_hour: float = Field(60.0, gt=0, description="what the executor can do")
    people_hours_per_day: float = Field(40.0, ge=0, description="of all people, on a working day")
    owner_hours_per_day: float = Field(8.0, ge=0, description="of each owner, on a working day")
    hours_fix: float = Field(1.0, ge=0, description="a person's time for one `fix`")
    hours_escalate: float = Field(0.5, ge=0)
    hours_retire: float = Field(0.25, ge=0)
    country: str | None = Field(None, description="ISO 3166 code; its public holidays are no working days")
    timezone: str = Field("UTC", description="of windows and working days")
    failure_domain: Literal["registered_domain", "owner", "issuer"] = Field(
        "registered_domain", description="what would break together ..."
    )
    max_per_failure_domain: int = Field(20, ge=1, description="... and how many changes a slot may bring it")
    max_expiries_per_day: int = Field(
        500, ge=1, description="of the new certificates, so that next time does not crowd"
    )
    safe_lead_days: float = Field(
        1.0, ge=0, description="the executor starts so long before expiry at the latest"
    )
    people_lead_days: float = Field(3.0, ge=0, description="people do")
    windows: list[WindowSettings] = []
    freezes: list[FreezeSettings] = []
    holdout_share: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="probability with which a renewal of little importance is left alone, to learn from",
    )
    holdout_max_criticality: float = Field(
        0.3, ge=0, le=1, description="nothing more critical is ever left alone"
    )
    holdout_seed: int = Field(0, description="another seed, another lot")


class KeySettings(Section):
    """How private keys are made, in ``[keys]`` for all issuers and in ``keys`` of an issuer's section."""

    algorithm: Literal["ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-3072", "rsa-4096", "ed25519"] = Field(
        "ecdsa-p256", description="of new keys; one that is used again stays what it is"
    )
    reuse: bool = Field(
        False, description="renew with the key that is in place, where clients pin it; default a new key"
    )
    token: str | None = Field(None, description="label of the PKCS#11 token that makes the key and keeps it")
    module: Path | None = Field(None, description="the token's PKCS#11 library")
    pin_file: Path | None = Field(None, description="holds the token's user PIN, readable by its owner alone")
    label: str = Field("{name}", description="of the key in the token; {name} is the lineage's name")

    @model_validator(mode="after")
    def _token_is_whole(self) -> Self:
        given = [value is not None for value in (self.token, self.module, self.pin_file)]
        if any(given) and not all(given):
            raise ValueError("a key in a token needs all of token, module and pin_file")
        if self.token is not None and self.algorithm == "ed25519":
            raise ValueError("keys in a token are ECDSA or RSA: most tokens and servers cannot use Ed25519")
        return self


class IssuerSettings(Section):
    """A section ``[issuers.NAME]``; each kind has its own, by an entry point of ``certforecast.issuers``."""

    kind: str
    keys: KeySettings | None = Field(None, description="keys for this issuer's certificates; default [keys]")

    @property
    def authority_url(self) -> str | None:
        """The ACME directory, by which limits are known; None where there is none."""
        return None

    @property
    def stands_for(self) -> str | None:
        """The name of the issuer that does the work as a rule; None: this one does it itself."""
        return None


class InstallerSettings(Section):
    """A section ``[installers.NAME]``; each kind by an entry point of ``certforecast.installers``."""

    kind: str


def _of_its_kind(group: str, base: type[Section]) -> Callable[[Any], Any]:
    def validate(value: Any) -> Any:
        if isinstance(value, base):
            return value
        kind = value.get("kind") if isinstance(value, dict) else None
        if not isinstance(kind, str):
            raise ValueError(
                f"name its kind, as in kind = {kinds(group)[0]!r}; there are: {', '.join(kinds(group))}"
            )
        return load_kind(group, kind).model_validate(value)

    return validate


_Issuer = Annotated[
    SerializeAsAny[IssuerSettings], BeforeValidator(_of_its_kind("certforecast.issuers", IssuerSettings))
]
_Installer = Annotated[
    SerializeAsAny[InstallerSettings],
    BeforeValidator(_of_its_kind("certforecast.installers", InstallerSettings)),
]


class SourceSettings(BaseModel):
    """A place to read history from; the options of the source stand beside its kind and place."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str
    place: str


class EffortSettings(Section):
    """What renewals cost in people's time, and how many people and machines there are. Assumptions."""

    hours: dict[str, float] = Field(
        {"timer": 0.0, "ticket": 1.5, "calendar": 1.0},
        description="of a person's time for one renewal, by the kind of automation that the inventory names",
    )
    other_hours: float = Field(0.0, ge=0, description="for other kinds, such as an ACME client's name")
    unknown_hours: float = Field(0.5, ge=0, description="where the inventory names none")
    slip_hours: float = Field(1.0, ge=0, description="more for a renewal that slips: somebody hurries")
    outage_hours: float = Field(8.0, ge=0, description="more for one that fails")
    people: int = Field(2, ge=0, description="who can renew by hand at the same time, in a drill")
    people_hours_per_day: float = Field(8.0, gt=0, le=24, description="that each of them works")
    renewals_per_hour: float = Field(120.0, gt=0, description="that the executor carries out")

    def for_renewal(self, automation: str | None) -> float:
        """Give the hours of a person's time that one renewal takes."""
        if automation is None:
            return self.unknown_hours
        return self.hours.get(automation, self.other_hours)


class ExecutorSettings(Section):
    """How actions are carried out."""

    issuer: str | None = Field(None, description="issuer for hosts whose inventory row names none")
    fallback_issuer: str | None = Field(
        None, description="issuer for `reissue`, when the usual one is in trouble"
    )
    installer: str | None = Field(None, description="installer for hosts whose inventory row names none")
    allowed_issuers: list[str] | None = Field(
        None, description="names under [issuers] that a plan may use; default all"
    )
    allowed_installers: list[str] | None = Field(
        None, description="names under [installers] that a plan may use; default all"
    )
    workers: int = Field(16, ge=1, le=64, description="actions carried out side by side by one process")
    max_per_failure_domain: int = Field(
        2, ge=1, description="actions under way in one failure domain at the same time"
    )
    orders_per_hour: float | None = Field(
        None, gt=0, description="orders an hour at each issuer's account; default what its CA allows"
    )
    reload_every_s: float = Field(
        0.5, ge=0, description="reloads of one server are so far apart; what waits for one shares it"
    )
    handshakes: int = Field(3, ge=1, description="matching handshakes in a row that prove an installation")
    verify_timeout_s: float = Field(15.0, gt=0)
    plan_valid_hours: float = Field(24.0, gt=0, description="how long a plan may be carried out")
    max_failures: int = Field(
        3, ge=1, description="failures in a row that stop an issuer, an installer or a failure domain"
    )
    max_failures_in_all: int = Field(10, ge=1, description="failures in a row that stop everything")
    rest_minutes: float = Field(
        60.0, gt=0, description="how long what was stopped rests before one action tries it again"
    )
    actor: str = "certforecast"


class ApprovalSettings(Section):
    """When people must approve a plan before it is carried out."""

    above: int | None = Field(
        None, ge=0, description="endpoints a plan may change without approval; default any number"
    )
    needed: int = Field(2, ge=1, description="people who must approve")
    approvers: dict[str, Path] = Field(
        default={}, description="who may: by name the file with the signing.pub of each"
    )


class RehearsalSettings(Section):
    """How renewals are rehearsed. The days are assumptions, to be replaced by your own record."""

    workers: int = Field(4, ge=1, description="certificates rehearsed side by side")
    timeout_s: float = Field(60.0, gt=0, description="how long one check may take")
    skip: list[str] = Field([], description="checks that are left out, by name")
    resolver: str | None = Field(
        None, description="DNS server, as ``192.0.2.53`` or ``[2001:db8::53]:5353``; default the system's"
    )
    addresses: list[str] = Field(
        [], description="where the names must point, all of it; default: anywhere that serves the challenge"
    )
    http_port: int = Field(
        80, ge=1, le=65535, description="where the CA looks; another only for test servers"
    )
    clock_tolerance_s: float = Field(60.0, gt=0, description="how far our clock may be from the CA's")
    free_mb: float = Field(50.0, ge=0, description="space wanted on every file system that is written to")
    lasting_days: float = Field(
        30.0, gt=0, description="mean time until something changes that a rehearsal would see"
    )


class Settings(BaseSettings):
    """Everything a user may set."""

    model_config = SettingsConfigDict(
        env_prefix="CERTFORECAST_", env_nested_delimiter="__", extra="forbid", toml_file=None
    )

    home: Path = Field(Path(".certforecast"), description="where the store, models, plans and staging live")
    policy: RenewalPolicy = RenewalPolicy()
    costs: CostSettings = CostSettings()
    effects: EffectSettings = EffectSettings()
    model: ModelSettings = ModelSettings()
    planning: PlanningSettings = PlanningSettings()
    effort: EffortSettings = EffortSettings()
    executor: ExecutorSettings = ExecutorSettings()
    approvals: ApprovalSettings = ApprovalSettings()
    rehearsal: RehearsalSettings = RehearsalSettings()
    keys: KeySettings = KeySettings()
    sources: dict[str, SourceSettings] = {}
    issuers: dict[str, _Issuer] = {}
    installers: dict[str, _Installer] = {}
    tracking_uri: str | None = Field(None, description="MLflow server; default a SQLite file in `home`")
    database_url: str | None = Field(
        None, description="the executor's own database; default SQLite in `home`"
    )

    @property
    def store_path(self) -> Path:
        """The history store."""
        return self.home / "history.duckdb"

    @property
    def models_path(self) -> Path:
        """The folder of saved models."""
        return self.home / "models"

    @property
    def landmarks_path(self) -> Path:
        """The folder in which features of past moments are kept."""
        return self.home / "landmarks"

    @property
    def champion_path(self) -> Path:
        """The model that forecasts unless told otherwise."""
        return self.models_path / "champion.skops"

    @property
    def challenger_path(self) -> Path:
        """The model that `train` writes while a champion is in use."""
        return self.models_path / "challenger.skops"

    @property
    def plan_path(self) -> Path:
        """The plan that `plan` writes and `act` takes unless told otherwise."""
        return self.home / "plan.json"

    @property
    def staging_path(self) -> Path:
        """Where the executor keeps what it is about to install, readable by its user alone."""
        return self.home / "staging"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: arguments, then the environment, then the TOML file."""
        toml = TomlConfigSettingsSource(settings_cls, toml_file=settings_cls.model_config.get("toml_file"))
        return init_settings, env_settings, toml


def load_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings.

    Parameters
    ----------
    config : Path, optional
        The TOML file. Default ``$CERTFORECAST_CONFIG``, else ``certforecast.toml`` if there is one.
    **overrides
        Top-level settings that win over file and environment.

    Raises
    ------
    InputError
        If the named file is missing, is not TOML, or holds an unknown or wrong setting.
    """
    named = config or (Path(env) if (env := os.environ.get("CERTFORECAST_CONFIG")) else None)
    if named is not None and not named.is_file():
        raise InputError(
            f"there is no settings file {named}; create it, or name another with --config or "
            "CERTFORECAST_CONFIG"
        )
    path = named or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)

    class _FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=path)

    where = f"settings ({path})" if path else "settings (environment)"
    try:
        settings = _FromFile(**overrides)
        # Whoever changes the working directory later must not lose the store.
        return settings.model_copy(update={"home": settings.home.absolute()})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: not valid TOML: {error}") from error
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise InputError(f"{where}: " + "; ".join(lines)) from error

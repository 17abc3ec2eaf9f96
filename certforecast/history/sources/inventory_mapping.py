"""Which column of a table is which of our fields, and what its values mean."""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from certforecast.errors import InputError
from certforecast.history.schema import ERROR_KINDS
from certforecast.history.sources.inventory_files import Layout

__all__ = ["FIELDS", "REQUIRED", "TIMES", "Mapping", "TableName"]

TableName = Literal["certificates", "observations", "hosts"]

_CERTIFICATE: Final = (
    "not_before",
    "not_after",
    "names",
    "subject",
    "subject_cn",
    "issuer",
    "issuer_cn",
    "issuer_org",
    "serial",
    "fingerprint",
)
_HOST: Final = ("host", "owner", "environment", "criticality", "automation", "installer")

#: The fields that a row for each table may have, in the order of the mapping's text.
FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "observations": ("observed_at", "host", "port", "server_name", "error", "latency_ms", *_CERTIFICATE),
    "certificates": (*_CERTIFICATE, *_HOST, "known_at"),
    "hosts": (*_HOST, "issuer", "valid_from", "valid_to", "known_at"),
}
#: Fields without which a row is none.
REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    "observations": ("observed_at", "host"),
    "certificates": ("not_after",),
    "hosts": ("host",),
}
#: Fields that are times.
TIMES: Final = frozenset({"observed_at", "not_before", "not_after", "known_at", "valid_from", "valid_to"})

_ALL: Final = frozenset(field for fields in FIELDS.values() for field in fields)


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(f"{name!r} is no time zone such as 'UTC' or 'Europe/Berlin'") from error
    return name


def _encoding(name: str) -> str:
    try:
        "".encode(name)
    except (LookupError, ValueError) as error:
        raise ValueError(f"{name!r} is no encoding such as 'utf-8' or 'cp1252'") from error
    return name


class Mapping(BaseModel):
    """How a table is read, as a TOML file says.

    Attributes
    ----------
    table : str
        What a row is: ``"observations"``, ``"certificates"`` or ``"hosts"``.
    columns : dict of str to str
        For each of our fields, the column that has it.
    constants : dict of str to str
        Fields that have one value in all rows.
    formats : dict of str to str
        How a time is written where it cannot be told: ``"unix"``, ``"unix_ms"``, ``"excel"``, or a format of
        `strptime`. For `serial`, ``"decimal"``.
    time_zone : str
        For times that tell none.
    day_first : bool or None
        Whether 03/04/2026 is the 3rd of April. None: only where the column proves it.
    errors : dict of str to str
        What the texts of the field `error` mean: a kind of error, or ``""`` for none.
    criticality : dict of str to float
        What the words of the field `criticality` mean, from 0 to 1.
    sheet, delimiter, encoding, skip_rows
        How the table lies in its file: the sheet of a workbook; of CSV what parts its fields, how its letters
        are written, and how many lines stand above the header.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: TableName
    sheet: str | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1, pattern=r"^[\x00-\x7f]$")] | None = None
    encoding: Annotated[str, AfterValidator(_encoding)] | None = None
    skip_rows: Annotated[int, Field(ge=0, le=10_000)] = 0
    time_zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    day_first: bool | None = None
    columns: dict[str, str] = {}
    constants: dict[str, str] = {}
    formats: dict[str, str] = {}
    errors: dict[str, str] = {}
    criticality: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}

    @model_validator(mode="after")
    def _fits(self) -> "Mapping":
        allowed = FIELDS[self.table]
        for field in (*self.columns, *self.constants, *self.formats):
            if field not in allowed:
                known = "" if field in _ALL else "unknown "
                raise ValueError(f"{known}field {field!r}; {self.table} have: {', '.join(allowed)}")
        for field in REQUIRED[self.table]:
            if field not in self.columns and field not in self.constants:
                raise ValueError(f"no column is given for {field}, which {self.table} need")
        if bad := sorted(set(self.errors.values()) - ERROR_KINDS - {""}):
            raise ValueError(f"{bad[0]!r} is no kind of error; there are: {', '.join(sorted(ERROR_KINDS))}")
        return self

    @property
    def layout(self) -> Layout:
        """How the table lies in its file."""
        return Layout(self.sheet, self.delimiter, self.encoding, self.skip_rows)

    @classmethod
    def load(cls, path: Path) -> "Mapping":
        """Read a mapping.

        Raises
        ------
        InputError
            If the file is missing, is not TOML, or says something that has no meaning.
        """
        try:
            return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            reason = first["msg"].removeprefix("Value error, ")
            raise InputError(f"mapping {path}: {where + ': ' if where else ''}{reason}") from error
        except (OSError, ValueError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(f"mapping {path} cannot be read: {reason}; give a TOML file") from error

    def to_toml(self) -> str:
        """Write the mapping as TOML, leaving out what says nothing."""
        said = self.model_dump(exclude_none=True)
        lines = [
            f"{key} = {_value(value)}"
            for key, value in said.items()
            if not isinstance(value, dict) and not (key == "skip_rows" and value == 0)
        ]
        for key, value in said.items():
            if isinstance(value, dict) and value:
                lines += ["", f"[{key}]"]
                lines += [f"{_key(name)} = {_value(each)}" for name, each in value.items()]
        return "\n".join(lines) + "\n"


def _key(text: str) -> str:
    return text if text.isascii() and text.replace("_", "").isalnum() else _value(text)


def _value(value: str | bool | float) -> str:
    # What JSON escapes in a text, TOML's basic strings escape alike; DEL apart.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

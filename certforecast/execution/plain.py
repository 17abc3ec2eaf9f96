"""What is read from the executor's database is JSON, whatever a row says it is.

DBOS keeps with each value in which format it was written, and pickle is one it knows always. Whoever can
write to the database could run code in every process that reads it.
"""

from typing import Any

__all__ = ["refuse_pickle"]


def refuse_pickle() -> None:
    """Have DBOS refuse to read pickles in this process."""
    from dbos._serialization import DefaultSerializer

    setattr(DefaultSerializer, "deserialize", _refused)  # noqa: B010


def _refused(*_: Any) -> Any:
    raise TypeError("the executor's database holds a pickle: certforecast writes none and reads none")

"""The order that a user means by an id, or by the beginning of one."""

from __future__ import annotations

from adapters.cli.exit_codes import CommandError, ExitCode
from projections import AmbiguousOrderError, OrderNotInViewsError, Views

__all__ = ["meant_order"]


def meant_order(views: Views, key: str) -> str:
    """The client order id. Raises `CommandError`: NOT_FOUND, or USAGE when more than one order fits."""
    try:
        return views.find_order(key)
    except OrderNotInViewsError as error:
        raise CommandError(str(error), ExitCode.NOT_FOUND) from None
    except AmbiguousOrderError as error:
        listed = "".join(f"\n  {candidate}" for candidate in error.candidates)
        more = "\n  …" if error.more else ""
        raise CommandError(
            f"{key!r} fits more than one order; give more of the id:{listed}{more}", ExitCode.USAGE
        ) from None

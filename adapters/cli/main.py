"""The command `orderledger`: finds the command that is meant and gives it the rest of the line.

Only the module of that command is imported, so that `orderledger --help` answers at once.
"""

from __future__ import annotations

import argparse
import codecs
import difflib
import errno
import io
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

from adapters.cli.exit_codes import CommandError, ExitCode

__all__ = ["main"]

_OUTPUT_FAILED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

_EPILOG = """\
exit codes: 0 ok, 1 a check failed, 2 usage, 3 not found, 4 config or secret, 5 unreachable,
            6 ledger damaged, 7 outcome unknown

`orderledger init` writes a commented config; `orderledger COMMAND --help` explains a command.
"""


class _Commands(NamedTuple):
    """Commands that one module adds by `register(subparsers)`, and their help lines, shown without it."""

    module: str
    help: dict[str, str]


_COMMANDS = (
    _Commands(
        "adapters.cli.demo",
        {
            "demo": "watch a live process trade on a simulated venue, survive faults, "
            "and end with matching books"
        },
    ),
    _Commands("adapters.cli.init", {"init": "write a commented config"}),
    _Commands("adapters.cli.config_command", {"config": "check a config, show it, fingerprint it"}),
    _Commands("adapters.cli.sim", {"sim": "run a simulated Hyperliquid on this machine"}),
    _Commands("adapters.cli.run", {"run": "run the live connector process"}),
    _Commands("adapters.cli.backfill", {"backfill": "build a ledger for an account that traded before"}),
    _Commands("adapters.cli.replay", {"replay": "go through a recorded session again and compare"}),
    _Commands("adapters.cli.sessions", {"session": "look into recordings, compare, cut and shrink them"}),
    _Commands(
        "adapters.cli.redact", {"redact": "write a recording without addresses and amounts, still replayable"}
    ),
    _Commands(
        "adapters.cli.reading",
        {
            "orders": "every order with its state",
            "open-orders": "orders not done, unknown outcomes included",
            "positions": "position, entry and realised profit per market",
            "fills": "every execution",
            "history": "everything that happened to one order",
        },
    ),
    _Commands(
        "adapters.cli.results",
        {
            "funding": "every funding payment",
            "pnl": "profit, fees and funding per market and in all",
            "stats": "fill ratio, time to acknowledge, slippage, fees, refusals",
        },
    ),
    _Commands("adapters.cli.changes", {"diff": "what changed between two points"}),
    _Commands("adapters.cli.export", {"export": "orders, fills, funding or profit as a file"}),
    _Commands("adapters.cli.why", {"why": "explain an order: its whole life, step by step"}),
    _Commands("adapters.cli.verify", {"verify": "check a ledger from its first event to its views"}),
    _Commands(
        "adapters.cli.reconcile", {"reconcile": "compare the books with the venue, and repair what differs"}
    ),
    _Commands(
        "adapters.cli.discrepancies",
        {"discrepancies": "what reconciliations found, and what became of it"},
    ),
    _Commands("adapters.cli.sql", {"sql": "ask the views in SQL, read-only"}),
    _Commands(
        "adapters.cli.rebuild", {"rebuild": "build the views anew from the ledger, also while it is live"}
    ),
    _Commands("adapters.cli.backup", {"backup": "copy a ledger, live or not, and verify the copy"}),
    _Commands(
        "adapters.cli.seal", {"seal": "note the head of the chain, to prove later that nothing was changed"}
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. A user's mistake ends in a message, never in a traceback."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    _ready_streams()
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except CommandError as error:
        print(f"orderledger: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("orderledger: interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Python flushes standard output once more while it ends, which must not fail a second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OUTPUT_CLOSED
    except UnicodeEncodeError:
        # Python keeps the bytes of an argument that are no text; no database and no terminal takes them.
        if not any("\ud800" <= character <= "\udfff" for character in "".join(arguments)):
            raise
        print("orderledger: An argument is no text in UTF-8.", file=sys.stderr)
        return ExitCode.USAGE
    except OSError as error:
        if error.errno not in _OUTPUT_FAILED:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"orderledger: Cannot write: {error.strerror}.", file=sys.stderr)
        return ExitCode.CHECK_FAILED
    except Exception as error:
        from adapters.cli.refusals import refusal_of

        refusal = refusal_of(error)
        if refusal is None:
            raise
        print(f"orderledger: {refusal}", file=sys.stderr)
        return refusal.exit_code
    return code


def _ready_streams() -> None:
    """Let every command rely on three streams, and on writing any text to its standard output."""
    # Closed before the start (`>&-`): nobody says anything, or wants to hear.
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115 - open as long as the process lives
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper) and codecs.lookup(sys.stdout.encoding).name != "utf-8":
        codecs.register_error("as in json", _as_in_json)
        sys.stdout.reconfigure(errors="as in json")


def _as_in_json(error: UnicodeError) -> tuple[str, int]:
    """For what an output's encoding lacks: the escapes of JSON, so that JSON stays the same data."""
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    pairs = zip(units[::2], units[1::2], strict=True)
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in pairs), error.end


def _run(arguments: list[str]) -> int:
    parser = _Parser(
        prog="orderledger",
        description="An event-sourced order ledger with a live connector for Hyperliquid.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, help="show the version and leave")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    meant = next((argument for argument in arguments if not argument.startswith("-")), None)
    for commands in _COMMANDS:
        if meant in commands.help:
            import_module(commands.module).register(subparsers)
        else:
            for name, line in commands.help.items():
                subparsers.add_parser(name, help=line)
    try:
        options = parser.parse_args(arguments)
    except SystemExit as asked:
        # --help, --version or a usage error: argparse has written what there is to say.
        return int(asked.code or ExitCode.OK)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


class _Parser(argparse.ArgumentParser):
    """Says what was wrong, what was likely meant and where the explanation is, instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}\nSee `{self.prog} --help`.\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As `argparse` has it, but what is unknown is refused by the parser of the command that was given
        it, which knows its own options."""
        options, unknown = super().parse_known_args(args, namespace)
        if named := [argument.partition("=")[0] for argument in unknown if argument.startswith("-")]:
            known = [option for option in self._option_string_actions if option.startswith("--")]
            missing = [f"here is no option {name}.{_near(name, known)}" for name in named]
            self.error("t" + " T".join(missing))
        if unknown:
            self.error(f"nothing is expected for {', '.join(map(repr, unknown))}.")
        return options, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        near = _near(value, action.choices, "'")
        if isinstance(action, argparse._SubParsersAction):
            self.error(f"there is no command {value!r}.{near}")
        raise argparse.ArgumentError(action, f"{value!r} is none of {', '.join(action.choices)}.{near}")


def _near(typed: str, choices: Iterable[str], quote: str = "") -> str:
    close = difflib.get_close_matches(typed, list(choices), n=1)
    return f" Did you mean {quote}{close[0]}{quote}?" if close else ""


class _Version(argparse.Action):
    """Looks the version up only when asked: reading package metadata takes longer than everything else."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_arguments: Any) -> NoReturn:
        from importlib.metadata import version

        print(f"orderledger {version('orderledger')}")
        parser.exit(ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main())

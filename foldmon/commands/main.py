"""The ``foldmon`` command.

Exit codes: 0 all went well; 1 the work failed, and a line on standard error says why; 2 the command line
was wrong; 130 interrupted. ``foldmon doctor`` exits with 1 where something that foldmon needs is broken.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_EPILOG = """\
exit codes:
  0  all went well
  1  the work failed; a line on standard error says why
  2  the command line was wrong
  130  interrupted

foldmon COMMAND --help shows examples.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Args:
        arguments: without the program's name; None takes those of the process.

    Example:
        >>> main(["measure", "collections:OrderedDict", "--data", "held_out.npz"])
        1
    """
    options = _parser().parse_args(arguments)
    if options.quiet:
        logging.getLogger("foldmon").setLevel(logging.ERROR)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Nothing more may be written, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        if options.debug:
            raise
        print(f"foldmon {options.command}: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--quiet", action="store_true", help="print the result only")
    common.add_argument("--json", action="store_true", help="print the result as JSON")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser = argparse.ArgumentParser(
        prog="foldmon",
        description="Folding of the activation layers of PyTorch models.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, add, words, example in (
        ("demo", _add_demo, "train two small networks and watch them fold", "foldmon demo --epochs 40"),
        (
            "measure", _add_measure, "measure a checkpoint",
            "foldmon measure models:resnet --checkpoint last.pt --data test.npz --method exact --json",
        ),
        (
            "report", _add_report, "write one HTML page about one or several runs",
            "foldmon report runs/*/foldmon/journal.jsonl --out folding.html",
        ),
        ("live", _add_live, "follow a run in the terminal", "foldmon live runs/today"),
        (
            "replay", _add_replay, "deliver a journal to a backend that missed it",
            "foldmon replay runs/today --to mlflow --run-id 0f3c...",
        ),
        ("config", _add_config, "print a file of all options", "foldmon config > foldmon.yaml"),
        ("doctor", _add_doctor, "say what is installed and what works", "foldmon doctor --json"),
    ):  # fmt: skip
        command = commands.add_parser(
            name, parents=[common], help=words, description=f"{words[0].upper()}{words[1:]}.",
            epilog=f"example:\n  {example}", formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        add(command)
    return parser


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epochs", type=_at_least_one, help="passes over the 1,000 training images")
    parser.add_argument("--log-dir", default="foldmon-demo", help="folder of the runs (%(default)s)")
    parser.add_argument("--no-mlflow", action="store_true", help="TensorBoard only")
    parser.add_argument("--seed", type=int, default=0, help="of weights, batches and noise")
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    from foldmon.commands import demo

    plot = demo.run(
        options.log_dir,
        epochs=options.epochs or demo.EPOCHS,
        mlflow=not options.no_mlflow,
        quiet=options.quiet or options.json,
        seed=options.seed,
    )
    if options.json:
        _print_json({"plot": str(plot)})
    return 0


def _add_measure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODULE:FUNCTION", help="what makes the model")
    parser.add_argument("--checkpoint", metavar="FILE", help="weights: a state dict saved by torch.save")
    parser.add_argument(
        "--data", required=True, metavar="SOURCE",
        help="held-out data: an .npz file with x (and y), a .pt file, or MODULE:FUNCTION",
    )  # fmt: skip
    parser.add_argument("--method", choices=("sampled", "exact", "auto"), default="auto")
    parser.add_argument("--pairs", type=_at_least_one, default=64, help="number of paths (%(default)s)")
    parser.add_argument("--points", type=_at_least_one, default=33, help="points a path (%(default)s)")
    parser.add_argument("--layers", nargs="+", metavar="NAME", help="layers, by name or pattern")
    parser.add_argument("--at", metavar="MODULE", help="interpolate this module's output, not the inputs")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of the pairs")
    parser.set_defaults(run=_measure)


def _measure(options: argparse.Namespace) -> int:
    import foldmon
    from foldmon.commands import load
    from foldmon.monitor.summary import report_table

    model = load.model(options.model, options.checkpoint)
    pairs = foldmon.draw_pairs(load.data(options.data), options.pairs, seed=options.seed)
    report = foldmon.measure(
        model, pairs, method=options.method, points=options.points, layers=options.layers, at=options.at
    )
    if options.json:
        _print_json(report.to_dict())
    else:
        print(report_table(report))
    return 0


def _add_report(parser: argparse.ArgumentParser) -> None:
    _add_journals(parser, "+")
    parser.add_argument("--out", type=Path, default=Path("folding.html"), help="the page (%(default)s)")
    parser.add_argument("--figures", action="store_true", help="draw PNGs beside it, with matplotlib")
    parser.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> int:
    from foldmon.views.page import write_report

    files = write_report(options.journal, options.out, figures=options.figures)
    written = [str(path) for path in files]
    _print_json({"written": written}) if options.json else print("\n".join(written))
    return 0


def _add_live(parser: argparse.ArgumentParser) -> None:
    _add_journals(parser, None)
    parser.add_argument("--interval", type=float, default=0.25, help="seconds between looks (%(default)s)")
    parser.set_defaults(run=_live)


def _live(options: argparse.Namespace) -> int:
    from foldmon.views.live import live

    live(options.journal, interval=options.interval)
    return 0


def _add_replay(parser: argparse.ArgumentParser) -> None:
    _add_journals(parser, None)
    parser.add_argument("--to", choices=("tensorboard", "mlflow", "wandb"), required=True, help="the backend")
    parser.add_argument("--log-dir", help="TensorBoard's run folder; default the journal's own")
    parser.add_argument("--run-id", help="MLflow's run; default a new one")
    parser.add_argument("--tracking-uri", help="MLflow's store; default its current one")
    parser.set_defaults(run=_replay)


def _replay(options: argparse.Namespace) -> int:
    import foldmon
    from foldmon.exporters.base import Exporter
    from foldmon.exporters.replay import replay
    from foldmon.journal.finding import journal_of

    journal = journal_of(options.journal)
    exporter: Exporter
    if options.to == "tensorboard":
        exporter = foldmon.TensorBoardExporter(options.log_dir or journal.parent.parent)
    elif options.to == "mlflow":
        exporter = foldmon.MLflowExporter(options.run_id, options.tracking_uri)
    else:
        exporter = foldmon.WandbExporter()
    count = replay(journal, exporter)
    _print_json({"probes": count}) if options.json else print(f"{count} probes delivered to {options.to}")
    return 0


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_config)


def _config(options: argparse.Namespace) -> int:
    from foldmon.commands.options_file import default_file
    from foldmon.config import Config

    _print_json(Config().to_dict()) if options.json else print(default_file(), end="")
    return 0


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from foldmon.commands.doctor import as_json, as_table, findings

    found = findings()
    shown = [f for f in found if f.state == "broken" or not options.quiet]
    if options.json:
        _print_json(as_json(shown))
    elif shown:
        print(as_table(shown))
    return int(any(finding.state == "broken" for finding in found))


def _add_journals(parser: argparse.ArgumentParser, count: str | None) -> None:
    parser.add_argument(
        "journal", type=Path, nargs=count, metavar="RUN", help="a journal.jsonl, or the folder of a run"
    )


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _print_json(value: Any) -> None:
    from foldmon.journal.plain import json_text

    print(json_text(value, indent=2))


if __name__ == "__main__":
    sys.exit(main())

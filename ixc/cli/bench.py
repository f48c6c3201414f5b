"""``ixc bench``: how fast a model runs here, against what the official code does; can be interrupted and keeps what it has."""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ixc.cli.options import check_budget, check_is_xcomposer2, check_runs_here, given
from ixc.cli.status import StatusLine
from ixc.errors import IxcError, SettingsError
from ixc.models.presets import find_model
from ixc.settings import Settings

if TYPE_CHECKING:
    from ixc.benchmarks.inference import BenchmarkOptions
    from ixc.benchmarks.results import RunRecord
    from ixc.chat.engine import Engine

_FULL_BUDGETS = [9, 25, 55]
_CHECK_LAYERS, _CHECK_BUDGETS = 4, (9, 25)


def add_command(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "bench",
        help="measure speed and memory",
        description="Measure image path, vision tower, prefill, decode, first and second turn and several conversations at "
        "once, against what the official code does with the same weights in the same run. Ctrl-C keeps what was measured.",
    )
    parser.add_argument("--model", metavar="NAME|FOLDER", help="a known model or a checkpoint folder (default: IXC_MODEL)")
    parser.add_argument(
        "--preset",
        choices=("full", "small"),
        help="random weights instead of a model: the 7B's full size, in bf16 and int8 on a GPU, or a small one to try it",
    )
    parser.add_argument("--precisions", metavar="NAME", nargs="+", help="with --preset (default: bf16 int8, on a CPU fp32)")
    parser.add_argument("--max-patches", metavar="N", type=int, nargs="+", help="budgets (default: 9 25, full: 9 25 55)")
    parser.add_argument("--repeats", metavar="N", type=int, default=5, help="medians of so many (default: %(default)s)")
    parser.add_argument("--new-tokens", metavar="N", type=int, default=48, help="length of an answer (default: %(default)s)")
    parser.add_argument("--users", metavar="N", type=int, default=4, help="conversations at once (default: %(default)s)")
    parser.add_argument("--no-beams", action="store_true", help="leave the official example's three beams out")
    parser.add_argument(
        "--check", action="store_true", help="compare with float32 on random weights of the full width, and measure nothing"
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="write the result as JSON, and beside it a plot as SVG")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> None:
    """Measure, print the table, write. Raises IxcError."""
    _check_options(args, settings)
    if args.out is not None:
        _check_out(args.out)
    if args.check:
        _check(args, settings)
        return
    from ixc.benchmarks.inference import BenchmarkOptions
    from ixc.chat.memory import give_memory_back

    precisions = _precisions(args, settings)
    default_budgets = _FULL_BUDGETS if args.preset == "full" else [9, 25]
    options = BenchmarkOptions(
        budgets=tuple(args.max_patches or default_budgets),
        repeats=args.repeats,
        num_new_tokens=args.new_tokens,
        num_users=args.users,
        with_beams=not args.no_beams,
    )
    record: RunRecord | None = None
    try:
        for number, precision in enumerate(precisions):
            run_settings = replace(settings, precision=precision, **given(model=args.model))
            with StatusLine(sys.stderr, is_shown=sys.stderr.isatty()) as status, _engine(args, run_settings, status) as engine:
                own = _with_targets(options, engine, precision, is_first=number == 0, is_only=len(precisions) == 1)
                record = record or _record(engine, args, precisions, own)
                _measure(engine, own, record, status)
            del engine  # the next model must not be measured, or loaded, beside this one
            give_memory_back()
        record.is_complete = True
    except KeyboardInterrupt:
        print("stopped: what was measured so far is kept", file=sys.stderr)
        raise
    finally:
        if record is not None and record.figures:
            _show(record, args.out)


def _check_options(args: argparse.Namespace, settings: Settings) -> None:
    for budget in args.max_patches or ():
        check_budget(budget, settings)
    for name in ("repeats", "new_tokens", "users"):
        lowest = 2 if name == "new_tokens" else 1
        if getattr(args, name) < lowest:
            raise SettingsError(f"--{name.replace('_', '-')} must be at least {lowest}, not {getattr(args, name)}.")
    most_users = settings.max_waiting + 1  # one is answered, the others wait
    if not args.check and args.users > most_users:
        raise SettingsError(f"--users may be {most_users} at most, not {args.users}, as long as IXC_MAX_WAITING is not raised.")
    if args.preset and args.model:
        raise SettingsError("--preset takes random weights and --model real ones; give one of them.")
    if not args.preset:
        if not args.check:
            check_runs_here(settings, "ixc bench")
        model = args.model or settings.model
        check_is_xcomposer2(model, find_model(model).layout)
    if args.precisions and not args.preset:
        raise SettingsError("--precisions goes with --preset; for a model set IXC_PRECISION.")


def _check_out(out: Path) -> None:
    """Raises SettingsError where the result, or the plot beside it, could not be written at the end."""
    from ixc.benchmarks.out_file import check_out

    check_out(out)
    if out.suffix.lower() == ".svg":
        raise SettingsError(f"{out} is where the plot goes; name the JSON with --out, such as {out.with_suffix('.json')}.")
    check_out(out.with_suffix(".svg"))


def _precisions(args: argparse.Namespace, settings: Settings) -> list[str]:
    if not args.preset:
        return [settings.precision]
    import torch

    from ixc.models.precision import parse_precision

    has_gpu = torch.cuda.is_available()
    if args.preset == "full" and not has_gpu:
        raise SettingsError("--preset full needs an NVIDIA GPU with 24 GB; try --preset small, or --model ixc-nano.")
    return [str(parse_precision(name)) for name in args.precisions or (["bf16", "int8"] if has_gpu else ["fp32"])]


@contextmanager
def _engine(args: argparse.Namespace, settings: Settings, status: StatusLine) -> Iterator[Engine]:
    from ixc.chat.loading import load_engine

    if not args.preset:
        with closing(load_engine(settings, lambda stage, _: status.show(stage))) as engine:
            check_is_xcomposer2(engine.model_name, engine.layout)
            yield engine
        return
    from ixc.benchmarks.random_weights import full_size_config, random_checkpoint, small_config, write_folder

    config = full_size_config() if args.preset == "full" else small_config()
    with tempfile.TemporaryDirectory(prefix="ixc-bench-") as folder:
        settings = replace(settings, model=str(write_folder(config, Path(folder))))
        engine = load_engine(settings, lambda stage, _: status.show(stage), load=random_checkpoint)
        with closing(engine):
            yield engine


def _with_targets(
    options: BenchmarkOptions, engine: Engine, precision: str, *, is_first: bool, is_only: bool
) -> BenchmarkOptions:
    """The targets that apply to this model on this device, and what the first of several precisions has measured already."""
    from ixc.benchmarks.inference import CPU_TARGETS, H200_BUDGET, H200_MEMORY_TARGET, H200_TARGETS

    own = replace(options, with_image_path=is_first, label="" if is_only else precision)
    if "H200" in engine.device_name and engine.runner.model.config.num_hidden_layers == 32:
        targets = {H200_BUDGET: H200_TARGETS[precision]} if precision in H200_TARGETS else {}
        return replace(own, targets=targets, memory_target=H200_MEMORY_TARGET)
    return replace(own, targets=CPU_TARGETS if engine.runner.model.device.type == "cpu" else {})


def _record(engine: Engine, args: argparse.Namespace, precisions: list[str], options: BenchmarkOptions) -> RunRecord:
    from ixc.benchmarks.results import RunRecord

    name = f"{args.preset} size, random weights" if args.preset else engine.model_name
    dtype = str(engine.runner.model.dtype).removeprefix("torch.")
    return RunRecord(name, engine.runner.model.device, ", ".join(precisions) if args.preset else dtype, options)


def _measure(engine: Engine, options: BenchmarkOptions, record: RunRecord, status: StatusLine) -> None:
    from ixc.benchmarks.inference import InferenceBenchmark

    def on_step(name: str) -> None:
        status.show(f"Measuring {name}")
        if not sys.stderr.isatty():
            print(f"measuring {name}", file=sys.stderr, flush=True)

    for figure in InferenceBenchmark(engine, options).run(on_step):
        record.figures.append(figure)


def _show(record: RunRecord, out: Path | None) -> None:
    from ixc.benchmarks.measuring import table

    data = record.as_json()
    load = data["load_average"]
    print(f"{record.title}, torch {data['torch']}, medians of {data['repeats']}, load {load['before']} to {load['after']}")
    print(table(record.figures))
    _write(record, out)


def _write(record: RunRecord, out: Path | None) -> None:
    if out is None:
        return
    try:
        for path in record.write(out):
            print(f"wrote {path}", file=sys.stderr)
    except OSError as error:
        raise SettingsError(f"{out} could not be written: {error.strerror or error}; give another --out.") from error


def _check(args: argparse.Namespace, settings: Settings) -> None:
    """``--precisions`` (else bf16 and, on a GPU, fp16) against float32, at the 7B's width with as many layers as fit twice."""
    import torch

    from ixc.benchmarks.correctness import MAX_RELATIVE_ERROR, compare_with_float32
    from ixc.benchmarks.inference import IMAGE_FILE, BenchmarkOptions
    from ixc.benchmarks.random_weights import full_size_config, small_config
    from ixc.benchmarks.results import RunRecord
    from ixc.imaging.decode import decode_image
    from ixc.models.precision import parse_precision

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = full_size_config() if device.type == "cuda" and args.preset != "small" else small_config()
    if device.type == "cuda" and args.preset != "full":  # the whole 7B in float32 takes 35 GB
        config.num_hidden_layers = min(config.num_hidden_layers, _CHECK_LAYERS)
    pixels = decode_image(IMAGE_FILE, settings.images).pixels_HWC
    names = args.precisions or (["bf16", "fp16"] if device.type == "cuda" else ["bf16"])
    precisions = [parse_precision(name) for name in names]
    record = RunRecord("random weights", device, f"{', '.join(precisions)} against float32", BenchmarkOptions())
    with StatusLine(sys.stderr, is_shown=sys.stderr.isatty()) as status:
        for precision, budget in itertools.product(precisions, args.max_patches or _CHECK_BUDGETS):
            status.show(f"Comparing {precision} at HD-{budget}")
            record.comparisons.append(compare_with_float32(config, device, precision, pixels, budget))
    record.is_complete = True
    for c in record.comparisons:
        print(
            f"HD-{c.max_patches}: {c.num_prompt_tokens} tokens, {c.num_layers} layers, {c.precision} on {c.device}: relative "
            f"error {c.relative_error:.4f}, decoding ({c.decoded_as}) {c.decoding_error:.4f}, second turn "
            f"{c.second_turn_error:.4f}, kept {c.kept_error:.4f}; "
            f"cosine {c.cosine:.6f}, {'same' if c.same_first_token else 'another'} first token"
        )
    _write(record, args.out)
    if not all(comparison.is_fine for comparison in record.comparisons):
        raise IxcError(f"The relative error is above {MAX_RELATIVE_ERROR}; report this with the lines above.")

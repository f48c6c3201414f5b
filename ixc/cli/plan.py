"""``ixc plan``: how an image would be cut, as a table, JSON or a drawing. Needs neither torch nor a model's weights."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ixc.cli.options import check_budget
from ixc.dual_perspective import DualPerspectivePlan
from ixc.errors import SettingsError
from ixc.image_layout import LayoutKind
from ixc.models.presets import ModelPreset, find_model
from ixc.plan_facts import plan_facts
from ixc.settings import DEFAULT_MAX_PATCHES, Settings
from ixc.single_view import ImagePlan, SingleViewPlan
from ixc.tiling import NUM_GLOBAL_TOKENS, Scaling, TilePlan, plan_tiles, scaling, suggest_max_patches

if TYPE_CHECKING:
    from ixc.imaging.decode import DecodedImage


def add_command(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("plan", help="show how an image is cut", description="Show how an image is cut into tiles.")
    parser.add_argument("image", metavar="IMAGE", type=Path, help="JPEG, PNG, WebP, AVIF, GIF, TIFF or BMP file")
    parser.add_argument(
        "--max-patches",
        metavar="N",
        type=int,
        help=f"most tiles to cut (default: {DEFAULT_MAX_PATCHES}, or IXC_MAX_PATCHES where that is less)",
    )
    parser.add_argument(
        "--model", metavar="NAME|FOLDER", help="as this model looks at it; none of its weights are needed (default: IXC_MODEL)"
    )
    parser.add_argument("--tiles", action="store_true", help="list every tile with its pixels and tokens, counting from 1")
    parser.add_argument("--json", action="store_true", help="print everything about the plan as JSON, counting from 0")
    parser.add_argument("--svg", metavar="FILE", type=Path, help="write a drawing of the plan over the picture as SVG")
    parser.add_argument("--png", metavar="FILE", type=Path, help="write a drawing of the plan over the picture as PNG")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> None:
    """Decode, plan, print, and write the drawings asked for. Raises IxcError."""
    from ixc.imaging.decode import decode_image

    max_patches = settings.default_max_patches if args.max_patches is None else check_budget(args.max_patches, settings)
    model = find_model(args.model or settings.model)
    _check_options(args, model)
    image = decode_image(args.image, settings.images)
    plan = model.layout.plan(image.size_px, max_patches)
    _write_drawings(args, image, plan)
    if args.json:
        print(json.dumps(plan_facts(plan, max_patches_limit=settings.max_patches_limit), indent=2))
        return
    print(f"{args.image.name} ({image.source_format})\n")
    if not isinstance(plan, TilePlan):
        print(view_table(plan))
        return
    print(summary_table(plan, settings.max_patches_limit))
    if args.tiles:
        print(f"\n{tile_table(plan)}")


def summary_table(plan: TilePlan, max_patches_limit: int) -> str:
    """The plan's figures, one a line: name, value, remark. Sizes are width x height."""
    size, resized, padded, grid = plan.original_px, plan.resized_px, plan.padded_px, plan.grid
    num_local = plan.num_visual_tokens - NUM_GLOBAL_TOKENS - 1
    rows = [
        ("original", f"{size.width} x {size.height} px", ""),
        ("resized", f"{resized.width} x {resized.height} px", _scale_remark(plan)),
        ("padded", f"{padded.width} x {padded.height} px", _padding_remark(plan)),
        ("grid", f"{grid.cols} x {grid.rows} tiles", f"{plan.num_tiles} of at most {plan.max_patches}"),
        ("views", f"{plan.num_views}", "the global view and every tile"),
        ("visual tokens", f"{plan.num_visual_tokens:,}", f"{NUM_GLOBAL_TOKENS} global + 1 separator + {num_local:,} local"),
        ("suggested", *_suggestion(plan, max_patches_limit)),
    ]
    return _aligned(rows)


def view_table(plan: SingleViewPlan | DualPerspectivePlan) -> str:
    """The same of a plan without tiles."""
    size, resized, padded = plan.original_px, plan.resized_px, plan.padded_px
    per_side, is_single = plan.tokens_per_side, isinstance(plan, SingleViewPlan)
    tokens = "one for each patch" if is_single else "the two perspectives, fused"
    rows = [
        ("original", f"{size.width} x {size.height} px", ""),
        ("resized", f"{resized.width} x {resized.height} px", "its sides are not kept in proportion" if is_single else ""),
        *([] if is_single else [("padded", f"{padded.width} x {padded.height} px", _padding_remark(plan))]),
        ("views", f"{plan.num_views}", "the whole image" if is_single else f"{plan.num_tiles} blocks and the whole image"),
        ("visual tokens", f"{plan.num_visual_tokens:,}", f"{per_side} x {per_side}, {tokens}"),
    ]
    return _aligned(rows)


def tile_table(plan: TilePlan) -> str:
    """Every tile with its part of the original and its first and last visual token: both counted from 1, as on the page."""
    rows = [("tile", "row", "column", "x in original", "y in original", "visual tokens")]
    for tile in range(plan.num_tiles):
        rect, ranges = plan.tile_rect(tile), plan.tile_token_ranges(tile)
        row, col = divmod(tile, plan.grid.cols)
        place = (
            ("padding only", "")
            if rect.is_empty
            else (f"{rect.left:.0f}-{rect.right:.0f}", f"{rect.top:.0f}-{rect.bottom:.0f}")
        )
        tokens = f"{sum(map(len, ranges))} from {ranges[0].start + 1} to {ranges[-1].stop}"
        rows.append((str(tile + 1), str(row + 1), str(col + 1), *place, tokens))
    return _aligned(rows)


def _scale_remark(plan: TilePlan) -> str:
    if plan.is_clamped:
        return "thinner than the model's method allows; kept one pixel thick"
    change = scaling(plan.scale_factor)
    if change is Scaling.ENLARGED:
        return f"enlarged {plan.scale_factor:.2f} times; no detail is gained"
    if change is Scaling.SHRUNK:
        return f"shrunk {1 / plan.scale_factor:.2f} times; small print may be lost"
    return "at its own size"


def _padding_remark(plan: TilePlan | DualPerspectivePlan) -> str:
    pad = plan.padding_px
    sides = {"left": pad.left, "right": pad.right, "above": pad.top, "below": pad.bottom}
    padded = ", ".join(f"{num_px} px {side}" for side, num_px in sides.items() if num_px)
    return f"{100 * plan.padding_share:.1f} % padding: {padded}" if padded else "no padding"


def _suggestion(plan: TilePlan, limit: int) -> tuple[str, str]:
    suggested = suggest_max_patches(plan.original_px, limit)
    still_shrinks = scaling(plan_tiles(plan.original_px, suggested).scale_factor) is Scaling.SHRUNK
    remark = "even this shrinks the image" if still_shrinks else "the fewest patches that do not shrink the image"
    return str(suggested), remark


def _aligned(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"  {line.rstrip()}" for line in lines)


def _check_options(args: argparse.Namespace, model: ModelPreset) -> None:
    """Raises SettingsError for options that mean nothing to the model."""
    if args.tiles and model.layout.kind is not LayoutKind.DYNAMIC_PARTITION:
        raise SettingsError(f"{model.name} cuts no tiles; leave --tiles out.")
    if args.max_patches is not None and model.layout.kind is LayoutKind.SINGLE_VIEW:
        raise SettingsError(f"{model.name} looks once and cuts no tiles; leave --max-patches out.")


def _write_drawings(args: argparse.Namespace, image: DecodedImage, plan: ImagePlan) -> None:
    if args.svg:
        from ixc.imaging.overlay import plan_svg_document

        _write(args.svg, plan_svg_document(plan, image.pixels_HWC).encode())
    if args.png:
        from ixc.imaging.raster import plan_png

        _write(args.png, plan_png(image.pixels_HWC, plan))


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise SettingsError(f"The file {path} could not be written: {error.strerror}; choose another place.") from error
    print(f"wrote {path}", file=sys.stderr)

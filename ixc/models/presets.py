"""The models one can choose by name."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ixc.errors import CheckpointError
from ixc.image_layout import DUAL_PERSPECTIVE, DYNAMIC_PARTITION, ImageLayout, LayoutKind, layout_of_config
from ixc.shipped import ASSETS


@dataclass(frozen=True, slots=True)
class ModelPreset:
    """A model: where its checkpoint is, a local folder or a Hub repository, and what to say about it."""

    name: str
    title: str
    source: Path | str
    note: str
    revision: str = "main"
    layout: ImageLayout = DYNAMIC_PARTITION
    """How it cuts images; of a Hub repository that is not listed here it is only known once the model is loaded."""
    is_small: bool = False
    """Whether it is for demonstration: it understands questions in English only, and reads plain documents only."""


NANO = ModelPreset(
    name="ixc-nano",
    title="ixc-nano",
    source=ASSETS / "models" / "ixc-nano",
    note=(
        "A small demonstration model with the architecture of the 7B: asked in English, it reads signs, fields, small tables "
        "and bars, says when the print is too small, and makes mistakes; it does not understand photographs."
    ),
    is_small=True,
)
XC2_4KHD_7B = ModelPreset(
    name="4khd-7b",
    title="InternLM-XComposer2-4KHD 7B",
    source="internlm/internlm-xcomposer2-4khd-7b",
    note="Reads documents, charts and photographs up to 4K; it can be wrong, so check what matters.",
)
XC2_VL_7B = ModelPreset(
    name="vl-7b",
    title="InternLM-XComposer2-VL 7B",
    source="internlm/internlm-xcomposer2-vl-7b",
    note="Looks once, at 490 x 490 pixels, so it misses small print; it can be wrong, so check what matters.",
    layout=ImageLayout(LayoutKind.SINGLE_VIEW, 490),
)
INF_NANO = ModelPreset(
    name="inf-nano",
    title="inf-nano",
    source=ASSETS / "models" / "inf-nano",
    note=(
        "A small demonstration model with the architecture of INF-LLaVA: asked in English, it reads signs and "
        "small documents in 576 tokens, and makes more mistakes than ixc-nano."
    ),
    layout=DUAL_PERSPECTIVE,
    is_small=True,
)
_INF_NOTE = "Looks at a square of 1008 pixels two ways, in 576 tokens; it can be wrong, so check what matters."
INF_LLAVA_8B = ModelPreset(
    name="inf-llava-8b",
    title="INF-LLaVA 8B",
    source="WeihuangLin/INF-LLaVA-sft",
    note=_INF_NOTE,
    layout=DUAL_PERSPECTIVE,
)
INF_STAR_LLAVA_8B = ModelPreset(
    name="inf-star-llava-8b",
    title="INF-LLaVA* 8B",
    source="WeihuangLin/INF_star-LLaVA-sft",
    note=_INF_NOTE,
    layout=DUAL_PERSPECTIVE,
)
PRESETS = {preset.name: preset for preset in (NANO, INF_NANO, XC2_4KHD_7B, XC2_VL_7B, INF_LLAVA_8B, INF_STAR_LLAVA_8B)}
_REPOSITORY_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
UNKNOWN_NOTE = "A model of your own; this program does not know what it can do."


def find_model(name: str) -> ModelPreset:
    """By a preset's name, a local checkpoint folder, or a Hub repository ``owner/name``. Raises CheckpointError."""
    for preset in PRESETS.values():
        if name in (preset.name, preset.source):
            return preset
    try:
        folder = Path(name).expanduser()
        is_folder = folder.is_dir()
    except (OSError, RuntimeError) as error:  # no permission to look there, longer than a name can be, nobody's home
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"The model {name!r} cannot be looked for: {reason}; give another folder.") from error
    if is_folder:
        return ModelPreset(folder.name, folder.name, folder, UNKNOWN_NOTE, layout=read_layout(folder))
    if _REPOSITORY_ID.fullmatch(name):
        return ModelPreset(name, name, name, UNKNOWN_NOTE)
    known = ", ".join(PRESETS)
    raise CheckpointError(f"There is no model {name!r}; give a checkpoint folder, a Hub name, or one of: {known}.")


def read_layout(folder: Path) -> ImageLayout:
    """How the model in ``folder`` cuts images, by its config.json; whatever is wrong with the folder, loading it will say."""
    return layout_of_config(_read_object(folder / "config.json"))


def sees_one_image(preset: ModelPreset) -> bool:
    """Whether the model's training showed one image in each conversation, as far as a local folder says so."""
    if not isinstance(preset.source, Path):
        return False
    return _read_object(preset.source / "processor_config.json").get("sees_one_image") is True


def _read_object(file: Path) -> dict[str, Any]:
    """Empty for a file that holds none."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}

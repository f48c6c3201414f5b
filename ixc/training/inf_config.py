"""Configuration of a small INF-LLaVA's training: one YAML file, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ixc.errors import SettingsError
from ixc.training.config import StageConfig, build, check_run, read_mapping, require


@dataclass(frozen=True, slots=True)
class InfStageConfig(StageConfig):
    """``small_share`` of the pictures are loaded at 336 pixels, as the released inference code does, the others at 1008.

    ``page_share``: dense pages instead of documents, where only the visual tokens are taught. ``auxiliary_weight``: share of
    the loss "which characters stand in this token's cell" beside the answers'. ``num_tower_layers``: how many of the vision
    tower's layers train, counted from the last; 0 keeps it frozen, as in the paper.
    """

    batch_size: int = 6
    small_share: float = 0.3
    page_share: float = 0.5
    auxiliary_weight: float = 0.3
    language_lr_scale: float = 1.0
    num_tower_layers: int = 0
    tower_lr_scale: float = 0.5

    def __post_init__(self) -> None:
        StageConfig.__post_init__(self)
        require(self.batch_size >= 1, "batch_size must be at least 1")
        require(0 <= self.small_share <= 1 and 0 <= self.page_share <= 1, "shares must be between 0 and 1")
        require(self.auxiliary_weight >= 0, "auxiliary_weight must not be negative")
        require(self.num_tower_layers >= 0, "num_tower_layers must not be negative")
        require(0 < self.tower_lr_scale <= 1, "tower_lr_scale must be above 0 and at most 1")
        require(0 < self.language_lr_scale <= 1, "language_lr_scale must be above 0 and at most 1")
        require(self.tile_weight == 0, "tile_weight must be 0: these visual tokens lie in no tiles")


@dataclass(frozen=True, slots=True)
class InfTrainingConfig:
    """A run. ``start_from`` is the folder of an ixc-nano; ``model`` holds the fields of ``InfLlavaConfig``."""

    seed: int
    num_slots: int
    start_from: str
    model: dict
    vision: InfStageConfig
    lessons: InfStageConfig
    checkpoint_every_s: float = 120.0
    log_every_steps: int = 20

    def __post_init__(self) -> None:
        check_run(self)


def load_inf_config(path: Path) -> InfTrainingConfig:
    """Read and check a YAML file. Raises SettingsError naming what is wrong."""
    raw = read_mapping(path)
    for name in ("vision", "lessons"):
        raw[name] = build(InfStageConfig, raw.get(name), f"{path.name}: {name}")
    config = build(InfTrainingConfig, raw, path.name)
    if not (Path(config.start_from) / "model.safetensors").is_file():
        raise SettingsError(f"{path.name}: start_from: there are no weights in {config.start_from}; name an ixc-nano's folder.")
    return config

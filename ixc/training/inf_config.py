"""Configuration of a small INF-LLaVA's training: one YAML file, checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ixc.errors import SettingsError
from ixc.models.checkpoints import read_config
from ixc.models.xcomposer2 import XComposer2Config
from ixc.training.config import StageConfig, check_run, check_slots
from ixc.training.inf_initial import inf_model_config
from ixc.training.yaml_settings import build, read_mapping, require


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
        for name in ("tile_weight", "binding_weight", "value_weight"):
            require(getattr(self, name) == 0, f"{name} must be 0: only ixc-nano is taught that")


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
    num_workers: int | None = None
    """As in ``TrainingConfig``."""

    def __post_init__(self) -> None:
        check_run(self)


def load_inf_config(path: Path) -> InfTrainingConfig:
    """Read and check a YAML file. Raises SettingsError naming what is wrong, CheckpointError for a damaged ``start_from``."""
    raw = read_mapping(path)
    for name in ("vision", "lessons"):
        raw[name] = build(InfStageConfig, raw.get(name), f"{path.name}: {name}")
    config = build(InfTrainingConfig, raw, path.name)
    folder = Path(config.start_from)
    if not (folder / "model.safetensors").is_file():
        raise SettingsError(f"{path.name}: start_from: there are no weights in {folder}; name an ixc-nano's folder.")
    nano = read_config(folder)
    if not isinstance(nano, XComposer2Config):
        raise SettingsError(f"{path.name}: start_from: the model in {folder} is of another kind; name an ixc-nano's folder.")
    try:
        check_slots(config.num_slots, inf_model_config(config.model, nano), [config.lessons])
    except SettingsError as error:
        raise SettingsError(f"{path.name}: {error}") from None
    return config

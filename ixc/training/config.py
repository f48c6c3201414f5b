"""A training run's configuration: one YAML file, frozen values, checked before any work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from transformers import PreTrainedConfig

from ixc.errors import SettingsError
from ixc.models.xcomposer2 import XComposer2Config
from ixc.training.kinds import KIND_SHARES
from ixc.training.model_fields import model_config
from ixc.training.yaml_settings import build, read_mapping, require

LARGEST_GLOBAL_BUDGET = 4
"""Global views are drawn for the vision stage at these budgets only, where they can be read."""


@dataclass(frozen=True, slots=True)
class StageConfig:
    """What every stage has. Learning rates are peaks; ``num_threads`` 0 takes all cores, or its share beside other processes.

    ``pointing_weight``: how much it counts that heads look at the characters that an answer is read from, and
    ``tile_weight``: that the model knows where a token with text stands (no answers, no use); ``binding_weight``: that it
    finds out which heading a cell belongs to and which name a value; and ``value_weight``: that it knows how large that is.
    """

    LEAST_STEPS: ClassVar[int] = 1

    num_steps: int
    muon_lr: float
    adamw_lr: float
    num_warmup: int = 50
    num_threads: int = 0
    pointing_weight: float = 0.0
    tile_weight: float = 0.0
    binding_weight: float = 0.0
    value_weight: float = 0.0
    mean_decay: float = 0.0
    """Of the running mean of the weights at each step, which then is the stage's result; 0: the last step's weights are."""
    kind_weights: dict = field(default_factory=dict)
    """How many times as often as ``KIND_SHARES`` says a kind of document is drawn."""

    def __post_init__(self) -> None:
        require(self.num_steps >= self.LEAST_STEPS, f"num_steps must be at least {self.LEAST_STEPS}")
        require(0 < self.muon_lr < 1 and 0 < self.adamw_lr < 1, "learning rates must be between 0 and 1")
        require(0 <= self.num_warmup <= self.num_steps, "num_warmup must be between 0 and num_steps")
        require(self.num_threads >= 0, "num_threads must not be negative")
        for name in ("pointing_weight", "tile_weight", "binding_weight", "value_weight"):
            require(getattr(self, name) >= 0, f"{name} must not be negative")
        require(0 <= self.mean_decay < 1, "mean_decay must be at least 0 and less than 1")
        _check_kind_weights(self.kind_weights)

    def kind_shares(self) -> Mapping[str, float]:
        """Shares of the kinds of documents that the stage draws; they add up to 1."""
        weighted = {kind: share * self.kind_weights.get(kind, 1.0) for kind, share in KIND_SHARES.items()}
        return {kind: share / sum(weighted.values()) for kind, share in weighted.items()}


@dataclass(frozen=True, slots=True)
class LanguageConfig(StageConfig):
    """The language model learns to read codes (no picture). ``budgets`` and ``tokens_per_batch`` shape a batch.

    The first ``num_short_steps`` steps show only the written part of the tiles, and ask for little else than what stands
    somewhere: short sequences, many of them, in which looking up is learned several times as fast. Of the later steps a share
    of ``short_share`` does. ``num_steps`` 0: these settings are for rehearsals only.
    """

    LEAST_STEPS: ClassVar[int] = 0

    tokens_per_batch: int = 6000
    budgets: tuple[int, ...] = (1, 1, 1, 2, 4, 9)
    num_short_steps: int = 0
    short_share: float = 0.3
    noise: float = 0.4
    slot_dropout: float = 0.01

    def __post_init__(self) -> None:
        StageConfig.__post_init__(self)
        require(self.tokens_per_batch >= 1000, "tokens_per_batch must be at least 1000")
        require(all(budget >= 1 for budget in self.budgets) and self.budgets, "budgets must be 1 or more")
        require(0 <= self.short_share <= 1, "short_share must be between 0 and 1")
        require(0 <= self.slot_dropout < 1 and self.noise >= 0, "noise and slot_dropout must not be negative")


@dataclass(frozen=True, slots=True)
class VisionConfig(StageConfig):
    """The vision tower and projector learn to emit codes.

    ``page_share``: dense pages at the first and at the last step, the rest are views of documents; ``page_advance_px``: bounds
    of their characters' mean width. ``mark_weight``: how many characters a coloured shape counts as. Where it was 1, a tower
    that named nine of ten characters saw no shape at all: there are few, told in one cell but seen from far around.
    """

    batch_size: int = 8
    page_share: tuple[float, float] = (0.9, 0.4)
    page_advance_px: tuple[float, float] = (9.0, 24.0)
    patch_weight: float = 2.0
    mark_weight: float = 4.0
    budgets: tuple[int, ...] = (1, 2, 4, 9)

    def __post_init__(self) -> None:
        StageConfig.__post_init__(self)
        require(self.batch_size >= 1, "batch_size must be at least 1")
        require(len(self.page_share) == 2, "page_share must be two shares, at the first and the last step")
        require(all(0 <= share <= 1 for share in self.page_share), "page_share must be between 0 and 1")
        require(self.patch_weight >= 0, "patch_weight must not be negative")
        require(self.mark_weight > 0, "mark_weight must be positive")
        require(len(self.page_advance_px) == 2, "page_advance_px must be two widths between 4 and 200, the smaller first")
        low, high = self.page_advance_px
        require(4 <= low < high <= 200, "page_advance_px must be two widths between 4 and 200, the smaller first")
        require(all(budget >= 1 for budget in self.budgets) and self.budgets, "budgets must be 1 or more")
        can_show_all = any(budget <= LARGEST_GLOBAL_BUDGET for budget in self.budgets)
        require(can_show_all, f"budgets must hold one of at most {LARGEST_GLOBAL_BUDGET}, for the global views")


@dataclass(frozen=True, slots=True)
class JointConfig(StageConfig):
    """Everything trains end to end. ``views_per_batch`` bounds the passes through the tower in one step.

    ``without``: "newline" or "global view" leaves these tokens out, to see what they are good for.
    ``rehearsal_share``: of the steps, in which the language model answers from codes with the language stage's settings, lest
    it forget how; a step with pictures has few questions, at most ``max_turns`` a document.
    """

    views_per_batch: int = 16
    budgets: tuple[int, ...] = (1, 1, 2, 4, 9)
    language_lr_scale: float = 0.2
    vision_lr_scale: float = 1.0
    vision_lr_decay: float = 0.9
    auxiliary_weight: float = 0.3
    mark_weight: float = 4.0
    without: str = ""
    rehearsal_share: float = 0.0
    max_turns: int = 8

    def __post_init__(self) -> None:
        StageConfig.__post_init__(self)
        require(self.max_turns >= 1, "max_turns must be at least 1")
        require(self.without in ("", "newline", "global view"), 'without must be "newline" or "global view"')
        require(self.views_per_batch >= 2, "views_per_batch must be at least 2")
        require(all(budget >= 1 for budget in self.budgets) and self.budgets, "budgets must be 1 or more")
        require(0 <= self.vision_lr_scale <= 1, "vision_lr_scale must be between 0 (frozen) and 1")
        require(0 < self.language_lr_scale <= 1 and 0 < self.vision_lr_decay <= 1, "scales must be between 0 and 1")
        require(self.auxiliary_weight >= 0, "auxiliary_weight must not be negative")
        require(self.mark_weight > 0, "mark_weight must be positive")
        require(0 <= self.rehearsal_share < 1, "rehearsal_share must be at least 0 and less than 1")


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """A whole run. ``model`` holds the fields of ``XComposer2Config``."""

    seed: int
    num_slots: int
    model: dict
    joint: JointConfig
    language: LanguageConfig | None = None
    vision: VisionConfig | None = None
    """None, like ``language``: this part stays what it is in ``start_from``."""
    reading: JointConfig | None = None
    """A first joint stage, as a rule with the tower frozen, in which the language model gets used to what the tower says."""
    start_from: str = ""
    """Checkpoint folder with the weights to begin with; empty: random ones. What then has a stage of its own is trained on."""
    eyes_from: str = ""
    """Checkpoint folder with the vision tower and projector to begin with, where not all weights are taken over."""
    default_max_patches: int = 4
    checkpoint_every_s: float = 180.0
    log_every_steps: int = 20
    num_workers: int | None = None
    """Processes that make batches ahead, which come out the same; 0: none. Left out: one, beside a GPU all cores but one."""

    def __post_init__(self) -> None:
        check_run(self)
        require(self.default_max_patches >= 1, "default_max_patches must be at least 1")
        is_taught = self.language is None or self.language.num_steps
        require(is_taught or self.start_from, "language: num_steps may be 0 only where start_from names a model to begin with")
        rehearses = any(stage is not None and stage.rehearsal_share for stage in (self.reading, self.joint))
        require(self.language is not None or not rehearses, "rehearsal_share needs the settings of a language stage")

    def trains(self, name: str) -> bool:
        """Whether the stage of this name is part of the run."""
        stage = getattr(self, name)
        return stage is not None and stage.num_steps > 0

    def model_config(self, vocab_size: int, image_token_id: int) -> XComposer2Config:
        return XComposer2Config(**self.model, vocab_size=vocab_size, image_token_id=image_token_id)


def load_config(path: Path) -> TrainingConfig:
    """Read and check a YAML file. Raises SettingsError naming what is wrong, before any work is done.

    In place of ``model``'s fields it may name another file, from its own folder, that holds them. ``like`` names one whose
    settings hold wherever this one has none of its own, within its stages too.
    """
    raw = _with_those_of(path, read_mapping(path))
    if isinstance(raw.get("model"), str):
        raw["model"] = read_mapping(path.parent / raw["model"]).get("model")
    stages = {"language": LanguageConfig, "vision": VisionConfig, "reading": JointConfig, "joint": JointConfig}
    for name, kind in stages.items():
        is_optional = name == "reading" or (name != "joint" and raw.get("start_from"))
        if raw.get(name) is not None or not is_optional:
            raw[name] = build(kind, raw.get(name), f"{path.name}: {name}")
    config = build(TrainingConfig, raw, path.name)
    try:
        model = model_config(XComposer2Config, config.model, vocab_size=400, image_token_id=3)
        check_slots(config.num_slots, model, [each for each in (config.language, config.reading, config.joint) if each])
    except SettingsError as error:
        raise SettingsError(f"{path.name}: {error}") from None
    return config


def _with_those_of(path: Path, raw: dict[str, object]) -> dict[str, object]:
    if (name := raw.pop("like", None)) is None:
        return raw
    require(isinstance(name, str), f"{path.name}: like must be the name of a file, not {name!r}")
    base = read_mapping(path.parent / name)
    require("like" not in base, f"{path.name}: like: {name} may not be like another itself")
    both = [key for key in raw.keys() & base.keys() if isinstance(raw[key], dict) and isinstance(base[key], dict)]
    return {**base, **raw, **{key: {**base[key], **raw[key]} for key in both}}


def check_run(config: object) -> None:
    """What every run has: seed, slots, intervals and workers. Raises SettingsError."""
    require(0 <= config.seed < 2**63, "seed must not be negative, and less than 2 to the power of 63")
    require(config.num_workers is None or config.num_workers >= 0, "num_workers must not be negative")
    require(1 <= config.num_slots <= 16, "num_slots must be between 1 and 16")
    require(config.checkpoint_every_s > 0 and config.log_every_steps >= 1, "checkpoint and log intervals must be positive")


def check_slots(num_slots: int, model: PreTrainedConfig, stages: Sequence[StageConfig]) -> None:
    """That the model is wide enough for its codes, and has heads for what ``stages`` teach them. Raises SettingsError."""
    require(num_slots < model.hidden_size, "num_slots must be less than hidden_size: each has channels of its own")
    num_heads = model.num_attention_heads
    points, binds = (any(getattr(each, name) for each in stages) for name in ("pointing_weight", "binding_weight"))
    require(
        not points or num_slots <= num_heads, f"num_slots may be at most {num_heads}: with pointing_weight each takes a head"
    )
    require(not binds or num_slots < num_heads, f"num_slots may be at most {num_heads - 1}: binding_weight takes one head more")


def _check_kind_weights(weights: dict) -> None:
    unknown = sorted(map(str, set(weights) - set(KIND_SHARES)))
    require(not unknown, f"kind_weights: there is no kind {', '.join(unknown)}")
    are_numbers = all(isinstance(each, (int, float)) and 0 <= each < math.inf for each in weights.values())
    require(are_numbers, "kind_weights must be finite numbers that are not negative")
    require(any(weights.get(kind, 1) for kind in KIND_SHARES), "kind_weights must leave at least one kind of document")

"""Everything that can be configured, as frozen values checked once. Standard library only; importing reads nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ixc.errors import SettingsError
from ixc.tiling import MAX_SLIDER_PATCHES

MEGABYTE = 1024 * 1024
MAX_PORT = 65535
MAX_SEED = 2**63 - 1
DEFAULT_MAX_PATCHES = 25
DEFAULT_CACHE_BYTES = 2048 * MEGABYTE
DEFAULT_HELD_IMAGE_BYTES = 1536 * MEGABYTE
LEAST_TEMPERATURE = 1e-5
"""Below it the likeliest token is taken: divided by less, scores leave the numbers there are."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What an uploaded image may be. Checked before any pixel is decoded."""

    max_bytes: int = 50 * MEGABYTE
    max_side_px: int = 20_000
    max_megapixels: float = 60.0

    def __post_init__(self) -> None:
        _require(self.max_bytes > 0, f"IXC_MAX_UPLOAD_MB must be at least 1, not {self.max_bytes / MEGABYTE:g}")
        _require(self.max_side_px > 0, f"IXC_MAX_SIDE_PX must be at least 1, not {self.max_side_px}")
        is_area = 0 < self.max_megapixels < math.inf
        _require(is_area, f"IXC_MAX_MEGAPIXELS must be a finite number above 0, not {self.max_megapixels:g}")


GENERATION_LIMITS = {
    "max_new_tokens": ("answer length (max_new_tokens)", 1, 4096),
    "temperature": ("temperature", 0.0, 5.0),
    "top_p": ("top_p", 0.01, 1.0),
    "repetition_penalty": ("repetition_penalty", 0.5, 3.0),
    "num_beams": ("number of beams (num_beams)", 1, 8),
    "prompt_lookup_tokens": ("number of tokens to guess (prompt_lookup_tokens)", 0, 32),
}
"""What each is called, its least and its largest value; those of whole numbers are whole."""


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """How an answer is generated. Defaults: the reference's ``chat`` (reference/ixc2_4khd/README.md, "Prompt (chat)").

    ``temperature`` 0 means greedy, as does ``do_sample=False``. ``num_beams`` above 1 excludes sampling and streaming.
    Raises SettingsError naming the field that is out of range.
    """

    max_new_tokens: int = 1024
    do_sample: bool = True
    temperature: float = 1.0
    top_p: float = 0.8
    repetition_penalty: float = 1.005
    num_beams: int = 1
    seed: int | None = None
    prompt_lookup_tokens: int = 0
    """Guess up to so many tokens a step from the text so far: the same answer, sooner where it repeats. 0: off."""

    def __post_init__(self) -> None:
        for name, (title, low, high) in GENERATION_LIMITS.items():
            value = getattr(self, name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            _require(is_number and low <= value <= high, f"the {title} must be between {low} and {high}, not {value!r:.40}")
            if isinstance(low, int):
                _require(float(value).is_integer(), f"the {title} must be a whole number, not {value!r}")
            object.__setattr__(self, name, type(low)(value))  # JSON and sliders write 512 as 512.0, and 1.0 as 1
        seed = int(self.seed) if isinstance(self.seed, float) and self.seed.is_integer() else self.seed
        is_seed = seed is None or (isinstance(seed, int) and 0 <= seed <= MAX_SEED)
        _require(is_seed, f"the seed must be empty or a whole number from 0 to {MAX_SEED}, not {self.seed!r}")
        object.__setattr__(self, "seed", seed)

    @property
    def is_greedy(self) -> bool:
        return not self.do_sample or self.temperature < LEAST_TEMPERATURE

    def with_given(self, given: Mapping[str, Any]) -> GenerationSettings:
        """These settings, a model's own, with those that a question names, by their field's names; ``do_sample`` follows.

        A ``temperature`` or ``top_p`` that is named asks for sampling. A temperature of 0 excludes it, and so do several beams.
        What is named counts more than what is not: where the beams are only the model's own, a question that asks for sampling
        gets it, without beams; where it names beams as well, nothing is sampled. Raises SettingsError for a value out of range.
        """
        wanted = replace(self, **given)
        asks = "temperature" in given or "top_p" in given
        samples = (self.do_sample or asks) and wanted.temperature >= LEAST_TEMPERATURE
        num_beams = 1 if asks and samples and "num_beams" not in given else wanted.num_beams
        return replace(wanted, do_sample=samples and num_beams == 1, num_beams=num_beams)


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """Bounds of the prefix and vision caches, per process."""

    max_bytes: int | None = None
    """None: DEFAULT_CACHE_BYTES; on a GPU half of what is free beside the model, where that is more."""
    max_age_s: float = 1800.0
    max_sessions: int = 64

    def __post_init__(self) -> None:
        num_bytes = 0 if self.max_bytes is None else self.max_bytes
        _require(num_bytes >= 0, f"IXC_CACHE_MB must be 0 (keep nothing) or more, not {num_bytes / MEGABYTE:g}")
        _require(self.max_age_s > 0, f"IXC_CACHE_AGE_S must be more than 0 seconds, not {self.max_age_s:g}")
        _require(self.max_sessions > 0, f"IXC_CACHE_SESSIONS must be at least 1, not {self.max_sessions}")


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a running app. ``from_env`` reads IXC_* variables; the command line overrides single fields."""

    model: str = "ixc-nano"
    """A preset's name or a checkpoint folder."""
    models: str = ""
    """What the page offers besides, separated by commas; empty: every preset where the page is on loopback,
    without login, keys and share link, and none elsewhere."""
    precision: str = "auto"
    """auto, bf16, fp16, fp32, int8 or int4."""
    device: str = "auto"
    """auto (a GPU where there is one), cpu, cuda, cuda:1 ..., or split: over all GPUs, then CPU and disk, as they have room."""
    max_memory: str = ""
    """With device split: what each part may hold of the weights, as "0=20GB, 1=20GB, cpu=48GB"; empty: what is free."""
    offload_folder: str = ""
    """With device split: where weights go that fit neither GPU nor CPU; empty: nothing goes to disk."""
    decode: str = "auto"
    """auto, compiled, graphs, static or dynamic; see ``ixc.chat.static_decode``."""
    prompt_lookup_tokens: int = 0
    """Default of ``GenerationSettings.prompt_lookup_tokens``."""
    resize: str = "fast"
    """How images are resized: fast, at most 1 of 255 from the reference's pixels, or exact, by Pillow in twice the time."""
    host: str = "127.0.0.1"
    port: int = 7860
    origins: str = ""
    """Web addresses, separated by commas, whose pages may use this server from a browser besides its own; "*": all."""
    backend: str = ""
    """Address of an OpenAI-compatible server that runs the model in place of this process; empty: none."""
    backend_key: str = field(default="", repr=False)
    backend_parallel: int = 16
    """Questions that are sent to the backend at a time."""
    fetch_images: str = "off"
    """on lets callers of the API name images by public http(s) addresses, which this server then fetches."""
    read_ahead: str = "on"
    """on: the model reads the image that a page shows before its user asks, while nobody else's question is under way."""
    max_patches_limit: int = MAX_SLIDER_PATCHES
    max_waiting: int = 20
    """Chat requests that may wait in the queue; the next one is refused with a message."""
    prefill_chunk_tokens: int = 0
    """Prompt tokens per pass of the language model; 0: 1,024 on a CPU, so that Stop is answered soon, all at once on a GPU."""
    held_image_bytes: int = DEFAULT_HELD_IMAGE_BYTES
    """What all open pages' decoded images may take. Above it earlier images go first, then whole pages' that are idle."""
    images: ImageLimits = field(default_factory=ImageLimits)
    cache: CacheLimits = field(default_factory=CacheLimits)

    @property
    def default_max_patches(self) -> int:
        """The budget where neither a user nor a model names one."""
        return min(DEFAULT_MAX_PATCHES, self.max_patches_limit)

    def __post_init__(self) -> None:
        # Addresses of IPv6 are also written as in URLs.
        object.__setattr__(self, "host", self.host.removeprefix("[").removesuffix("]"))
        is_port = 0 <= self.port <= MAX_PORT
        _require(is_port, f"the port (--port or IXC_PORT) must be between 0 and {MAX_PORT}, not {self.port}")
        _require(self.backend_parallel >= 1, f"IXC_BACKEND_PARALLEL must be at least 1, not {self.backend_parallel}")
        _require(self.fetch_images in ("off", "on"), f"IXC_FETCH_IMAGES must be off or on, not {self.fetch_images!r}")
        _require(self.read_ahead in ("off", "on"), f"IXC_READ_AHEAD must be off or on, not {self.read_ahead!r}")
        _require(self.resize in ("fast", "exact"), f"IXC_RESIZE must be fast or exact, not {self.resize!r}")
        _require(self.max_patches_limit >= 1, f"IXC_MAX_PATCHES must be at least 1, not {self.max_patches_limit}")
        places = "the number of questions that may wait (--max-waiting or IXC_MAX_WAITING)"
        _require(self.max_waiting >= 1, f"{places} must be at least 1, not {self.max_waiting}")
        _require(
            self.held_image_bytes >= MEGABYTE, f"IXC_IMAGES_MB must be at least 1, not {self.held_image_bytes // MEGABYTE}"
        )
        chunk, lookup = self.prefill_chunk_tokens, self.prompt_lookup_tokens
        _require(chunk >= 0, f"IXC_PREFILL_CHUNK must be at least 1, or 0 for the device's own, not {chunk}")
        _require(0 <= lookup <= 32, f"IXC_PROMPT_LOOKUP must be between 0 and 32, not {lookup}")

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read the IXC_* variables of ``env``. Raises SettingsError naming the variable that is wrong."""
        top = _read(env, cls, _TOP_VARIABLES, {"held_image_bytes": MEGABYTE})
        images = ImageLimits(**_read(env, ImageLimits, _IMAGE_VARIABLES, {"max_bytes": MEGABYTE}))
        cache = CacheLimits(**_read(env, CacheLimits, _CACHE_VARIABLES, {"max_bytes": MEGABYTE}))
        return cls(**top, images=images, cache=cache)


_TOP_VARIABLES = {
    "IXC_MODEL": "model",
    "IXC_MODELS": "models",
    "IXC_PRECISION": "precision",
    "IXC_DEVICE": "device",
    "IXC_MAX_MEMORY": "max_memory",
    "IXC_OFFLOAD_DIR": "offload_folder",
    "IXC_DECODE": "decode",
    "IXC_PROMPT_LOOKUP": "prompt_lookup_tokens",
    "IXC_RESIZE": "resize",
    "IXC_HOST": "host",
    "IXC_PORT": "port",
    "IXC_ORIGINS": "origins",
    "IXC_BACKEND": "backend",
    "IXC_BACKEND_KEY": "backend_key",
    "IXC_BACKEND_PARALLEL": "backend_parallel",
    "IXC_FETCH_IMAGES": "fetch_images",
    "IXC_READ_AHEAD": "read_ahead",
    "IXC_MAX_PATCHES": "max_patches_limit",
    "IXC_MAX_WAITING": "max_waiting",
    "IXC_PREFILL_CHUNK": "prefill_chunk_tokens",
    "IXC_IMAGES_MB": "held_image_bytes",
}
_IMAGE_VARIABLES = {
    "IXC_MAX_UPLOAD_MB": "max_bytes",
    "IXC_MAX_SIDE_PX": "max_side_px",
    "IXC_MAX_MEGAPIXELS": "max_megapixels",
}
_CACHE_VARIABLES = {
    "IXC_CACHE_MB": "max_bytes",
    "IXC_CACHE_AGE_S": "max_age_s",
    "IXC_CACHE_SESSIONS": "max_sessions",
}
VARIABLES = frozenset((*_TOP_VARIABLES, *_IMAGE_VARIABLES, *_CACHE_VARIABLES))
"""The names of the environment variables that ``Settings.from_env`` reads."""


def _read(
    env: Mapping[str, str], cls: type, variables: Mapping[str, str], units: Mapping[str, int] | None = None
) -> dict[str, object]:
    kinds = {f.name: f.type for f in fields(cls)}
    values: dict[str, object] = {}
    for variable, name in variables.items():
        text = env.get(variable, "").strip()
        if not text:
            continue
        kind = {"int": int, "float": float, "str": str}[str(kinds[name]).removesuffix(" | None")]
        value = text if kind is str else parse_number(text, variable, kind)
        values[name] = value * units[name] if units and name in units else value
    return values


def parse_number(text: str, variable: str, kind: type[int] | type[float]) -> float:
    """``text`` as a number of ``kind``. Raises SettingsError naming the variable it comes from."""
    try:
        return kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise SettingsError(f"{variable} must be {wanted}, not {text!r}.") from None


def _require(is_fine: bool, message: str) -> None:
    if not is_fine:
        raise SettingsError(f"{message[0].upper()}{message[1:]}.")

"""How an answer is generated, as controls; and from the controls' values back to frozen settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ixc.application.engine_provider import EngineProvider
from ixc.application.model_choice import OfferedModel, offered_models
from ixc.application.model_files import bytes_to_download, in_words
from ixc.application.strings import DEFAULT_LANGUAGE, translate
from ixc.errors import SettingsError
from ixc.settings import GenerationSettings, Settings
from ixc.ui.components import Widget


@dataclass(frozen=True, slots=True)
class SettingsPanel:
    """The controls, in the order in which handlers get their values, and what opens them."""

    toggle: Widget
    model: gr.Dropdown
    length: gr.Slider
    temperature: gr.Slider
    top_p: gr.Slider
    repetition: gr.Slider
    beams: gr.Slider
    seed: gr.Textbox
    system: gr.Textbox

    @property
    def inputs(self) -> list[gr.components.Component]:
        return [self.length, self.temperature, self.top_p, self.repetition, self.beams, self.seed, self.system]

    @property
    def labelled(self) -> dict[str, Any]:
        """String key -> the control that bears it."""
        return {
            "settings.model": self.model,
            "settings.length": self.length,
            "settings.temperature": self.temperature,
            "settings.top_p": self.top_p,
            "settings.repetition": self.repetition,
            "settings.beams": self.beams,
            "settings.seed": self.seed,
            "settings.system": self.system,
        }


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """What the controls say."""

    generation: GenerationSettings
    system: str

    @classmethod
    def from_values(
        cls, length: float, temperature: float, top_p: float, repetition: float, beams: float, seed: str | None, system: str
    ) -> AnswerSettings:
        """Raises SettingsError for a value out of range. The page names every one of them."""
        named = {
            "max_new_tokens": length,
            "temperature": temperature,
            "top_p": top_p,
            "repetition_penalty": repetition,
            "num_beams": beams,
            "seed": _parse_seed(seed),
        }
        return cls(GenerationSettings().with_given(named), system or "")


def layout_settings_panel(settings: Settings) -> SettingsPanel:
    def label(key: str) -> str:
        return translate("en", f"settings.{key}")

    defaults = GenerationSettings()
    # Not an accordion: Gradio's mounts its controls when it is opened, and a value set in that moment is lost.
    toggle = Widget("settingsToggle", None, events=("restore",), elem_id="ixc-settings-toggle")
    with gr.Column(elem_id="ixc-settings"):
        with gr.Row():
            choices = model_choices(settings)
            model = gr.Dropdown(
                choices, value=settings.model, label=label("model"), interactive=len(choices) > 1, elem_id="ixc-model"
            )
            # A text field, because Gradio's number field turns "none" into 0.
            seed = gr.Textbox("", label=label("seed"), max_lines=1, max_length=20, elem_id="ixc-seed")
        with gr.Row():
            length = gr.Slider(1, 4096, defaults.max_new_tokens, step=1, label=label("length"), elem_id="ixc-length")
            temperature = gr.Slider(
                0, 2, defaults.temperature, step=0.05, label=label("temperature"), elem_id="ixc-temperature"
            )
        with gr.Row():
            top_p = gr.Slider(0.01, 1, defaults.top_p, step=0.01, label=label("top_p"))
            repetition = gr.Slider(0.5, 2, defaults.repetition_penalty, step=0.005, label=label("repetition"))
        beams = gr.Slider(1, 8, defaults.num_beams, step=1, label=label("beams"), elem_id="ixc-beams")
        system = gr.Textbox("", label=label("system"), lines=3, max_lines=8, elem_id="ixc-system")
    return SettingsPanel(toggle, model, length, temperature, top_p, repetition, beams, seed, system)


def relabelled(panel: SettingsPanel, provider: EngineProvider, language: str) -> list[Any]:
    """``SettingsPanel.labelled`` in another language."""
    return [
        gr.update(
            label=translate(language, key), **({"choices": _choices(provider, language)} if control is panel.model else {})
        )
        for key, control in panel.labelled.items()
    ]


def defaults_update(provider: EngineProvider, current: Sequence[Any], language: str = DEFAULT_LANGUAGE) -> list[Any]:
    """The chosen model and the running one's own defaults, for ``SettingsPanel.model`` and ``inputs``, now ``current``.

    Nothing but the choice changes without a model, and nothing that the user has changed: a value that is no model's default.
    What is left to download of a model is said anew with the choice.
    """
    status = provider.status
    chosen = gr.update(choices=_choices(provider, language), value=status.coming.key if status.coming else status.key)
    if not provider.defaults or provider.engine is None:
        return [chosen, *[gr.skip()] * len(current)]
    *before, own = [_control_values(*defaults) for defaults in provider.defaults]
    untouched = list(zip(_control_values(GenerationSettings(), ""), *before, strict=True))
    is_free = [now in olds and now != new for new, olds, now in zip(own, untouched, current, strict=True)]
    return [chosen, *(new if free else gr.skip() for new, free in zip(own, is_free, strict=True))]


def _choices(provider: EngineProvider, language: str) -> list[tuple[str, str]]:
    """Another server's model, the only one, is called what that server calls it."""
    if provider.settings.backend and provider.engine is not None:
        return [(provider.status.name, provider.settings.model)]
    return model_choices(provider.settings, language)


def model_choices(settings: Settings, language: str = DEFAULT_LANGUAGE) -> list[tuple[str, str]]:
    """Title and key of every model that can be chosen; the title says what choosing it downloads."""
    return [(_title_with_download(settings, model, language), model.key) for model in offered_models(settings)]


def _title_with_download(settings: Settings, model: OfferedModel, language: str) -> str:
    if settings.backend:
        return translate(language, "settings.model.elsewhere")
    num_bytes = bytes_to_download(settings, model.key)
    if num_bytes is None:
        return translate(language, "settings.model.download", model=model.title)
    if not num_bytes:
        return model.title
    return translate(language, "settings.model.download.size", size=in_words(num_bytes), model=model.title)


def _control_values(generation: GenerationSettings, system: str) -> list[Any]:
    """The values of ``SettingsPanel.inputs`` that say ``generation`` and ``system``."""
    temperature = 0.0 if generation.is_greedy else min(generation.temperature, 2.0)
    numbers = [generation.max_new_tokens, temperature, generation.top_p, generation.repetition_penalty, generation.num_beams]
    return [*numbers, "" if generation.seed is None else str(generation.seed), system]


def _parse_seed(text: str | None) -> int | None:
    """None for an empty field. Raises SettingsError unless it holds a whole number that a generator takes."""
    text = (text or "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text) < 2**63):
        raise SettingsError("The seed must be a whole number from 0 to 9223372036854775807, or left empty.")
    return int(text)

"""What several commands share: the budget's bounds, what models they run and where, options that override only when given."""

from __future__ import annotations

from ixc.errors import BudgetOutOfRange, SettingsError
from ixc.image_layout import ImageLayout, LayoutKind
from ixc.settings import Settings


def check_budget(max_patches: int, settings: Settings) -> int:
    """``max_patches`` as it is. Raises BudgetOutOfRange when this installation does not serve it."""
    limit = settings.max_patches_limit
    if not 1 <= max_patches <= limit:
        raise BudgetOutOfRange(
            f"The max patches must be between 1 and {limit}, not {max_patches}; choose another budget or raise IXC_MAX_PATCHES."
        )
    return max_patches


def check_is_xcomposer2(model: str, layout: ImageLayout) -> None:
    """Raises SettingsError for a model whose prompts and parts are INF-LLaVA's."""
    if layout.kind is LayoutKind.DUAL_PERSPECTIVE:
        raise SettingsError(f"{model} is an INF-LLaVA model; this command runs InternLM-XComposer2 models only.")


def check_runs_here(settings: Settings, what: str) -> None:
    """Raises SettingsError where another server runs the model: ``what`` looks into it."""
    if settings.backend:
        raise SettingsError(f"{what} runs the model on this machine, and not at another server; unset IXC_BACKEND.")


def given(**options: object) -> dict[str, object]:
    """The options that the user gave: those that are not None."""
    return {name: value for name, value in options.items() if value is not None}

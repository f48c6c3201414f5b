"""The page's style sheet and scripts."""

from __future__ import annotations

from ixc.shipped import ASSETS

UI_FOLDER = ASSETS / "ui"

STYLE_FILES = ("base.css", "image.css", "chat.css", "explore.css")
SCRIPT_FILES = (
    *("event_stream.js", "core.js", "markdown.js", "shell.js"),
    *("upload.js", "stage.js", "budget.js", "plan.js", "composer.js", "asked.js", "transcript.js"),
    *("dual.js", "compare.js", "evidence.js"),
)


def read_asset(name: str) -> str:
    return (UI_FOLDER / name).read_text(encoding="utf-8")


def page_head(strings_json: str) -> str:
    """What goes into the page's head: style, sentences, and the scripts that define ``window.ixc``.

    Inline, so that nothing has to be fetched and all is there before any component's ``js_on_load`` runs. The style is here and
    not in ``launch(css=...)``, because Gradio confines that to its own container and some of it is about the page's body.
    """
    style = "\n".join(read_asset(name) for name in STYLE_FILES)
    scripts = "\n".join(read_asset(name) for name in SCRIPT_FILES)
    safe_json = strings_json.replace("</", "<\\/")
    return f"<style>{style}</style><script>window.IXC_STRINGS = {safe_json};\n{scripts}</script>"

"""A vLLM plug-in: ``vllm serve CHECKPOINT`` runs InternLM-XComposer2 with the app's own tiles, prompts and budgets.

vLLM finds ``register`` through the entry point ``vllm.general_plugins`` wherever this package is installed beside it. Nothing
else here is imported by the app, so that it needs no vLLM.
"""

ARCHITECTURES = ("XComposer2ForCausalLM", "InternLMXComposer2ForCausalLM")
"""What config.json names: this project's checkpoints, and the official ones."""


def register() -> None:
    """Make the model, its configuration and its tokenizer known to vLLM. Called in each of its processes."""
    from transformers import AutoTokenizer
    from vllm import ModelRegistry

    from ixc.models.xcomposer2 import XComposer2Config  # registers it with transformers
    from ixc.serving.vllm.tokenizer import InternLM2Tokenizer

    AutoTokenizer.register(XComposer2Config, InternLM2Tokenizer, exist_ok=True)
    for architecture in ARCHITECTURES:
        ModelRegistry.register_model(architecture, "ixc.serving.vllm.model:XComposer2ForVllm")

"""A vLLM plug-in: ``vllm serve CHECKPOINT`` runs InternLM-XComposer2 with the app's own tiles, prompts and budgets.

vLLM finds ``register`` through the entry point ``vllm.general_plugins`` wherever this package is installed beside it. Nothing
else here is imported by the app, so that it needs no vLLM.
"""

ARCHITECTURE = "XComposer2ForCausalLM"
"""What the configuration says, whatever name an official config.json gives."""


def register() -> None:
    """Make the model, its configuration, its tokenizer and its way of opening images known to vLLM.

    Called in each of vLLM's processes.
    """
    from transformers import AutoTokenizer
    from vllm import ModelRegistry

    from ixc.models.xcomposer2 import XComposer2Config  # registers it with transformers
    from ixc.serving.vllm.media import register_connector
    from ixc.serving.vllm.tokenizer import InternLM2Tokenizer, InternLMXComposer2Tokenizer

    for tokenizer in (InternLMXComposer2Tokenizer, InternLM2Tokenizer):
        AutoTokenizer.register(XComposer2Config, tokenizer, exist_ok=True)
    ModelRegistry.register_model(ARCHITECTURE, "ixc.serving.vllm.model:XComposer2ForVllm")
    register_connector()

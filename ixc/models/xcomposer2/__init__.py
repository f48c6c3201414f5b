"""InternLM-XComposer2-4KHD (arXiv 2404.06512) as native transformers classes, registered with the Auto classes on import.

Our own code throughout: ``trust_remote_code`` is never used.
"""

from transformers import AutoConfig, AutoImageProcessor, AutoModelForCausalLM, AutoProcessor, AutoTokenizer

from ixc.models.xcomposer2.configuration import XComposer2Config
from ixc.models.xcomposer2.image_processing import XComposer2ImageProcessor
from ixc.models.xcomposer2.modeling import XComposer2ForCausalLM
from ixc.models.xcomposer2.processing import XComposer2Processor
from ixc.models.xcomposer2.spans import VisualSpans
from ixc.models.xcomposer2.tokenization import InternLM2Tokenizer

AutoConfig.register(XComposer2Config.model_type, XComposer2Config, exist_ok=True)
AutoModelForCausalLM.register(XComposer2Config, XComposer2ForCausalLM, exist_ok=True)
AutoTokenizer.register(XComposer2Config, InternLM2Tokenizer, exist_ok=True)
AutoImageProcessor.register(XComposer2Config, image_processor_classes={"pil": XComposer2ImageProcessor}, exist_ok=True)
AutoProcessor.register(XComposer2Config, XComposer2Processor, exist_ok=True)

__all__ = [
    "InternLM2Tokenizer",
    "VisualSpans",
    "XComposer2Config",
    "XComposer2ForCausalLM",
    "XComposer2ImageProcessor",
    "XComposer2Processor",
]

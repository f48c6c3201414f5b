"""INF-LLaVA (arXiv 2407.16198) as native transformers classes, registered with the Auto classes on import.

Our own code throughout: ``trust_remote_code`` is never used.
"""

from transformers import AutoConfig, AutoImageProcessor, AutoModelForCausalLM, AutoProcessor, AutoTokenizer

from ixc.models.inf_llava.configuration import InfLlavaConfig
from ixc.models.inf_llava.image_processing import InfLlavaImageProcessor
from ixc.models.inf_llava.modeling import InfLlavaForCausalLM
from ixc.models.inf_llava.processing import InfLlavaProcessor
from ixc.models.inf_llava.tokenization import Llama3Tokenizer

AutoConfig.register(InfLlavaConfig.model_type, InfLlavaConfig, exist_ok=True)
AutoModelForCausalLM.register(InfLlavaConfig, InfLlavaForCausalLM, exist_ok=True)
AutoTokenizer.register(InfLlavaConfig, fast_tokenizer_class=Llama3Tokenizer, exist_ok=True)
AutoImageProcessor.register(InfLlavaConfig, image_processor_classes={"pil": InfLlavaImageProcessor}, exist_ok=True)
AutoProcessor.register(InfLlavaConfig, InfLlavaProcessor, exist_ok=True)

__all__ = ["InfLlavaConfig", "InfLlavaForCausalLM", "InfLlavaImageProcessor", "InfLlavaProcessor", "Llama3Tokenizer"]

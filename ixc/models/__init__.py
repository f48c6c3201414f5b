"""The models, as ordinary transformers classes.

Dimension letters used in tensor names: B batch, S sequence, D language model width, V vocabulary, R PLoRA rank, N views of an
image (the global view first), C channels, H W pixels, P ViT patches of a view (24 x 24), T visual tokens per view side (12),
E merged vision width (4 x ViT width). A name's suffix spells its tensor's shape: ``feat_NTTE``.
"""

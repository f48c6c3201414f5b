"""The chat engine: load a model, prefill, stream an answer as typed events, stop, reuse the prefix."""

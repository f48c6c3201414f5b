"""Training of the small model: documents rendered here, the paper's recipe at small scale, one command.

A program: it may import what lies below it, down to the values. What measures the small model, the parts ``evaluation`` and
``benchmarks``, may import it, for its documents and its stages; the app never does.
"""

"""Training of the small model: documents rendered here, the paper's recipe at small scale, one command.

A leaf: it may import everything below the screen, and nothing imports it.
"""

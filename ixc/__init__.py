"""Talk with high-resolution images: tile plans, models, a chat engine and a web app.

Importing this package does nothing; import the part you need (``ixc.tiling`` needs the standard library only).
"""

__version__ = "0.1.0"

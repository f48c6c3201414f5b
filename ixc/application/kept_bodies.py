"""How whoever holds a request's body after its answer says so to whoever counts what bodies take."""

KEEP_BODY = "ixc.keep_body"
"""In a request's scope: a function to call when the body is held on, which returns one to call once it is let go."""

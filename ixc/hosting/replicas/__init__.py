"""Several servers behind one address, each conversation on one of them: its keys and values are in that one's cache."""

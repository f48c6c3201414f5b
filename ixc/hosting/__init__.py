"""Hosting the app for others: the server and what watches it, and the Hugging Face Space."""

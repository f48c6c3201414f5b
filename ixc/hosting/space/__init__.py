"""The Hugging Face Space: what it is made of, how it comes into being, and what differs where it runs."""

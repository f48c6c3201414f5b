"""The app for other programs: an OpenAI-compatible API and MCP tools, over the same line and model as the page."""

"""Typed endpoints for programs, through gradio_client and MCP."""

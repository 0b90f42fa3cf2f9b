"""llm-sidecar: a local HTTP service, one door to every language model."""

__version__ = "0.1.0"

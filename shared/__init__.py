"""What the services share: the published language, the runtime and the language models."""

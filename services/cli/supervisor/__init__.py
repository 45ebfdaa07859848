"""The process that starts NATS and every service."""

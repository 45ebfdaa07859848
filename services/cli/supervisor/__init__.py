"""Supervision of NATS and the services on one machine."""

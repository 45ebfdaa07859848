"""NATS locked down: keys, certificates and configuration, and what each user may do."""

"""A locked-down NATS: keys, certificates, configuration, and the permissions of each user."""

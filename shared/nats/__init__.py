"""NATS JetStream: connection, topology, and the log over it."""

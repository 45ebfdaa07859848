"""The HTTP API's schemas, shared by the coordinator and its clients."""

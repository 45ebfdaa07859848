"""A new release, rolled out for real: `make soak`. All services are replaced while hundreds of runs are under way."""

"""Routes of the JSON API, and its OpenAPI description."""

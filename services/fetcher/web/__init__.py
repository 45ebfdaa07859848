"""Pages of the web: reached through one guard, read by processes that may die of them. Nothing here is trusted."""

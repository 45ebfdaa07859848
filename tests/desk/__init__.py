"""The desk in a real browser. A package, so that its browser can end with it."""

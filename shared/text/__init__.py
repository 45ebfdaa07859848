"""Understanding of text that planner, index and extraction share: words and sentences. Pure."""

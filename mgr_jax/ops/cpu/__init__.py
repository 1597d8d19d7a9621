"""What only a CPU gains from: passes in blocks that stay in the cache."""

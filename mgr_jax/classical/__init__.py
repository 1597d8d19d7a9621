"""Systems that are fitted in one call."""

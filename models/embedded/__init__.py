"""The embedded model: eyes (vision, heads) and voice (language) from openly licensed parts."""

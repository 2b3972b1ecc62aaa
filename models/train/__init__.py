"""Training of the embedded model: one command per step, see README.md beside this file."""

"""Stage 1: motion gate, detector, pose, tracks and triggers. No torch in here."""

"""What is read and written: models, checkpoints, runs, and the archives they come in."""

"""What docs/recording.md tells of recorded trainings, and how each of it was found."""

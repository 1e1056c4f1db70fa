"""Where a teacher comes from: a closed form, or a network that the suite trains."""

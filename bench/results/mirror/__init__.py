"""A suite as W&B shows it: which runs there are, what each says, and the process that writes them there."""

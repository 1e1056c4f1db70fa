"""One training run under a budget: the loop, the ledger, memory, and the record that W&B mirrors."""

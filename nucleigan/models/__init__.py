"""Networks with their losses and one training step; the table of methods."""

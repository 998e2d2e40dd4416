"""Which labels are wrong, and how they become right."""

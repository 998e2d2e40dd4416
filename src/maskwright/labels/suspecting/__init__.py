"""Label quality: which masks are wrong, how, and what the repair would be."""

"""The nouns: classes, samples, datasets, masks, findings, and everything that touches the disk."""

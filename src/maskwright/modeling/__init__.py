"""What is trained: models, losses, optimisers and augmentation, a table each."""

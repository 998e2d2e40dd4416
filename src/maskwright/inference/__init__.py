"""From a trained model to masks on disk, and from masks to scores."""

"""Records to tensors and back: what an image is. Knows no task by name."""

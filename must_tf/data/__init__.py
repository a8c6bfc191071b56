"""Records to tensors and back: the file format, the geometry and the input pipeline. No task is named here."""

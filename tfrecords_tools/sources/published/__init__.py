"""Published datasets in their own layouts, and layouts in which many datasets are published."""

"""The built-in datasets, one file per kind; `raypol.core.datasets.load` knows them by name."""

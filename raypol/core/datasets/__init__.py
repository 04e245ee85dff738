"""The built-in datasets, one file per kind; `raypol.core.data` knows them by name."""

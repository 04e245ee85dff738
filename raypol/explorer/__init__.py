"""The analysis app over a results folder."""

"""The command line: `raypol COMMAND` and sweep files."""

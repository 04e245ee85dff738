"""The arena for people: its board of attacks and policies as a page, as Markdown and on a terminal."""

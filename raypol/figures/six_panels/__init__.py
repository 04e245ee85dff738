"""The six panels of a sweep: four errors, time and size against T'."""

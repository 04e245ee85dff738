"""What findings say, on rows made by hand."""

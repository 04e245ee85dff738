"""The published code's layout: import and export."""

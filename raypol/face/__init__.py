"""What people see: the command line, tables, figures, the demo's words."""

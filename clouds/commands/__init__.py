"""What each command does once its arguments are read, and what it prints. It knows no particular stage."""

"""The command line, a module for each command and for what they share."""

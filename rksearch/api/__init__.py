"""What the command line and notebooks stand on."""

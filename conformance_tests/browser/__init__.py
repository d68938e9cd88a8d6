"""What this project writes for readers, looked at with a browser."""

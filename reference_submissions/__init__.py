"""Complete training algorithms, written only against the submission API."""

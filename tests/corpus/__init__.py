"""Input that cannot be used, and input that looks odd but can: data for tests, and for docs/messages.md."""

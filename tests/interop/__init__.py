"""Other people's implementations read what we write, and we read what they write; skipped where they are not installed."""
